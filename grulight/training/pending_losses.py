"""Losses of steps that may still be under way on a GPU, for which nobody needs to wait."""

from typing import NamedTuple

import torch
from torch import Tensor

from grulight.training.divergence import require_finite_loss


class _Waiting(NamedTuple):
    sums: Tensor  # (steps, 4) on the host, complete after:
    arrived: torch.cuda.Event | None
    epoch: int
    step: int  # before the first of them


class PendingLosses:
    """Look at the losses of steps when they are known."""

    def __init__(self) -> None:
        self._waiting: list[_Waiting] = []

    def watch(self, sums: Tensor, epoch: int, step: int) -> None:
        """Look at losses, now or later.

        Args:
            sums: (steps, 4) as ``EpochMeans.add`` takes them.
            epoch: Counted from 0.
            step: Steps that were taken before.

        Raises:
            InputError: A loss is known, and is not finite.
        """
        arrived = None
        if sums.is_cuda:
            room = torch.empty(sums.shape, dtype=sums.dtype, pin_memory=True)
            sums = room.copy_(sums, non_blocking=True)
            arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
            arrived.record()
        self._waiting.append(_Waiting(sums, arrived, epoch, step))
        self.require_finite(wait=False)

    def require_finite(self, *, wait: bool) -> None:
        """Check the losses that are known.

        Args:
            wait: For all others, too.

        Raises:
            InputError: One is not finite.
        """
        while self._waiting:
            sums, arrived, epoch, step = self._waiting[0]
            if arrived is not None and not arrived.query():  # type: ignore[no-untyped-call]
                if not wait:
                    return
                arrived.synchronize()
            del self._waiting[0]
            for n in (~sums[:, 0].isfinite()).nonzero()[:1, 0].tolist():
                require_finite_loss(float(sums[n, 0] / sums[n, 1]), epoch, step + n + 1)
