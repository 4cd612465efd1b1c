"""What a network answers to batches that are measured: in training, validation and test."""

from typing import TYPE_CHECKING

from lightning.pytorch import Trainer
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassConfusionMatrix

from grulight.data.batches import Batch
from grulight.data.blocks import Block
from grulight.data.serving import ServingDataModule
from grulight.model import GRUNet
from grulight.training.class_weights import ClassWeight, class_weights
from grulight.training.epoch_means import EpochMeans
from grulight.training.measured import Answers
from grulight.training.one_by_one import validates_one_by_one
from grulight.training.resumable import ResumableModule
from grulight.training.steps_per_execution import MOST

if TYPE_CHECKING:
    from grulight.keras_files.ported_network import PortedNetwork

_AT_ONCE = 1 << 22  # numbers of hidden states that are read at once


class EvaluatingModule(ResumableModule):
    """Answer batches with a network, several together where nobody needs to see each.

    Attributes:
        network: Answers standardised sequences.
        head: What the answers mean.
        mean: (F,) subtracted from raw sequences; None for no standardisation.
        scale: (F,) divided by; None likewise.
        class_weights: (C,) by which losses are multiplied in training; None for 1.
    """

    network: "GRUNet | PortedNetwork"
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
        """Return by what the loss of each answer is multiplied: in training by classes too."""
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

    def serve_whole(self, trainer: Trainer | None) -> None:
        """Have a Trainer's data keep all padding, where the network reads it."""
        data = getattr(trainer, "datamodule", None)  # set where mypy cannot see
        if isinstance(data, ServingDataModule):
            data.whole = self.network.reads_padding

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

    def answers(self, batch: Batch) -> Answers:
        """Return the network's answers; see :class:`MeasuredModule`."""
        answers, valid = self.network.answers(self.standardized(batch.values), batch.lengths)
        penalty = None if isinstance(self.network, GRUNet) else self.network.penalty
        return answers, valid, penalty

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
        network, whole, places = self.network, block.whole, block.places()
        assert isinstance(network, GRUNet)
        width = network.gru.hidden_size * (1 + network.gru.bidirectional)
        most = _AT_ONCE // (whole.values.shape[1] * width)  # sequences
        first = after = 0
        for own, batch in zip(places, block.split(), strict=True):
            if own.stop > after:
                ends = [each.stop for each in places if each.stop <= own.start + most]
                first, after = own.start, max([own.stop, *ends])
                lengths = None if whole.lengths is None else whole.lengths[first:after]
                read = network.read(self.standardized(whole.values[first:after]), lengths)
            states = read[own.start - first : own.stop - first]
            if network.per_step:
                states = states[:, : batch.values.shape[1]]
            answers = network.head(states.contiguous())
            valid = network.counted(batch.values, batch.lengths)
            self.count(batch, (answers, valid, None), means, confusion, scores)
