"""What may be the name of a sequence, a class or a feature, whichever source it comes from."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grulight.data.readers.memory import require_memory
from grulight.errors import InputError

# NumPy keeps all texts of an array as wide as the longest, so that one long name costs as much as
# that many.
LONGEST = 1000
_CHUNK = 1 << 20  # characters looked at at once
_SURROGATES = (0xD800, 0xDFFF)  # halves of a character, which UTF-8 cannot write
_LAST = 0x10FFFF  # of Unicode


def name_array(source: str, what: str, names: Sequence[str] | NDArray[Any]) -> NDArray[np.str_]:
    """Return names (N,) as an array of texts that can be written to any file.

    Raises:
        InputError: A name is too long or holds what is no character of Unicode.
    """
    if not isinstance(names, np.ndarray):
        longest = max(map(len, names), default=0)
        _require_short(source, what, longest)
        size = len(names) * longest * 4
        require_memory(source, what, size, "Use shorter names.")
        names = np.array(names, dtype=np.str_)
    require_names(source, what, names)
    return names.astype(np.str_, copy=False)


def require_names(source: str, what: str, names: NDArray[Any]) -> None:
    """Refuse texts (N, ...) that are too long or hold what is no character of Unicode.

    Raises:
        InputError: There is such a text.
    """
    width = names.dtype.itemsize // 4
    _require_short(source, what, width)
    if not width or not names.size:
        return
    numbers = np.dtype(np.uint32).newbyteorder(names.dtype.byteorder)
    flat = names.reshape(-1)
    at_once = max(1, _CHUNK // width)
    for start in range(0, len(flat), at_once):
        codes = np.ascontiguousarray(flat[start : start + at_once]).view(numbers)
        wrong = (codes >= _SURROGATES[0]) & (codes <= _SURROGATES[1]) | (codes > _LAST)
        if wrong.any():
            at = int(wrong.argmax())
            raise InputError(
                f"{source}: {what}: text {start + at // width} (counted from 0) holds the number "
                f"0x{int(codes[at]):X}, which is no character of Unicode. Save it as text again."
            )


def _require_short(source: str, what: str, length: int) -> None:
    if length > LONGEST:
        raise InputError(
            f"{source}: {what} has room for {length:,} characters, expected names of at most "
            f"{LONGEST:,}. Shorten them."
        )
