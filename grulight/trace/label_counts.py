"""How often each label occurs in each part."""

from collections.abc import Iterator, Sequence
from typing import Any

from grulight.data.sequences import Labels, Sequences
from grulight.data.splitting import Parts
from grulight.trace.stages import PARTS
from grulight.trace.templates import Context

_SLICE = 50_000  # sequences whose labels are counted at once


def nonempty_parts(parts: Parts) -> list[tuple[str, Sequences]]:
    """Return the parts that have sequences, with their names."""
    return [(name, part) for name, part in zip(PARTS, parts, strict=True) if len(part)]


def labels_of(part: Sequences) -> Iterator[Labels]:
    """Yield the labels that count, (m,) or (m, C), of some sequences after the others."""
    for start in range(0, len(part), _SLICE):
        some = part.part(start, start + _SLICE)
        if some.labels is not None:
            yield some.labels[some.counted]


def count_table(title: str, head: str, parts: Parts, names: Sequence[str], counts: Any) -> Context:
    """Return counts (C,) of some labels, summed over each part, as a table."""
    held = nonempty_parts(parts)
    columns = [sum(counts(each) for each in labels_of(part)).tolist() for _, part in held]
    return {
        "title": title,
        "head": head,
        "parts": [(name, len(part)) for name, part in held],
        "rows": list(zip(names, zip(*columns, strict=True), strict=True)),
        "most": [max(max(column), 1) for column in columns],
    }
