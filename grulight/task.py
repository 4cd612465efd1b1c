"""What is trained: the loss, the metrics and the optimiser around a network; no layers."""

import math
import time
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch import LightningModule
from numpy.typing import NDArray
from torch import Tensor, distributed
from torch.optim import Optimizer
from torchmetrics.classification import MulticlassConfusionMatrix

from grulight.compiled import CompiledPredictor, compiled_predictor
from grulight.data.batches import Batch
from grulight.data.blocks import Block
from grulight.divergence import require_finite_loss, require_finite_weights
from grulight.errors import InputError
from grulight.evaluation import scores_of
from grulight.execution import execute, go_on_within_epoch, steps_together
from grulight.heads import ClassHead, Head, Score, predicted_classes
from grulight.init import keras_init_
from grulight.kernels import gate
from grulight.kernels.fused import Kernel
from grulight.model import GRUNet
from grulight.optim import KerasAdam
from grulight.wanted import Wanted, ported_network, require_classes

FORMAT = 1  # of our checkpoints; counts up when an older grulight could not read them
MATRIX_CLASSES = 2000  # a confusion matrix of more would take much memory for nobody


class EpochMeans:
    """Running loss and metric of an epoch, as Keras reports them.

    Keras weights the loss of a batch by its sequences and the metric by the answers that count;
    the two differ where answers belong to steps and some of these are padding. The sums stay on
    the device until they are asked for: a ``self.log`` per batch would cost more than the batch.
    They are no buffer, which DDP would overwrite with the first process'.
    """

    def __init__(self) -> None:
        self.sums: Tensor
        self._computed: tuple[Tensor, dict[str, Tensor]] | None = None  # of which sums, and what
        self.reset()

    def update(self, score: Score, sequences: float) -> None:
        """Add a batch, whose loss weighs as much as some sequences."""
        loss = score.loss.detach() * sequences
        numbers = (loss, loss.new_tensor(sequences), score.metric, loss.new_tensor(score.counted))
        # float32 alone would stop counting at 2**24 samples
        wide = _widest(loss.device)
        self.add(torch.stack([number.to(wide) for number in numbers]))

    def add(self, sums: Tensor) -> None:
        """Add the sums of batches, (..., 4), in their order.

        The four are the loss and its weight, the metric and its count.
        """
        self.sums = torch.vstack((self.sums.to(sums), sums)).cumsum(0)[-1]

    def compute(self, module: LightningModule, metric: str = "accuracy") -> dict[str, Tensor]:
        """Return loss and metric so far, over all processes."""
        if self._computed is None or self._computed[0] is not self.sums:
            sums = self.sums.to(module.device, _widest(module.device), copy=True)
            sums = module.trainer.strategy.reduce(sums, reduce_op="sum")
            self._computed = self.sums, {"loss": sums[0] / sums[1], metric: sums[2] / sums[3]}
        return self._computed[1]

    def reset(self) -> None:
        """Forget all batches."""
        self.sums = torch.zeros(4, dtype=torch.float64)


def _widest(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64


class GRUClassifier(LightningModule):
    """Train a :class:`GRUNet` to name the class of a sequence, or a Keras model as it answers.

    Args:
        input_size: Features per time step.
        num_classes: Classes; two are told apart by a single logit. 0 where labels are values,
            which only a Keras model learns.
        hidden_size: Units of the GRU, the length of the summary per direction.
        num_layers: Stacked GRU layers.
        bidirectional: Also read the sequence backwards.
        dropout: Probability of zeroing between layers and before the head, in training only.
        bias: Whether the GRU has biases.
        init: Initial weights as Keras draws them (glorot, orthogonal, zeros) or as torch does.
        class_names: What each class is called, or each label or value of a Keras model.
        feature_names: What each feature is called.
        mean: Mean of each feature in training, subtracted first; None for no standardisation.
        scale: Standard deviation of each feature in training, divided by; None likewise.
        from_keras: A Keras model file, or its description from a checkpoint: its model takes the
            place of the GRUNet, and the sizes above are its own.
        kernel: What computes the GRU: ``auto`` takes Numba on a CPU and Triton on CUDA where they
            can, else torch, which is cuDNN on CUDA.
        steps_per_execution: Optimiser steps in one of Lightning's, as Keras has them: the same
            training with less around it. By default as many as nobody needs to see one by one.
        num_values: Values of each label in the data; 0 where labels are classes.
        per_step: Whether the data have a label for each step, which only a Keras model learns.

    Raises:
        InputError: The Keras model cannot be read, or does not fit the data; or mean and scale are
            not finite numbers, one for each feature, the scale above zero.
    """

    mean: Tensor | None
    scale: Tensor | None

    def __init__(
        self,
        input_size: int,
        num_classes: int,
        hidden_size: int = 16,
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        bias: bool = True,
        init: Literal["keras", "torch"] = "keras",
        class_names: Sequence[str] | None = None,
        feature_names: Sequence[str] | None = None,
        mean: Sequence[float] | None = None,
        scale: Sequence[float] | None = None,
        from_keras: str | dict[str, Any] | None = None,
        num_values: int = 0,
        per_step: bool = False,
        kernel: Kernel = "auto",
        steps_per_execution: int | None = None,
    ) -> None:
        super().__init__()
        gate.statistics(mean, scale, input_size)
        wanted = Wanted(input_size, num_classes, num_values, per_step)
        ported = ported_network(from_keras, wanted) if from_keras is not None else None
        if ported is None:
            require_classes(wanted)
        # a checkpoint must not need the file
        from_keras = None if ported is None else dict(ported.description)
        self.save_hyperparameters()
        if ported is not None and ported.num_ids is not None and mean is not None:
            raise InputError("the Keras model reads ids; leave out --data.standardize.")
        self.head: Head = (
            ported.head if ported is not None else ClassHead(1 if num_classes == 2 else num_classes)
        )
        self.class_names = tuple(class_names or map(str, range(self.head.num_names)))
        self.feature_names = tuple(feature_names or map(str, range(input_size)))
        self.network = ported or GRUNet(
            input_size,
            self.head.size,
            hidden_size,
            num_layers,
            bidirectional,
            dropout,
            bias,
            kernel,
        )
        if init == "keras" and ported is None:
            keras_init_(self.network)
        self.register_buffer("mean", None if mean is None else torch.tensor(mean))
        self.register_buffer("scale", None if scale is None else torch.tensor(scale))
        self.train_means, self.val_means, self.test_means = (EpochMeans() for _ in range(3))
        self.confusion: MulticlassConfusionMatrix | None = None
        if 0 < num_classes <= MATRIX_CLASSES and isinstance(self.head, ClassHead):
            self.confusion = MulticlassConfusionMatrix(num_classes, validate_args=False)
        self._predictor: CompiledPredictor | None = None
        self._flushed = -math.inf  # when the loggers were
        self.optimization: dict[str, Any] | None = None  # what the command line asked for
        self._resumed_steps: int | None = None  # those of the epoch that is finished first
        self._resumed: list[dict[str, Tensor]] | None = None  # what each process has to go on with

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what holds addresses and a lock: it is made anew."""
        return super().__getstate__() | {"_predictor": None}

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return logits (batch, label) for raw sequences (batch, time, feature).

        A Keras model may answer for each step, (batch, step, label), or with values.
        """
        logits: Tensor = self.network(self.standardized(values), lengths)
        return logits

    def summarize(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return the GRU's summaries (batch, summary) of raw sequences (batch, time, feature)."""
        assert isinstance(self.network, GRUNet)
        return self.network.summarize(self.standardized(values), lengths)

    def standardized(self, values: Tensor) -> Tensor:
        """Return raw sequences (batch, time, feature) as the network sees them."""
        if self.mean is None or self.scale is None:
            return values
        return (values - self.mean) / self.scale

    def steps_together(self, batches: int) -> int:
        """Return how many of an epoch's batches a training step takes; see ``execution``."""
        if self._resumed_steps is not None:
            return self._resumed_steps
        return steps_together(self, self.hparams["steps_per_execution"], batches)

    def training_step(self, batch: Batch | Block) -> Tensor | None:
        """Return the loss of a batch; take the steps of a block of them."""
        if isinstance(batch, Block):
            execute(self, batch)
            return None
        return self.evaluate(batch, self.train_means)

    def validation_step(self, batch: Batch) -> None:
        """Count a validation batch."""
        self.evaluate(batch, self.val_means)

    def test_step(self, batch: Batch) -> None:
        """Count a test batch."""
        self.evaluate(batch, self.test_means, self.confusion)

    def predict_step(self, batch: Batch, batch_idx: int = 0, dataloader_idx: int = 0) -> Tensor:
        """Return class probabilities (batch, class), or (batch, step, class), or values."""
        values = self.standardized(batch.values)
        if isinstance(self.network, GRUNet):
            return self.head.prediction(self.network(values, batch.lengths))
        return self.network.predictions(values, batch.lengths)

    def predict_proba(
        self, values: NDArray[np.floating], lengths: NDArray[np.integer] | None = None
    ) -> NDArray[np.floating]:
        """Return what is predicted, NumPy in and NumPy out.

        A GRUNet of one layer in one direction takes one compiled call, in which a sequence gets
        the same bits in any batch.

        Args:
            values: (N, T, F) raw sequences, padded.
            lengths: (N,) valid steps, which come first; None for all.

        Returns:
            (N, C) probability of each class; see :meth:`predict_step` for Keras models.

        Nothing is written to either: they may be read-only.

        Raises:
            InputError: Values or lengths do not fit the model, or what standardises is not finite.
        """
        predictor = self._predictor
        if predictor is None or not predictor.is_current():
            predictor = self._predictor = compiled_predictor(self)
        if predictor is not None:
            return predictor(values, lengths)
        training = self.training
        self.eval()
        with torch.inference_mode():
            answers = self.predict_step(self._batch(values, lengths))
        self.train(training)
        return answers.float().cpu().numpy()

    def _batch(self, values: Any, lengths: Any) -> Batch:
        """Return arrays as a batch, checked as the compiled call checks them."""
        like, features = next(self.parameters()), self.hparams["input_size"]
        gate.statistics(_array(self.mean), _array(self.scale), features)
        given = gate.sequences(values, features)
        held = torch.from_numpy(gate.ready(given, gate.float_of(like.dtype))).to(like)
        if lengths is None:
            return Batch(held, None, None)
        counts = torch.from_numpy(gate.whole("lengths", lengths, len(given), 1, given.shape[1]))
        return Batch(held, counts.to(like.device), None)

    def evaluate(
        self, batch: Batch, means: EpochMeans, confusion: MulticlassConfusionMatrix | None = None
    ) -> Tensor:
        """Count a batch; return its loss, as this process' part of the mean over processes."""
        assert batch.labels is not None
        values, valid = self.standardized(batch.values), None
        if isinstance(self.network, GRUNet):
            answers = self.network(values, batch.lengths)
        else:
            answers, valid = self.network.answers(values, batch.lengths)
        score = self.head.score(answers, batch.labels, valid)
        part = batch.share if valid is None else self._part(score.counted, batch)
        if batch.share:
            means.update(score, len(answers) * part / batch.share)
            if confusion is not None:
                found, true = predicted_classes(answers), batch.labels
                confusion.update(*((found, true) if valid is None else (found[valid], true[valid])))
        return score.loss * part

    def _part(self, counted: int, batch: Batch) -> float:
        """Return what this process' mean over the steps that count is of the mean over all."""
        world = self.trainer.world_size
        if world == 1:
            return 1.0
        own = torch.tensor(float(counted if batch.share else 0), device=self.device)
        total = self.trainer.strategy.reduce(own.clone(), reduce_op="sum")
        return float(own * world / total)

    def on_train_epoch_end(self) -> None:
        """Log the epoch's means, and start them afresh: a resumed epoch has no other start.

        Without ``self.log``, which takes half a millisecond for each number; and loggers flush once
        a second at most.

        Raises:
            InputError: The loss is not finite: no checkpoint is written of this epoch.
        """
        trainer, metrics = self.trainer, self.epoch_metrics("train")
        step = trainer.global_step
        require_finite_loss(float(metrics["train_loss"]), trainer.current_epoch, step)
        trainer.callback_metrics.update(metrics)
        trainer.logged_metrics.update(metrics)
        row = {name: float(value) for name, value in metrics.items()}
        now = time.monotonic()
        flushes = now - self._flushed >= 1.0
        for logger in trainer.loggers:
            # the step that Lightning logs an epoch's metrics at: its last
            logger.log_metrics(row | {"epoch": trainer.current_epoch}, trainer.global_step - 1)
            if flushes:
                logger.save()
        self._flushed = now if flushes else self._flushed
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

    def on_validation_epoch_end(self) -> None:
        """Log the validation means."""
        self.log_dict(self.epoch_metrics("val"))

    def on_test_epoch_start(self) -> None:
        """Start the test's means and confusion matrix afresh."""
        self.test_means.reset()
        if self.confusion is not None:
            self.confusion.reset()

    def on_test_epoch_end(self) -> None:
        """Log the test's scores."""
        scores = {}
        if self.confusion is not None:
            scores = scores_of(self.confusion.compute().cpu().numpy())
        self.log_dict(self.epoch_metrics("test") | {f"test_{k}": v for k, v in scores.items()})

    def epoch_metrics(self, stage: str) -> dict[str, Tensor]:
        """Return the running means of a stage over all processes, named as they are logged."""
        means: EpochMeans = getattr(self, f"{stage}_means")
        found = means.compute(self, self.head.metric)
        return {f"{stage}_{name}": value for name, value in found.items()}

    def configure_optimizers(self) -> Optimizer:
        """Return Keras' Adam with its default settings."""
        return KerasAdam(self.parameters())

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Mark the checkpoint as one of ours; keep what it takes to continue to the bit.

        Raises:
            InputError: A weight is not finite.
        """
        weights = checkpoint["state_dict"]
        require_finite_weights(weights, checkpoint["epoch"], checkpoint["global_step"])
        checkpoint["grulight_format"] = FORMAT
        checkpoint["optimization"] = self.optimization
        own = {"sums": self.train_means.sums.cpu(), "rng": torch.get_rng_state()}
        if self.device.type == "cuda":
            own["cuda_rng"] = torch.cuda.get_rng_state(self.device)
        checkpoint["processes"] = _of_all_processes(own)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take over what each process had, for the batches that are still to come."""
        if self._trainer is None:  # load_from_checkpoint: nothing is to come
            return
        if self.trainer.precision == "64-true":
            # Lightning loads the weights before it converts the module: they would be rounded
            self.double()
        self._resumed = checkpoint.get("processes")
        self._resumed_steps = go_on_within_epoch(self, checkpoint)

    def on_train_start(self) -> None:
        """Go on in the epoch's means and in the random numbers, which dropout draws from."""
        rank, world = self.trainer.global_rank, self.trainer.world_size
        resumed, self._resumed = self._resumed, None
        if resumed is not None and len(resumed) == world:
            own = resumed[rank]
            self.train_means.sums = own["sums"]
            torch.set_rng_state(own["rng"])
            if "cuda_rng" in own and self.device.type == "cuda":
                torch.cuda.set_rng_state(own["cuda_rng"], self.device)
            return
        self.train_means.reset()
        if resumed is not None and rank == 0:
            self.train_means.sums = torch.stack([own["sums"] for own in resumed]).sum(0)
        if rank:
            # its sequences are others: they need a dropout of their own
            torch.manual_seed(torch.initial_seed() + rank)


def _array(values: Tensor | None) -> NDArray[np.floating] | None:
    return None if values is None else values.detach().double().cpu().numpy()


def _of_all_processes(own: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    """Gather small tensors from every process; all of them call this."""
    if not distributed.is_initialized():
        return [own]
    everyones: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(everyones, own)
    return everyones
