"""grulight: `grulight fit` timed from a callback of its Trainer, and ``predict_proba``."""

import copy
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from epoch_boundary import EpochBoundary
from lightning.pytorch import LightningModule, Trainer
from peer_server import Peer, serve
from torch.nn.functional import cross_entropy
from work import Array, Work, load

import grulight
from grulight import GRUClassifier
from grulight.checkpoint_files.reader import FORMAT
from grulight.cli import main
from grulight.data.shuffling import shuffled_sequences
from grulight.model import GRUNet
from grulight.optim import KerasAdam
from grulight.runs.launchers import is_first_process

# An epoch in float32 ends where float64 ends but for rounding, which training amplifies. nn.GRU's
# own distance is taken as the measure, as the proof does with its noise floors.
FLOORS = 8.0


class Witness(EpochBoundary):
    """Train the first epoch once more in float64, with nn.GRU and a plain loop."""

    wrong: str | None = "the first epoch was not seen"

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the weights before they move."""
        self.before = copy.deepcopy(pl_module.network.state_dict())

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare after the first epoch, outside the time that is taken."""
        if trainer.current_epoch == 1 and trainer.is_global_zero:
            Witness.wrong = self._compare(trainer, pl_module)
        super().on_train_epoch_start(trainer, pl_module)

    def _compare(self, trainer: Trainer, module: LightningModule) -> str | None:
        exact, theirs = (self._trained(trainer, dtype) for dtype in (torch.float64, torch.float32))
        found = {name: tensor.cpu() for name, tensor in module.network.state_dict().items()}
        ours, noise = (_distance(each, exact) for each in (found, theirs))
        # below a rounding of each of the steps there is no difference to speak of
        bound = FLOORS * max(noise, torch.finfo(torch.float32).eps)
        if ours <= bound:
            return None
        return f"its first epoch ends {ours:.1e} from float64's; at most {bound:.1e}"

    def _trained(self, trainer: Trainer, dtype: torch.dtype) -> dict[str, torch.Tensor]:
        data = trainer.datamodule
        part = data.parts.train
        units = self.before["gru.weight_hh_l0"].shape[1]
        net = GRUNet(part.values.shape[2], len(self.before["head.bias"]), units, kernel="torch")
        net.load_state_dict(self.before)
        net.to(dtype)
        optimizer = KerasAdam(net.parameters())
        order = torch.from_numpy(shuffled_sequences(part, data.seed, 0))
        values, labels = torch.tensor(part.values, dtype=dtype), torch.tensor(part.labels)
        for chosen in order.split(data.batch_size):
            optimizer.zero_grad()
            cross_entropy(net(values[chosen]), labels[chosen]).backward()
            optimizer.step()
        return net.state_dict()


def _distance(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> float:
    return max(
        float((ours[name].double() - theirs[name].double()).abs().max() / theirs[name].abs().max())
        for name in theirs
    )


def build(work: Work, arguments: Sequence[str]) -> Peer:
    """Train with further options of `grulight fit`, and predict with the work's weights."""
    classifier = classifier_of(work)

    versions = f"grulight {version('grulight')}, numba {version('numba')}"
    verify = None if arguments[:1] == ["option"] else lambda: Witness.wrong
    return Peer(
        versions,
        classifier.predict_proba,
        partial(gradients, classifier),
        lambda: train(work, arguments),
        verify,
    )


def gradients(classifier: GRUClassifier, values: Array, labels: Array) -> dict[str, Array]:
    """Return the gradient of the mean cross entropy by every weight."""
    loss = cross_entropy(classifier(torch.from_numpy(values)), torch.from_numpy(labels))
    names, leaves = zip(*classifier.network.named_parameters(), strict=True)
    grads = torch.autograd.grad(loss, leaves)
    return {name: grad.numpy() for name, grad in zip(names, grads, strict=True)}


def classifier_of(work: Work) -> GRUClassifier:
    """Return a classifier of the work's weights, by way of a checkpoint as a user has it."""
    sizes = {"input_size": work.x.shape[2], "num_classes": work.classes, "hidden_size": work.hidden}
    weights = {f"network.{n}": torch.from_numpy(array) for n, array in work.weights.items()}
    checkpoint = {"grulight_format": FORMAT, "hyper_parameters": sizes, "state_dict": weights}
    with tempfile.TemporaryDirectory() as directory:
        torch.save(checkpoint, Path(directory) / "work.ckpt")
        return grulight.load_classifier(Path(directory) / "work.ckpt")


def train(work: Work, arguments: Sequence[str]) -> None:
    """Run `grulight fit` on the work's sequences, for ever."""
    options: list[object] = ["--trainer.accelerator", "cpu", "--trainer.max_epochs", 10**9]
    options += ["--data.batch_size", work.batch, "--model.hidden_size", work.hidden]
    if arguments[:1] == ["option"]:  # the witness trains as the default does
        options += ["--trainer.callbacks+", "epoch_boundary.EpochBoundary", *arguments[1:]]
    else:
        options += ["--trainer.callbacks+", "grulight_fit.Witness", *arguments]
    source = Path("training.npz")  # the other ranks find it here
    if is_first_process():
        x, y = (np.concatenate(pair) for pair in ((work.x, work.x_test), (work.y, work.y_test)))
        np.savez(source, x=x, y=y)
    options += ["--data.source", source, "--data.train_size", len(work.x)]
    raise SystemExit(main(["fit", *map(str, options)]))


if __name__ == "__main__":
    import grulight_fit  # the name by which the command line finds the callback

    if is_first_process():
        serve(grulight_fit.build)
    else:
        grulight_fit.train(load(sys.argv[1]), sys.argv[2:])
