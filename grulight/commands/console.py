"""Where commands print."""

import sys

from rich.console import Console

_UNBOUNDED = 10_000  # columns; rich takes 80 where it finds no terminal, and cuts tables to them


def open_console() -> Console:
    """Return a console on stdout; a file or a pipe gets tables whole, however wide."""
    return Console() if sys.stdout.isatty() else Console(width=_UNBOUNDED)
