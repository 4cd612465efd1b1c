"""Times written as text become numbers that sort alike."""

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from grulight.data.readers.messages import bad


def parse_times(path: str, texts: Sequence[str], place: Callable[[int], str]) -> NDArray[Any]:
    """Turn times written as numbers or as ISO 8601 dates into numbers that sort alike.

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
            date = datetime.fromisoformat(text)
        except ValueError:
            refuse(row, "numbers, or dates such as 2024-01-31T12:00:00")
        if dates and (date.tzinfo is None) != (dates[0].tzinfo is None):
            refuse(row, "a time zone in all dates or in none")
        dates.append(date)
    if dates[0].tzinfo is not None:
        dates = [date.astimezone(UTC).replace(tzinfo=None) for date in dates]
    return np.array(dates, dtype="datetime64[us]").astype(np.int64)
