"""What HDF5 does to the bytes of a chunk: gzip, shuffling, sums. Nothing else is read.

Layout: HDF5 file format specification, IV.A.2.l.
"""

import zlib

from grulight.keras_files.reader.headers import damaged, number

DEFLATE, SHUFFLE, FLETCHER = 1, 2, 3
OTHER_FILTERS = {4: "szip", 5: "nbit", 6: "scaleoffset", 32000: "lzf", 32001: "blosc"}


def inflated(raw: bytes, most: int) -> bytes:
    """Return what was packed.

    Raises:
        InputError: It is damaged, or would be more than ``most`` bytes.
    """
    inflater = zlib.decompressobj()
    try:
        found = inflater.decompress(raw, most + 1)
    except zlib.error:
        raise damaged("a chunk cannot be unpacked") from None
    if len(found) > most:
        raise damaged("a chunk unpacks to more than its shape holds")
    return found


def filters_of(body: bytes) -> tuple[int, ...] | str:
    """Return what was done to the bytes of every chunk, or what is wrong."""
    if len(body) < 2 or body[0] not in (1, 2):
        raise damaged("filters of unknown layout")
    found = []
    at = 8 if body[0] == 1 else 2
    for _ in range(body[1]):
        kind = number(body[at : at + 2])
        named = body[0] == 1 or kind >= 256
        length = number(body[at + 2 : at + 4]) if named else 0
        at += 4 if named else 2
        values = number(body[at + 2 : at + 4])
        padded = -(-length // 8) * 8 if body[0] == 1 else length
        at += 4 + padded + 4 * (values + (values % 2 if body[0] == 1 else 0))
        if at > len(body):
            raise damaged("filters are cut off")
        if kind not in (DEFLATE, SHUFFLE, FLETCHER):
            name = OTHER_FILTERS.get(kind, f"filter {kind}")
            return f"is compressed with {name}, expected gzip (h5repack -f GZIP=4 IN OUT helps)"
        found.append(kind)
    return tuple(found)
