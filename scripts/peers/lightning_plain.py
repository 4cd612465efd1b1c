"""Plain Lightning as its tutorials have it: DataLoader, nn.GRU, self.log; or a whole script."""

import logging
import sys
import warnings
from collections.abc import Sequence

import lightning
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from peer_server import Peer, Unavailable, serve
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from work import Array, Work, load


class Classifier(LightningModule):
    """A GRU and a linear layer."""

    def __init__(self, work: Work) -> None:
        super().__init__()
        self.gru = nn.GRU(work.x.shape[2], work.hidden, batch_first=True)
        self.head = nn.Linear(work.hidden, work.classes)
        self.load_state_dict({n: torch.from_numpy(array) for n, array in work.weights.items()})

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        return self.head(self.gru(x)[1][-1])

    def _evaluate(self, batch: list[Tensor], stage: str) -> Tensor:
        x, y = batch
        logits = self(x)
        loss = nn.functional.cross_entropy(logits, y)
        accuracy = (logits.argmax(-1) == y).float().mean()
        self.log(f"{stage}_loss", loss, on_step=False, on_epoch=True)
        self.log(f"{stage}_accuracy", accuracy, on_step=False, on_epoch=True)
        return loss

    def training_step(self, batch: list[Tensor]) -> Tensor:
        """Return the loss, and log it with the accuracy."""
        return self._evaluate(batch, "train")

    def test_step(self, batch: list[Tensor]) -> None:
        """Log loss and accuracy."""
        self._evaluate(batch, "test")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam."""
        return torch.optim.Adam(self.parameters())


def build(work: Work, arguments: Sequence[str]) -> Peer:
    """Train with the Trainer's defaults, but a CSV logger and no bar: Keras draws none here.

    On a CPU, or on what Lightning calls the first argument: ``gpu``.
    """
    from epoch_boundary import EpochBoundary

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    if arguments and not torch.cuda.is_available():
        raise Unavailable("torch finds no CUDA device")
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    model = Classifier(work)

    def gradients(values: Array, labels: Array) -> dict[str, Array]:
        loss = nn.functional.cross_entropy(
            model(torch.from_numpy(values)), torch.from_numpy(labels)
        )
        names, leaves = zip(*model.named_parameters(), strict=True)
        grads = torch.autograd.grad(loss, leaves)
        return {name: grad.numpy() for name, grad in zip(names, grads, strict=True)}

    def train() -> None:
        trainer = Trainer(
            max_epochs=-1,
            accelerator=(*arguments, "cpu")[0],
            devices=1,
            callbacks=[EpochBoundary()],
            enable_progress_bar=False,
            logger=CSVLogger("."),
        )
        trainer.fit(model, loader(work.x, work.y, work.batch, shuffle=True))

    return Peer(f"lightning {lightning.__version__}", gradients=gradients, train=train)


def loader(x: Array, y: Array, batch: int, shuffle: bool) -> DataLoader:
    """Serve arrays in batches."""
    data = TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
    return DataLoader(data, batch_size=batch, shuffle=shuffle)


def script(work: Work) -> None:
    """Do what a run of `grulight fit` does, less its page: train, save, test."""
    model = Classifier(work)
    # the default logger would import TensorFlow where it is installed
    settings = {"logger": CSVLogger("."), "log_every_n_steps": 25}
    trainer = Trainer(max_epochs=5, accelerator="cpu", devices=1, **settings)
    trainer.fit(model, loader(work.x, work.y, work.batch, shuffle=True))
    trainer.test(model, loader(work.x_test, work.y_test, work.batch, shuffle=False))


if __name__ == "__main__":
    if sys.argv[2:] == ["script"]:
        script(load(sys.argv[1]))
    else:
        serve(build)
