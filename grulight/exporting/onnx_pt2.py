"""`.onnx` and `.pt2`: a checkpoint's answers as one graph, for any batch and any time."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from grulight.errors import InputError
from grulight.exporting.inputs import Array, Trial, example
from grulight.exporting.prediction_modules import PortedPrediction, Prediction, Twin
from grulight.exporting.subject import LENGTHS, Subject
from grulight.exporting.traceable_gru import OPSET, OnnxGRU, ScannedGRU
from grulight.exporting.verification import Written, one_line
from grulight.extras import extra
from grulight.keras_files.layers.simple_rnn import SimpleRNN
from grulight.keras_files.reader.untrusted_text import quote

BATCH = 3  # sequences that torch.export traces
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
Axes = dict[int, Any]


def write_pt2(subject: Subject, path: Path) -> Written:
    """Write a `.pt2` file, which `torch.export.load` opens anywhere, and open it.

    Raises:
        InputError: torch.export cannot express the network.
    """
    program = _traced(subject, ScannedGRU)
    notes = {f"{name}.json": note for name, note in subject.notes.items()}
    torch.export.save(program, path, extra_files=notes)
    opened = torch.export.load(path).module()

    def ask(trial: Trial) -> list[Array]:
        with torch.no_grad():
            answer = opened(*(torch.from_numpy(trial[name]) for name in subject.input_names))
        return [each.numpy() for each in ((answer,) if isinstance(answer, Tensor) else answer)]

    calls = Counter(str(node.target) for node in program.graph.nodes if node.op == "call_function")
    return Written(ask, f"torch.export, torch {torch.__version__}", _counted(calls, "scan"))


def write_onnx(subject: Subject, path: Path) -> Written:
    """Write an `.onnx` file and open it in ONNX Runtime.

    Raises:
        InputError: A package is missing, or the exporters cannot express the network.
    """
    runtime = [extra(name, "onnx", ".onnx export") for name in ONNX_PACKAGES][-1]
    program = _traced(subject, OnnxGRU)
    with one_line("torch.onnx cannot express this network"):
        exported = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(subject.input_names),
            output_names=list(subject.outputs),
            dynamic_shapes=_structured(subject, _named_axes(subject)),
            verbose=False,
        )
    assert exported is not None
    exported.model.metadata_props.update(subject.notes)
    exported.save(path, external_data=False)
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def ask(trial: Trial) -> list[Array]:
        return [np.asarray(each) for each in session.run(list(subject.outputs), dict(trial))]

    calls = Counter(node.op_type for node in exported.model.graph)
    opened = f"ONNX opset {OPSET}, ONNX Runtime {runtime.__version__}"
    return Written(ask, opened, _counted(calls, "GRU", "Scan"))


def _traced(subject: Subject, twin: Twin) -> ExportedProgram:
    prediction = (Prediction if subject.model is None else PortedPrediction)(subject, twin)
    _require_fixed_loops(subject, prediction)
    examples = example(subject.graph, subject.inputs, BATCH)
    if subject.lengths:
        examples += (torch.full((BATCH,), examples[0].shape[1]),)
    axes = [dict.fromkeys(each, Dim.DYNAMIC) for each in _named_axes(subject)]
    with torch.no_grad(), one_line("torch.export cannot express this network"):
        return torch.export.export(prediction, examples, dynamic_shapes=_structured(subject, axes))


def _require_fixed_loops(subject: Subject, prediction: nn.Module) -> None:
    """Refuse an open number of steps where a loop over them would be unrolled.

    Raises:
        InputError: There is such a layer.
    """
    if not any(1 in each.open_axes for each in subject.inputs):
        return
    for layer in prediction.modules():
        if isinstance(layer, SimpleRNN):  # an LSTM is one
            raise InputError(
                f"layer {quote(layer.keras_name)} is a {type(layer).__name__}, which is written "
                "step by step, but the model leaves their number open. Save the Keras model with "
                "an Input of so many steps, or choose .keras."
            )


def _structured(subject: Subject, axes: list[Axes]) -> Any:
    """Return what is said of each input in the form of the arguments of `forward`."""
    return tuple(axes) if subject.model is None else (tuple(axes),)


def _named_axes(subject: Subject) -> list[Axes]:
    """Return the axes of each input that may have any size, by their names."""
    several = len(subject.inputs) > 1
    found: list[Axes] = []
    for each in subject.inputs:
        names = {axis: "time" if axis == 1 else f"size_{axis}" for axis in each.open_axes}
        if several:
            names = {axis: f"{each.name}_{name}" for axis, name in names.items()}
        found.append({0: "batch"} | names)
    return found + [{0: "batch"}] * (LENGTHS in subject.input_names)


def _counted(calls: Counter[str], *loops: str) -> str:
    """Return how many operators a graph has, and how many of them are loops."""
    return ", ".join([str(calls.total()), *(f"{calls[n]} × {n}" for n in loops if calls[n])])
