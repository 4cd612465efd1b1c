"""`grulight fit` with recorded steps: limits, checkpoints and interruptions, as without."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from interrupting import assert_same_run, assert_same_weights, strike, weights
from replaying import Replaying
from test_execution import write_ragged

from grulight.data import on_device
from grulight.training import capture, recorded_steps

Run = Callable[..., str]
RUN = Path("lightning_logs/version_0")
TOGETHER = "--model.steps_per_execution"
DROPPED = ("--model.num_layers", 2, "--model.dropout", 0.2, "--data.source", "ragged.npz")


@pytest.fixture(params=["held", pytest.param("copied", marks=pytest.mark.slow)])
def taken(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return how many steps each block will have taken."""
    write_ragged(Path("ragged.npz"))
    monkeypatch.setitem(capture.CAPTURES, "cpu", Replaying)
    free = 1 << 40 if request.param == "held" else 1
    monkeypatch.setattr(on_device, "free_bytes", lambda device: free)
    found: list[int] = []
    fill = recorded_steps.StaticTensors.fill

    def counted(tensors: Any, block: Any, rows: Any) -> None:
        found.append(len(rows))
        fill(tensors, block, rows)

    monkeypatch.setattr(recorded_steps.StaticTensors, "fill", counted)
    return found


def fitted(run: Run, name: str, *options: object) -> Path:
    run("fit", "--trainer.default_root_dir", name, *options)
    return name / RUN


def test_a_run_is_the_same_however_many_are_taken_together(run: Run, taken: list[int]) -> None:
    one = fitted(run, "one", "--trainer.max_epochs", 2, TOGETHER, 1)
    assert not taken
    assert_same_run(fitted(run, "several", "--trainer.max_epochs", 2, TOGETHER, 7), one)
    assert taken == [7, 7, 7, 4] * 2


def test_the_first_table_says_where_data_are(run: Run, taken: list[int]) -> None:
    output = run("fit", "--trainer.max_epochs", 1)
    [line] = [each for each in output.splitlines() if each.startswith("data: ")]
    assert "cpu" in line
    assert "data_wait_0" in (RUN / "timing.csv").read_text()


@pytest.mark.slow
def test_limits_on_steps_are_exact(run: Run, taken: list[int]) -> None:
    limited = fitted(run, "limited", "--trainer.max_steps", 60, TOGETHER, 25)
    assert sum(taken) == 60
    saved = torch.load(limited / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 60
    one = fitted(run, "one", "--trainer.max_steps", 60, TOGETHER, 1)
    assert_same_weights(weights(limited), weights(one))


@pytest.mark.parametrize(
    "options",
    [
        pytest.param((), marks=pytest.mark.slow),
        DROPPED,
        pytest.param((*DROPPED, TOGETHER, 1), marks=pytest.mark.slow),
    ],
    ids=["default", "deep, dropped, ragged", "the same one by one"],
)
def test_a_run_goes_on_within_an_epoch(
    run: Run, taken: list[int], options: tuple[object, ...]
) -> None:
    common = ("--trainer.max_epochs", 2, "--data.batch_size", 40, *options)
    save = ("--checkpoint.every_n_steps", 2, "--checkpoint.keep", 99)
    run("fit", *common, *save)
    for path in RUN.rglob("*.ckpt"):
        if path.stem != "step_000000006":
            path.unlink()
    run("fit", *common, *save, "--ckpt_path", "auto")
    assert_same_run(RUN, fitted(run, "one", *common, TOGETHER, 1))
    assert {*taken} == (set() if TOGETHER in options else {2})


def test_a_signal_between_blocks_loses_nothing(run: Run, taken: list[int]) -> None:
    common = ("--trainer.max_epochs", 2, TOGETHER, 5)
    with pytest.raises(SystemExit):
        run("fit", *common, *strike([33], "SIGUSR1"))
    assert (RUN / "checkpoints" / "step_000000040.ckpt").is_file()
    run("fit", *common, "--ckpt_path", "auto")
    assert_same_run(RUN, fitted(run, "one", "--trainer.max_epochs", 2, TOGETHER, 1))
