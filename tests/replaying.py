"""What records steps where there is no GPU: one that calls, and one that replays like a CUDA graph.

``Replaying`` notes every operation that a step asks torch for, and does these again with the same
tensors, as a graph launches the same kernels at the same addresses: a step that depends on a number
of the host, or reads a tensor that is another the next time, does the wrong thing here too. What a
graph cannot hold, as it waits for the device or copies from the host, is refused.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

Step = Callable[[], None]
REFUSED = (
    "aten._local_scalar_dense",  # .item(), float(), if
    "aten.nonzero",  # also answers[valid]
    "aten.masked_select",
    "aten.unique",
    "aten.equal",
    "aten.lift_fresh",  # torch.tensor of numbers of the host
)


class Calling:
    """Take steps one by one on the same tensors; nothing is recorded."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def take(self, step: Step) -> None:
        step()

    def record(self, step: Step) -> Step:
        return step


class Refused(Exception):
    """A step did what a CUDA graph cannot hold."""


class _Tape(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], list[Any]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = str(func)
        masks = [each for each in tree_flatten(args)[0] if isinstance(each, torch.Tensor)]
        boolean = name.startswith("aten.index.") and any(m.dtype == torch.bool for m in masks[1:])
        if name.startswith(REFUSED) or boolean:
            raise Refused(name)
        given = tree_map(_as_now, (args, kwargs))
        found = func(*args, **kwargs)
        self.calls.append((func, *given, tree_flatten(tree_map(_as_now, found))[0]))
        return found


def _as_now(tensor: Any) -> Any:
    """Return a tensor with the shape that it has now, which an operation may change in place."""
    return tensor.detach() if isinstance(tensor, torch.Tensor) else tensor


class Replaying(Calling):
    """Record operations, and do them again on the same tensors.

    Attributes:
        replays: How often that was done, for all of a test's.
    """

    replays = 0

    def record(self, step: Step) -> Step:
        before = torch.get_rng_state()
        kept: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        tape = _Tape()
        with _Undo(kept), tape:
            step()
        # to record a step does not take it: neither tensors nor random numbers have moved
        with torch.no_grad():
            for tensor, old in kept.values():
                if tensor.shape == old.shape:  # else it is the step's own
                    tensor.copy_(old)
        torch.set_rng_state(before)

        def replay() -> None:
            Replaying.replays += 1
            with torch.no_grad():
                for func, args, kwargs, outputs in tape.calls:
                    _again(func, args, kwargs, outputs)

        return replay


def _again(func: Any, args: Any, kwargs: Any, outputs: list[Any]) -> None:
    if func.is_view or torch.Tag.inplace_view in func.tags:
        return  # where a view leads to does not change
    found = tree_flatten(func(*args, **kwargs))[0]
    if func._schema.is_mutable:
        return
    for new, room in zip(found, outputs, strict=True):
        if isinstance(room, torch.Tensor) and new is not room:
            room.copy_(new)


class _Undo(TorchDispatchMode):
    """Keep what tensors held before they were changed in place."""

    def __init__(self, kept: dict[int, tuple[torch.Tensor, torch.Tensor]]) -> None:
        super().__init__()
        self._kept = kept

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func._schema.is_mutable:
            for tensor in tree_flatten((args, kwargs or {}))[0]:
                if isinstance(tensor, torch.Tensor):
                    base = tensor if tensor._base is None else tensor._base
                    self._kept.setdefault(id(base), (base, base.detach().clone()))
        return func(*args, **(kwargs or {}))
