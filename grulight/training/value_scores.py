"""How far values are off over a whole part, against how much they vary."""

from functools import reduce

import torch
from torch import Tensor
from torchmetrics import Metric

from grulight.heads import ValueHead

WIDEST = torch.float32 if torch.backends.mps.is_available() else torch.float64  # which MPS lacks


class ValueScores(Metric):
    """R² of each value, and the root of the mean squared error of all.

    R² as scikit-learn's ``r2_score``: 1 - Σ(true - found)² / Σ(true - mean)². The sum below is
    merged batch by batch and over processes with its mean (Chan, Golub and LeVeque 1979):
    torchmetrics' ``R2Score`` takes Σtrue² - n·mean², which loses all digits where values are far
    from zero, and sums below 1e-4 for zero.

    Args:
        head: What the answers mean.
    """

    full_state_update = False
    count: Tensor
    mean: Tensor
    squares: Tensor
    errors: Tensor

    def __init__(self, head: ValueHead) -> None:
        super().__init__()
        self.head = head
        zeros = torch.zeros(head.size, dtype=WIDEST)
        self.add_state("count", torch.zeros(1, dtype=WIDEST), None)
        for name in ("mean", "squares", "errors"):
            self.add_state(name, zeros.clone(), None)

    def update(self, answers: Tensor, targets: Tensor) -> None:
        """Count answers (…, K), as the network gives them, and what is true (…, K)."""
        if not answers.numel():
            return
        found, true = (each.detach().flatten(0, -2).to(WIDEST) for each in (answers, targets))
        found = self.head.prediction(found)
        mean = true.mean(0)
        here = (mean.new_tensor([len(true)]), mean, ((true - mean) ** 2).sum(0))
        self.count, self.mean, self.squares = _merged((self.count, self.mean, self.squares), here)
        self.errors = self.errors + ((true - found) ** 2).sum(0)

    def compute(self) -> Tensor:
        """Return (1 + K,) the root of the mean squared error, and each R².

        An R² is nan where the value is the same all over the part, or there is one answer alone.
        """
        size = self.errors.shape[-1]
        # those of several processes are stacked
        parts = (self.count.view(-1, 1), self.mean.view(-1, size), self.squares.view(-1, size))
        count, mean, squares = reduce(_merged, zip(*parts, strict=True))
        errors = self.errors.view(-1, size).sum(0)
        # what a mean of equal values is off by is no variation
        varies = (squares / count).sqrt() > 64 * torch.finfo(WIDEST).eps * mean.abs()
        r2 = torch.where(varies, 1 - errors / squares, torch.nan)
        return torch.cat(((errors.sum() / (count * size)).sqrt(), r2))


Moments = tuple[Tensor, Tensor, Tensor]


def _merged(ours: Moments, theirs: Moments) -> Moments:
    """Return count, mean and squares about it of two sets together."""
    (n, mean, squares), (m, their_mean, their_squares) = ours, theirs
    total, apart = n + m, their_mean - mean
    share = m / total.clamp(min=1)
    return total, mean + apart * share, squares + their_squares + apart**2 * n * share
