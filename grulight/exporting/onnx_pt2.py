"""`.onnx` and `.pt2`: a checkpoint's predictions as one graph, for any batch and any time."""

import copy
import json
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from grulight.exporting.traceable_gru import OPSET, OnnxGRU, ScannedGRU, replace_grus
from grulight.exporting.verification import Array, Trial, Written, one_line
from grulight.extras import extra
from grulight.logits import probabilities
from grulight.model import GRUNet
from grulight.training.classifier import GRUClassifier

EXAMPLE = (3, 7)  # sequences and steps that torch.export traces
AXES = {"values": {0: "batch", 1: "time"}, "lengths": {0: "batch"}}
OUTPUT = "probabilities"
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


class Prediction(nn.Module):
    """From raw sequences (batch, time, feature) to probabilities (batch, class).

    Args:
        classifier: What predicts; it stays as it is.
        twin: What computes in the place of `nn.GRU`.
    """

    mean: Tensor | None
    scale: Tensor | None

    def __init__(self, classifier: GRUClassifier, twin: type[OnnxGRU] | type[ScannedGRU]) -> None:
        super().__init__()
        self.network = copy.deepcopy(classifier.network)
        self.register_buffer("mean", classifier.mean)
        self.register_buffer("scale", classifier.scale)
        replace_grus(self.network, twin)
        self.eval()

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return probabilities; `lengths` (batch,) counts the valid steps of padded sequences."""
        if self.mean is not None and self.scale is not None:
            values = (values - self.mean) / self.scale
        if isinstance(self.network, GRUNet):
            # a twin takes them in the place of packing
            self.network.gru.lengths, lengths = lengths, None
            return probabilities(self.network(values, lengths))
        return self.network.predictions(values, lengths)


def write_pt2(classifier: GRUClassifier, path: Path, lengths: bool, steps: int | None) -> Written:
    """Write a `.pt2` file, which `torch.export.load` opens anywhere, and open it.

    Args:
        classifier: What predicts.
        path: The file.
        lengths: Whether to take the lengths of padded sequences as a second input.
        steps: The only number of steps that the network takes, or None for any.

    Raises:
        InputError: torch.export cannot express the network.
    """
    program = _traced(Prediction(classifier, ScannedGRU), classifier, lengths, steps)
    notes = {f"{name}.json": note for name, note in _notes(classifier).items()}
    torch.export.save(program, path, extra_files=notes)
    opened = torch.export.load(path).module()

    def ask(trial: Trial) -> Array:
        with torch.no_grad():
            answer: Tensor = opened(*map(torch.from_numpy, trial.arrays))
        return answer.numpy()

    calls = Counter(str(node.target) for node in program.graph.nodes if node.op == "call_function")
    return Written(ask, f"torch.export, torch {torch.__version__}", _counted(calls, "scan"))


def write_onnx(classifier: GRUClassifier, path: Path, lengths: bool, steps: int | None) -> Written:
    """Write an `.onnx` file and open it in ONNX Runtime; the arguments are those of `write_pt2`.

    Raises:
        InputError: A package is missing, or the exporters cannot express the network.
    """
    runtime = [extra(name, "onnx", ".onnx export") for name in ONNX_PACKAGES][-1]
    program = _traced(Prediction(classifier, OnnxGRU), classifier, lengths, steps)
    names = list(AXES)[: 1 + lengths]
    with one_line("torch.onnx cannot express this network"):
        exported = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=OPSET,
            input_names=names,
            output_names=[OUTPUT],
            dynamic_shapes=_axes(lengths, steps),
            verbose=False,
        )
    assert exported is not None
    exported.model.metadata_props.update(_notes(classifier))
    exported.save(path, external_data=False)
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def ask(trial: Trial) -> Array:
        [answer] = session.run([OUTPUT], dict(zip(names, trial.arrays, strict=True)))
        return np.asarray(answer)

    calls = Counter(node.op_type for node in exported.model.graph)
    opened = f"ONNX opset {OPSET}, ONNX Runtime {runtime.__version__}"
    return Written(ask, opened, _counted(calls, "GRU", "Scan"))


def _traced(
    prediction: nn.Module, classifier: GRUClassifier, lengths: bool, steps: int | None
) -> ExportedProgram:
    batch, time = EXAMPLE[0], steps or EXAMPLE[1]
    values = torch.zeros(batch, time, len(classifier.feature_names))
    examples = (values, torch.full((batch,), time))[: 1 + lengths]
    axes = tuple(dict.fromkeys(each, Dim.DYNAMIC) for each in _axes(lengths, steps))
    with torch.no_grad(), one_line("torch.export cannot express this network"):
        return torch.export.export(prediction, examples, dynamic_shapes=axes)


def _axes(lengths: bool, steps: int | None) -> tuple[dict[int, str], ...]:
    """Return the axes of each input that may have any size."""
    fixed = () if steps is None else ("time",)
    return tuple(
        {axis: name for axis, name in axes.items() if name not in fixed}
        for axes in list(AXES.values())[: 1 + lengths]
    )


def _counted(calls: Counter[str], *loops: str) -> str:
    """Return how many operators a graph has, and how many of them are loops."""
    return ", ".join([str(calls.total()), *(f"{calls[n]} × {n}" for n in loops if calls[n])])


def _notes(classifier: GRUClassifier) -> dict[str, str]:
    return {
        "class_names": json.dumps(classifier.class_names),
        "feature_names": json.dumps(classifier.feature_names),
        "grulight_version": json.dumps(version("grulight")),
    }
