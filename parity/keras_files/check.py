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
from grulight.keras_files.layers.base import KerasLayer
from grulight.keras_files.port import load_keras
from grulight.keras_files.ported_model import PortedModel
from grulight.keras_files.reader.untrusted_text import Json
from grulight.keras_files.reader.versions import KerasVersion
from parity.cases import Arrays, Precision, Question
from parity.compare import Incomparable, compare
from parity.keras_files import numpy_chain
from parity.keras_files.arrays import arrays_of
from parity.keras_files.climb import ask, settle
from parity.keras_files.edge_inputs import edges
from parity.keras_files.inputs import inputs_of
from parity.keras_files.limits import limits_of
from parity.keras_files.names_in_file import said_major
from parity.keras_files.ported_side import PortedSide, flat
from parity.keras_files.study import Study, random_weights
from parity.keras_files.wrong_ports import grus
from parity.keras_files.zero_gradients import moved_by_rounding
from parity.result import Implementation, Limit, Result
from parity.tolerances import Side

if TYPE_CHECKING:
    from parity.keras_files.keras_witness import Witness

SUFFIXES = (".keras", ".h5", ".hdf5")
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
LIBRARIES = ("torch", "lightning", "numpy", "keras", "tensorflow")
PRECISIONS: tuple[Precision, Precision] = ("float64", "float32")


def is_keras_file(path: str | Path) -> bool:
    """Return whether a file is, or by its name claims to be, a Keras model."""
    path = Path(path)
    if path.suffix.lower() in SUFFIXES:
        return True
    if not path.is_file():
        return False
    with path.open("rb") as file:
        if file.read(8) == HDF5_MAGIC:
            return True
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return "config.json" in archive.namelist()


def check_file(path: str | Path, config: str | Path | None = None) -> Result:
    """Climb the rungs with a Keras model file.

    Args:
        path: `.keras`, `.h5`, `.hdf5` or `.weights.h5`.
        config: The model's JSON, for a file of weights alone.

    Raises:
        InputError: The file cannot be ported, or the two sides cannot be compared.
    """
    began = time.monotonic()
    path = Path(path)
    study, ours, theirs, settings = _sides(path, config)
    versions = {name: version(name) for name in LIBRARIES}
    notes = [*([theirs.reason] if theirs.reason else []), *_notes(ours.model, study)]
    result = Result(str(path), _sha256(study.weights), ours.name, theirs.name, versions, notes)
    result.rebuilt = theirs.reason is not None
    result.limits = limits_of(path, ours.model, settings, study)
    result.limits += _misread(path, ours.model)
    try:
        _climb(result, study, ours, theirs)
    except Incomparable as error:
        raise InputError(f"{path}: the two sides cannot be compared. {error}") from error
    if numpy_chain.expressible(ours.model.network.graph):
        result.implementations += _against_reference(result, study, ours, theirs)
    settle(result)
    result.seconds = time.monotonic() - began
    return result


def _sides(
    path: Path, config: str | Path | None
) -> tuple[Study, PortedSide, "Witness", dict[str, Json]]:
    """Return what is asked, who answers, and the file's configuration."""
    model = load_keras(path, config=config)
    ours, graph = PortedSide(model), model.network.graph
    weights, settings = arrays_of(path, config, graph, flat(model.keras_arrays()))
    if unfit := [name for name, array in weights.items() if not np.isfinite(array).all()]:
        raise InputError(f"{path}: {unfit[0]} holds NaN or infinity, so nothing can be compared.")
    inputs = inputs_of(graph, weights)
    # TensorFlow takes seconds, bad input should not
    from parity.keras_files.keras_open import their_model
    from parity.keras_files.keras_witness import Witness

    opened, reason = their_model(path, weights, graph, inputs, settings, config is not None)
    study = Study(graph, weights, inputs, ours.trained)
    return study, ours, Witness(opened, reason), settings


def _climb(result: Result, study: Study, ours: PortedSide, theirs: "Witness") -> None:
    random, start = study.random(ours), random_weights(study.weights, 100)
    still: Collection[str] = ()
    asked = [study.weights_question(), study.own(), random]
    asked += [study.steps(start)] if study.settings["trained"] else []
    for question in asked:
        found: Collection[str] = ()
        for dtype in PRECISIONS:
            found = ask(result, question.as_dtype(dtype), ours, theirs, found)
        still = found if question is random else still
    for question in edges(study.graph, study.inputs, random):
        if theirs.takes(question):
            for dtype in PRECISIONS:
                ask(result, question.as_dtype(dtype), ours, theirs)
    if study.settings["trained"]:
        _train(result, study, ours, theirs, (random, start, still))


def _train(
    result: Result,
    study: Study,
    ours: PortedSide,
    theirs: "Witness",
    given: tuple[Question, Arrays, Collection[str]],
) -> None:
    """Compare a training, all but what moves by rounding alone."""
    random, start, still = given
    if study.moves:  # what is added before a batch is normalised has no gradient then
        still = ask(result, study.as_in_training(random), ours, theirs)
    held = moved_by_rounding(still)
    if held:
        names = ", ".join(sorted(held))
        result.notes.append(
            f"{names}: without a gradient but for rounding, so it stays as it is in rung 5."
        )
    ask(result, study.training(start, held), ours, theirs)


def _against_reference(
    result: Result, study: Study, ours: PortedSide, theirs: Side
) -> list[Implementation]:
    """Compare the outputs of both sides with the NumPy reference, no step masked."""
    found = []
    for question in (study.own(), study.random(ours)):
        asked = numpy_chain.unmasked(question)
        expected = numpy_chain.answer(asked, ours.model.network.graph)
        for name, side in ((result.ours, ours), (result.theirs, theirs)):
            outputs = {tensor: side(asked)[tensor] for tensor in expected}
            worst = max(compare(outputs, expected), key=lambda each: each.relative)
            found.append(Implementation(name, asked.name, worst.relative, worst.tensor))
    return found


def _misread(path: Path, model: PortedModel) -> list[Limit]:
    """Return what the file says of its own version, where the port took it for another's."""
    said, taken = (
        said_major(path),
        KerasVersion.parse(model.description["keras_version"], "3").major,
    )
    if said in (None, taken):
        return []
    text = f"the file says that Keras {said} wrote it, and the port reads it as of Keras {taken}"
    return [Limit(text, open=True)]


def _notes(model: PortedModel, study: Study) -> list[str]:
    notes = ["Inputs are random; rungs 4 and 5 start from random weights."]
    if numpy_chain.expressible(model.network.graph):
        notes.append("Second witness: the float64 reference in NumPy.")
    if study.moves:
        notes.append("In rung 5 batches are normalised as in training, moving statistics compared.")
    layers = [each for each in model.modules() if isinstance(each, KerasLayer)]
    if awake := [each.keras_name for each in layers if each.always]:
        notes.append(
            f"The file calls {', '.join(awake)} as in training, where dropout draws anew each "
            "time; here they are compared as in inference."
        )
    if not grus(study.weights):
        notes.append("No GRU in this file, so no wrong port of one can be tried.")
    return notes


def _sha256(weights: Arrays) -> str:
    digest = hashlib.sha256()
    for name in sorted(weights):
        array = weights[name].astype("<f4")
        digest.update(f"{name} {array.shape}\n".encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
