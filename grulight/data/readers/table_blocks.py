"""Parts of a table as its file gives them: some rows of some columns, held by Arrow."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Wanted:
    """Which columns of a table are read, by their positions.

    Attributes:
        numbers: Columns of numbers.
        texts: Columns of texts: that of the sequence, if there is one, and that of the label.
        time: The column of the time.
        missing: Whether cells among the numbers may be empty.
    """

    numbers: Sequence[int]
    texts: Sequence[int]
    time: int | None = None
    missing: bool = False

    @property
    def columns(self) -> list[int]:
        """All of them."""
        time = [] if self.time is None else [self.time]
        return sorted({*self.numbers, *self.texts, *time})


@dataclass(frozen=True)
class Block:
    """Some rows of a table.

    Attributes:
        columns: Arrow columns by their position in the table.
        count: How many rows there are.
        place: Says where one is, such as "line 7".
        share: Share of the table that was read with them.
    """

    columns: dict[int, Any]
    count: int
    place: Callable[[int], str]
    share: float

    def part(self, start: int, stop: int) -> "Block":
        """Return some of the rows."""
        return replace(
            self,
            columns={at: column.slice(start, stop - start) for at, column in self.columns.items()},
            count=stop - start,
            place=lambda row: self.place(start + row),
        )


def made_ahead(blocks: Iterator[Block]) -> Iterator[Block]:
    """Yield blocks; the next one is made meanwhile, by another thread."""
    made: Callable[..., Any] = copy_context().run  # messages call options there as they do here
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(made, next, blocks, None)
        while block := waiting.result():
            waiting = thread.submit(made, next, blocks, None)
            yield block
