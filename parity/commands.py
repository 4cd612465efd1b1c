"""What each command of the proof does."""

import argparse
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING

from grulight.commands.console import open_console
from grulight.errors import InputError
from grulight.files import require_apart
from parity.check import LiveSide, Theirs, against_reference, climb, in_onnx
from parity.compare import Incomparable
from parity.distribution import Equivalence, equivalence
from parity.keras_files.check import check_file, is_keras_file
from parity.question import Question
from parity.record import Record, write_record
from parity.report.json_file import write_json
from parity.report.report import print_result, write_page
from parity.result import EXIT_CODES, Implementation, Result
from parity.sides.torch_side import TorchSide
from parity.sides.torch_training import train_seeds
from parity.target import Target, load_target

if TYPE_CHECKING:
    from parity.sides.keras_side import KerasSide
    from parity.sides.onnx_side import OnnxSide

LIBRARIES = ("torch", "lightning", "numpy", "keras", "tensorflow")


def check(options: argparse.Namespace) -> int:
    """Climb the rungs with a running Keras."""
    began = time.monotonic()
    _require_tensorflow("check")
    _require_apart(options, options.target, options.config, options.data)
    if is_keras_file(options.target):
        _require_plain(options)
        return _finish(check_file(options.target, options.config), options, began)
    ours = TorchSide(options.kernel, options.device)
    target = load_target(options.target, options.data)
    if options.distribution and (target.network.per_step or target.network.answer != "classes"):
        raise InputError("--distribution trains models of one class per sequence; leave it out.")
    onnx = _onnx(target) if options.onnx else None
    from parity.sides.keras_side import KerasSide  # TensorFlow takes seconds, bad input should not

    theirs = KerasSide()
    notes = list(target.notes)
    names = ours.name_for(target.network), theirs.name
    result = Result(target.name, target.sha256, *names, _versions(), notes)
    questions = target.questions()
    _climb(result, questions, ours, LiveSide(theirs))
    result.implementations += _implementations(ours, theirs, target)
    if onnx is not None:
        asked = [question for question in questions if question.task == "network"]
        result.implementations.append(in_onnx(onnx, asked))
    if options.distribution:
        result.equivalences += _distribution(target, options.seeds)
    return _finish(result, options, began)


def record(options: argparse.Namespace) -> int:
    """Write what a running Keras computes to a file."""
    _require_tensorflow("record")
    require_apart(options.output, options.target, options.data)
    target = load_target(options.target, options.data)
    from parity.sides.keras_side import KerasSide

    theirs = KerasSide()
    facts = {
        "target": target.name,
        "weights_sha256": target.sha256,
        "theirs": theirs.name,
        "versions": _versions(),
        "notes": list(target.notes),
    }
    with _writing():
        write_record(options.output, target.questions(options.stride), LiveSide(theirs), facts)
    print(f"{options.output}: recorded {theirs.name} on {target.name}")
    return 0


def replay(options: argparse.Namespace) -> int:
    """Climb the rungs against a recorded Keras."""
    began = time.monotonic()
    _require_apart(options, options.record)
    theirs = Record(options.record)
    ours = TorchSide(options.kernel, options.device)
    facts, network = theirs.facts, theirs.questions[0].network
    recorded = {f"recorded {name}": number for name, number in facts["versions"].items()}
    result = Result(
        f"{facts['target']} (recorded in {options.record})",
        facts["weights_sha256"],
        ours.name_for(network),
        f"{facts['theirs']}, recorded",
        {name: n for name, n in _versions().items() if name in LIBRARIES[:3]} | recorded,
        list(facts["notes"]),
    )
    _climb(result, theirs.questions, ours, theirs)
    result.implementations.append(against_reference(result.ours, ours, network))
    return _finish(result, options, began)


def _climb(result: Result, questions: Iterable[Question], ours: TorchSide, theirs: Theirs) -> None:
    try:
        climb(result, questions, ours, theirs, ours.together)
    except Incomparable as error:
        raise InputError(f"the two sides cannot be compared. {error}") from error


def _implementations(ours: TorchSide, theirs: "KerasSide", target: Target) -> list[Implementation]:
    """Compare every implementation at hand with the NumPy reference."""
    from parity.sides.keras_side import KerasSide

    network = target.network
    others = [] if ours.device.type != "cpu" else [TorchSide(k) for k in ("torch", "numba")]
    sides: list[TorchSide | KerasSide] = [ours, *(o for o in others if o.kernel != ours.kernel)]
    sides += [KerasSide("eager"), theirs, KerasSide("xla")]
    names = [ours.name_for(network), *(side.name for side in sides[1:])]
    found = [
        against_reference(name, side, network) for name, side in zip(names, sides, strict=True)
    ]
    # torch.compile unrolls time, and leaves packed sequences to eager code
    compiled = TorchSide("compile", str(ours.device))
    return [*found, against_reference(compiled.name, compiled, network, unrolled=True)]


def _onnx(target: Target) -> "OnnxSide":
    from parity.sides.onnx_side import OnnxSide

    return OnnxSide(target.network)


def _distribution(target: Target, seeds: int) -> list[Equivalence]:
    """Train with many seeds on both sides and test the final figures for equivalence."""
    from parity.sides.keras_pipeline import train_seeds as train_keras_seeds

    if not target.held_out:
        raise InputError("--distribution needs a test part; the data have none.")
    given = target.network, target.data, target.held_out, seeds
    ours, theirs = train_seeds(*given), train_keras_seeds(*given)
    return [equivalence(quantity, ours[quantity], theirs[quantity]) for quantity in ours]


def _finish(result: Result, options: argparse.Namespace, began: float) -> int:
    result.seconds = time.monotonic() - began
    print_result(result, open_console())
    with _writing():
        if options.json:
            write_json(result, options.json)
        if options.report:
            write_page(result, options.report)
    return EXIT_CODES[result.verdict]


def _require_apart(options: argparse.Namespace, *read: str | None) -> None:
    for output in filter(None, (options.json, options.report)):
        require_apart(output, *read)


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be written ({error.strerror}).") from error


def _versions() -> dict[str, str]:
    return {name: version(name) for name in LIBRARIES if find_spec(name) is not None}


def _require_plain(options: argparse.Namespace) -> None:
    """Refuse what only a checkpoint's check can do, rather than leave it out unsaid."""
    given = [
        name
        for name, asked in (
            ("--data", options.data is not None),
            ("--kernel", options.kernel != "auto"),
            ("--device", options.device != "cpu"),
            ("--distribution", options.distribution),
            ("--onnx", options.onnx),
        )
        if asked
    ]
    if given:
        raise InputError(f"{options.target}: {', '.join(given)} goes with checkpoints only.")


def _require_tensorflow(command: str) -> None:
    if find_spec("tensorflow") is None or find_spec("keras") is None:
        raise InputError(
            f"{command} needs TensorFlow: pip install 'grulight[parity]'. Without it, "
            "`replay` checks against a record."
        )
