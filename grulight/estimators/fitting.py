"""One training without a trace: no output, no files, and every random generator as it was."""

import logging
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from grulight.data.datamodule import SequenceDataModule
from grulight.training.classifier import GRUClassifier
from grulight.training.unprofiled import spare_profiler

# torch's generators, Python's warnings and Lightning's loggers belong to the whole process
ONE_AT_A_TIME = threading.Lock()
_LOGGERS = ("lightning.pytorch", "lightning.fabric")


class LossCurve(Callback):
    """Keep each epoch's loss, and print it where asked to.

    Args:
        verbose: Whether to print.

    Attributes:
        losses: The training loss of each epoch.
    """

    def __init__(self, verbose: bool) -> None:
        self.losses: list[float] = []
        self._verbose = verbose

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the loss of the epoch."""
        assert isinstance(pl_module, GRUClassifier)
        found = {name: float(each) for name, each in pl_module.epoch_metrics("train").items()}
        self.losses.append(found["train_loss"])
        if self._verbose:
            shown = "  ".join(f"{name} {value:.4f}" for name, value in found.items())
            print(f"epoch {trainer.current_epoch + 1}  {shown}", flush=True)


class StopAtBest(Callback):
    """End the training when validation gets no better, and go back to the best weights.

    Args:
        patience: Epochs without a lower loss that are waited for.
    """

    def __init__(self, patience: int) -> None:
        self._patience, self._waited = patience, 0
        self._lowest, self._best = float("inf"), dict[str, Tensor]()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare the epoch's validation loss with the lowest."""
        assert isinstance(pl_module, GRUClassifier)
        loss = float(pl_module.epoch_metrics("val")["val_loss"])
        self._waited += 1
        if loss < self._lowest:
            self._lowest, self._waited = loss, 0
            self._best = {name: each.clone() for name, each in pl_module.state_dict().items()}
        trainer.should_stop |= self._waited >= self._patience

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the weights of the lowest loss."""
        if self._best:
            pl_module.load_state_dict(self._best)


def trainer_for(accelerator: str, max_epochs: int, callbacks: list[Callback]) -> Trainer:
    """Return a Trainer that writes nothing and uses one device of this process."""
    with _quiet():
        trainer = Trainer(
            accelerator=accelerator,
            devices=1,
            max_epochs=max_epochs,
            callbacks=callbacks,
            plugins=[LightningEnvironment()],  # also within a job of several processes
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
    spare_profiler(trainer)
    return trainer


def train(trainer: Trainer, model: GRUClassifier, data: SequenceDataModule) -> None:
    """Train, say nothing, and let go of the Trainer.

    Raises:
        KeyboardInterrupt: The user interrupted it.
    """
    before = signal.getsignal(signal.SIGINT)
    try:
        with _quiet():
            trainer.fit(model, datamodule=data)
    except SystemExit as stop:
        # Lightning exits on Ctrl+C and ignores it from then on
        if not isinstance(stop.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, before)
        raise KeyboardInterrupt from None
    model.to("cpu").eval()
    model.trainer = None  # it holds the data


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Draw torch's random numbers from a seed, then give its generators back as they were."""
    indices = [device.index or 0] if device.type == "cuda" else []
    with torch.random.fork_rng(indices):
        torch.default_generator.manual_seed(seed)
        for index in indices:
            with torch.cuda.device(index):
                torch.cuda.manual_seed(seed)
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what Lightning says of settings, all of which are ours."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [each.level for each in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for each in loggers:
            each.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for each, level in zip(loggers, levels, strict=True):
                each.setLevel(level)
