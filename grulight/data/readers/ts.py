"""The .ts format of the UCR and UEA archives, by aeon's reader."""

import contextlib
import io
import math
import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from grulight.data.readers.memory import require_memory
from grulight.data.readers.messages import bad
from grulight.data.readers.names import name_array
from grulight.data.readers.raw import RawSequences
from grulight.data.readers.stamped_ts import read_stamped
from grulight.errors import listed
from grulight.extras import extra


def read_ts(path: str) -> RawSequences:
    """Read a ``.ts`` file, of a classification or of a regression problem.

    Raises:
        InputError: aeon is not installed, or the file is not one it reads correctly.
    """
    # aeon holds the text's numbers as float64; a line may be as long as the file
    require_memory(path, "the file", 2 * os.path.getsize(path), "Use less of it.")
    labelled = _check_header(path)
    cases, labels = _cases(path, labelled=labelled)
    if not len(cases):
        raise bad(path, "has no sequences after its @data line.")
    lengths = np.array([case.shape[1] for case in cases])
    shape = (len(cases), int(lengths.max()), cases[0].shape[0])
    what = f"padding {shape[0]:,} sequences to {shape[1]:,} steps"
    # float64, and a copy in float32
    require_memory(path, what, 12 * math.prod(shape), "Use less of it.")
    values = np.zeros(shape)
    for number, case in enumerate(cases):
        if len(case) != shape[2]:  # aeon has checked others
            dimensions = f"{len(case)} dimensions, expected {shape[2]}"
            raise bad(path, f"sequence {number} (counted from 0) has {dimensions} as in the first.")
    for row, case in zip(values, cases, strict=True):
        row[: case.shape[1]] = case.T
    # aeon lower-cases each line and then writes NaN for every "nan", also inside class names.
    if _header(path).get("targetlabel") == "true":
        return RawSequences(
            values=values,
            labels=_targets(path, labels),
            are_values=True,
            lengths=lengths,
            names={"y": "@targetLabel"},
        )
    texts = [str(label).strip().lower() for label in labels] if labelled else []
    names = name_array(path, "@classLabel", texts) if labelled else None
    return RawSequences(values=values, labels=names, lengths=lengths, names={"y": "@classLabel"})


def _targets(path: str, labels: Sequence[object]) -> NDArray[np.float64]:
    try:
        return np.array(labels, dtype=np.float64)
    except ValueError as error:
        raise bad(path, f"@targetLabel: {error}, expected numbers.") from error


def _cases(path: str, *, labelled: bool) -> tuple[Sequence[NDArray[np.float64]], Sequence[str]]:
    """Return the series (F, T) and their labels as text."""
    if _header(path).get("timestamps") == "true":
        return read_stamped(path, labelled=labelled)
    datasets = _aeon(path)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            cases, labels = datasets.load_from_ts_file(os.path.abspath(path))[:2]
    except (OSError, ValueError, IndexError) as error:
        raise bad(
            path, _first_bad_cell(path) or f"aeon cannot read it ({_said(error)})."
        ) from error
    return cases, labels


def read_aeon(source: str, part: str) -> RawSequences:
    """Read one part of a data set that aeon ships or that it finds on disk.

    aeon's own ``load_classification`` downloads what it does not find, and makes its cache folder
    in the home directory even if it has no use for it. So only its file reader is asked.

    Raises:
        InputError: aeon is not installed or has no such data set here.
    """
    name = source.removeprefix("aeon:")
    roots = _roots(source)
    for root in roots:
        path = root / name / f"{name}_{part.upper()}.ts"
        if name and os.path.basename(name) == name and path.is_file():
            return read_ts(str(path))
    raise bad(
        source,
        f"no data set of this name ({part} part) in {', '.join(map(str, roots))}; nothing is "
        f"downloaded. Shipped with aeon: {listed(_shipped(roots[0]), like=[name])}.",
    )


def _aeon(source: str) -> ModuleType:
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        return extra("aeon.datasets", "data", source)


def _roots(source: str) -> list[Path]:
    """Return where aeon keeps data sets: shipped, downloaded by aeon < 1.4, and by later ones."""
    package = Path(str(_aeon(source).__file__)).parent
    home = os.path.expanduser(os.environ.get("AEON_DATA", os.path.join("~", "aeon_data")))
    return [package / "data", package / "local_data", Path(home)]


def _shipped(root: Path) -> list[str]:
    names = []
    for train in sorted(root.glob("*/*_TRAIN.ts")):
        name = train.parent.name
        is_pair = train.name == f"{name}_TRAIN.ts" and (train.parent / f"{name}_TEST.ts").is_file()
        if is_pair and _header(str(train)).get("classlabel", "").startswith("true"):
            names.append(name)
    return names


def _header(path: str) -> dict[str, str]:
    """Return the tags before the data, in lower case, and ``data`` if there is such a line."""
    tags: dict[str, str] = {}
    try:
        with open(path, encoding="utf-8") as file:
            for line in file:
                if line.startswith("@"):
                    tag, _, value = line[1:].strip().lower().partition(" ")
                    tags[tag] = value.strip()
                    if tag == "data":
                        break
    except UnicodeDecodeError as error:
        raise bad(path, f"is not UTF-8 text ({error.reason}), expected a .ts file.") from error
    return tags


def _check_header(path: str) -> bool:
    """Return whether the file has labels or targets; refuse what aeon would misread."""
    tags = _header(path)
    if "data" not in tags:
        raise bad(path, "has no @data line, expected the .ts format of the UCR/UEA archives.")
    if tags.get("targetlabel") == "true":
        return True
    if "classlabel" not in tags:
        # aeon would take the last dimension for the label.
        raise bad(path, "has no @classLabel line, expected '@classLabel true A B ...' or 'false'.")
    return tags["classlabel"].startswith("true")


def _first_bad_cell(path: str) -> str:
    """Return where the first cell that is no number stands, or nothing."""
    labelled = _check_header(path)
    in_data = False
    with open(path, encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            channels = line.strip().split(":")
            for channel, cells in enumerate(channels[:-1] if labelled else channels):
                for cell in cells.split(",") if in_data else ():
                    if not _is_number(cell):
                        return f"line {number}, dimension {channel}: {cell[:40]!r} is not a number."
            in_data = in_data or line.lower().startswith("@data")
    return ""


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace("?", "nan"))
    except ValueError:
        return False
    return True


def _said(error: Exception) -> str:
    return re.sub(r"Error loading <.*?>\. ?", "", str(error)).rstrip(".")
