"""What layers meant in Keras 1 and 2 where current Keras means something else by them."""

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import Any

from grulight.keras_files.plan.spec import LayerSpec
from parity.sides.keras_setup import layers, ops

OLD_MERGES: dict[str, Callable[[Sequence[Any]], Any]] = {
    "Add": lambda values: reduce(operator.add, values),
    "Average": lambda values: reduce(operator.add, values) / len(values),
    "Maximum": lambda values: reduce(ops.maximum, values),
    "Minimum": lambda values: reduce(ops.minimum, values),
    "Multiply": lambda values: reduce(operator.mul, values),
}


class OldBatchNormalization(layers.BatchNormalization):  # type: ignore[misc]  # no types there
    """One that divides by the number of steps not masked, as Keras 2; Keras 3 adds 1e-7."""

    def _moments(self, inputs: Any, mask: Any) -> Any:
        if mask is None:
            return super()._moments(inputs, mask)
        weights = ops.broadcast_to(
            ops.cast(ops.expand_dims(mask, -1), inputs.dtype), ops.shape(inputs)
        )
        count = ops.sum(weights, self._reduction_axes, keepdims=True)
        mean = ops.sum(weights * inputs, self._reduction_axes, keepdims=True) / count
        variance = ops.sum(weights * ops.square(inputs - mean), self._reduction_axes) / ops.squeeze(
            count, self._reduction_axes
        )
        return ops.squeeze(mean, self._reduction_axes), variance


class OldMultiHeadAttention(layers.MultiHeadAttention):  # type: ignore[misc]  # no types there
    """One with the scale and the masks of Keras 2: tf-keras, src/layers/attention."""

    def call(
        self,
        query: Any,
        value: Any,
        key: Any = None,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        **words: Any,
    ) -> Any:
        """Return what Keras returns, and leave the masks where they are."""
        tensors = [query, value, value if key is None else key]
        masks = [mask_of(each) for each in tensors]
        given = {"query_mask": query_mask, "value_mask": value_mask, "key_mask": key_mask}
        answer = super().call(query, value, key, **given, **words)
        for tensor, mask in zip(tensors, masks, strict=True):
            tensor._keras_mask = mask  # which Keras 3 takes away
        return answer

    def _compute_attention(
        self,
        query: Any,
        key: Any,
        value: Any,
        attention_mask: Any = None,
        *ignored: Any,
        **words: Any,
    ) -> Any:
        scores = ops.einsum(self._dot_product_equation, key, query / math.sqrt(self._key_dim))
        if attention_mask is not None:
            for _ in range(len(scores.shape) - len(attention_mask.shape)):
                attention_mask = ops.expand_dims(attention_mask, -2 * len(self._attention_axes) - 1)
            scores += (1 - ops.cast(attention_mask, scores.dtype)) * -1e9
        weights = self._softmax(scores)
        return ops.einsum(self._combine_equation, weights, value), weights


class OldTimeDistributed(layers.TimeDistributed):  # type: ignore[misc]  # no types there
    """One that asks the layer inside for the mask: tf-keras, src/layers/rnn/time_distributed."""

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the inner layer's mask of each step, else which steps hold anything unmasked."""
        held = None if mask is None else ops.reshape(mask, (-1, *mask.shape[2:]))
        found = self.layer.compute_mask(ops.reshape(inputs, (-1, *inputs.shape[2:])), held)
        if found is not None:
            return ops.reshape(found, (-1, inputs.shape[1], *found.shape[1:]))
        for _ in range(2, 0 if mask is None else len(mask.shape)):
            mask = ops.any(mask, -1)
        return mask


def old_hard_sigmoid(x: Any) -> Any:
    """Return clip(0.2 x + 0.5, 0, 1): tf-keras, src/backend.py, hard_sigmoid."""
    return ops.clip(0.2 * x + 0.5, 0.0, 1.0)


def merged_as_before(spec: LayerSpec, layer: Any, values: list[Any]) -> Any:
    """Merge as Keras 2 does: masked steps are merged like others, and one mask is enough."""
    masks = [mask_of(each) for each in values]
    plain = [ops.add(each, 0) for each in values]  # without their masks
    if spec.kind == "Concatenate":
        merged = layer(plain)
        whole = [
            ops.ones_like(x, dtype="bool")
            if m is None
            else ops.logical_and(ops.expand_dims(m, -1), ops.ones_like(x, dtype="bool"))
            for x, m in zip(values, masks, strict=True)
        ]
        mask = ops.all(ops.concatenate(whole, spec.integer("axis", -1, least=-16)), axis=-1)
    else:
        merged = OLD_MERGES[spec.kind](plain)
        mask = reduce(ops.logical_and, [each for each in masks if each is not None] or [None])
    if any(each is not None for each in masks):
        merged._keras_mask = mask
    return merged


def call_in_turn(model: Any, tensors: Iterable[Any]) -> None:
    """Let a model compute its tensors in this order: a layer's statistics move with each call.

    Keras computes first what is farthest from the outputs, and in Keras 3 masks and merges of
    Keras 2 are operations of their own, which lengthen some ways.
    """
    nodes: dict[Any, None] = {}

    def visit(tensor: Any) -> None:
        operation, index, _ = tensor._keras_history
        node = operation._inbound_nodes[index]
        if node not in nodes:
            for each in node.input_tensors:
                visit(each)
            nodes[node] = None

    for tensor in tensors:
        visit(tensor)
    used = {node for held in model._nodes_by_depth.values() for node in held}
    model._nodes_by_depth = {-at: [node] for at, node in enumerate(nodes) if node in used}


def mask_of(tensor: Any) -> Any:
    """Return the mask that Keras hands on with a tensor, or None."""
    return getattr(tensor, "_keras_mask", None)


OLD_LAYERS = {
    "BatchNormalization": OldBatchNormalization,
    "MultiHeadAttention": OldMultiHeadAttention,
    "TimeDistributed": OldTimeDistributed,
}
