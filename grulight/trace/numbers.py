"""Numbers as text that fits a column."""


def fitted(value: float, room: int = 9, digits: int = 4) -> str:
    """Return a number with as many digits after the point as its column has room for.

    Args:
        value: Any number; one that is not finite is named.
        room: Characters of the column; at least 8, which a power of ten needs.
        digits: Most digits after the point.
    """
    for count in range(digits, -1, -1):
        if len(text := f"{value:.{count}f}") <= room:
            return text
    return f"{value:.1e}"
