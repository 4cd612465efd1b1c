"""What is trained: the loss, the metrics and the optimiser around a network; no layers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, distributed
from torch.nn import functional as F
from torch.optim import Optimizer
from torchmetrics.classification import MulticlassConfusionMatrix

from grulight.data.batches import Batch
from grulight.errors import InputError
from grulight.evaluation import scores_of
from grulight.init import keras_init_
from grulight.model import GRUNet
from grulight.optim import KerasAdam

if TYPE_CHECKING:
    from grulight.keras_files.classifier import PortedNetwork

FORMAT = 1  # of our checkpoints; counts up when an older grulight could not read them


def classification_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross entropy of logits (batch, label) and labels (batch,).

    A single logit is that of the second class: binary cross entropy. Keras' losses of the same
    name with ``from_logits=True`` are the same function.
    """
    if logits.shape[-1] == 1:
        return F.binary_cross_entropy_with_logits(logits[:, 0], labels.to(logits.dtype))
    return F.cross_entropy(logits, labels)


def probabilities(logits: Tensor) -> Tensor:
    """Turn logits (batch, label) into class probabilities (batch, class)."""
    if logits.shape[-1] == 1:
        second = logits.sigmoid()
        return torch.cat((1 - second, second), dim=-1)
    return logits.softmax(dim=-1)


class EpochMeans:
    """Running loss and accuracy of an epoch, each batch weighted by its size, as Keras reports.

    The sums stay on the device until they are asked for: a ``self.log`` per batch would cost
    more than the batch. They are no buffer, which DDP would overwrite with the first process'.
    """

    def __init__(self) -> None:
        self.sums: Tensor
        self.reset()

    def update(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Add sequences: their mean loss, logits (batch, label) and labels (batch,)."""
        right = (predicted_classes(logits) == labels).sum()
        count = torch.full_like(right, len(labels))
        # float32 alone would stop counting at 2**24 samples
        batch = torch.stack((loss.detach() * count, right, count)).to(_widest(loss.device))
        self.sums = batch + self.sums.to(batch)

    def compute(self, module: LightningModule) -> dict[str, Tensor]:
        """Return loss and accuracy so far, over all processes."""
        sums = self.sums.to(module.device, _widest(module.device), copy=True)
        loss, right, count = module.trainer.strategy.reduce(sums, reduce_op="sum")
        return {"loss": loss / count, "accuracy": right / count}

    def reset(self) -> None:
        """Forget all batches."""
        self.sums = torch.zeros(3, dtype=torch.float64)


def _widest(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64


def predicted_classes(logits: Tensor) -> Tensor:
    """Return the most probable class (batch,) for logits (batch, label)."""
    if logits.shape[-1] == 1:
        return (logits[:, 0] > 0).long()
    return logits.argmax(dim=-1)


class GRUClassifier(LightningModule):
    """Train a :class:`GRUNet` to name the class of a sequence.

    Args:
        input_size: Features per time step.
        num_classes: Classes; two are told apart by a single logit.
        hidden_size: Units of the GRU, the length of the summary per direction.
        num_layers: Stacked GRU layers.
        bidirectional: Also read the sequence backwards.
        dropout: Probability of zeroing between layers and before the head, in training only.
        bias: Whether the GRU has biases.
        init: Initial weights as Keras draws them (glorot, orthogonal, zeros) or as torch does.
        class_names: What each class is called.
        feature_names: What each feature is called.
        mean: Mean of each feature in training, subtracted first; None for no standardisation.
        scale: Standard deviation of each feature in training, divided by; None likewise.
        from_keras: A Keras model file, or its description from a checkpoint: its model takes the
            place of the GRUNet, and the sizes above are its own.

    Raises:
        InputError: The Keras model cannot be read, or does not fit the data.
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
    ) -> None:
        super().__init__()
        ported = None if from_keras is None else _ported(from_keras, input_size, num_classes)
        # a checkpoint must not need the file
        from_keras = None if ported is None else dict(ported.description)
        self.save_hyperparameters()
        self.class_names = tuple(class_names or map(str, range(num_classes)))
        self.feature_names = tuple(feature_names or map(str, range(input_size)))
        self.network = ported or GRUNet(
            input_size,
            1 if num_classes == 2 else num_classes,
            hidden_size,
            num_layers,
            bidirectional,
            dropout,
            bias,
        )
        if init == "keras" and ported is None:
            keras_init_(self.network)
        self.register_buffer("mean", None if mean is None else torch.tensor(mean))
        self.register_buffer("scale", None if scale is None else torch.tensor(scale))
        self.train_means, self.val_means, self.test_means = (EpochMeans() for _ in range(3))
        self.confusion = MulticlassConfusionMatrix(num_classes, validate_args=False)
        self.optimization: dict[str, Any] | None = None  # what the command line asked for
        self._resumed: list[dict[str, Tensor]] | None = None  # what each process has to go on with

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return logits (batch, label) for raw sequences (batch, time, feature)."""
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

    def training_step(self, batch: Batch) -> Tensor:
        """Return the loss of a batch, as this process' part of the mean over processes."""
        return self._evaluate(batch, self.train_means)[0] * batch.share

    def validation_step(self, batch: Batch) -> None:
        """Count a validation batch."""
        self._evaluate(batch, self.val_means)

    def test_step(self, batch: Batch) -> None:
        """Count a test batch."""
        assert batch.labels is not None
        _, logits = self._evaluate(batch, self.test_means)
        if batch.share:
            self.confusion.update(predicted_classes(logits), batch.labels)

    def predict_step(self, batch: Batch, batch_idx: int = 0, dataloader_idx: int = 0) -> Tensor:
        """Return class probabilities (batch, class)."""
        return probabilities(self(batch.values, batch.lengths))

    def _evaluate(self, batch: Batch, means: EpochMeans) -> tuple[Tensor, Tensor]:
        assert batch.labels is not None
        logits = self(batch.values, batch.lengths)
        loss = classification_loss(logits, batch.labels)
        if batch.share:
            means.update(loss, logits, batch.labels)
        return loss, logits

    def on_train_epoch_end(self) -> None:
        """Log the epoch's means, and start them afresh: a resumed epoch has no other start."""
        self.log_dict(self.epoch_metrics("train"))
        self.train_means.reset()

    def on_validation_epoch_start(self) -> None:
        """Start the validation means afresh."""
        self.val_means.reset()

    def on_validation_epoch_end(self) -> None:
        """Log the validation means."""
        self.log_dict(self.epoch_metrics("val"))

    def on_test_epoch_start(self) -> None:
        """Start the test's means and confusion matrix afresh."""
        self.test_means.reset()
        self.confusion.reset()

    def on_test_epoch_end(self) -> None:
        """Log the test's scores."""
        scores = scores_of(self.confusion.compute().cpu().numpy())
        self.log_dict(self.epoch_metrics("test") | {f"test_{k}": v for k, v in scores.items()})

    def epoch_metrics(self, stage: str) -> dict[str, Tensor]:
        """Return the running means of a stage over all processes, named as they are logged."""
        means: EpochMeans = getattr(self, f"{stage}_means")
        return {f"{stage}_{name}": value for name, value in means.compute(self).items()}

    def configure_optimizers(self) -> Optimizer:
        """Return Keras' Adam with its default settings."""
        return KerasAdam(self.parameters())

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Mark the checkpoint as one of ours; keep what it takes to continue to the bit."""
        checkpoint["grulight_format"] = FORMAT
        checkpoint["optimization"] = self.optimization
        own = {"sums": self.train_means.sums.cpu(), "rng": torch.get_rng_state()}
        if self.device.type == "cuda":
            own["cuda_rng"] = torch.cuda.get_rng_state(self.device)
        checkpoint["processes"] = _of_all_processes(own)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take over what each process had, for the batches that are still to come."""
        if self.trainer.precision == "64-true":
            # Lightning loads the weights before it converts the module: they would be rounded
            self.double()
        self._resumed = checkpoint.get("processes")

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


def _of_all_processes(own: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    """Gather small tensors from every process; all of them call this."""
    if not distributed.is_initialized():
        return [own]
    everyones: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(everyones, own)
    return everyones


def _ported(model: str | dict[str, Any], input_size: int, num_classes: int) -> "PortedNetwork":
    from grulight.keras_files.classifier import PortedNetwork
    from grulight.keras_files.port import load_keras, rebuild

    network = PortedNetwork(load_keras(model) if isinstance(model, str) else rebuild(model))
    name = model if isinstance(model, str) else "the ported model"
    if (network.input_size, network.num_classes) != (input_size, num_classes):
        raise InputError(
            f"{name}: reads {network.input_size} features and tells {network.num_classes} classes "
            f"apart, but the data have {input_size} features and {num_classes} classes."
        )
    return network
