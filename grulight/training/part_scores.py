"""Scores of a part beside the means of its batches: their names, and which have no value."""

from collections.abc import Sequence

from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassConfusionMatrix

from grulight.data.batches import Batch
from grulight.errors import listed
from grulight.heads import Head, ValueHead
from grulight.logits import predicted_classes
from grulight.training.ranking_scores import MOST, RankingScores
from grulight.training.value_scores import ValueScores

RANKING = ("roc_auc", "average_precision")


def scores_for(head: Head) -> RankingScores | ValueScores:
    """Return what measures a part that is answered so."""
    return ValueScores(head) if isinstance(head, ValueHead) else RankingScores(head)


def score_names(head: Head) -> tuple[str, ...]:
    """Return what the scores of a validation part are logged as, beside its loss and metric."""
    return ("rmse", "r2") if isinstance(head, ValueHead) else ()


def logged(scores: Metric) -> dict[str, Tensor]:
    """Return scores by name, over all processes: the mean over the classes or values with one.

    What has no value at all is left out.
    """
    computed: Tensor = scores.compute()
    if isinstance(scores, ValueScores):
        found = {"rmse": computed[0], "r2": computed[1:].nanmean()}
    else:
        found = dict(zip(RANKING, computed.nanmean(1), strict=True))
    return {name: value for name, value in found.items() if not value.isnan()}


def count_part(
    batch: Batch,
    answers: Tensor,
    valid: Tensor | None,
    confusion: MulticlassConfusionMatrix | None,
    scores: Metric | None,
) -> None:
    """Count a batch's answers in what measures a part as a whole."""
    labels = batch.labels
    assert labels is not None
    if valid is not None:
        answers, labels = answers[valid], labels[valid]
    if not batch.share:  # every process has an entry for each batch, if an empty one
        answers, labels = answers[:0], labels[:0]
    if confusion is not None and len(answers):
        confusion.update(predicted_classes(answers), labels)
    if scores is not None:
        scores.update(answers, labels)


def left_out(scores: Metric, names: Sequence[str]) -> str | None:
    """Return a line that says which classes or values a score is without, and why.

    Args:
        scores: Computed on all processes before.
        names: What each class, label or value is called.
    """
    computed: Tensor = scores.compute()
    if isinstance(scores, ValueScores):
        missing = computed[1:].isnan()
        what, why = "r2", "the same all over this part"
    else:
        assert isinstance(scores, RankingScores)
        if not computed.shape[1]:
            return f"no {_words(RANKING)}: this part has more than {MOST:,} probabilities"
        missing = computed[0].isnan()
        what, why = _words(RANKING), "which none of this part is, or all of it"
        names = names[1:] if scores.head.num_classes == 2 else names
    which = [name for name, is_so in zip(names, missing.tolist(), strict=True) if is_so]
    return f"{what} without {listed(which)}: {why}" if which else None


def _words(names: Sequence[str]) -> str:
    return " and ".join(names).replace("_", " ")
