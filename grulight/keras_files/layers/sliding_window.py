"""A window that slides along time, of convolutions and pooling."""

from grulight.keras_files.layers.base import MOST_NUMBERS
from grulight.keras_files.layers.shaping import three
from grulight.keras_files.plan.spec import LayerSpec, Shape

CHANNELS_LAST = ("channels_last",)


class SlidingWindow:
    """A window that slides along time: its size, its steps, and what it does at the ends."""

    def __init__(self, spec: LayerSpec, size: str, paddings: tuple[str, ...], stride: int) -> None:
        self.size = spec.integer(size)
        self.stride = stride
        self.dilation = spec.integer("dilation_rate", 1)
        self.padding = spec.choice("padding", paddings, "valid")
        spec.choice("data_format", CHANNELS_LAST, "channels_last")
        self.spec = spec

    @property
    def reach(self) -> int:
        """Steps from the first to the last that one output sees."""
        return (self.size - 1) * self.dilation + 1

    def length(self, shape: Shape) -> int | None:
        """Return how many outputs there are for an input (batch, time, feature).

        Raises:
            InputError: None fits in, or the padding would be more than any model needs.
        """
        _, steps, features = three(self.spec, shape)
        short = self.padding == "valid" and steps is not None and steps < self.reach
        if short or self.reach * (features or 1) > MOST_NUMBERS:
            raise self.spec.refuse(
                "input", f"windows of {self.reach} steps that go with its shape {shape}"
            )
        if steps is None:
            return None
        if self.padding == "valid":
            steps -= self.reach - 1
        return -(-steps // self.stride)

    def pads(self, steps: int) -> tuple[int, int]:
        """Return how many steps to put before and after, as TensorFlow does."""
        if self.padding == "causal":
            return self.reach - 1, 0
        if self.padding == "valid":
            return 0, 0
        outputs = -(-steps // self.stride)
        total = max((outputs - 1) * self.stride + self.reach - steps, 0)
        return total // 2, total - total // 2
