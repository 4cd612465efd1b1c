"""What is said of a source that cannot be read."""

from grulight.errors import InputError


def bad(source: str, problem: str) -> InputError:
    """Return the error for a source, on one line whatever the file put into it."""
    return InputError(" ".join(f"{source}: {problem}".split()))
