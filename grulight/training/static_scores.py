"""Score answers of which some do not count, without asking the device how many do."""

from torch import Tensor

from grulight.heads import Head


def static_score(
    head: Head, answers: Tensor, targets: Tensor, valid: Tensor | None, weights: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return what ``Head.score`` does, which chooses what counts and so waits for the device.

    Where all answers count it is the same to the bit; else zeros stand in the sums for those that
    do not. What ``Head.require_targets`` looks at is not looked at.

    Args:
        head: What the answers mean.
        answers: (B, K) or (B, S, K).
        targets: As ``Head.score`` takes them.
        valid: (B, S), which steps count; None for all.
        weights: (B,) or (B, S); None for 1.

    Returns:
        The loss, the metric, and how many answers count; None for all.
    """
    head.require_shape(answers, targets)
    if weights is not None:
        weights = weights.reshape(*weights.shape, *(1,) * (answers.dim() - 1 - weights.dim()))
        weights = weights.expand(answers.shape[:-1])
    if valid is not None:
        # what stands in padding may be anything, nan too
        padded = ~valid.view(*valid.shape, *(1,) * (targets.dim() - 2))
        targets = targets.masked_fill(padded, 0)
        weights = valid.to(answers.dtype) if weights is None else weights.masked_fill(~valid, 0)
    if head.per_step:
        answers, targets = answers.flatten(0, 1), targets.flatten(0, 1)
        weights = None if weights is None else weights.flatten()
    loss = head.loss(answers, targets, weights)
    if valid is None:
        return loss, head.metric_sum(answers, targets), None
    counted = valid.sum()
    metric = head.metrics(answers, targets).masked_fill(~valid.flatten(), 0).sum()
    return loss * valid.numel() / counted, metric, counted
