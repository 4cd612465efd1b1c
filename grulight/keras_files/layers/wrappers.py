"""Layers around layers: Bidirectional and TimeDistributed."""

from dataclasses import replace

import torch
from torch import Tensor

from grulight.keras_files.layers.base import KerasLayer, Pick, Signal, Tree, layer_class, nested
from grulight.keras_files.layers.recurrent_base import Recurrent
from grulight.keras_files.plan.spec import LayerSpec, Shape
from grulight.keras_files.plan.variables import Variables

DIRECTIONS = ("forward_layer", "backward_layer")
MERGES = ("concat", "sum", "mul", "ave", "none")


def directions(spec: LayerSpec) -> tuple[LayerSpec, LayerSpec]:
    """Return the two layers of a Bidirectional; the backward one may be a reversed copy."""
    forward = wrapped(spec)
    backward = spec.inner.get("backward_layer")
    for each in (forward, backward or forward):
        if not issubclass(layer_class(each), Recurrent):
            raise spec.refuse("layer", "a GRU, LSTM, SimpleRNN or RNN in both directions")
    if backward is None:
        turned = {"go_backwards": not forward.flag("go_backwards")}
        backward = replace(forward, config={**forward.config, **turned})
    for key in ("return_sequences", "return_state"):
        if forward.flag(key) != backward.flag(key):
            raise spec.refuse(key, "the same for both directions")
    if spec.version.tensorflow:  # Keras before 2.4 has no such setting
        forced = {"zero_output_for_mask": forward.flag("return_sequences")}
        forward = replace(forward, config={**forward.config, **forced})
        backward = replace(backward, config={**backward.config, **forced})
    return forward, backward


def wrapped(spec: LayerSpec) -> LayerSpec:
    """Return the layer that a wrapper holds."""
    if "layer" not in spec.inner:
        raise spec.refuse("layer", "a layer")
    return spec.inner["layer"]


def merge_mode(spec: LayerSpec) -> str:
    """Return how the directions are merged, `none` for two outputs."""
    if spec.config.get("merge_mode", "concat") is None:
        return "none"
    return spec.choice("merge_mode", MERGES, "concat")


class Bidirectional(KerasLayer):
    """Two recurrent layers, one of which reads backwards."""

    passes_mask = True

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        forward, backward = directions(spec)
        self.forward_layer = layer_class(forward)(forward, arrays["forward_layer"])
        self.backward_layer = layer_class(backward)(backward, arrays["backward_layer"])
        self.merge_mode = merge_mode(spec)
        self.return_sequences = forward.flag("return_sequences")

    @classmethod
    def variables(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> Variables:
        """Return the forward layer's arrays, then the backward layer's."""
        return {
            name: nested(layer_class(inner).variables(inner, shapes[:1]), name)
            for name, inner in zip(DIRECTIONS, directions(spec), strict=True)
        }

    @classmethod
    def output_shapes(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Return the merged output's shape, then the states'."""
        inner = directions(spec)
        outputs = [layer_class(each).output_shapes(each, shapes[:1]) for each in inner]
        ours, theirs = (output[0] for output in outputs)
        states = tuple(state for output in outputs for state in output[1:])
        mode = merge_mode(spec)
        if mode == "none":
            return (ours, theirs, *states)
        units, back = ours[-1] or 0, theirs[-1] or 0
        if mode != "concat" and units != back:
            raise spec.refuse("merge_mode", f"concat for {units} and {back} units")
        return ((*ours[:-1], units + back if mode == "concat" else units), *states)

    def forward(self, *signals: Signal) -> tuple[Signal, ...]:
        """Return the merged output, then the states; half of the initial states are each's."""
        x, *states = signals
        half = len(states) // 2
        ours = self.forward_layer(x, *states[:half])
        theirs = self.backward_layer(x, *states[half:])
        y, y_back = ours[0].value, theirs[0].value
        if self.return_sequences:
            y_back = y_back.flip(1)
        mask = x.mask if self.return_sequences else None
        merged = tuple(Signal(value, mask) for value in self._merge(y, y_back))
        return (*merged, *ours[1:], *theirs[1:])

    def _merge(self, y: Tensor, y_back: Tensor) -> tuple[Tensor, ...]:
        if self.merge_mode == "none":
            return y, y_back
        if self.merge_mode == "concat":
            return (torch.cat([y, y_back], -1),)
        if self.merge_mode == "mul":
            return (y * y_back,)
        return (y + y_back if self.merge_mode == "sum" else (y + y_back) / 2,)

    def to_keras(self, pick: Pick = lambda parameter: parameter) -> Tree:
        """Return the arrays of both directions."""
        pair = (self.forward_layer, self.backward_layer)
        return {name: layer.to_keras(pick) for name, layer in zip(DIRECTIONS, pair, strict=True)}


class TimeDistributed(KerasLayer):
    """A layer applied to every time step by itself, as if the steps were sequences of a batch."""

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        inner = wrapped(spec)
        self.layer = layer_class(inner)(inner, arrays)
        self.mask_from_layer = spec.version.major < 3

    @classmethod
    def variables(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> Variables:
        """Return the arrays of the layer inside."""
        inner = wrapped(spec)
        return nested(layer_class(inner).variables(inner, _steps(spec, shapes)), "layer")

    @classmethod
    def output_shapes(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Return the inner layer's output shape with the time axis back in."""
        inner = wrapped(spec)
        outputs = layer_class(inner).output_shapes(inner, _steps(spec, shapes))
        if len(outputs) != 1:
            raise spec.refuse("layer", "a layer with one output")
        return ((*shapes[0][:2], *outputs[0][1:]),)

    def forward(self, *signals: Signal) -> tuple[Signal, ...]:
        """Return the output for each step."""
        x, mask = signals[0]
        steps = x.shape[:2]
        inner_mask = mask.flatten(0, 1) if mask is not None and mask.dim() > 2 else None
        ((y, y_mask),) = self.layer(Signal(x.flatten(0, 1), inner_mask))
        if self.mask_from_layer:  # Keras 2 asks the layer, Keras 3 hands its own mask on
            if y_mask is not None:
                mask = y_mask.unflatten(0, steps)
            elif mask is not None and mask.dim() > 2:
                mask = mask.flatten(2).any(-1)
        return (Signal(y.unflatten(0, steps), mask),)

    def to_keras(self, pick: Pick = lambda parameter: parameter) -> Tree:
        """Return the arrays of the layer inside."""
        return self.layer.to_keras(pick)


def _steps(spec: LayerSpec, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
    if len(shapes[0]) < 2:
        raise spec.refuse("input", f"shape (batch, time, ...), got {shapes[0]}")
    return ((None, *shapes[0][2:]),)
