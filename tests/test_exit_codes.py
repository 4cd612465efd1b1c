"""Whatever ends a command: an exit code that says what to do, and one line."""

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from grulight import cli
from grulight.cli import main
from grulight.errors import InputError
from grulight.interruption import noted

Run = Callable[..., str]
RUN = Path("lightning_logs/version_0")


def ended_by(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return the exit code of a command that ends with an exception."""

    def stop(arguments: list[str]) -> None:
        raise error

    monkeypatch.setattr(cli, "_runner", lambda command: stop)
    return main(["fit"])


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (InputError("a\nb.csv: is empty."), r"a\nb.csv: is empty."),
        (OSError(errno.ENOSPC, "No space left on device", "run/last.ckpt"), "run/last.ckpt: No s"),
        (PermissionError(errno.EACCES, "Permission denied", "a\nb"), r"a\nb: Permission denied"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "d" * 5000), "Choose a shorter path."),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), "what reads this output has gone"),
        (MemoryError(), "not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"), "not enough memory"),
        (UnicodeEncodeError("utf-8", "a\udcff", 1, 2, "surrogates"), r"'\udcff' cannot be written"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_what_a_user_can_mend_is_one_line(
    error: Exception,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ended_by(error, monkeypatch) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert expected in line
    assert len(line) <= 500


def test_a_mistake_of_ours_leaves_its_traceback_in_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert ended_by(KeyError("lost\nkey"), monkeypatch) == 1
    [line] = capsys.readouterr().err.splitlines()
    [report] = tmp_path.glob("grulight-traceback-*.txt")
    assert f"{report}: KeyError" in line
    assert "Traceback (most recent call last)" in report.read_text()


def test_ctrl_c_is_130_whatever_an_import_makes_of_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def importing(arguments: list[str]) -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("half imported") from None

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(cli, "_runner", lambda command: importing)
    assert main(["predict"]) == 130
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler
    assert capsys.readouterr().err == "grulight predict: interrupted\n"


@pytest.mark.parametrize(("command", "code"), [("fit", 75), ("predict", 143)])
def test_a_termination_before_the_training_starts_leaves_at_once(
    command: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        cli, "_runner", lambda command: lambda given: os.kill(os.getpid(), signal.SIGTERM)
    )
    with pytest.raises(SystemExit) as stop:
        main([command])
    assert stop.value.code == code
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_of_several_processes_none_leaves_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    with noted():
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_signal_after_the_last_line_changes_nothing() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    with noted(ends_here=True):
        pass
    os.kill(os.getpid(), signal.SIGUSR1)
    assert signal.signal(signal.SIGUSR1, before) is signal.SIG_IGN


@pytest.mark.parametrize("together", [None, 1])
def test_a_training_that_diverges_stops_and_keeps_its_last_good_checkpoint(
    together: int | None, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    run("fit", "--trainer.max_epochs", 1)
    wild = ["--optimizer", "KerasAdam", "--optimizer.lr", "1e38", "--trainer.max_epochs", "3"]
    if together is not None:
        wild += ["--model.steps_per_execution", str(together)]
    assert main(["fit", *wild]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "in epoch 1, at step " in line
    assert "--optimizer.lr" in line
    assert not list(Path("lightning_logs/version_1").rglob("*.ckpt"))


def test_no_checkpoint_has_weights_that_are_not_finite(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from grulight.task import GRUClassifier

    end = GRUClassifier.on_train_epoch_end

    def spoil(self: Any) -> None:
        end(self)
        if self.trainer.current_epoch == 2:
            self.network.head.bias.data[1] = torch.nan

    monkeypatch.setattr(GRUClassifier, "on_train_epoch_end", spoil)
    assert main(["fit"]) == 2
    assert "in epoch 3, at step 75, network.head.bias is not finite" in capsys.readouterr().err
    for name in ("last.ckpt", "best.ckpt"):
        saved = torch.load(RUN / "checkpoints" / name, weights_only=True)
        assert saved["global_step"] == 50
        assert all(each.isfinite().all() for each in saved["state_dict"].values())


def test_a_prediction_that_is_not_finite_names_its_sequence(
    last_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from grulight.task import GRUClassifier

    step = GRUClassifier.predict_step

    def spoil(self: Any, batch: Any, *rest: Any) -> torch.Tensor:
        answers = step(self, batch, *rest)
        answers[3, 1] = torch.inf
        return answers

    monkeypatch.setattr(GRUClassifier, "predict_step", spoil)
    command = ["predict", "--ckpt_path", str(last_checkpoint), "--output", "new/out.csv"]
    assert main(command) == 2
    assert "sequence 3: the answer is not finite" in capsys.readouterr().err
    assert not list(Path().iterdir())


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--trainer.callbacks", "EarlyStopping", "--trainer.callbacks.monitor", "val_loss"],
         "EarlyStopping watches val_loss, but there is no validation part"),
        (["--optimizer", "KerasAdam", "--lr_scheduler", "ReduceLROnPlateau",
          "--lr_scheduler.monitor", "val_loss"], "--lr_scheduler watches val_loss"),
        (["--trainer.callbacks", "LearningRateFinder"], "set --optimizer.lr"),
    ],
    ids=["early stopping", "plateau", "learning-rate finder"],
)  # fmt: skip
def test_what_a_training_cannot_give_is_refused_before_it(
    options: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", *options]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert expected in line
    assert not list(Path().iterdir())
