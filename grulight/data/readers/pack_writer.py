"""Write the packed form, block by block."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grulight.data.readers.growing_npy import GrowingNpy
from grulight.data.readers.packed_index import FORMAT, INDEX, VERSION, shard_name
from grulight.data.readers.streaming import ArrayStream, Block, TableStream, scattered
from grulight.errors import InputError
from grulight.files import lock, remove_left_behind, require_writable, temporary_prefix

_SHARD = 1 << 32  # bytes; large, as each shard costs a file and a mapping but no memory
_CHUNK = 1 << 20  # entries of a column that are rewritten at once


class PackWriter:
    """Write the blocks of a stream into a directory; a context, which closes its files.

    Args:
        directory: Exists and is empty.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lengths, self._starts, self._ids = map(self._column, ("lengths", "starts", "ids"))
        self._labels: GrowingNpy | None = None
        self._values: list[GrowingNpy] = []
        self._missing = False
        self._shards: list[dict[str, int]] = []

    def __enter__(self) -> "PackWriter":
        """Return the writer."""
        return self

    def __exit__(self, *raised: object) -> None:
        """Close what is open still."""
        for column in (self._lengths, self._starts, self._ids, self._labels, *self._values):
            if column:
                column.abandon()

    def _column(self, name: str) -> GrowingNpy:
        return GrowingNpy(self._directory / f"{name}.npy")

    def add(self, block: Block) -> None:
        """Write a block."""
        if not self._values or 4 * self._values[-1].count * block.steps.shape[1] >= _SHARD:
            for full in self._values[-1:]:
                full.close()
            self._values.append(self._column(shard_name(len(self._values))))
            self._shards.append({"sequences": 0, "steps": 0})
        shard = self._shards[-1]
        self._starts.append(shard["steps"] + np.cumsum(block.lengths) - block.lengths)
        self._values[-1].append(block.steps)
        self._missing = self._missing or bool(np.isnan(block.steps).any())
        self._lengths.append(block.lengths)
        self._ids.append(block.ids)
        if block.labels is not None:
            self._labels = self._labels or self._column("labels")
            self._labels.append(block.labels)
        shard["sequences"] += len(block.lengths)
        shard["steps"] += len(block.steps)

    def finish(self, stream: TableStream | ArrayStream) -> dict[str, Any]:
        """Write what is known after the last block; return the index.

        Raises:
            InputError: The labels do not fit each other, or a sequence comes twice.
        """
        for column in (self._lengths, self._starts, self._ids, self._values[-1], self._labels):
            if column:
                column.close()
        classes = stream.classes()
        if classes:
            _renumber(self._directory / "labels.npy", classes[0])
        if self._labels and stream.labels_by_row:
            self._pad_labels(self._labels.path, stream.steps)
        if isinstance(stream, TableStream):
            self._require_succession(stream.source)
        index = {
            "format": FORMAT,
            "version": VERSION,
            "source": stream.source,
            "sequences": self._lengths.count,
            "steps": stream.steps,
            "feature_names": list(stream.feature_names),
            "class_names": list(classes[1]) if classes else None,
            "labels": self._labels is not None,
            "missing": self._missing,
            "shards": self._shards,
        }
        (self._directory / INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
        return index

    def _pad_labels(self, path: Path, steps: int) -> None:
        """Let labels of the rows, one sequence after the other, become (N, ``steps``, ...)."""
        labels, lengths = np.load(path, mmap_mode="r"), np.load(self._lengths.path, mmap_mode="r")
        path.unlink()  # the mapping keeps its content
        self._labels = GrowingNpy(path)
        at_once, first = max(1, _CHUNK // steps), 0
        for start in range(0, len(lengths), at_once):
            valid = np.arange(steps) < lengths[start : start + at_once, None]
            block = np.zeros((*valid.shape, *labels.shape[1:]), labels.dtype)
            stop = first + int(valid.sum())
            block[valid] = labels[first:stop]
            self._labels.append(block)
            first = stop
        self._labels.close()

    def _require_succession(self, source: str) -> None:
        ids = np.load(self._ids.path, mmap_mode="r")
        again = first_repeated(ids, self._directory / "hashes")
        if again is not None:
            row = int(np.load(self._lengths.path, mmap_mode="r")[:again].sum())
            raise scattered(source, f"row {row + 1} of the data", str(ids[again]))


def first_repeated(texts: NDArray[np.str_], scratch: Path) -> int | None:
    """Return the position of the first text that was there before, or None.

    The hashes of the texts are sorted in a file, so that any number of them takes no memory.

    Args:
        texts: (N,) texts, mapped into memory.
        scratch: The file; it is removed.
    """
    count = len(texts)
    hashes = np.memmap(scratch, np.int64, "w+", shape=(count,))
    for start in range(0, count, _CHUNK):
        some = texts[start : start + _CHUNK].tolist()
        hashes[start : start + len(some)] = np.fromiter(map(hash, some), np.int64, len(some))
    hashes.sort()
    same: set[int] = set()
    for start in range(0, count, _CHUNK):
        some = hashes[start : start + _CHUNK + 1]
        same.update(some[1:][some[1:] == some[:-1]].tolist())
    scratch.unlink()
    seen: set[str] = set()
    for position, text in enumerate(texts if same else ()):
        if hash(str(text)) in same:  # equal, but for chance
            if str(text) in seen:
                return position
            seen.add(str(text))
    return None


def _renumber(path: Path, numbers: NDArray[np.int64]) -> None:
    """Replace each entry of a file by ``numbers[entry]``."""
    if (numbers == np.arange(len(numbers))).all():
        return
    labels = np.load(path, mmap_mode="r+")
    for start in range(0, len(labels), _CHUNK):
        labels[start : start + _CHUNK] = numbers[labels[start : start + _CHUNK]]
    labels.flush()


@contextmanager
def directory_written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary directory beside ``path``; it gets the name ``path`` once all is written.

    Raises:
        InputError: ``path`` is there and not an empty directory, or cannot be made.
    """
    target = Path(path).absolute()
    if target.exists() and not target.is_dir():
        raise InputError(f"{path}: is a file, expected a new directory.")
    if target.is_dir() and any(target.iterdir()):
        raise InputError(f"{path}: is not empty. Remove it or choose another directory.")
    require_writable(target.parent)
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_left_behind(target.parent, target.name)
    temporary = Path(tempfile.mkdtemp(prefix=temporary_prefix(target.name), dir=target.parent))
    descriptor = os.open(temporary, os.O_RDONLY)
    try:
        lock(descriptor)
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        temporary.replace(target)  # also an empty directory
    finally:
        os.close(descriptor)
        shutil.rmtree(temporary, ignore_errors=True)


def _umask() -> int:
    # the mask can only be read by setting it
    mask = os.umask(0)
    os.umask(mask)
    return mask
