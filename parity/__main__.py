"""The command line of the proof: check, record, replay.

Nothing heavy is imported before a command is known, so that ``--help`` is quick.
"""

import argparse
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from grulight.errors import InputError, one_line, options_called

# With 20 runs per side of two equal programs, two one-sided tests show equivalence within one
# standard deviation in 85 of 100 cases: the margin is 3.16 errors, and the test takes 1.69.
FEWEST_SEEDS = 20
# what messages call an argument of Python that a command has, or another command
OPTIONS = {"config": "--config", "model.kernel": "--kernel", "up_to": "grulight port --up-to"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return 0 the same, 1 different, 2 could not tell or bad input."""
    options = _parser().parse_args(arguments)
    try:
        from parity import commands

        with options_called(OPTIONS):
            code: int = getattr(commands, options.command)(options)
    except InputError as error:
        print(f"parity {options.command}: {error}", file=sys.stderr)
        return 2
    except Exception as error:  # Python would end with 1, which means different
        print(f"parity {options.command}: {_unexpected(error)}", file=sys.stderr)
        return 2
    return code


def _unexpected(error: Exception) -> str:
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(place.filename).name}, line {place.lineno}"
    said = one_line(error, 300)
    return f"could not tell, because of {type(error).__name__} in {where}: {said}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="parity",
        description="Prove that a grulight model and its Keras twin compute the same.",
        epilog="Exit code: 0 the same, 1 different, 2 could not tell or bad input.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    check = commands.add_parser("check", help="compare with a running Keras, rung by rung")
    record = commands.add_parser("record", help="write what Keras computes to a file")
    replay = commands.add_parser("replay", help="compare with a record; needs no TensorFlow")
    for command in (check, record):
        command.add_argument("target", help="checkpoint of `grulight fit`, or a Keras model file")
        command.add_argument(
            "--data", help="source of sequences; default: the run's own, else waves"
        )
    check.add_argument("--config", help="the model's JSON, for a Keras file of weights alone")
    replay.add_argument("record", help="file of `parity record`")
    record.add_argument("-o", "--output", required=True, help="record to write (.safetensors)")
    record.add_argument(
        "--stride", type=_positive, default=25, help="keep every so many weights (default 25)"
    )
    check.add_argument(
        "--distribution", action="store_true", help="rung 6: train many seeds on both sides (slow)"
    )
    check.add_argument(
        "--seeds", type=_seeds, default=30, help="seeds per framework in rung 6 (default 30)"
    )
    check.add_argument(
        "--onnx", action="store_true", help="also export to ONNX and run it in ONNX Runtime"
    )
    for command in (check, replay):
        command.add_argument(
            "--kernel",
            default="auto",
            help="our arithmetic: auto, torch, numba or compile",
        )
        command.add_argument("--device", default="cpu", help="where ours computes: cpu or cuda")
        command.add_argument("--report", metavar="F.html", help="write one self-contained page")
        command.add_argument("--json", metavar="F.json", help="write the figures")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {number}")
    return number


def _seeds(text: str) -> int:
    number = int(text)
    if number < FEWEST_SEEDS:
        raise argparse.ArgumentTypeError(
            f"expected at least {FEWEST_SEEDS}, got {number}: fewer runs show nothing"
        )
    return number


if __name__ == "__main__":
    sys.exit(main())
