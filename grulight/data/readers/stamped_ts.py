"""Series with time stamps in the .ts format, which aeon 1.6 reads without their signs."""

import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from grulight.data.readers.messages import bad
from grulight.data.readers.times import parse_times

# (2013-03-01 00-00-00,1.5) or (0,1.5)
_POINT = re.compile(r"\s*\(\s*([^(),]+?)\s*,\s*([^(),]+?)\s*\)\s*")
# dates there have hyphens between hours and minutes
_CLOCK = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d)-(\d\d)(?:-(\d\d))?")


def read_stamped(path: str, *, labelled: bool) -> tuple[list[NDArray[np.float64]], list[str]]:
    """Return the series (F, T) in order of their time stamps, and their labels.

    Raises:
        InputError: A line is no such series; the message names it.
    """
    cases, labels = list[NDArray[np.float64]](), list[str]()
    with open(path, encoding="utf-8", errors="replace") as file:
        for number, line in _data_lines(file):
            place = f"line {number}"
            dimensions = re.split(r":(?![^(]*\))", line)  # a stamp may have colons as well
            if labelled:
                labels.append(dimensions.pop().strip())
            found = [_dimension(path, place, text) for text in dimensions]
            for at, (stamps, _) in enumerate(found):
                if not np.array_equal(stamps, found[0][0]):
                    problem = f"dimension {at} has other time stamps than dimension 0."
                    raise bad(path, f"{place}: {problem}")
            cases.append(np.array([values for _, values in found]))
    return cases, labels


def _data_lines(file: Iterator[str]) -> Iterator[tuple[int, str]]:
    in_data = False
    for number, line in enumerate(file, start=1):
        text = line.strip()
        if in_data and text and not text.startswith(("#", "%")):
            yield number, text
        in_data = in_data or text.lower() == "@data"


def _dimension(path: str, place: str, text: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return time stamps (T,), sorted, and values (T,)."""
    stamps, values, end = list[str](), list[float](), 0
    for match in _POINT.finditer(text):
        if text[end : match.start()].strip() != ("," if stamps else ""):
            break
        end = match.end()
        stamps.append(_CLOCK.sub(_with_colons, match[1]))
        try:
            values.append(float("nan" if match[2] == "?" else match[2]))
        except ValueError as error:
            raise bad(path, f"{place}: {match[2][:40]!r} is not a number.") from error
    if not stamps or text[end:].strip():
        shown = text[end : end + 40]
        raise bad(path, f"{place}: {shown!r} is no (time stamp,value), as @timeStamps true says.")
    times = parse_times(path, stamps, lambda row: f"{place}, step {row + 1}")
    order = np.argsort(times, kind="stable")
    if (same := np.diff(times[order]) == 0).any():
        stamp = stamps[int(order[int(same.argmax())])]
        raise bad(path, f"{place}: the time stamp {stamp!r} is there twice.")
    return times[order], np.array(values)[order]


def _with_colons(match: re.Match[str]) -> str:
    return f"{match[1]}T{match[2]}:{match[3]}:{match[4] or '00'}"
