"""Keras' attention between sequences: Attention (Luong et al. 2015) and AdditiveAttention."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from grulight.keras_files.layers.base import (
    KerasLayer,
    Pick,
    Signal,
    Tree,
    last,
    most_numbers,
    numbers,
    parameter,
    taken,
    variable,
)
from grulight.keras_files.plan.spec import LayerSpec, Shape
from grulight.keras_files.plan.variables import Variables

MASKED = 1e9  # what Keras takes from the scores of masked steps
WEIGHTS = ("scale", "concat_score_weight")


def causal(queries: int, keys: int, device: torch.device) -> Tensor:
    """Return that each step of the query sees the steps up to its own, (queries, keys)."""
    return torch.ones(queries, keys, dtype=torch.bool, device=device).tril()


class Attention(KerasLayer):
    """The mean of the values, weighted by how well each step's key goes with the query.

    Called with query (B, Q, F), value (B, V, G) and maybe key (B, V, F).
    """

    scale: nn.Parameter | None
    concat_score_weight: nn.Parameter | None

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        for name in WEIGHTS:
            array = arrays.get(name)
            self.register_parameter(name, None if array is None else parameter(array, spec))
        self.dot = self.is_dot(spec)
        # Keras 2 to 2.9 kept it among the settings, later ones say it in the call
        self.causal = spec.flag("causal") or spec.flag("use_causal_mask")
        self.with_scores = spec.flag("return_attention_scores")
        self.dropout = spec.share("dropout", 0.0)

    @classmethod
    def variables(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> Variables:
        """Return the scale and the weight of the scores where the layer has them."""
        held: Variables = {}
        if spec.flag("use_scale"):
            held["scale"] = variable(spec, "scale", 0, ())
        if spec.config.get("score_mode") == "concat":
            held["concat_score_weight"] = variable(spec, "concat_score_weight", len(held), ())
        return held

    @classmethod
    def output_shapes(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Return (B, Q, G), and the weights (B, Q, V) where the call asks for them."""
        if len(shapes) not in (2, 3) or any(len(shape) != 3 for shape in shapes):
            raise spec.refuse("inputs", f"query, value and maybe key of sequences, got {shapes}")
        scores = weights = (*shapes[0][:2], shapes[1][1])
        if not cls.is_dot(spec):
            scores = (*scores, shapes[0][2])
        if numbers(scores) > most_numbers(shapes):
            raise spec.refuse("inputs", f"shorter sequences, got {shapes}")
        output: Shape = (*shapes[0][:2], shapes[1][-1])
        return (output, weights) if spec.flag("return_attention_scores") else (output,)

    @classmethod
    def is_dot(cls, spec: LayerSpec) -> bool:
        """Return whether scores are products, with no tensor (B, Q, V, F) on the way."""
        return spec.choice("score_mode", ("dot", "concat"), "dot") == "dot"

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        """Return how well each key goes with each query, (B, Q, V)."""
        if not self.dot:
            assert self.concat_score_weight is not None
            return self.concat_score_weight * self._sums(query, key)
        scores = query @ key.transpose(1, 2)
        return scores if self.scale is None else scores * self.scale

    def _sums(self, query: Tensor, key: Tensor) -> Tensor:
        both = query[:, :, None] + key[:, None]
        return torch.tanh(both if self.scale is None else self.scale * both).sum(-1)

    def forward(self, *signals: Signal) -> tuple[Signal, ...]:
        """Return the weighted means with the query's mask; masked queries give zero."""
        (query, query_mask), (value, mask), *rest = signals
        scores = self.scores(query, rest[0].value if rest else value)
        kept = None if mask is None else mask[:, None]
        if self.causal:
            earlier = causal(scores.shape[1], scores.shape[2], scores.device)
            kept = earlier if kept is None else kept & earlier
        if kept is not None:
            scores = torch.where(kept, scores, scores - MASKED)
        weights = F.dropout(torch.softmax(scores, -1), self.dropout, self.training)
        y = weights @ value
        if query_mask is not None:
            y = torch.where(query_mask[..., None], y, 0.0)
        output = Signal(y, query_mask)
        return (output, Signal(weights)) if self.with_scores else (output,)

    def to_keras(self, pick: Pick = lambda parameter: parameter) -> Tree:
        """Return the scale and the weight of the scores where the layer has them."""
        held = {name: getattr(self, name) for name in WEIGHTS}
        return {name: taken(each, pick) for name, each in held.items() if each is not None}


class AdditiveAttention(Attention):
    """Attention whose scores are the sum of scale * tanh(query + key) (Bahdanau et al. 2015)."""

    @classmethod
    def variables(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> Variables:
        """Return the scale of each feature where the layer has one."""
        held = variable(spec, "scale", 0, (last(shapes[0]),))
        return {"scale": held} if spec.flag("use_scale", True) else {}

    @classmethod
    def is_dot(cls, spec: LayerSpec) -> bool:
        """Return that scores are sums over features."""
        return False

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        """Return how well each key goes with each query, (B, Q, V)."""
        sums = torch.tanh(query[:, :, None] + key[:, None])
        return (sums if self.scale is None else self.scale * sums).sum(-1)
