"""Validation batches are read together, and every number is that of one by one, to the bit."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lightning.pytorch import Callback, Trainer

from grulight.data.batches import Batch
from grulight.data.blocks import Block
from grulight.data.datamodule import SequenceDataModule
from grulight.training import evaluating
from grulight.training.classifier import GRUClassifier
from grulight.training.evaluating import EvaluatingModule
from grulight.training.measured import Answers

Run = Callable[..., str]
RUN = Path("lightning_logs/version_0")
COMMON = ("--trainer.max_epochs", 2, "--data.val_size", 0.3, "--data.batch_size", 17)


class LooksAtEach(Callback):
    """A callback of a user's that sees the validation's batches."""

    def on_validation_batch_end(self, *args: object) -> None: ...


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[type]:
    """Return the kinds of what validation steps will have got."""
    found: list[type] = []
    step = EvaluatingModule.validation_step

    def spy(self: EvaluatingModule, batch: Batch | Block) -> None:
        found.append(type(batch))
        step(self, batch)

    monkeypatch.setattr(EvaluatingModule, "validation_step", spy)
    return found


def rows(root: str) -> list[dict[str, str]]:
    with (Path(root) / RUN / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def write_ragged(name: str) -> None:
    rng = np.random.default_rng(0)
    x, lengths = rng.normal(size=(200, 6, 2)), rng.integers(1, 7, 200)
    sums = x.cumsum(axis=1)
    y = {
        "classes": lambda: sums[:, -1, 0] > 0,
        "classes per step": lambda: (sums[..., 0] > 0).astype(int) + (sums[..., 1] > 0),
        "values": lambda: sums[:, -1] * 10 + 300,
        "labels": lambda: sums[:, -1] > 0,
    }[name]()
    np.savez(f"{name}.npz", x=x, lengths=lengths, y=y)


@pytest.mark.parametrize(
    "options",
    [
        ("--early_stopping", "val_loss"),
        ("--model.num_layers", 2, "--model.bidirectional", "true", "--model.dropout", 0.3),
        ("--lr_scheduler", "ReduceLROnPlateau", "--lr_scheduler.monitor", "val_loss"),
        *(("--data.source", f"{n}.npz") for n in ("classes per step", "values", "labels")),
    ],
    ids=["early stopping", "deep", "plateau", "classes per step", "values", "labels"],
)
def test_what_is_logged_has_the_same_bits(
    run: Run,
    seen: list[type],
    options: tuple[object, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(evaluating, "_AT_ONCE", 3000)  # numbers: a few batches
    if options[0] == "--data.source":
        write_ragged(str(options[1]).removesuffix(".npz"))
    together = ("--trainer.default_root_dir", "together", *COMMON, *options)
    run("fit", *together)
    assert set(seen) == {Block}
    seen.clear()
    alone = ("--trainer.callbacks+=test_validation_together.LooksAtEach",)
    run("fit", "--trainer.default_root_dir", "alone", *COMMON, *options, *alone)
    assert set(seen) == {Batch}
    assert rows("together") == rows("alone")
    assert "val_loss" in rows("alone")[-1]


@pytest.mark.parametrize(
    "options",
    [("--trainer.limit_val_batches", 2), ("--model.kernel", "torch")],
    ids=["a limit", "another kernel"],
)
def test_what_counts_or_cannot_read_together_gets_batches(
    run: Run, seen: list[type], options: tuple[object, ...]
) -> None:
    run("fit", *COMMON, *options)
    assert set(seen) == {Batch}


def test_validate_says_what_the_training_did(run: Run, seen: list[type]) -> None:
    write_ragged("classes")
    data = ("--data.source", "classes.npz")
    run("fit", *COMMON, *data)
    seen.clear()
    last = RUN / "checkpoints" / "last.ckpt"
    said = run("validate", "--ckpt_path", last, *data, *COMMON[2:])
    assert set(seen) == {Block}
    [*_, loss] = filter(None, (row["val_loss"] for row in rows(".")))
    assert f"{float(loss):.4f}" in said


class SeesBatches(GRUClassifier):
    """A module of a user's that looks at what it is given, and at what is answered."""

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        return batch._replace(values=batch.values * 2)

    def transfer_batch_to_device(self, batch: Batch, *args: Any) -> Batch:
        self.moved = True
        return batch

    def answers(self, batch: Batch) -> Answers:
        self.asked = True
        return super().answers(batch)


@pytest.mark.filterwarnings(
    "ignore::UserWarning", "ignore::lightning.pytorch.utilities.warnings.PossibleUserWarning"
)
def test_a_module_of_ones_own_is_given_batches() -> None:
    data = SequenceDataModule("waves", val_size=0.2, seed=0)
    model = SeesBatches(**data.describe())
    silent = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar"), False)
    Trainer(max_epochs=1, accelerator="cpu", **silent).fit(model, datamodule=data)
    assert model.asked
    assert model.moved
