"""The built-in data: it lands on the original's trace, and only a model of time can read it."""

import csv
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer

from grulight.data.batches import Batches, shuffled
from grulight.data.sequences import Sequences
from grulight.data.waves import waves
from grulight.training.classifier import GRUClassifier

# what Keras reported over the running epochs of the original pipeline: loss, accuracy
ORIGINAL = np.array([[1.20, 0.45], [0.85, 0.62], [0.65, 0.75], [0.50, 0.82], [0.40, 0.87]])
TRAVELLING = (0, 1)


def test_waves_are_what_the_original_pipeline_had() -> None:
    data = waves()
    assert data.values.shape == (1000, 10, 5)
    assert data.values.dtype == np.float32
    assert data.class_names == ("up", "down", "still")
    assert (data.lengths == 10).all()
    np.testing.assert_array_equal(data.values, waves().values)
    for part in (data.part(0, 800), data.part(800, 1000)):
        assert np.bincount(part.labels).min() > 0.25 * len(part)


def trained(data: Sequences, epochs: int) -> GRUClassifier:
    torch.manual_seed(0)
    classifier = GRUClassifier(5, 3)
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    part = data.part(0, 800)
    trainer.fit(
        classifier, Batches(part, 32, partial(shuffled, 800, 0), lambda: trainer.current_epoch)
    )
    return classifier.eval()


def predicted(classifier: GRUClassifier, data: Sequences) -> np.ndarray:
    with torch.no_grad():
        return classifier(torch.tensor(data.values)).argmax(1).numpy()


@pytest.mark.filterwarnings("ignore:You defined a `validation_step`")
def test_trained_to_convergence_the_model_reads_the_last_200() -> None:
    test = waves().part(800, 1000)
    assert (predicted(trained(waves(), 30), test) == test.labels).mean() >= 0.95


@pytest.mark.filterwarnings("ignore:You defined a `validation_step`")
def test_without_the_order_of_events_up_and_down_cannot_be_told_apart() -> None:
    data = waves()
    values = np.random.default_rng(0).permuted(np.arange(10)[None].repeat(1000, 0), axis=1)
    data = replace(data, values=np.take_along_axis(data.values, values[:, :, None], axis=1))
    test = data.part(800, 1000)
    travelling = np.isin(test.labels, TRAVELLING)
    found = predicted(trained(data, 30), test)
    assert (found[travelling] == test.labels[travelling]).mean() <= 0.60


@pytest.mark.slow
def test_the_default_run_lands_on_the_original_table(run: Callable[..., str]) -> None:
    tables = []
    for seed in range(10):
        run("fit", "--seed_everything", seed, "--trainer.default_root_dir", f"seed{seed}")
        with Path(f"seed{seed}/lightning_logs/version_0/metrics.csv").open() as file:
            rows = [row for row in csv.DictReader(file) if row["train_loss"]]
        tables.append([[float(r["train_loss"]), float(r["train_accuracy"])] for r in rows])
    np.testing.assert_allclose(np.mean(tables, axis=0), ORIGINAL, rtol=0, atol=0.05)


@pytest.mark.slow
def test_japanese_vowels_reach_what_was_published(run: Callable[..., str]) -> None:
    config = Path(__file__).parent.parent / "grulight" / "configs" / "japanese_vowels.yaml"
    accuracies = []
    for seed in range(5):
        run("fit", "--config", config, "--seed_everything", seed,
            "--trainer.default_root_dir", f"seed{seed}")  # fmt: skip
        with Path(f"seed{seed}/lightning_logs/version_0/metrics.csv").open() as file:
            accuracies += [
                float(r["test_accuracy"]) for r in csv.DictReader(file) if r["test_accuracy"]
            ]
    assert len(accuracies) == 5
    assert np.mean(accuracies) >= 0.978
