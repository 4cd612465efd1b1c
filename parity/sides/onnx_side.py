"""ONNX Runtime's answers: GRUNet as torch's exporter writes it to a file.

The runtime's GRU computes in float32 alone, and an exported GRUNet takes sequences of full length
and no initial state.
"""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from grulight.extras import extra
from grulight.model import GRUNet
from parity.question import Arrays, Network, Precision, Question
from parity.sides.quiet import without_warnings

PACKAGES = ("onnx", "onnxscript", "onnxruntime")


class Exported(nn.Module):
    """What the file computes: logits and the summary that they are made of."""

    def __init__(self, network: GRUNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and summaries of sequences (batch, time, feature)."""
        read = self.network.states if self.network.per_step else self.network.summarize
        summary = read(values)
        return self.network.head(self.network.dropout(summary)), summary


class OnnxSide:
    """Answer questions with ONNX Runtime on the CPU, in float32.

    Args:
        network: Sizes; the network is exported once, each question brings its own weights.
    """

    def __init__(self, network: Network) -> None:
        self._onnx, _, self._runtime = (
            extra(package, "onnx", "check --onnx") for package in PACKAGES
        )
        self.network = network
        self._model = self._export()

    @property
    def name(self) -> str:
        """What computes, for reports."""
        return f"onnxruntime {self._runtime.__version__} (exported, full lengths only)"

    def __call__(self, question: Question) -> Arrays:
        """Return logits and summaries of a "network" question's sequences."""
        if question.dtype != "float32" or question.inputs.keys() & {"lengths", "h0"}:
            raise ValueError("ONNX takes float32, full lengths and no initial state.")
        session = self._session(question.weights)
        logits, summary = session.run(None, {"values": question.inputs["values"]})
        return {"logits": logits, "summary": summary}

    def _export(self) -> Any:
        """Export a network of these sizes and read the file back."""
        net = Exported(GRUNet(**self.network.sizes, kernel="torch")).eval()
        # other sizes than any question's: what the export fixed by accident would then fail
        values = torch.zeros(2, 3, self.network.input_size)
        batch, time = torch.export.Dim("batch"), torch.export.Dim("time")
        with _quiet(), tempfile.TemporaryDirectory() as directory:
            program = torch.onnx.export(
                net,
                (values,),
                dynamo=True,
                dynamic_shapes=({0: batch, 1: time},),
                output_names=["logits", "summary"],
                # optimising would fold the weights away; the runtime does it when it loads
                optimize=False,
                verbose=False,
            )
            assert program is not None
            path = Path(directory) / "network.onnx"
            program.save(path)
            model = self._onnx.load(path)
        # the exporter notes the traced length as a fixed size, though no operator depends on it
        model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "time"
        del model.graph.value_info[:]
        return model

    def _session(self, weights: Arrays) -> Any:
        """Load the exported model with these weights."""
        model = type(self._model)()
        model.CopyFrom(self._model)
        for tensor in model.graph.initializer:
            array = weights[tensor.name.removeprefix("network.")]
            tensor.CopyFrom(self._onnx.numpy_helper.from_array(array, tensor.name))
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = 1
        return self._runtime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )


def in_float32(question: Question) -> Question:
    """Return what the side can answer of a question: float32, full lengths, no initial state."""
    kept = {n: array for n, array in question.inputs.items() if n not in ("lengths", "h0")}
    return Question(
        f"{question.name}_as_full_lengths",
        "network",
        question.network,
        question.weights,
        {name: array for name, array in kept.items() if not name.startswith("pull.")},
    ).as_dtype("float32")


def reference(question: Question, dtype: Precision = "float64") -> Arrays:
    """Return the same arrays of the NumPy reference."""
    from parity.sides.reference_side import forward

    found, _ = forward(question.as_dtype(dtype))
    kind = "hidden." if question.network.per_step else "last."
    top = [array for name, array in found.items() if name.startswith(kind)]
    ways = len(question.network.directions)
    return {"logits": found["logits"], "summary": np.concatenate(top[-ways:], axis=-1)}


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's advice, which is on packages that GRUNet does not use."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with without_warnings():
            yield
    finally:
        log.setLevel(level)
