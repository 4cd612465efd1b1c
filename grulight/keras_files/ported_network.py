"""A ported Keras model in the place of GRUNet: padded sequences in, answers out."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from grulight.errors import InputError
from grulight.keras_files.activity_penalties import activities_gathered, activity_regularised
from grulight.keras_files.answer_meaning import SUPPORTED, last_activation, meaning
from grulight.keras_files.compiled_optimizer import compiled_optimizer
from grulight.keras_files.layers.network import trace
from grulight.keras_files.penalties import penalties_of, penalty_of
from grulight.keras_files.plan.consumers import consumers_of
from grulight.keras_files.plan.spec import Graph, Shape
from grulight.keras_files.ported_model import PortedModel
from grulight.keras_files.reader.untrusted_text import Json
from grulight.keras_files.sequence_ends import masked_value
from grulight.optimizer_base import KerasOptimizer

EPSILON = 1e-7  # where Keras clips probabilities before it takes their logarithm
FROM_PYTHON = "`grulight.load_keras` runs it from Python."


class PortedNetwork(nn.Module):
    """Answer for a sequence, or for each of its steps, with a ported Keras model.

    What the answers mean follows from the loss that the file was compiled with, where it says so
    and the loss fits the last activation, and otherwise from that activation: softmax names one
    of its classes, sigmoid one of two (a single unit) or the labels that hold (several), anything
    else gives values.

    Where a model answers with probabilities, their logarithms, clipped as Keras' cross entropy
    clips them (``keras.config.epsilon()``), are logits of the same probabilities.

    Args:
        model: A model with one input, (batch, time, feature) or (batch, time), and one output,
            (batch, number) or (batch, step, number).

    Raises:
        InputError: The model is another one.
    """

    def __init__(self, model: PortedModel) -> None:
        super().__init__()
        graph = model.network.graph
        self.model = model
        source, answer = _shapes(graph)
        self.flat = len(source) == 2  # one number per step, such as the id of a word
        self.input_size = 1 if self.flat else int(source[2] or 0)
        self.steps = source[1]
        tables = (spec for spec in consumers_of(graph, graph.inputs[0]) if spec.kind == "Embedding")
        self.num_ids = min((spec.integer("input_dim") for spec in tables), default=None)
        self.masked_value = masked_value(graph, graph.inputs[0])
        self.num_outputs = int(answer[-1] or 0)
        # whether an answer belongs to each step that was read, so that padding has none
        self.follows_steps = len(answer) == 3 and answer[1] == self.steps
        compiled = model.description.get("compiled") or {}
        self.activation, self.head, self.misfit = meaning(
            last_activation(graph),
            self.num_outputs,
            len(answer) == 3,
            model.description.get("loss"),
            compiled.get("unsupported_loss"),
        )
        self.penalties = penalties_of(model)
        self.activities = tuple(activity_regularised(model))
        self._added: list[Tensor] = []  # by the activities of the last answers

    def require_trainable(self) -> None:
        """Refuse to train by another loss than the file was compiled with.

        Raises:
            InputError: It is another.
        """
        if self.misfit:
            raise InputError(f"the Keras model was compiled with {self.misfit}. {SUPPORTED}")

    def optimizer(self, parameters: Iterable[nn.Parameter]) -> KerasOptimizer:
        """Return the optimiser that the file was compiled with, or Keras' Adam."""
        return compiled_optimizer(self.model, parameters, self.description.get("compiled") or {})

    @property
    def reads_padding(self) -> bool:
        """Whether what lies behind a shorter sequence may change its answer.

        It may where steps are masked too: a layer may drop the mask, as convolutions do.
        """
        return True

    @property
    def penalty(self) -> Tensor | None:
        """What regularisers add to the loss of the last answers, a scalar; None without any.

        What activities add is handed out once, as it holds on to the batch.
        """
        weights = [penalty_of(self.penalties)] if self.penalties else []
        terms, self._added = [*weights, *self._added], []
        return torch.stack(terms).sum() if terms else None

    @property
    def description(self) -> Mapping[str, Json]:
        """The model as plain data; see ``PortedModel``."""
        return self.model.description

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return logits or values (batch, number) or (batch, step, number).

        Padding of the sequences (batch, time, feature) is what a Masking layer masks, or an
        Embedding that masks zero; where there is none it is zero, which the model sees.
        """
        return self.answers(values, lengths)[0]

    def answers(
        self, values: Tensor, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return logits or values, and which steps (batch, step) count; None for all."""
        regularised = () if torch.compiler.is_compiling() else self.activities
        with activities_gathered(regularised) as added:
            answer, valid = self._run(values, lengths)
        if regularised:
            self._added = added
        if self.activation == "linear":
            return answer, valid
        clipped = answer.clamp(EPSILON, 1 - EPSILON)
        return clipped.log() if self.activation == "softmax" else clipped.logit(), valid

    def predictions(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return what the model predicts, without the clipping that its logits have."""
        answer, _ = self._run(values, lengths)
        return self.head.prediction(answer, from_logits=self.activation == "linear")

    def _run(self, values: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        time, valid = values.shape[1], None
        if lengths is not None:
            valid = torch.arange(time, device=values.device) < lengths[:, None]
            values = values.masked_fill(~valid[:, :, None], self.masked_value or 0.0)
        if self.steps is not None and time != self.steps:
            values = self._filled(values, lengths)
        if self.num_ids is not None:
            _require_ids(values, self.num_ids)
        answer, mask = self.model.signals(values[..., 0] if self.flat else values)[0]
        if not self.follows_steps:
            return answer, None
        answer = answer[:, :time]
        if mask is not None and mask.shape == answer.shape[:2]:  # where Keras' loss looks away
            mask = mask[:, :time]
            valid = mask if valid is None else valid & mask
        return answer, valid

    def _filled(self, values: Tensor, lengths: Tensor | None) -> Tensor:
        """Pad a batch, cut to its longest sequence, to the number of steps that the model reads."""
        assert self.steps is not None
        if lengths is None or values.shape[1] > self.steps:
            raise InputError(
                f"the Keras model reads sequences of {self.steps} steps, the data have "
                f"{values.shape[1]}. Cut or pad them to {self.steps}."
            )
        more = self.steps - values.shape[1]
        return F.pad(values, (0, 0, 0, more), value=self.masked_value or 0.0)


def _shapes(graph: Graph) -> tuple[Shape, Shape]:
    """Return the shapes of input and output.

    Raises:
        InputError: There are several, or they are no sequences and answers.
    """
    seen = trace(graph, graph.shapes)
    inputs, outputs = graph.shapes, [seen[ref] for ref in graph.outputs]
    if len(inputs) != 1 or len(inputs[0]) not in (2, 3) or None in inputs[0][2:]:
        shapes = ", ".join(map(str, inputs))
        raise InputError(
            f"a model with inputs of shape {shapes} cannot read sequences here; expected one "
            f"input (batch, time, feature) or (batch, time). {FROM_PYTHON}"
        )
    if len(outputs) != 1 or len(outputs[0]) not in (2, 3) or not outputs[0][-1]:
        shapes = ", ".join(map(str, outputs))
        raise InputError(
            f"a model with outputs of shape {shapes} gives no answers that are known here; "
            f"expected one output (batch, number) or (batch, step, number). {FROM_PYTHON}"
        )
    return inputs[0], outputs[0]


def _require_ids(values: Tensor, count: int) -> None:
    """Refuse what no Embedding of this many ids knows.

    Raises:
        InputError: A value is no whole number, negative, or too large.
    """
    wrong = (values < 0) | (values > count - 1) | (values != values.floor())
    if wrong.any():
        raise InputError(
            f"the data have {values[wrong][0].item():g} where the Keras model reads ids for its "
            f"Embedding; expected whole numbers from 0 to {count - 1}."
        )
