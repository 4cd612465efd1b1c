"""What all of Keras' recurrent layers share: initial states, direction, masks and outputs."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from grulight.keras_files.layers.base import KerasLayer, Signal, Tree, nested, variable
from grulight.keras_files.plan.spec import LayerSpec, Shape
from grulight.keras_files.plan.variables import Array, Variables


class Recurrent(KerasLayer):
    """A layer that reads a sequence step by step and carries states along."""

    passes_mask = True
    ignored = ("stateful", "unroll", "implementation", "seed", "zero_output_for_mask")
    output = 0  # which of the states is the output

    def __init__(self, spec: LayerSpec, arrays: Tree) -> None:
        super().__init__(spec, arrays)
        self.state_sizes = self.states(spec)
        self.go_backwards = spec.flag("go_backwards")
        self.return_sequences = spec.flag("return_sequences")
        self.return_state = spec.flag("return_state")
        self.zero_masked = spec.flag("zero_output_for_mask")

    @classmethod
    def states(cls, spec: LayerSpec) -> tuple[int, ...]:
        """Return the sizes of the states."""
        return (spec.integer("units"),)

    @classmethod
    def output_shapes(cls, spec: LayerSpec, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Return (B, T, H) or (B, H), and (B, H) for each state."""
        if len(shapes[0]) != 3:
            raise spec.refuse("input", f"shape (batch, time, feature), got {shapes[0]}")
        if spec.flag("time_major"):
            raise spec.refuse("time_major", "false: save the model with batch first")
        states = tuple((shapes[0][0], size) for size in cls.states(spec))
        given = tuple(shape[-1:] for shape in shapes[1:])
        if given and given != tuple(state[-1:] for state in states):
            raise spec.refuse("initial_state", f"states of shapes {states}, got {shapes[1:]}")
        steps = shapes[0][1:2] if spec.flag("return_sequences") else ()
        output: Shape = (shapes[0][0], *steps, states[cls.output][1])
        return (output, *states) if spec.flag("return_state") else (output,)

    def run(self, x: Tensor, states: list[Tensor]) -> list[Tensor]:
        """Return every state after every step, each (B, T, H)."""
        raise NotImplementedError

    def forward(self, *signals: Signal) -> tuple[Signal, ...]:
        """Return the output, and the states where asked; initial states follow the input."""
        (x, mask), *given = signals
        # len(x) would fix the batch size when the module is exported
        states = [each.value for each in given] or [
            x.new_zeros(x.shape[0], size) for size in self.state_sizes
        ]
        if self.go_backwards:
            x, mask = x.flip(1), None if mask is None else mask.flip(1)
        if mask is None:
            sequences = self.run(x, states)
            y, lasts = sequences[self.output], [each[:, -1] for each in sequences]
        else:
            y, lasts = self._run_masked(x, states, mask)
        output = y if self.return_sequences else y[:, -1]
        kept = signals[0].mask if self.return_sequences else None
        held = [Signal(last) for last in lasts] if self.return_state else []
        return (Signal(output, kept), *held)

    def _run_masked(
        self, x: Tensor, states: list[Tensor], mask: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """Skip masked steps: they repeat the output before them, and zeros before the first.

        The valid steps of each sequence are moved to its start, run, and moved back, so that
        holes and left padding cost nothing more.
        """
        valid = mask.to(torch.int64)
        count = valid.cumsum(1)  # valid steps up to and with this one
        total = count[:, -1:]
        target = torch.where(mask, count - 1, total + (1 - valid).cumsum(1) - 1)
        moved = torch.zeros_like(x).scatter(1, target[..., None].expand_as(x), x)
        sequences = self.run(moved, states)
        y = sequences[self.output]
        source = (count - 1).clamp(min=0)[..., None].expand_as(y)
        shown = mask if self.zero_masked else count > 0
        outputs = torch.where(shown[..., None], y.gather(1, source), 0.0)
        end = (total - 1).clamp(min=0)[..., None]
        lasts = [
            torch.where(total > 0, each.gather(1, end.expand_as(each[:, :1]))[:, 0], start)
            for each, start in zip(sequences, states, strict=True)
        ]
        return outputs, lasts


def dropout_masks(training: bool, like: Tensor, rate: float, count: int) -> list[Tensor | float]:
    """Return dropout masks, each the same for all steps of a sequence, as Keras draws them."""
    if not training or rate == 0:
        return [1.0] * count
    return [F.dropout(torch.ones_like(like), rate) for _ in range(count)]


def stacked_variables(
    spec: LayerSpec, features: int | None, gates: int, biases: list[Shape]
) -> Variables:
    """Return kernel, recurrent kernel and bias, the gates side by side in each."""
    units = spec.integer("units")
    held: Variables = {
        "kernel": variable(spec, "kernel", 0, (features, gates)),
        "recurrent_kernel": variable(spec, "recurrent_kernel", 1, (units, gates)),
    }
    if spec.flag("use_bias", True):
        held["bias"] = variable(spec, "bias", 2, *biases)
    return nested(held, "cell")


def gate_variables(spec: LayerSpec, features: int | None, gates: str) -> Variables:
    """Return W, U and b of each gate in the order of Keras 1's file: W_z, U_z, b_z, W_r, ..."""
    units = spec.integer("units")
    shapes: dict[str, Shape] = {"W": (features, units), "U": (units, units), "b": (units,)}
    names = [(f"{part}_{gate}", part) for gate in gates for part in shapes]
    return {name: variable(spec, name, i, shapes[p]) for i, (name, p) in enumerate(names)}


def side_by_side(arrays: Tree, gates: str) -> dict[str, Array]:
    """Return kernel, recurrent kernel and bias of the gates that Keras 1 keeps apart."""
    parts = (("kernel", "W"), ("recurrent_kernel", "U"), ("bias", "b"))
    return {
        name: np.concatenate([arrays[f"{part}_{gate}"] for gate in gates], -1)
        for name, part in parts
    }
