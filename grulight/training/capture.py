"""Steps as CUDA graphs: what a step launches is recorded once, and launched as a whole after that.

A graph launches the same kernels at the same addresses, so that a step may read and write nothing
but tensors that stay where they are, and may ask the host for nothing.
"""

from collections.abc import Callable, Hashable
from typing import Protocol

import torch

Step = Callable[[], None]

MOST = 32  # graphs that are kept; further shapes are launched kernel by kernel
WARM = 2  # steps of a shape before it is recorded, in which libraries prepare themselves


class Capture(Protocol):
    """Records steps."""

    def take(self, step: Step) -> None:
        """Take a step without recording it."""

    def record(self, step: Step) -> Step:
        """Return what takes a step that was recorded; to record it does not take it."""


class CudaCapture:
    """Record steps as CUDA graphs.

    All graphs share their memory: it holds only what a step makes for itself.

    Args:
        device: Where they are taken.
    """

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()

    def take(self, step: Step) -> None:
        """Take a step on the stream that is recorded from later, in turn with other work."""
        usual = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(usual)
        with torch.cuda.stream(self._stream):
            step()
        usual.wait_stream(self._stream)

    def record(self, step: Step) -> Step:
        """Return the replay of a graph."""
        graph = torch.cuda.CUDAGraph()
        beside = "thread_local"  # another thread may be copying the next block
        with torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode=beside):
            step()
        return graph.replay


# by the kind of device; on others steps are not recorded
CAPTURES: dict[str, Callable[[torch.device], Capture]] = {"cuda": CudaCapture}


class Recorded:
    """Steps of several shapes, each recorded once it is warm.

    Args:
        capture: What records.
        most: How many are kept.
    """

    def __init__(self, capture: Capture, most: int = MOST) -> None:
        self._capture, self._most = capture, most
        self._steps: dict[Hashable, Step] = {}
        self._taken: dict[Hashable, int] = {}
        self._recorded: dict[Hashable, Step] = {}

    def take(self, shape: Hashable, make: Callable[[], Step]) -> None:
        """Take a step of a shape.

        Args:
            shape: What tells it from others.
            make: Returns what takes a step of this shape, if none was taken before.
        """
        if (recorded := self._recorded.get(shape)) is not None:
            recorded()
            return
        if shape not in self._steps:
            self._steps[shape] = make()
        step, taken = self._steps[shape], self._taken.get(shape, 0)
        self._taken[shape] = taken + 1
        if taken < WARM or len(self._recorded) >= self._most:
            self._capture.take(step)
        else:
            self._recorded[shape] = self._capture.record(step)
            self._recorded[shape]()
