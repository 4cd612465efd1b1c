"""A LightningModule that measures its epochs as Keras does, and logs them cheaply."""

from typing import Any, TypeAlias

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassConfusionMatrix

from grulight.data.batches import Batch
from grulight.heads import Head, ValueHead
from grulight.training.confusion import scores_of
from grulight.training.divergence import require_finite_loss, require_finite_weights
from grulight.training.epoch_means import EpochLog, EpochMeans
from grulight.training.part_scores import count_part, logged, scores_for
from grulight.training.ranking_scores import RankingScores
from grulight.training.value_scores import ValueScores

# (B, K) or (B, S, K) logits or values; which steps (B, S) of them count, None for all; and a scalar
# that the loss has on top, None for nothing
Answers: TypeAlias = tuple[Tensor, Tensor | None, Tensor | None]
MATRIX_CLASSES = 2000  # a confusion matrix of more would take much memory for nobody


class MeasuredModule(LightningModule):
    """Measure answers: keep the running means of each stage's batches, log them at its end.

    Attributes:
        head: What the answers mean, which names the metric.
        class_names: What each class is called, or each label or value.
        confusion: The test's confusion matrix; None where there are no classes, or too many.
        val_confusion: The validation's, where somebody asks for one.
        test_scores: What measures the test part as a whole.
        val_scores: What so measures the validation part; None where nothing cheap does.
    """

    head: Head
    class_names: tuple[str, ...]

    def __init__(self) -> None:
        super().__init__()
        self.train_means, self.val_means, self.test_means = (EpochMeans() for _ in range(3))
        self.confusion: MulticlassConfusionMatrix | None = None
        self.val_confusion: MulticlassConfusionMatrix | None = None
        self.test_scores: RankingScores | ValueScores | None = None
        self.val_scores: ValueScores | None = None
        self._log = EpochLog()

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute.

        Lightning notes the name of each hook, fifty times a step; ``nn.Module`` would look each
        time whether it is a weight.
        """
        if name == "_current_fx_name":
            vars(self)[name] = value
        else:
            super().__setattr__(name, value)

    def count_confusions(self, num_classes: int) -> None:
        """Keep a confusion matrix in tests, unless there are too many classes to look at."""
        if 0 < num_classes <= MATRIX_CLASSES:
            self.confusion = MulticlassConfusionMatrix(num_classes, validate_args=False)

    def score_parts(self, head: Head) -> None:
        """Measure parts as a whole too: the test part, and of values the validation part."""
        self.test_scores = scores_for(head)
        if isinstance(head, ValueHead):
            self.val_scores = ValueScores(head)

    def on_train_epoch_end(self) -> None:
        """Log the epoch's means, and start them afresh: a resumed epoch has no other start.

        Raises:
            InputError: The loss is not finite: no checkpoint is written of this epoch.
        """
        trainer, metrics = self.trainer, self.epoch_metrics("train")
        step = trainer.global_step
        require_finite_loss(float(metrics["train_loss"]), trainer.current_epoch, step)
        # the step that Lightning logs an epoch's metrics at: its last
        self._log.write(trainer, metrics, trainer.global_step - 1, ends=True)
        self.train_means.reset()

    def on_train_end(self) -> None:
        """Check the weights, which may be nan from the last step on.

        Raises:
            InputError: A weight is not finite.
        """
        trainer = self.trainer
        require_finite_weights(self.state_dict(), trainer.current_epoch - 1, trainer.global_step)

    def on_validation_epoch_start(self) -> None:
        """Start the validation means afresh."""
        self.val_means.reset()
        for each in filter(None, (self.val_confusion, self.val_scores)):
            each.reset()

    def on_validation_epoch_end(self) -> None:
        """Log the validation's means and scores."""
        trainer, metrics = self.trainer, self.epoch_metrics("val")
        if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking:
            self.log_dict(metrics)
        else:
            # the step that Lightning logs a validation at, within an epoch too
            step = trainer.fit_loop.epoch_loop._batches_that_stepped
            self._log.write(trainer, metrics, step, ends=False)

    def on_test_epoch_start(self) -> None:
        """Start the test's means, confusion matrix and scores afresh."""
        self.test_means.reset()
        for each in filter(None, (self.confusion, self.test_scores)):
            each.reset()

    def on_test_epoch_end(self) -> None:
        """Log the test's scores."""
        scores = {}
        if self.confusion is not None:
            scores = scores_of(self.confusion.compute().cpu().numpy())
        self.log_dict(self.epoch_metrics("test") | {f"test_{k}": v for k, v in scores.items()})

    def epoch_metrics(self, stage: str) -> dict[str, Tensor]:
        """Return the running means and scores of a stage over all processes, as they are logged."""
        means: EpochMeans = getattr(self, f"{stage}_means")
        found = means.compute(self, self.head.metric)
        scores = getattr(self, f"{stage}_scores", None)
        if scores is not None:
            found = found | logged(scores)
        return {f"{stage}_{name}": value for name, value in found.items()}

    def answers(self, batch: Batch) -> Answers:
        """Answer a batch."""
        raise NotImplementedError

    def loss_weights(self, batch: Batch, *, training: bool) -> Tensor | None:
        """Return by what the loss of each answer is multiplied, (B,) or (B, S); None for 1."""
        return batch.weights

    def validation_step(self, batch: Batch) -> None:
        """Count a validation batch."""
        self.evaluate(batch, self.val_means, self.val_confusion, self.val_scores)

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
        return self.count(batch, self.answers(batch), means, confusion, scores)

    def count(
        self,
        batch: Batch,
        found: Answers,
        means: EpochMeans,
        confusion: MulticlassConfusionMatrix | None,
        scores: Metric | None,
    ) -> Tensor:
        """Count what was answered to a batch; return what ``evaluate`` does."""
        assert batch.labels is not None
        answers, valid, penalty = found
        weights = self.loss_weights(batch, training=means is self.train_means)
        score = self.head.score(answers, batch.labels, valid, weights)
        if penalty is not None:
            score = score._replace(loss=score.loss + penalty)
        part = batch.share if valid is None else self.part_of_mean(score.counted, batch)
        if batch.share:
            means.update(score, len(answers) * part / batch.share)
        if confusion is not None or scores is not None:
            count_part(batch, answers, valid, confusion, scores)
        return score.loss * part

    def part_of_mean(self, counted: int, batch: Batch) -> float:
        """Return what this process' mean over the steps that count is of the mean over all."""
        world = self.trainer.world_size
        if world == 1:
            return 1.0
        own = torch.tensor(float(counted if batch.share else 0), device=self.device)
        total = self.trainer.strategy.reduce(own.clone(), reduce_op="sum")
        return float(own * world / total)
