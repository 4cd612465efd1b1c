"""Which columns of a wide table are the steps of which feature."""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from grulight.data.readers.messages import bad
from grulight.data.readers.table_columns import ColumnNames, Layout
from grulight.errors import InputError, option

_STEPS = re.compile(r"(?P<feature>.*?)[_. -]?(?P<step>\d{1,9})")


@dataclass(frozen=True)
class Grid:
    """Where the steps of each feature are in a wide table.

    Attributes:
        features: F names.
        columns: (F, T) positions of columns.
    """

    features: list[str]
    columns: NDArray[np.int64]


def find_grid(path: str, layout: Layout, wanted: ColumnNames) -> Grid:
    """Find the steps of each feature by the names of the columns.

    Raises:
        InputError: A name does not fit the pattern, or a feature lacks a step that others have.
    """
    pattern = _STEPS if wanted.steps is None else _pattern(wanted.steps)
    found: dict[str, dict[int, int]] = {}
    for at in layout.features:
        name = layout.names[at]
        match = pattern.fullmatch(name)
        feature = match and (match.groupdict().get("feature") or "feature_0")
        if match and feature and (wanted.features is None or feature in wanted.features):
            found.setdefault(feature, {})[int(match["step"])] = at
        elif wanted.features is None:
            raise bad(
                path,
                f"column {name!r} does not end in the number of a step, as u_0 does. Name the "
                f"features by {option('data.features')}, or the pattern by "
                f"{option('data.steps', '{feature}_{step}')}.",
            )
    names = list(found) if wanted.features is None else list(wanted.features)
    steps = sorted({step for each in found.values() for step in each})
    for name in names:
        for step in range(steps[0], steps[-1] + 1) if steps else [0]:
            if step not in found.get(name, {}):
                raise bad(path, f"feature {name!r} has no column of step {step}.")
    columns = [[found[name][step] for step in steps] for name in names]
    return Grid(names, np.array(columns, np.int64))


def _pattern(text: str) -> re.Pattern[str]:
    parts = re.escape(text).replace(r"\{feature\}", "(?P<feature>.*)", 1)
    if r"\{step\}" not in parts:
        raise InputError(
            f"{option('data.steps', text)}: has no {{step}}, expected such as {{feature}}_{{step}}."
        )
    return re.compile(parts.replace(r"\{step\}", r"(?P<step>\d{1,9})", 1))
