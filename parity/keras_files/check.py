"""Check a Keras file: does its port compute what Keras computes, from weights to training?"""

import hashlib
import time
import zipfile
from collections.abc import Collection
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from grulight.errors import InputError
from grulight.keras_files.port import load_keras
from grulight.keras_files.reader.tensorflow_checkpoint import SAVED_MODEL, checkpoint_of
from grulight.keras_files.reader.untrusted_text import Json
from parity.compare import Incomparable
from parity.keras_files.arrays import arrays_of
from parity.keras_files.as_compiled import Compiled, as_compiled, compiled_of, steps_as_compiled
from parity.keras_files.ask import ask, settle
from parity.keras_files.edge_inputs import edges
from parity.keras_files.file_questions import FileQuestions, random_weights
from parity.keras_files.inputs import inputs_of
from parity.keras_files.layout import by_path
from parity.keras_files.limits import limits_of, misread_version, recorded
from parity.keras_files.notes import notes_of
from parity.keras_files.other_witnesses import judged, statements
from parity.keras_files.ported_side import PortedSide
from parity.keras_files.zero_gradients import moved_by_rounding
from parity.question import Arrays, Precision, Question, Side
from parity.result import Result
from parity.sides.quiet import without_warnings

if TYPE_CHECKING:
    from parity.keras_files.keras_witness import Witness

SUFFIXES = (".keras", ".h5", ".hdf5")
# of a folder: Keras 3's, TensorFlow.js', a SavedModel's
MAIN_FILES = ("config.json", "model.json", *SAVED_MODEL)
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
LIBRARIES = ("torch", "lightning", "numpy", "keras", "tensorflow")
PRECISIONS: tuple[Precision, Precision] = ("float64", "float32")


def is_keras_file(path: str | Path) -> bool:
    """Return whether a file or a folder is, or by its name claims to be, a Keras model."""
    path = Path(path)
    if checkpoint_of(path) is not None:
        return True
    if path.is_dir():
        return any((path / name).is_file() for name in MAIN_FILES)
    if path.name in SAVED_MODEL:
        return True
    if path.suffix.lower() in SUFFIXES:
        return True
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(8)
    if head == HDF5_MAGIC or head.lstrip().startswith(b"{"):
        return True
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        names = [name.rpartition("/")[2] for name in archive.namelist()]
    return any(name in MAIN_FILES for name in names) or all(n.endswith(".npy") for n in names)


def check_file(path: str | Path, config: str | Path | None = None) -> Result:
    """Climb the rungs with a Keras model file.

    Args:
        path: What `load_keras` opens.
        config: The model's JSON, for a file of weights alone.

    Raises:
        InputError: The file cannot be ported, or the two sides cannot be compared.
    """
    began = time.monotonic()
    path = Path(path)
    questions, ours, theirs, settings = _sides(path, config)
    versions = {name: version(name) for name in LIBRARIES}
    others = statements(path, config, settings, questions, ours)
    reasons = [theirs.reason] if theirs.reason else []
    notes = [*reasons, *notes_of(ours.model, questions, [each.name for each in others])]
    result = Result(str(path), _sha256(questions.weights), ours.name, theirs.name, versions, notes)
    result.rebuilt = theirs.reason is not None and not others
    compiled = compiled_of(ours.model, recorded(path, settings))
    if compiled is not None:
        notes.append(
            f"Rungs 2, 4 and 5 also train {compiled.words.replace('in Keras', 'in the file')}."
        )
    result.limits = limits_of(path, ours.model, settings, questions, compiled is not None)
    result.limits += misread_version(path, ours.model)
    try:
        _climb(result, questions, ours, theirs, compiled)
    except Incomparable as error:
        raise InputError(f"{path}: the two sides cannot be compared. {error}") from error
    sides: dict[str, Side] = {result.ours: ours, result.theirs: theirs}
    for each in others:
        result.implementations += judged(each, sides, result.theirs)
    settle(result)
    result.seconds = time.monotonic() - began
    return result


def _sides(
    path: Path, config: str | Path | None
) -> tuple[FileQuestions, PortedSide, "Witness", dict[str, Json]]:
    """Return what is asked, who answers, and the file's configuration."""
    with without_warnings():  # the verdict says what a port leaves out
        model = load_keras(path, config=config)
    ours, graph = PortedSide(model), model.network.graph
    weights, settings = arrays_of(path, config, graph, by_path(model.keras_arrays()))
    if unfit := [name for name, array in weights.items() if not np.isfinite(array).all()]:
        raise InputError(f"{path}: {unfit[0]} holds NaN or infinity, so nothing can be compared.")
    inputs = inputs_of(graph, weights)
    # TensorFlow takes seconds, bad input should not
    from parity.keras_files.keras_open import their_model
    from parity.keras_files.keras_witness import Witness

    opened, reason = their_model(path, weights, graph, inputs, settings, config is not None)
    questions = FileQuestions(graph, weights, inputs, ours.trained)
    return questions, ours, Witness(opened, reason), settings


def _climb(
    result: Result,
    questions: FileQuestions,
    ours: PortedSide,
    theirs: "Witness",
    compiled: Compiled | None,
) -> None:
    random, start = questions.random(ours), random_weights(questions.weights, 100)
    still: Collection[str] = ()
    asked = [questions.weights_question(), questions.own(), random]
    asked += [questions.steps(start)] if questions.settings["trained"] else []
    for question in asked:
        found: Collection[str] = ()
        for dtype in PRECISIONS:
            found = ask(result, question.as_dtype(dtype), ours, theirs, found)
        still = found if question is random else still
    for question in edges(questions.graph, questions.inputs, random):
        if theirs.takes(question):
            for dtype in PRECISIONS:
                ask(result, question.as_dtype(dtype), ours, theirs)
    if questions.settings["trained"]:
        held = _train(result, questions, ours, theirs, (random, start, still))
        if compiled is not None:
            ask(result, steps_as_compiled(questions, start, compiled), ours, theirs)
            ask(result, as_compiled(questions, start, compiled, held), ours, theirs)


def _train(
    result: Result,
    questions: FileQuestions,
    ours: PortedSide,
    theirs: "Witness",
    given: tuple[Question, Arrays, Collection[str]],
) -> Collection[str]:
    """Compare a training, all but what moves by rounding alone; return the names of that."""
    random, start, still = given
    if questions.moves:  # what is added before a batch is normalised has no gradient then
        still = ask(result, questions.as_in_training(random), ours, theirs)
    held = moved_by_rounding(still)
    if held:
        names = ", ".join(sorted(held))
        result.notes.append(
            f"{names}: without a gradient but for rounding, so it stays as it is in rung 5."
        )
    ask(result, questions.training(start, held), ours, theirs)
    return held


def _sha256(weights: Arrays) -> str:
    digest = hashlib.sha256()
    for name in sorted(weights):
        array = weights[name].astype("<f4")
        digest.update(f"{name} {array.shape}\n".encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
