"""Times written as text become numbers that sort alike."""

import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from grulight.data.readers.messages import bad

_EXPECTED = "numbers, or dates such as 2024-01-31T12:00:00 or 31.01.2024 12:00"
_UNCLEAR = " (day and month could be swapped in this one: write the year first)"
# in each the order of day and month is plain
_YEAR_FIRST = re.compile(r"(?P<year>\d{4})([-/.])(?P<month>\d{1,2})\2(?P<day>\d{1,2})(?P<rest>.*)")
_DAY_FIRST = re.compile(r"(?P<day>\d{1,2})\.(?P<month>\d{1,2})\.(?P<year>\d{4})(?P<rest>.*)")


def parse_times(path: str, texts: Sequence[str], place: Callable[[int], str]) -> NDArray[Any]:
    """Turn times written as numbers or as dates into numbers that sort alike.

    Dates are ISO 8601, such as 2024-01-31, or as in 2024/1/31 and 31.1.2024.

    Raises:
        InputError: A time is neither, or dates with and without a time zone are mixed.
    """
    # Whole numbers first: nanoseconds since 1970 do not fit a float64 exactly.
    for dtype, parse in ((np.int64, int), (np.float64, float)):
        try:
            numbers = np.fromiter(map(parse, texts), dtype, len(texts))
        except (ValueError, OverflowError):
            continue
        if np.isfinite(numbers).all():
            return numbers
    if not _is_finite(texts[0]):
        return _dates(path, texts, place)
    row = next(row for row, text in enumerate(texts) if not _is_finite(text))
    raise bad(path, f"{place(row)}: time {texts[row][:40]!r}, expected a number as before.")


def _iso(text: str) -> str:
    found = _YEAR_FIRST.fullmatch(text) or _DAY_FIRST.fullmatch(text)
    if found is None:
        return text
    return f"{found['year']}-{found['month']:0>2}-{found['day']:0>2}{found['rest']}"


def _is_finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _dates(path: str, texts: Sequence[str], place: Callable[[int], str]) -> NDArray[np.int64]:
    dates: list[datetime] = []

    def refuse(row: int, expected: str) -> NoReturn:
        raise bad(path, f"{place(row)}: time {texts[row][:40]!r}, expected {expected}.")

    for row, text in enumerate(texts):
        try:
            date = datetime.fromisoformat(_iso(text))
        except ValueError:
            refuse(row, _EXPECTED + (_UNCLEAR if "/" in text else ""))
        if dates and (date.tzinfo is None) != (dates[0].tzinfo is None):
            refuse(row, "a time zone in all dates or in none")
        dates.append(date)
    if dates[0].tzinfo is not None:
        dates = [date.astimezone(UTC).replace(tzinfo=None) for date in dates]
    return np.array(dates, dtype="datetime64[us]").astype(np.int64)
