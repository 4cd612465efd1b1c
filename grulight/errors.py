"""The one exception for input that a user can mend, and text from anywhere made fit to print."""

MAX_LINE = 480  # with the name of the command before it, a line has at most 500 characters


def one_line(text: object, limit: int = MAX_LINE) -> str:
    r"""Return a text as one printable line, shortened in its middle.

    Names come from files that nobody vouches for: a line break, or a sequence that makes a
    terminal act, is shown as Python writes it, such as ``\n`` and ``\x1b``.

    Args:
        text: What is turned into text.
        limit: Most characters of the line.
    """
    whole = str(text)
    if len(whole) <= limit:
        line = _printable(whole)
        if len(line) <= limit:
            return line
    # the end of a message says what to do
    tail = limit // 3
    head = limit - tail - len(" … ")
    return f"{_printable(whole[:head])[:head]} … {_printable(whole[-tail:])[-tail:]}"


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


class InputError(ValueError):
    """Bad input: what was wrong, where (file, row, key), what was expected, what to do.

    The message is one printable line of bounded length, whatever it quotes; the command line
    prints it without a traceback and exits with code 2.
    """

    def __init__(self, message: object) -> None:
        super().__init__(one_line(message))
