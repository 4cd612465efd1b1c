"""Check a Keras file: does its port compute what Keras computes, from weights to training?"""

import hashlib
import re
import time
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from grulight.errors import InputError
from grulight.keras_files.layers.base import KerasLayer
from grulight.keras_files.port import load_keras
from grulight.keras_files.ported_model import PortedModel
from parity.cases import Arrays, Precision, Question
from parity.compare import Incomparable, compare
from parity.keras_files import numpy_chain as file_reference
from parity.keras_files.arrays import arrays_of
from parity.keras_files.inputs import inputs_of
from parity.keras_files.ported_side import PortedSide, flat
from parity.keras_files.study import OWN, RANDOM, Study, random_weights
from parity.keras_files.wrong_ports import faults_for, grus, single_steps
from parity.keras_files.zero_gradients import moved_by_rounding, vanishing, without
from parity.result import Implementation, Result
from parity.rungs import Finding, control, judge
from parity.tolerances import FLOAT32_FLOORS, FLOAT64_BOUND, Side, noise_floor, saturation_floor

if TYPE_CHECKING:
    from parity.keras_files.keras_witness import Witness

SUFFIXES = (".keras", ".h5", ".hdf5")
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
LIBRARIES = ("torch", "lightning", "numpy", "keras", "tensorflow")
Floors = Callable[[], tuple[dict[str, float], dict[str, float]]]
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
    study, ours, theirs, notes = _sides(path, config)
    versions = {name: version(name) for name in LIBRARIES}
    notes += _notes(ours.model, study)
    result = Result(str(path), _sha256(study.weights), ours.name, theirs.name, versions, notes)
    try:
        _climb(result, study, ours, theirs)
    except Incomparable as error:
        raise InputError(f"{path}: the two sides cannot be compared. {error}") from error
    if file_reference.expressible(ours.model.network.graph):
        result.implementations += _against_reference(result, study, ours, theirs)
    result.seconds = time.monotonic() - began
    return result


def _sides(path: Path, config: str | Path | None) -> tuple[Study, PortedSide, "Witness", list[str]]:
    """Return what is asked, who answers, and why a rebuilt model does where one does."""
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
    return study, ours, Witness(opened), [reason] if reason else []


def _climb(result: Result, study: Study, ours: PortedSide, theirs: Side) -> None:
    random, start = study.random(ours), random_weights(study.weights, 100)
    still: set[str] = set()
    for asked in (study.weights_question(), study.own(), random, study.steps(start)):
        for dtype in PRECISIONS:
            still |= ask(result, asked.as_dtype(dtype), ours, theirs)
    if still:
        names = ", ".join(sorted(still))
        result.notes.append(
            f"{names}: without a gradient but for rounding, so it stays as it is in rung 5."
        )
    ask(result, study.training(start, still), ours, theirs)


def ask(result: Result, question: Question, ours: PortedSide, theirs: Side) -> set[str]:
    """Ask both sides one question and add what is found to ``result``.

    Returns:
        The weights without a gradient, which a training moves by rounding only.
    """
    our_answer, their_answer = ours(question), theirs(question)
    still = vanishing(question, our_answer, their_answer)
    our_judged, their_judged = without(our_answer, still), without(their_answer, still)

    def floors() -> tuple[dict[str, float], dict[str, float]]:
        return (
            noise_floor(ours, question, our_answer),
            noise_floor(theirs, question, their_answer),
        )

    single = question.dtype == "float32" and question.task != "weights"
    found = judge(question, our_judged, their_judged, floors() if single else None)
    if question.name == OWN and not single:
        found = _conditioned(result, found, floors, saturation_floor(question, their_answer))
    gated = tuple(grus(question.weights))
    result.findings += [_with_gate(each, gated, their_answer) for each in found]
    if question.name == RANDOM and not single:
        result.controls += [
            control(fault, question, ours, their_answer)
            for fault in faults_for(question, ours, their_answer)
        ]
        result.notes += [
            f"{path} reads one step from a zero state, so nothing depends on its recurrent kernel."
            for path in single_steps(question, their_answer)
        ]
    if question.task == "training":
        losses = our_answer["train.loss"].tolist(), their_answer["train.loss"].tolist()
        result.curves[question.dtype] = losses
    return moved_by_rounding(still) if question.name == RANDOM else set()


def _conditioned(
    result: Result, findings: list[Finding], floors: Floors, saturated: float
) -> list[Finding]:
    """Judge a file's own weights by their noise where float64 itself cannot hold the bound.

    A trained sigmoid that puts out 1 - 1e-8 has a slope of which float64 knows eight digits. The
    same arrays must meet the bound with random weights, and the weights are the same bit for bit.
    """
    if all(finding.same for finding in findings):
        return findings
    ours, theirs = floors()
    judged = []
    for finding in findings:
        tensor = finding.difference.tensor
        floor = max(ours[tensor], theirs[tensor], saturated if finding.rung == 3 else 0.0)
        bound = FLOAT32_FLOORS * floor
        worse = not finding.same and bound > FLOAT64_BOUND
        judged.append(replace(finding, floor=floor, bound=bound) if worse else finding)
    if worst := max(each.floor or 0.0 for each in judged):
        result.notes.append(
            f"With the file's own weights float64 knows some arrays to {worst:.0e} only, such as "
            "gradients through a saturated output; they are judged by that."
        )
    return judged


def _with_gate(finding: Finding, gated: Iterable[str], answer: Arrays) -> Finding:
    """Say which gate of which GRU a difference is in."""
    difference = finding.difference
    name = re.sub(r"^\w+\.", "", difference.tensor)
    if name.rpartition("/")[0] not in gated or difference.tensor.startswith("step."):
        return finding
    gate, unit = divmod(difference.index[-1], answer[difference.tensor].shape[-1] // 3)
    rest = ", ".join(map(str, difference.index[:-1]))
    where = f"gate {'zrh'[gate]}, unit {unit}" + (f", index {rest}" if rest else "")
    return replace(finding, difference=replace(difference, where=where))


def _against_reference(
    result: Result, study: Study, ours: PortedSide, theirs: Side
) -> list[Implementation]:
    """Compare the outputs of both sides with the NumPy reference, no step masked."""
    found = []
    for question in (study.own(), study.random(ours)):
        asked = file_reference.unmasked(question)
        expected = file_reference.answer(asked, ours.model.network.graph)
        for name, side in ((result.ours, ours), (result.theirs, theirs)):
            outputs = {tensor: side(asked)[tensor] for tensor in expected}
            worst = max(compare(outputs, expected), key=lambda each: each.relative)
            found.append(Implementation(name, asked.name, worst.relative, worst.tensor))
    return found


def _notes(model: PortedModel, study: Study) -> list[str]:
    kinds = {row.keras.partition("(")[0] for row in model.table}
    notes = ["Inputs are random; rungs 4 and 5 start from random weights."]
    if file_reference.expressible(model.network.graph):
        notes.append("Second witness: the float64 reference in NumPy.")
    if "BatchNormalization" in kinds:
        notes.append("Batch normalisation keeps its moving statistics in rung 5.")
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
