"""Many steps in one of Lightning's: the same training, however many."""

import csv
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from interrupting import assert_same_run, assert_same_weights, strike, weights

from grulight.cli import main
from grulight.kernels.steps import train_steps

Run = Callable[..., str]
RUN = Path("lightning_logs/version_0")
TOGETHER = "--model.steps_per_execution"
DEEP = ("--model.num_layers", 2, "--model.bidirectional", "true", "--model.hidden_size", 5)
BY_STEP = ("--lr_scheduler", "StepLR", "--lr_scheduler.step_size", 1, "--lr_scheduler.gamma", 0.9)
COMPILED: dict[str, tuple[object, ...]] = {
    "AdamW, norm, rates": (
        *("--optimizer", "AdamW", "--optimizer.lr", 0.01, "--optimizer.weight_decay", 0.1),
        *("--trainer.gradient_clip_val", 0.05, *BY_STEP),
    ),
    "Adam, value": (
        *("--optimizer", "Adam", "--optimizer.lr", 0.01, "--optimizer.weight_decay", 0.01),
        *("--trainer.gradient_clip_val", 0.01, "--trainer.gradient_clip_algorithm", "value"),
    ),
    "Adam, largest squares": (
        *("--optimizer", "Adam", "--optimizer.lr", 0.05, "--optimizer.amsgrad", "true"),
        *("--lr_scheduler", "ExponentialLR", "--lr_scheduler.gamma", 0.5),
    ),
    "Keras' Adam, largest squares": (
        *("--optimizer", "KerasAdam", "--optimizer.lr", 0.05, "--optimizer.amsgrad", "true"),
    ),
    "Nesterov": (
        *("--optimizer", "SGD", "--optimizer.lr", 0.1, "--optimizer.momentum", 0.9),
        *("--optimizer.nesterov", "true", "--optimizer.weight_decay", 0.01),
    ),
    "dampened": (
        *("--optimizer", "SGD", "--optimizer.lr", 0.1, "--optimizer.momentum", 0.9),
        *("--optimizer.dampening", 0.5),
    ),
    "RMSprop": (
        *("--optimizer", "torch.optim.RMSprop", "--optimizer.momentum", 0.5),
        *("--optimizer.centered", "true", "--optimizer.lr", 0.001),
    ),
    "Keras' RMSprop": (
        *("--optimizer", "KerasRMSprop", "--optimizer.momentum", 0.5),
        *("--optimizer.centered", "true", "--optimizer.weight_decay", 0.01),
    ),
    "Keras' SGD": (
        *("--optimizer", "KerasSGD", "--optimizer.lr", 0.1, "--optimizer.momentum", 0.9),
        *("--optimizer.nesterov", "true", "--optimizer.weight_decay", 0.01),
    ),
    "frozen": ("--model.freeze", "gru.weight_ih*", "--trainer.gradient_clip_val", 0.05),
    "deep, dropped": (*DEEP, "--model.dropout", 0.3, "--data.source", "ragged.npz"),
    "deep, dropped, per step": (
        *(*DEEP, "--model.dropout", 0.3, "--data.source", "classes per step.npz"),
    ),
    "limited time": ("--trainer.max_time", "00:01:00:00"),
}
ANSWERS = ("values", "labels", "values per step", "classes per step")


def metrics(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def fitted(run: Run, name: str, *options: object) -> Path:
    run("fit", "--trainer.default_root_dir", name, *options)
    return name / RUN


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--data.batch_size", 30, "--data.standardize", "true"),
        ("--data.source", "ragged.npz", "--model.bias", "false", "--data.val_size", 0.2),
        ("--optimizer", "KerasAdam", "--optimizer.weight_decay", 0.01, "--optimizer.lr", 0.01),
        ("--optimizer", "SGD", "--optimizer.lr", 0.1),
        ("--model.num_layers", 2),
        *COMPILED.values(),
        *(("--data.source", f"{name}.npz", "--data.val_size", 0.2) for name in ANSWERS),
    ],
    ids=[
        "default",
        "uneven and standardised",
        "two classes, lengths",
        "decay",
        "SGD",
        "stacked",
        *COMPILED,
        *ANSWERS,
    ],
)
def test_the_training_is_the_same(
    run: Run, options: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_ragged(Path("ragged.npz"))
    for name in ANSWERS:
        write_answers(name)
    common = ("--trainer.max_epochs", 3, "--trainer.precision", "64-true", *options)
    one = fitted(run, "one", *common, TOGETHER, 1)
    taken = spied(monkeypatch)
    several = fitted(run, "several", *common, TOGETHER, 7)
    assert sum(taken) == int(metrics(several)[-1]["step"])
    for name, expected in weights(one).items():
        torch.testing.assert_close(weights(several)[name], expected, rtol=1e-11, atol=1e-13)
    for row, other in zip(metrics(several), metrics(one), strict=True):
        numbers = {name: float(value or "nan") for name, value in row.items()}
        expected_numbers = {name: float(value or "nan") for name, value in other.items()}
        assert numbers == pytest.approx(expected_numbers, rel=1e-11, nan_ok=True)


@pytest.mark.parametrize("options", [(), ("--data.source", "ragged.npz")], ids=["full", "ragged"])
def test_steps_that_threads_should_share_end_as_compiled_ones(
    run: Run, options: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_ragged(Path("ragged.npz"))
    common = ("--trainer.max_epochs", 2, "--trainer.precision", "64-true", *options)
    taken = spied(monkeypatch)
    compiled = fitted(run, "compiled", *common)
    assert taken
    taken.clear()
    monkeypatch.setattr("grulight.training.compiled_network._WORTH_THREADS", 1)
    shared = fitted(run, "shared", *common)
    assert not taken
    for name, expected in weights(compiled).items():
        torch.testing.assert_close(weights(shared)[name], expected, rtol=1e-11, atol=1e-13)
    assert metrics(shared)[-1]["step"] == metrics(compiled)[-1]["step"]


def spied(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return how many steps each compiled call will have taken."""
    taken: list[int] = []

    def spy(*arguments: Any) -> Any:
        taken.append(len(arguments[5]))
        return train_steps(*arguments)

    monkeypatch.setattr("grulight.training.many_steps.train_steps", spy)
    return taken


def write_ragged(path: Path) -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    values = rng.normal(size=(200, 6, 2)).cumsum(axis=1)
    lengths = rng.integers(1, 7, 200)
    values[np.arange(6) >= lengths[:, None]] = 0
    np.savez(path, x=values, lengths=lengths, y=values.sum(axis=(1, 2)) > 0)


def write_answers(name: str) -> None:
    import numpy as np

    x, lengths = (np.load("ragged.npz")[key] for key in ("x", "lengths"))
    seen = x.cumsum(axis=1)
    last = np.take_along_axis(seen, lengths[:, None, None] - 1, axis=1)[:, 0]
    y = {
        "values": last * 10 + 300,
        "labels": last > 0,
        "values per step": seen * 10 + 300,
        "classes per step": (seen[..., 0] > 0).astype(int) + (seen[..., 1] > 0),
    }[name]
    np.savez(f"{name}.npz", x=x, lengths=lengths, y=y)


def test_how_many_does_not_change_a_bit(run: Run) -> None:
    runs = [fitted(run, f"{n}", TOGETHER, n) for n in (2, 25)]
    assert_same_run(*runs)


def test_by_default_a_compiled_call_takes_many(run: Run) -> None:
    fitted(run, "default")
    assert_same_run("default" / RUN, fitted(run, "many", TOGETHER, 25))


def test_limits_on_steps_are_exact(run: Run) -> None:
    fitted(run, "limited", "--trainer.max_steps", 60, TOGETHER, 25)
    saved = torch.load("limited" / RUN / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 60
    fitted(run, "one", "--trainer.max_steps", 60, TOGETHER, 2)
    assert_same_weights(weights("limited" / RUN), weights("one" / RUN))


@pytest.mark.parametrize("steps", [10, 30, 40])
def test_an_epoch_that_a_limit_cuts_is_validated_as_little_as_in_lightning(
    run: Run, steps: int
) -> None:
    common = ("--trainer.max_steps", steps, "--data.val_size", 0.2)
    one = fitted(run, "1", *common, TOGETHER, 1)
    validated = [row["step"] for row in metrics(one) if row.get("val_loss")]
    assert validated == [str(20 * epoch + 19) for epoch in range(steps // 20)]
    for together in (7, 20):
        several = fitted(run, str(together), *common, TOGETHER, together)
        for row, other in zip(metrics(several), metrics(one), strict=True):
            numbers, expected = (
                {name: float(value) for name, value in each.items() if value}
                for each in (row, other)
            )
            assert numbers == pytest.approx(expected, rel=1e-5)


def test_checkpoints_come_exactly_when_asked_for(run: Run) -> None:
    directory = fitted(run, "saved", "--checkpoint.every_n_steps", 10, "--checkpoint.keep", 99)
    found = sorted(int(path.stem[5:]) for path in directory.rglob("step_*.ckpt"))
    assert found == [10, 20, 30, 40, 60, 70, 80, 90, 110, 120]  # at an epoch's end: last.ckpt


@pytest.mark.parametrize(
    ("epochs", "options"),
    [(60, []), (25, ["--model.num_layers=2", "--model.dropout=0.2", "--optimizer=AdamW"])],
    ids=["default", "dropout"],
)
def test_a_signal_at_any_moment_loses_nothing(run: Run, epochs: int, options: list[str]) -> None:
    common = ["--trainer.max_epochs", str(epochs), "--data.batch_size", "8", *options]
    fitted(run, "whole", *common)
    stops = 0
    for attempt in range(30):
        timer = threading.Timer(0.2 + 0.1 * attempt, os.kill, (os.getpid(), signal.SIGUSR1))
        previous = signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # it may come before or after
        timer.start()
        try:
            code = main(["fit", *common, "--ckpt_path", "auto"])
        except SystemExit as stop:
            code = int(str(stop.code))
        timer.cancel()
        timer.join()
        signal.signal(signal.SIGUSR1, previous)
        if code == 0:
            break
        assert code == 75
        stops += 1
    assert stops
    assert_same_run(RUN, "whole" / RUN)


def test_an_epoch_is_finished_one_by_one_where_it_must_be(run: Run) -> None:
    precise = ("--trainer.precision", "64-true")
    fitted(run, "whole", *precise)
    save = ("--checkpoint.every_n_steps", "5", "--checkpoint.keep", "99")
    run("fit", *precise, *save, "--trainer.max_epochs", 2)
    for path in RUN.rglob("*.ckpt"):
        if path.stem != "step_000000035":
            path.unlink()
    # a limit that takes all batches changes nothing but the way
    run("fit", *precise, "--ckpt_path", "auto", "--trainer.limit_train_batches", 25)
    for name, expected in weights("whole" / RUN).items():
        torch.testing.assert_close(weights(RUN)[name], expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--trainer.val_check_interval", 0.5), "a limit counts batches"),
        (("--trainer.limit_train_batches", 3), "a limit counts batches"),
    ],
)
def test_what_needs_single_steps_refuses_several(
    capsys: pytest.CaptureFixture[str], options: tuple[object, ...], reason: str
) -> None:
    assert main(["fit", TOGETHER, "5", *map(str, options)]) == 2
    assert f"steps_per_execution 5: {reason}" in capsys.readouterr().err


def test_a_callback_that_watches_steps_sees_each(run: Run) -> None:
    with pytest.raises(SystemExit):  # at exactly this step, not at the end of an execution
        run("fit", *strike([33], "SIGUSR1"))
    assert (RUN / "checkpoints" / "step_000000034.ckpt").is_file()


@pytest.mark.filterwarnings("ignore:Total length of `list` across ranks is zero")
def test_a_loss_of_the_users_is_the_one_that_trains() -> None:
    from lightning.pytorch import Trainer

    from grulight import GRUClassifier, SequenceDataModule

    class Own(GRUClassifier):
        called = 0

        def evaluate(self, *given: object) -> torch.Tensor:
            type(self).called += 1
            return super().evaluate(*given)

    data = SequenceDataModule()
    trainer = Trainer(max_epochs=1, logger=False, enable_checkpointing=False, accelerator="cpu")
    trainer.fit(Own(**data.describe()), datamodule=data)
    assert Own.called == 25


def test_no_steps_at_all_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", TOGETHER, "0"]) == 2
    assert "expected at least 1" in capsys.readouterr().err


def test_a_users_checkpoints_come_at_their_steps(run: Run) -> None:
    own = ("--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.dirpath=mine")
    every = ("--trainer.callbacks.every_n_train_steps=10", "--trainer.callbacks.save_top_k=-1")
    run("fit", *own, *every, "--trainer.max_epochs", 1)
    steps = sorted(path.stem.rpartition("=")[2] for path in Path("mine").iterdir())
    assert steps == ["10", "20"]


def test_a_checkpoint_loads_without_a_trainer(default_run: tuple[Path, str]) -> None:
    from grulight import GRUClassifier

    path = default_run[0] / "checkpoints" / "last.ckpt"
    assert GRUClassifier.load_from_checkpoint(path, map_location="cpu").class_names[0] == "up"
