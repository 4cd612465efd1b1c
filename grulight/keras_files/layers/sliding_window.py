"""Windows that slide along time, or rows and columns, of convolutions and pooling."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from grulight.keras_files.layers.base import MOST_NUMBERS
from grulight.keras_files.layers.spatial import apart, rank_of
from grulight.keras_files.plan.spec import LayerSpec, Shape


@dataclass(frozen=True)
class SlidingWindow:
    """A window that slides along one axis: its size, its steps, and what it does at the ends."""

    size: int
    stride: int
    dilation: int
    padding: str

    @property
    def reach(self) -> int:
        """Places from the first to the last that one output sees."""
        return (self.size - 1) * self.dilation + 1

    def length(self, places: int | None) -> int | None:
        """Return how many outputs there are for so many places."""
        if places is None:
            return None
        if self.padding == "valid":
            places -= self.reach - 1
        return -(-places // self.stride)

    def pads(self, places: int) -> tuple[int, int]:
        """Return how many places to put before and after, as TensorFlow does."""
        if self.padding == "causal":
            return self.reach - 1, 0
        if self.padding == "valid":
            return 0, 0
        outputs = -(-places // self.stride)
        total = max((outputs - 1) * self.stride + self.reach - places, 0)
        return total // 2, total - total // 2


class SlidingWindows:
    """One window along each axis.

    Args:
        spec: The layer.
        size: The setting that has the windows' size.
        paddings: What they may do at the ends.
        strides: Their steps.
        default: Their size where the settings have none.
    """

    def __init__(
        self,
        spec: LayerSpec,
        size: str,
        paddings: tuple[str, ...],
        strides: tuple[int, ...],
        default: int | None = None,
    ) -> None:
        rank = rank_of(spec)
        padding = spec.choice("padding", paddings, "valid")
        self.spec = spec
        self.sizes = spec.sizes(size, rank, default)
        self.strides = strides
        self.dilations = spec.sizes("dilation_rate", rank, 1)
        each = zip(self.sizes, strides, self.dilations, strict=True)
        self.axes = [SlidingWindow(*settings, padding) for settings in each]

    def lengths(self, shape: Shape) -> tuple[int | None, ...]:
        """Return how many outputs there are along each axis.

        Raises:
            InputError: None fits in, or the padding would be more than any model needs.
        """
        _, places, features = apart(self.spec, shape)
        pairs = [*zip(self.axes, places, strict=True)]
        short = any(
            window.padding == "valid" and place is not None and place < window.reach
            for window, place in pairs
        )
        padded = math.prod(window.reach + (place or 1) - 1 for window, place in pairs)
        given = math.prod(place or 1 for place in places)
        if short or padded * (features or 1) > max(MOST_NUMBERS, 4 * given * (features or 1)):
            reach = " × ".join(str(window.reach) for window in self.axes)
            raise self.spec.refuse("input", f"windows of {reach} that go with its shape {shape}")
        return tuple(window.length(place) for window, place in pairs)

    def pads(self, places: Sequence[int]) -> tuple[int, ...]:
        """Return what to put before and after each axis, the last one first as torch wants it."""
        ends = [axis.pads(place) for axis, place in zip(self.axes, places, strict=True)]
        return tuple(end for pair in reversed(ends) for end in pair)
