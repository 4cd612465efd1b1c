"""Our training: the task, the batches and the Trainer of ``grulight fit``, watched."""

import csv
import logging
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from grulight.commands import fit
from grulight.data.batches import Batches
from grulight.data.blocks import Block, Blocks
from grulight.data.sequences import Sequences
from grulight.kernels.fused import Kernel
from grulight.runs.run_directory import directory_of
from grulight.runs.seeds import TABLE
from grulight.runs.signals import noted
from grulight.training.classifier import GRUClassifier
from grulight.training.divergence import Diverged
from grulight.training.epoch_means import EpochMeans
from grulight.training.steps_per_execution import MOST
from parity.question import Arrays, Network, Question
from parity.sides.answers import stack_snapshots
from parity.sides.quiet import without_warnings
from parity.sides.torch_network import classifier_for, copy_of, load_weights


class Watch(Callback):
    """Note the loss of every batch and, every few steps, the weights."""

    def __init__(self, every: int) -> None:
        self.every = every
        self.losses: list[float] = []
        self.snapshots: dict[int, Arrays] = {}  # by the steps taken

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take the loss that the training itself computed."""
        assert isinstance(pl_module, GRUClassifier)
        if not isinstance(batch, Block):
            self.losses.append(float(outputs["loss"]))
        if trainer.global_step % self.every == 0:
            weights = dict(pl_module.network.named_parameters())
            self.snapshots[trainer.global_step] = copy_of(weights)

    def has_diverged(self, steps: int, network: torch.nn.Module) -> None:
        """Have no numbers for the steps that were not taken, out of so many."""
        self.losses += [np.nan] * (steps - len(self.losses))
        nothing = {
            name: np.full_like(each, np.nan)
            for name, each in copy_of(dict(network.named_parameters())).items()
        }
        for step in range(self.every, steps + 1, self.every):
            self.snapshots.setdefault(step, nothing)


class SeenMeans(EpochMeans):
    """Note the mean loss of every batch, which nobody else sees of steps that are taken at once."""

    def __init__(self, losses: list[float]) -> None:
        super().__init__()
        self.losses = losses

    def add(self, sums: torch.Tensor) -> None:
        """Add the sums of batches, and note their losses."""
        rows = sums.reshape(-1, sums.shape[-1])
        self.losses += (rows[:, 0] / rows[:, 1]).tolist()
        super().add(sums)


def train(question: Question, device: torch.device, kernel: Kernel = "auto") -> Arrays:
    """Answer a "training" question with Lightning's Trainer on grulight's own task."""
    watch = _watched(question, device, kernel)
    return _answer(question, watch)


def train_together(
    question: Question, device: torch.device, kernel: Kernel = "auto"
) -> tuple[Arrays, list[int]]:
    """Answer a "training" question with many steps in one of Lightning's, as ``grulight fit`` does.

    Returns:
        The answer, whose weights are those at the ends of executions; and which snapshots of a
        whole answer these are.
    """
    batches = -(-question.inputs["order"].shape[1] // question.settings["batch_size"])
    watch = _watched(question, device, kernel, min(batches, MOST))
    every = question.settings["every"]
    return _answer(question, watch), [step // every - 1 for step in watch.snapshots]


def _answer(question: Question, watch: Watch) -> Arrays:
    snapshots = stack_snapshots("train", list(watch.snapshots.values()))
    return {"train.loss": np.array(watch.losses, question.dtype)} | snapshots


def _watched(
    question: Question, device: torch.device, kernel: Kernel, together: int | None = None
) -> Watch:
    task = classifier_for(question.network, kernel)
    load_weights(task.network, question.weights)
    order = question.inputs["order"]
    watch = Watch(question.settings["every"])
    if together is not None:
        task.train_means = SeenMeans(watch.losses)
    trainer = quiet_trainer(len(order), device, question.dtype, watch)
    batches = Batches(
        sequences_of(question.network, question.inputs),
        question.settings["batch_size"],
        order.__getitem__,
        lambda: trainer.current_epoch,
    )
    try:
        with without_warnings():
            trainer.fit(task, batches if together is None else Blocks(batches, together))
    except Diverged:  # an answer, which the other side may not give
        watch.has_diverged(len(order) * len(batches), task.network)
    return watch


def train_seeds(network: Network, data: Arrays, held_out: Arrays, seeds: int) -> Arrays:
    """Train as ``grulight fit --seeds`` does; return loss and accuracy on held-out data."""
    sizes = {"hidden_size": network.hidden_size, "num_layers": network.num_layers}
    sizes |= {"bidirectional": network.bidirectional, "bias": network.bias}
    options = [f"--model.{name}={value}" for name, value in sizes.items()]
    options += [f"--data.num_classes={max(2, network.num_outputs)}", "--data.targets=classes"]
    with TemporaryDirectory() as directory:
        for name, part in (("source", data), ("test_source", held_out)):
            file = Path(directory, f"{name}.npz")
            words = {"values": "x", "labels": "y", "lengths": "lengths"}
            np.savez(file, allow_pickle=False, **{words[name]: part[name] for name in part})
            options.append(f"--data.{name}={file}")
        where = f"--trainer.default_root_dir={directory}"
        with without_warnings(), redirect_stdout(StringIO()), noted():  # gives SIGTERM back
            fit.run([*options, f"--seeds={seeds}", "--seed_everything=0", where])
        with (directory_of(directory, 0) / TABLE).open() as table:
            rows = list(csv.DictReader(table))
    return {
        name: np.array([float(row[f"test_{name}"]) for row in rows])
        for name in ("loss", "accuracy")
    }


def sequences_of(network: Network, data: Arrays) -> Sequences:
    """Wrap arrays as the form that grulight's batches take."""
    count, time = data["values"].shape[:2]
    classes = max(2, network.num_outputs) if network.answer == "classes" else 0
    return Sequences(
        data["values"],
        data.get("lengths", np.full(count, time)),
        data["labels"],
        tuple(map(str, range(classes))),
        tuple(map(str, range(network.input_size))),
        np.arange(count).astype(str),
        "parity",
    )


def quiet_trainer(epochs: int, device: torch.device, dtype: str, *callbacks: Callback) -> Trainer:
    """Return the Trainer of ``grulight fit`` without its files and its output."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with without_warnings():
        return Trainer(
            max_epochs=epochs,
            accelerator="gpu" if device.type == "cuda" else "cpu",
            devices=1,
            precision="64-true" if dtype == "float64" else "32-true",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=list(callbacks),
        )
