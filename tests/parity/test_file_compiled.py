"""A Keras file is trained as it was compiled, by `fit`'s means and by Keras' own."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import pytest

from grulight import schedules
from grulight.keras_files import activity_penalties, compiled_optimizer, constraints, penalties
from parity.keras_files.as_compiled import (
    Compiled,
    as_compiled,
    compiled_of,
    steps_as_compiled,
)
from parity.keras_files.ask import ask
from parity.keras_files.check import _sides
from parity.keras_files.file_questions import random_weights
from parity.keras_files.limits import limits_of, recorded
from parity.result import Result
from parity.sides.keras_setup import keras
from parity.sides.quiet import without_warnings

L, O, R = keras.layers, keras.optimizers, keras.regularizers  # noqa: E741
K, S = keras.constraints, keras.optimizers.schedules


def saved(path: Path, optimizer: Any, loss: Any = "mse", **gru: Any) -> Path:
    model = keras.Sequential([keras.Input((None, 3)), L.GRU(2, **gru), L.Dense(2)])
    model.compile(optimizer, loss)
    with without_warnings():
        model.save(path)
    return path


def trained(path: Path, change: Callable[[Compiled], Compiled] = lambda held: held) -> Result:
    """Train both sides as a file was compiled."""
    questions, ours, theirs, settings = _sides(path, None)
    compiled = compiled_of(ours.model, recorded(path, settings))
    assert compiled is not None
    result = Result("x", "", "ours", "theirs", {})
    result.limits = limits_of(path, ours.model, settings, questions, True)
    start = random_weights(questions.weights, 100)
    still = [name for name in questions.weights if name.endswith("_norm/beta")]
    ask(result, steps_as_compiled(questions, start, change(compiled)), ours, theirs)
    ask(result, as_compiled(questions, start, change(compiled), still), ours, theirs)
    assert {finding.rung for finding in result.findings} == {2, 4, 5}
    return result


@pytest.fixture(scope="module")
def clipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("compiled") / "model.keras"
    return saved(
        *(path, O.Adam(0.05, 0.87, clipnorm=0.01), keras.losses.LogCosh()),
        kernel_regularizer=R.L1L2(0.01, 0.03),
    )


def test_loss_penalties_and_optimizer_of_a_file_agree_for_twenty_steps(clipped: Path) -> None:
    result = trained(clipped)
    assert result.limits == []
    assert max(finding.difference.relative for finding in result.findings) <= 1e-13


def test_what_is_held_still_neither_moves_nor_decays_and_statistics_move(tmp_path: Path) -> None:
    model = keras.Sequential(
        [keras.Input((4, 3)), L.BatchNormalization(name="a_norm"), L.GRU(2), L.Dense(1)]
    )
    model.compile(O.AdamW(0.01, weight_decay=0.1), "mse")
    with without_warnings():
        model.save(tmp_path / "model.keras")
    result = trained(tmp_path / "model.keras")
    assert all(finding.same for finding in result.findings)
    assert {f"train.a_norm/{name}" for name in ("beta", "moving_mean", "moving_variance")} <= {
        finding.difference.tensor for finding in result.findings
    }


def no_clipping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_optimizer.Clipping, "__call__", lambda self: None)


def clipping_over_all(monkeypatch: pytest.MonkeyPatch) -> None:
    made = compiled_optimizer.Clipping
    monkeypatch.setattr(
        compiled_optimizer, "Clipping", lambda rule, *rest: made("global_clipnorm", *rest)
    )


def squares_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    value = penalties.Penalty.value
    monkeypatch.setattr(
        penalties.Penalty, "value", lambda self: value(replace(self, l2=self.l2 / 2))
    )


@pytest.mark.parametrize(
    "mistake",
    [
        clipping_over_all,
        *(pytest.param(m, marks=pytest.mark.slow) for m in (no_clipping, squares_halved)),
    ],
)
def test_a_wrong_port_of_what_was_compiled_is_different(
    mistake: Callable[..., None], clipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mistake(monkeypatch)
    assert any(finding.differs for finding in trained(clipped).findings)


@pytest.mark.slow
def test_another_learning_rate_is_different(clipped: Path) -> None:
    def faster(held: Compiled) -> Compiled:
        optimizer: Any = held.raw["optimizer"]
        config = {**optimizer["config"], "learning_rate": 0.0501}
        return replace(held, raw={**held.raw, "optimizer": {**optimizer, "config": config}})

    assert any(finding.differs for finding in trained(clipped, faster).findings)


def scheduled(path: Path) -> Path:
    return saved(
        path,
        O.Nadam(S.CosineDecay(0.125, 9, warmup_target=0.25, warmup_steps=4)),
        kernel_constraint=K.MaxNorm(0.5),
        recurrent_constraint="unit_norm",
        activity_regularizer=R.L2(0.125),
    )


def test_schedule_constraints_and_activities_of_a_file_agree(tmp_path: Path) -> None:
    result = trained(scheduled(tmp_path / "model.keras"))
    assert result.limits == []
    assert all(finding.same for finding in result.findings)
    rates = [f for f in result.findings if f.difference.tensor == "rate.compiled"]
    assert [finding.rung for finding in rates] == [4, 4]
    rest = [finding for finding in result.findings if finding not in rates]
    assert max(finding.difference.relative for finding in rest) <= 1e-13


def test_older_optimizers_slow_down_as_keras_did(tmp_path: Path) -> None:
    path = saved(tmp_path / "model.h5", O.SGD(0.25, 0.5))
    with h5py.File(path, "r+") as file:
        for holder in (file, file["model_weights"]):
            holder.attrs["keras_version"] = "2.10.0"
        config = {"class_name": "SGD", "config": {"lr": 0.25, "momentum": 0.5, "decay": 0.125}}
        file.attrs["training_config"] = json.dumps({"loss": "mse", "optimizer_config": config})
    result = trained(path)
    assert all(finding.same for finding in result.findings)
    assert any(finding.difference.tensor == "rate.compiled" for finding in result.findings)


def no_constraints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constraints.Constraints, "__call__", lambda self: None)


def rows_for_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = constraints.Rule.__call__
    monkeypatch.setattr(
        constraints.Rule, "__call__", lambda self, w: rule(replace(self, axes=(1,)), w)
    )


def a_step_late(monkeypatch: pytest.MonkeyPatch) -> None:
    rate = schedules.Schedule.__call__
    monkeypatch.setattr(schedules.Schedule, "__call__", lambda self, step: rate(self, step + 1))


def no_activities(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity_penalties._Hook, "__call__", lambda self, *given: None)


@pytest.mark.parametrize(
    "mistake",
    [
        rows_for_columns,
        *(
            pytest.param(each, marks=pytest.mark.slow)
            for each in (a_step_late, no_activities, no_constraints)
        ),
    ],
)
def test_a_wrong_port_of_what_is_done_around_steps_is_different(
    mistake: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = scheduled(tmp_path / "model.keras")
    mistake(monkeypatch)
    assert any(finding.differs for finding in trained(path).findings)


def test_a_training_with_adam_leaves_constraints_out_on_both_sides(tmp_path: Path) -> None:
    path = saved(tmp_path / "model.keras", "adam", kernel_constraint=K.MaxNorm(0.125))
    questions, ours, theirs, _ = _sides(path, None)
    result = Result("x", "", "ours", "theirs", {})
    ask(result, questions.training(random_weights(questions.weights, 100)), ours, theirs)
    assert all(finding.same for finding in result.findings)


def test_a_schedule_that_is_not_known_is_left_out_by_both_sides_and_named(tmp_path: Path) -> None:
    schedule = S.CosineDecayRestarts(0.125, 9, 0.5)
    result = trained(saved(tmp_path / "model.keras", O.SGD(schedule)))
    assert all(finding.same for finding in result.findings)
    [limit] = result.limits
    assert "no rung trains with it: schedule 'CosineDecayRestarts'" in limit.what


def test_what_cannot_be_trained_is_not_asked(tmp_path: Path) -> None:
    path = saved(tmp_path / "model.keras", O.Ftrl(0.01))
    questions, ours, _, settings = _sides(path, None)
    assert compiled_of(ours.model, recorded(path, settings)) is None
    [limit] = limits_of(path, ours.model, settings, questions)
    assert "compiled with optimizer 'Ftrl'" in limit.what
