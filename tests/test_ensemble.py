"""A run of several seeds is measured as one model: by the mean of its models' predictions."""

import csv
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn import metrics as theirs

from grulight.cli import main
from grulight.data.waves import waves
from grulight.heads import ClassHead, LabelHead, ValueHead

Run = Callable[..., str]
Numbers = NDArray[np.float64]

COUNT, TESTED, STEPS = 60, 20, 5
DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(COUNT, STEPS, 2)).astype(np.float32)
LENGTHS = DRAW.integers(2, STEPS + 1, COUNT)
WEIGHTS = DRAW.uniform(0.5, 2, COUNT)
SUMS = X.cumsum(1)
SHORT = ("--trainer.max_epochs", 1)


@dataclass
class Answers:
    """What the test part is: targets, predictions (N, K) of all, and weights, a row per answer."""

    targets: NDArray[np.generic]
    found: Numbers
    weights: Numbers


def of_classes(answers: Answers) -> dict[str, float]:
    classes, chosen = answers.targets.astype(int), answers.found.argmax(1)
    probable = answers.found[np.arange(len(classes)), classes]
    one_hot = np.eye(answers.found.shape[1])[classes]
    ranked = (one_hot[:, 1:], answers.found[:, 1:]) if one_hot.shape[1] == 2 else ()
    return {
        "loss": np.mean(-np.log(probable) * answers.weights),
        "accuracy": np.mean(chosen == classes),
        "balanced_accuracy": theirs.balanced_accuracy_score(classes, chosen),
        "macro_f1": theirs.f1_score(classes, chosen, average="macro"),
    } | ranking(*(ranked or (one_hot, answers.found)))


def of_labels(answers: Answers) -> dict[str, float]:
    holds, found = answers.targets.astype(bool), answers.found
    losses = -np.log(np.where(holds, found, 1 - found)).mean(1)
    return {
        "loss": np.mean(losses * answers.weights),
        "accuracy": np.mean((found > 0.5) == holds),
    } | ranking(holds, found)


def ranking(holds: Numbers, found: Numbers) -> dict[str, float]:
    return {
        "roc_auc": theirs.roc_auc_score(holds, found),
        "average_precision": theirs.average_precision_score(holds, found),
    }


def of_values(answers: Answers) -> dict[str, float]:
    true, found = answers.targets, answers.found
    scaled = (found - true) / VALUES[: COUNT - TESTED].reshape(-1, 2).std(0)
    return {
        "loss": np.mean((scaled**2).mean(1) * answers.weights),
        "mae": theirs.mean_absolute_error(true, found),
        "rmse": np.sqrt(theirs.mean_squared_error(true, found)),
        "r2": theirs.r2_score(true, found),
    }


VALUES = np.stack([1e3 * SUMS[:, -1, 0], SUMS[:, 1, 1] / 1e3], 1)
TERCILES = np.quantile(SUMS[:, :, 0], [1 / 3, 2 / 3])
CASES = {
    "classes": (np.digitize(SUMS[:, -1, 0], TERCILES), of_classes),
    "two classes": (np.where(SUMS[:, -1, 0] > 0, 1, 0), of_classes),
    "labels": (np.stack([SUMS[:, -1, n] > m for n in (0, 1) for m in (-1, 1)], 1) * 1, of_labels),
    "values": (VALUES, of_values),
    "classes of steps": (np.digitize(SUMS[:, :, 0], TERCILES), of_classes),
    "labels of steps": (
        (np.stack([SUMS > -1, SUMS > 1], 2) * 1).reshape(COUNT, STEPS, 4),
        of_labels,
    ),
}


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def answered(targets: NDArray[np.generic], table: Path) -> Answers:
    """Return the test part's targets beside the predictions of a table."""
    rows, names = rows_of(table), [str(n) for n in range(COUNT - TESTED, COUNT)]
    rows = [row for row in rows if row["sequence"] in names]
    found = [[float(v) for k, v in row.items() if k.startswith(("prob", "value"))] for row in rows]
    at = np.array([int(row["sequence"]) for row in rows])
    steps = (np.array([int(row["step"]) for row in rows]),) if "step" in rows[0] else ()
    return Answers(targets[(at, *steps)], np.array(found), WEIGHTS[at])


@pytest.mark.parametrize("name", CASES)
def test_an_ensemble_is_as_good_as_the_table_of_its_predictions(run: Run, name: str) -> None:
    targets, measure = CASES[name]
    np.savez("a.npz", x=X, y=targets, lengths=LENGTHS, weights=WEIGHTS)
    read = ("--data.source", "a.npz")
    size = ("--data.train_size", COUNT - TESTED, "--data.batch_size", TESTED)
    run("fit", "--seeds", 2, *read, *size, "--optimizer.lr", 0.05, "--trainer.max_epochs", 5)
    together = Path("lightning_logs/version_0")
    run("predict", "--ckpt_path", together, *read)
    expected = measure(answered(targets, Path("predictions.csv")))
    [found] = rows_of(together / "metrics.csv")
    alone = rows_of(together / "seeds.csv")
    assert {f"test_{each}" for each in expected} == set(found) - {"epoch", "step"}
    for each, value in expected.items():
        assert float(found[f"test_{each}"]) == pytest.approx(value, rel=2e-5), each
    apart = [abs(float(row["test_loss"]) / expected["loss"] - 1) for row in alone]
    assert min(apart) > 1e-3


@pytest.fixture(scope="module")
def of_seeds(run: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return a run of two seeds, and what it printed."""
    root = tmp_path_factory.mktemp("seeds")
    where = ("--trainer.default_root_dir", root)
    printed = run("fit", "--seeds", 2, "--data.val_size", 0.1, *SHORT, *where)
    return root / "lightning_logs" / "version_0", printed


@pytest.fixture
def together(of_seeds: tuple[Path, str]) -> Path:
    """Return a copy of the run of two seeds."""
    shutil.copytree(of_seeds[0], "together")
    return Path("together")


@pytest.mark.usefixtures("drawn")
def test_fit_says_what_test_measures(run: Run, of_seeds: tuple[Path, str]) -> None:
    at, printed = of_seeds
    assert "test, 2 seeds      mean    ± deviation  ensemble" in printed
    said = printed.partition("ensemble")[2]
    table = run("test", "--ckpt_path", at)
    assert "2 models answer together, with the mean of their predictions" in table
    assert "true ↓  predicted →" in table
    for name in ("loss", "accuracy", "macro f1", "roc auc"):
        [ours] = [line.split()[-1] for line in said.splitlines() if line.startswith(name)]
        [theirs] = [line.split()[-1] for line in table.splitlines() if line.startswith(name)]
        assert ours == theirs
    [row] = rows_of(at / "metrics.csv")
    [again] = rows_of(Path("lightning_logs/version_0/metrics.csv"))
    assert row == again
    picture = Path("lightning_logs/version_0/confusion_matrix.png")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_validation_part_is_measured_too(run: Run, of_seeds: tuple[Path, str]) -> None:
    printed = run("validate", "--ckpt_path", of_seeds[0])
    run("predict", "--ckpt_path", of_seeds[0], "--data.source", "waves")
    rows = rows_of(Path("predictions.csv"))[720:800]
    labels = np.array(waves().labels)[720:800]
    names = ("up", "down", "still")
    found = np.array([[float(row[f"probability_{name}"]) for name in names] for row in rows])
    right = np.mean(found.argmax(1) == labels)
    assert f"accuracy    {right:.4f}" in printed
    assert f"loss        {np.mean(-np.log(found[np.arange(80), labels])):.4f}" in printed


def test_a_seed_that_was_interrupted_does_not_answer(run: Run, together: Path) -> None:
    runs = together / "lightning_logs"
    shutil.copytree(runs / "version_1", runs / "version_2")
    assert ": 2 models answer together" in run("test", "--ckpt_path", together)


def refusal(capsys: pytest.CaptureFixture[str], command: str, *options: object) -> str:
    assert main([command, *map(str, options)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert len(said) <= 501
    return said


@pytest.mark.parametrize("command", ["test", "validate", "predict"])
def test_another_directory_is_no_checkpoint(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    Path("empty").mkdir()
    said = refusal(capsys, command, "--ckpt_path", "empty")
    assert "empty: is a directory, but no run of `grulight fit --seeds`" in said


def test_models_that_do_not_belong_together_are_refused(
    run: Run, together: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    second = together / "lightning_logs" / "version_1" / "checkpoints" / "best.ckpt"
    run("fit", "--data.train_size", 700, "--data.val_size", 0.1, *SHORT)
    shutil.copy("lightning_logs/version_0/checkpoints/best.ckpt", second)
    said = refusal(capsys, "test", "--ckpt_path", together)
    assert f"{second}: was trained on other data than " in said
    np.savez("a.npz", x=X, y=CASES["two classes"][0])
    run("fit", "--data.source", "a.npz", "--data.val_size", 0.1, *SHORT)
    shutil.copy("lightning_logs/version_1/checkpoints/best.ckpt", second)
    said = refusal(capsys, "predict", "--ckpt_path", together, "--data.source", "waves")
    assert f"{second}: has another " in said
    second.unlink()
    second.with_name("last.ckpt").unlink()
    assert "is not there" in refusal(capsys, "test", "--ckpt_path", together)


def test_models_that_are_sure_of_different_things_leave_the_loss_finite() -> None:
    answers = torch.tensor([[[200.0, -200.0]], [[-200.0, 200.0]]])
    classes = torch.tensor([0])
    assert ClassHead(2).loss(ClassHead(2).averaged(answers), classes) == pytest.approx(np.log(2))
    for head in (ClassHead(1), LabelHead(1)):
        both = head.averaged(torch.tensor([[[200.0]], [[-200.0]]]))
        assert head.prediction(both).unique() == 0.5
        sure = head.averaged(torch.tensor([[[200.0]], [[300.0]]]))
        assert head.prediction(sure)[0, -1] == 1
        assert torch.isfinite(sure).all()
    values = ValueHead(1, mean=(5.0,), scale=(2.0,))
    assert values.prediction(values.averaged(torch.tensor([[[1.0]], [[2.0]]]))) == 8.0
