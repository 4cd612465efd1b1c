"""Keras' MultiHeadAttention (Vaswani et al. 2017).

Legend: B batch, N heads, T steps of the query, S steps of value and key, D numbers of a head.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from grulight.errors import InputError
from grulight.keras_files.layers.activations import single
from grulight.keras_files.layers.attention import MASKED, causal
from grulight.keras_files.layers.attention_heads import (
    attention_axes,
    head_sizes,
    output_sizes,
    steps_back,
    steps_in_front,
)
from grulight.keras_files.layers.base import (
    KerasLayer,
    Pick,
    Signal,
    Tree,
    last,
    most_numbers,
    nested,
    numbers,
    parameter,
    taken,
    variable,
)
from grulight.keras_files.plan.spec import LayerSpec, Shape
from grulight.keras_files.plan.variables import Variables
from grulight.keras_files.reader.untrusted_text import quote

# Parts in the order of Keras' weights, and the groups of native files.
PARTS = {
    "query": "query_dense",
    "key": "key_dense",
    "gate": "gate_dense",
    "value": "value_dense",
    "attention_output": "output_dense",
}
LARGEST_SCORE = torch.finfo(torch.float32).max


class Projection(nn.Module):
    """A linear map of the last axis to several, or of the last two axes."""

    bias: nn.Parameter | None

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__()
        self.kernel = parameter(arrays["kernel"], spec)
        bias = arrays.get("bias")
        self.register_parameter("bias", None if bias is None else parameter(bias, spec))

    def forward(self, x: Tensor, axes: int = 1) -> Tensor:
        """Return x times the kernel over its last ``axes``, plus the bias."""
        y: Tensor = torch.tensordot(x, self.kernel, axes)
        return y if self.bias is None else y + self.bias


class MultiHeadAttention(KerasLayer):
    """Several attentions side by side: softmax(q k / sqrt(D)) v of projections, projected again.

    Called with query (B, ..., F), value (B, ..., G), key (B, ..., K) and maybe which steps of a
    query attend to which steps of the key, (B, T, S).
    """

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        if spec.flag("softmax_robust_masking"):
            raise spec.refuse("softmax_robust_masking", "false")
        self.parts = nn.ModuleDict(
            {name: Projection(spec, arrays[name]) for name in PARTS if name in arrays}
        )
        self.axes = spec.config.get("attention_axes")
        self.axes = None if self.axes is None else spec.integers("attention_axes")
        self.old = spec.version.major < 3
        scale = 1 / math.sqrt(spec.integer("key_dim"))
        self.scale = scale if self.old else single(scale)
        self.dropout = spec.share("dropout", 0.0)
        self.causal = spec.flag("use_causal_mask")
        window = spec.config.get("sliding_window")
        self.window = None if window is None else spec.integer("sliding_window")
        self.with_scores = spec.flag("return_attention_scores")

    @classmethod
    def variables(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> Variables:
        """Return kernel and bias of each projection."""
        query, value, key = map(last, shapes[:3])
        ours, theirs = head_sizes(spec)
        kernels = {
            "query": (query, *ours),
            "key": (key, *ours),
            "gate": (query, *theirs),
            "value": (value, *theirs),
            "attention_output": (*theirs, *output_sizes(spec, query)),
        }
        if not spec.flag("use_gate"):
            del kernels["gate"]
        held: Variables = {}
        for name, kernel in kernels.items():
            part: Variables = {"kernel": variable(spec, "kernel", 0, kernel)}
            if spec.flag("use_bias", True):
                part["bias"] = variable(
                    spec, "bias", 1, kernel[2:] if name == "attention_output" else kernel[1:]
                )
            group = PARTS[name] if spec.version.major >= 3 else f"_{PARTS[name]}"
            held[name] = nested(part, group)
        return held

    @classmethod
    def output_shapes(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Return (B, ..., outputs), and the weights (B, ..., N, T, S) where the call asks."""
        if len(shapes) not in (3, 4) or any(len(shape) < 3 for shape in shapes):
            raise spec.refuse("inputs", f"query, value and maybe key of sequences, got {shapes}")
        query, value, key = shapes[:3]
        axes = attention_axes(spec, len(query))
        others = [axis for axis in range(1, len(query) - 1) if axis not in axes]
        same = len(query) == len(value) == len(key) and value[1:-1] == key[1:-1]
        if not same or any(query[axis] != value[axis] for axis in others):
            raise spec.refuse("inputs", f"query, value and key that go together, got {shapes}")
        if len(shapes) == 4 and (len(query) != 3 or len(shapes[3]) > 4):
            raise spec.refuse("attention_mask", f"one of (B, T, S), got {shapes[3]}")
        steps = [shape[axis] for shape in (query, key) for axis in axes]
        rest = [query[axis] for axis in others]
        scores = (query[0], *rest, spec.integer("num_heads"), *steps)
        heads = (*query[:-1], spec.integer("num_heads"), max(d for _, d in head_sizes(spec)))
        if max(numbers(scores), numbers(heads)) > most_numbers(shapes):
            raise spec.refuse("inputs", f"shorter sequences, got {shapes}")
        output: Shape = (*query[:-1], *output_sizes(spec, query[-1]))
        return (output, scores) if spec.flag("return_attention_scores") else (output,)

    def forward(self, *signals: Signal) -> tuple[Signal, ...]:
        """Return the outputs with the query's mask, and the weights where the call asks."""
        query, value, key = (each.value for each in signals[:3])
        axes = self.axes or tuple(range(1, query.dim() - 1))
        axes = tuple(axis % query.dim() for axis in axes)
        q, k, v = (
            steps_in_front(self.parts[name](x), axes)
            for name, x in (("query", query), ("key", key), ("value", value))
        )
        weights = self._weights(q, k, self._kept(signals, axes))
        dropped = F.dropout(weights, self.dropout, self.training)
        y = steps_back(dropped @ v, axes, query.shape)
        if "gate" in self.parts:
            y = y * torch.sigmoid(self.parts["gate"](query))
        output = Signal(self.parts["attention_output"](y, 2), signals[0].mask)
        if not self.with_scores:
            return (output,)
        sizes = [x.shape[axis] for x in (query, key) for axis in axes]
        return (output, Signal(weights.reshape(*weights.shape[:-2], *sizes)))

    def _weights(self, q: Tensor, k: Tensor, kept: Tensor | None) -> Tensor:
        """Return the weights (B, ..., N, T, S); queries that may see nothing as Keras has them."""
        scores = (q * self.scale) @ k.transpose(-1, -2)
        if kept is None:
            return torch.softmax(scores, -1)
        if self.old:
            return torch.softmax(scores - MASKED * (~kept).to(scores.dtype), -1)
        weights = torch.softmax(torch.where(kept, scores, -LARGEST_SCORE), -1)
        # Keras 3 calls a fused attention where it can, which leaves such queries a mean
        fused = self.dropout == 0 and not self.with_scores and q.dim() == 4
        return weights if fused else torch.where(kept, weights, 0.0)

    def _kept(self, signals: tuple[Signal, ...], axes: tuple[int, ...]) -> Tensor | None:
        """Return which steps of the query may see which of the key, (B, 1, T, S)."""
        (query, query_mask), (value, value_mask), (_, key_mask), *given = signals
        steps = query.shape[1], value.shape[1]
        found = [mask[:, None] for mask in (value_mask, key_mask) if mask is not None]
        found += [] if query_mask is None else [query_mask[:, :, None]]
        found += [causal(*steps, query.device)[None]] if self.causal else []
        if self.window is not None:
            near = [torch.arange(size, device=query.device) for size in steps]
            found.append((near[0][:, None] - near[1]).abs()[None] < self.window)
        if found and query.dim() != 3:
            raise InputError(
                f"layer {quote(self.keras_name)} (MultiHeadAttention) gets a mask for an input of "
                f"{query.dim()} axes. Keras has no meaning for that: leave the mask away."
            )
        found += [each.value.bool() for each in given]
        kept = None
        for each in found:
            wide = each if each.dim() == 4 else each[:, None] if each.dim() == 3 else each
            kept = wide if kept is None else kept & wide
        return kept

    def to_keras(self, pick: Pick = lambda parameter: parameter) -> Tree:
        """Return kernel and bias of each projection."""
        return {
            name: {key: taken(held, pick) for key, held in part.named_parameters()}
            for name, part in self.parts.items()
        }
