"""What a step of training, validation, test or prediction does with a batch."""

from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor
from torch.optim import Optimizer
from torchmetrics import Metric
from torchmetrics.classification import MulticlassConfusionMatrix

from grulight.data.batches import Batch
from grulight.data.blocks import Block
from grulight.data.serving import ServingDataModule
from grulight.logits import predicted_classes
from grulight.model import GRUNet
from grulight.training.class_weights import ClassWeight, class_weights
from grulight.training.compiled_network import worth_threads
from grulight.training.epoch_means import EpochMeans
from grulight.training.many_steps import (
    execute,
    step_schedulers,
    take_compiled,
    take_one_by_one,
)
from grulight.training.resumable import ResumableModule
from grulight.training.steps_per_execution import compiled_steps_network, steps_per_execution

if TYPE_CHECKING:
    from grulight.keras_files.ported_network import PortedNetwork


class StepsModule(ResumableModule):
    """Answer batches, count how good the answers are, and return what is to be minimised.

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

    def steps_together(self, batches: int) -> int:
        """Return how many of an epoch's batches a training step takes."""
        if self.resumed_steps is not None:
            return self.resumed_steps
        asked = self.hparams["steps_per_execution"]
        return steps_per_execution(self.trainer, self.network, self.head, asked, batches)

    def training_step(self, batch: Batch | Block) -> Tensor | None:
        """Return the loss of a batch; take the steps of a block of them."""
        if isinstance(batch, Block):
            execute(self.trainer, batch, self._take_steps)
            return None
        return self.evaluate(batch, self.train_means)

    def _take_steps(self, block: Block, count: int) -> None:
        """Take the optimiser steps of the first ``count`` batches of a block."""
        trainer, means = self.trainer, self.train_means
        network = compiled_steps_network(trainer, self.network, self.head)
        if network is None or worth_threads(network, block):
            loss_of = partial(self.evaluate, means=means)
            take_one_by_one(trainer, loss_of, block, count, partial(step_schedulers, trainer))
        else:
            weights = self.loss_weights(block.whole, training=True)
            given = self.standardized, block, weights, count
            take_compiled(trainer, network, self.head, means, *given)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Limit gradients; Lightning asks after a block too, which has left none."""
        if any(each.grad is not None for each in self.parameters()):
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def validation_step(self, batch: Batch) -> None:
        """Count a validation batch."""
        self.evaluate(batch, self.val_means, self.val_confusion, self.val_scores)

    def test_step(self, batch: Batch) -> None:
        """Count a test batch."""
        self.evaluate(batch, self.test_means, self.confusion, self.test_scores)

    def predict_step(self, batch: Batch, batch_idx: int = 0, dataloader_idx: int = 0) -> Tensor:
        """Return class probabilities (batch, class), or (batch, step, class), or values."""
        values = self.standardized(batch.values)
        if isinstance(self.network, GRUNet):
            return self.head.prediction(self.network(values, batch.lengths))
        return self.network.predictions(values, batch.lengths)

    def evaluate(
        self,
        batch: Batch,
        means: EpochMeans,
        confusion: MulticlassConfusionMatrix | None = None,
        scores: Metric | None = None,
    ) -> Tensor:
        """Count a batch; return its loss, as this process' part of the mean over processes."""
        assert batch.labels is not None
        answers, valid = self.network.answers(self.standardized(batch.values), batch.lengths)
        weights = self.loss_weights(batch, training=means is self.train_means)
        score = self.head.score(answers, batch.labels, valid, weights)
        if not isinstance(self.network, GRUNet) and (penalty := self.network.penalty) is not None:
            score = score._replace(loss=score.loss + penalty)
        part = batch.share if valid is None else self.part_of_mean(score.counted, batch)
        if batch.share:
            means.update(score, len(answers) * part / batch.share)
        if confusion is not None or scores is not None:
            _count(batch, answers, valid, confusion, scores)
        return score.loss * part


def _count(
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
