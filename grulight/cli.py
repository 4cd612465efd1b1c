"""The command line: one line in, one exit code out.

Nothing heavy is imported before a command is known, so that ``grulight --help`` is quick.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from importlib import import_module
from io import TextIOWrapper

from grulight.commands import COMMANDS
from grulight.commands.lean_imports import lean_imports
from grulight.errors import options_called
from grulight.exit_codes import exit_code_of
from grulight.runs.signals import noted

# what messages call an argument of Python that a command has, or another command
OPTIONS = {
    "config": "grulight port --config",
    "up_to": "grulight port --up-to",
    **{name: f"--{name}" for name in ("trials", "workers", "folds", "finalists", "timeout")},
    **{name: f"--{name}" for name in ("search", "objective")},
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code (see ``exit_codes``), after one line on bad input."""
    # torch reads it when it is imported: threads that spin while they wait take the time of those
    # that work, where other programs run
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    parser = argparse.ArgumentParser(
        prog="grulight",
        description="Train GRU sequence classifiers; they equal your Keras ones.",
        epilog="`grulight COMMAND --help` lists the options of a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        commands.add_parser(name, help=summary, add_help=False)
    given = list(sys.argv[1:] if arguments is None else arguments)
    # the command's own parser reads all that follows the command
    command = parser.parse_args(given[:1]).command
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a pipe may not know "×"
    stop = noted(goes_on=command in ("fit", "tune"), ends_here=arguments is None)
    with options_called(OPTIONS), stop:
        return exit_code_of(f"grulight {command}", lambda: _runner(command)(given[1:]))


def _runner(command: str) -> Callable[[list[str]], None]:
    # pack alone needs neither torch nor Lightning
    with lean_imports() if command != "pack" else nullcontext():
        runner: Callable[[list[str]], None] = import_module(f"grulight.commands.{command}").run
    return runner
