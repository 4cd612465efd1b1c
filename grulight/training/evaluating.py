"""What a batch's answers are worth, in training, validation and test."""

from typing import TYPE_CHECKING

from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassConfusionMatrix

from grulight.data.batches import Batch
from grulight.data.blocks import Block
from grulight.data.serving import ServingDataModule
from grulight.logits import predicted_classes
from grulight.model import GRUNet
from grulight.training.class_weights import ClassWeight, class_weights
from grulight.training.epoch_means import EpochMeans
from grulight.training.one_by_one import validates_one_by_one
from grulight.training.resumable import ResumableModule
from grulight.training.steps_per_execution import MOST

if TYPE_CHECKING:
    from grulight.keras_files.ported_network import PortedNetwork


class EvaluatingModule(ResumableModule):
    """Answer batches, and count how good the answers are.

    Attributes:
        network: Answers standardised sequences.
        head: What the answers mean.
        mean: (F,) subtracted from raw sequences; None for no standardisation.
        scale: (F,) divided by; None likewise.
        class_weights: (C,) by which losses are multiplied in training; None for 1.
    """

    network: "GRUNet | PortedNetwork"
    class_names: tuple[str, ...]
    mean: Tensor | None
    scale: Tensor | None
    class_weights: Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("class_weights", None, persistent=False)

    def weigh_classes(self, wanted: ClassWeight) -> None:
        """Let the loss of each class count as much as was asked for, in training.

        Raises:
            InputError: There is no training part whose labels could be counted.
        """
        data = getattr(self.trainer, "datamodule", None)  # set where mypy cannot see
        train = data.parts.train if isinstance(data, ServingDataModule) else None
        self.class_weights = class_weights(wanted, self.class_names, train)

    def loss_weights(self, batch: Batch, *, training: bool) -> Tensor | None:
        """Return by what the loss of each answer is multiplied, (B,) or (B, S); None for 1."""
        weights, labels = batch.weights, batch.labels
        if self.class_weights is None or not training or labels is None:
            return weights
        # what stands in the padding of labels may be anything
        of_class = self.class_weights[labels.clamp(0, len(self.class_weights) - 1)]
        return (
            of_class
            if weights is None
            else of_class * weights.view(-1, *(1,) * (of_class.dim() - 1))
        )

    def standardized(self, values: Tensor) -> Tensor:
        """Return raw sequences (batch, time, feature) as the network sees them."""
        if self.mean is None or self.scale is None:
            return values
        return (values - self.mean) / self.scale

    def validated_together(self, batches: int) -> int:
        """Return how many of the validation's batches are read together."""
        alone = validates_one_by_one(self.trainer, self.network, self.head)
        return 1 if alone else min(batches, MOST)

    def validation_step(self, batch: Batch | Block) -> None:
        """Count a validation batch, or a block of them."""
        counted = self.val_means, self.val_confusion, self.val_scores
        if isinstance(batch, Batch):
            self.evaluate(batch, *counted)
        else:
            self._evaluate_block(batch, *counted)

    def test_step(self, batch: Batch) -> None:
        """Count a test batch."""
        self.evaluate(batch, self.test_means, self.confusion, self.test_scores)

    def evaluate(
        self,
        batch: Batch,
        means: EpochMeans,
        confusion: MulticlassConfusionMatrix | None = None,
        scores: Metric | None = None,
    ) -> Tensor:
        """Count a batch; return its loss, as this process' part of the mean over processes."""
        answers, valid = self.network.answers(self.standardized(batch.values), batch.lengths)
        return self._count(batch, answers, valid, means, confusion, scores)

    def _evaluate_block(
        self,
        block: Block,
        means: EpochMeans,
        confusion: MulticlassConfusionMatrix | None,
        scores: Metric | None,
    ) -> None:
        """Count the batches of a block as one by one: the GRU reads a sequence alike in any batch.

        The head may not, so that it answers to each batch.
        """
        network, whole = self.network, block.whole
        assert isinstance(network, GRUNet)
        read = network.read(self.standardized(whole.values), whole.lengths)
        for own, batch in zip(block.places(), block.split(), strict=True):
            states = read[own, : batch.values.shape[1]] if network.per_step else read[own]
            answers = network.head(states.contiguous())
            valid = network.counted(batch.values, batch.lengths)
            self._count(batch, answers, valid, means, confusion, scores)

    def _count(
        self,
        batch: Batch,
        answers: Tensor,
        valid: Tensor | None,
        means: EpochMeans,
        confusion: MulticlassConfusionMatrix | None = None,
        scores: Metric | None = None,
    ) -> Tensor:
        """Count answers to a batch, of which some steps are valid; return what evaluate does."""
        assert batch.labels is not None
        weights = self.loss_weights(batch, training=means is self.train_means)
        score = self.head.score(answers, batch.labels, valid, weights)
        if not isinstance(self.network, GRUNet) and (penalty := self.network.penalty) is not None:
            score = score._replace(loss=score.loss + penalty)
        part = batch.share if valid is None else self.part_of_mean(score.counted, batch)
        if batch.share:
            means.update(score, len(answers) * part / batch.share)
        if confusion is not None or scores is not None:
            _count_whole(batch, answers, valid, confusion, scores)
        return score.loss * part


def _count_whole(
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
