"""How well probabilities rank: areas under the curves of a whole part, class by class."""

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import binary_auroc, binary_average_precision

from grulight.heads import Head

MOST = 25_000_000  # probabilities that are kept, 100 MB; sorting them takes some times as much


class RankingScores(Metric):
    """Area under the ROC curve and average precision, of each class against the others.

    As scikit-learn's ``roc_auc_score(multi_class="ovr")`` and ``average_precision_score``; of two
    classes the second is looked for, of labels each by itself. All probabilities of a part are
    kept until its end, on all processes, up to ``MOST``.

    Args:
        head: What answers mean: classes or labels.
    """

    full_state_update = False
    probabilities: list[Tensor]
    targets: list[Tensor]
    count: Tensor

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head
        self.add_state("probabilities", [], "cat")
        self.add_state("targets", [], "cat")
        self.add_state("count", torch.tensor(0), "sum")

    def update(self, answers: Tensor, targets: Tensor) -> None:
        """Keep answers (…, K), logits, and their classes (…) or labels (…, K)."""
        wide = answers.detach().to(torch.promote_types(answers.dtype, torch.float32))
        found = self.head.prediction(wide).flatten(0, -2)
        if self.head.num_classes == 2:
            found = found[:, 1:]
        kept = targets.flatten(0, targets.dim() - 1 if self.head.num_classes else -2)
        self.count += len(found)
        if int(self.count) * found.shape[1] > MOST:  # an empty one, which all processes can gather
            self.probabilities, self.targets, found, kept = [], [], found[:0], kept[:0]
        self.probabilities.append(found)
        self.targets.append(kept)

    def compute(self) -> Tensor:
        """Return (2, K) the areas and the average precisions; nan where they are not defined.

        They are where some of the part, but not all, is of the class. (2, 0) where not everything
        could be kept.
        """
        found, targets = _joined(self.probabilities), _joined(self.targets)
        if len(found) != int(self.count):
            return found.new_empty((2, 0))
        scores = found.new_full((2, found.shape[1]), torch.nan)
        first = 1 if self.head.num_classes == 2 else 0
        for at, column in enumerate(found.T):
            is_so = targets == at + first if self.head.num_classes else targets[:, at] == 1
            if is_so.any() and not is_so.all():
                truth = is_so.long()
                scores[0, at] = binary_auroc(column, truth, validate_args=False)
                scores[1, at] = binary_average_precision(column, truth, validate_args=False)
        return scores


def _joined(kept: list[Tensor] | Tensor) -> Tensor:
    """Return what was kept as one tensor: what was gathered from several processes is one."""
    return kept if isinstance(kept, Tensor) else torch.cat(kept)
