"""Keras' schedules and rarer optimisers, step by step, and trainings that go on within them."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
from torch import nn

from grulight.adagrad_variants import KerasAdadelta, KerasAdagrad
from grulight.adam_variants import KerasAdamax, KerasLion, KerasNadam
from grulight.checkpoint_files.keras_description import DESCRIPTION
from grulight.errors import InputError
from grulight.keras_files.constraints import read_constraint
from grulight.keras_files.model_description import rebuild
from grulight.keras_files.port import load_keras
from grulight.keras_files.ported_network import PortedNetwork
from grulight.keras_files.reader.schedule_settings import read_schedule
from grulight.optimizer_base import KerasOptimizer
from grulight.schedules import Schedule

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

L, O, R = keras.layers, keras.optimizers, keras.regularizers  # noqa: E741
S = O.schedules
Run = Callable[..., str]
# of a rate: Keras' powers and cosines are one float32 unit off for one step in a thousand
UNITS = 2
STEPS = 120

SCHEDULES = {
    "exponential": lambda: S.ExponentialDecay(0.1, 7, 0.9),
    "exponential in steps": lambda: S.ExponentialDecay(0.03, 10, 0.5, staircase=True),
    "inverse time": lambda: S.InverseTimeDecay(0.1, 3, 0.7),
    "inverse time in steps": lambda: S.InverseTimeDecay(0.1, 3, 0.7, staircase=True),
    "polynomial": lambda: S.PolynomialDecay(0.1, 50, 0.001, 2.0),
    "polynomial from anew": lambda: S.PolynomialDecay(0.1, 9, 0.001, 0.5, cycle=True),
    "cosine": lambda: S.CosineDecay(0.1, 100),
    "cosine after a line": lambda: S.CosineDecay(0.01, 77, 0.1, warmup_target=0.1, warmup_steps=23),
    "cosines": lambda: S.CosineDecayRestarts(0.1, 10),
    "cosines of one length": lambda: S.CosineDecayRestarts(0.1, 10, 1.0, 0.9, 0.05),
    "longer, lower cosines": lambda: S.CosineDecayRestarts(0.1, 7, 1.5, 0.8, 0.1),
    "pieces": lambda: S.PiecewiseConstantDecay([5, 10], [0.1, 0.05, 0.01]),
    "pieces by floats": lambda: S.PiecewiseConstantDecay([5.0], [1.0, 0.01]),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_rates_are_those_of_keras(name: str) -> None:
    schedule = SCHEDULES[name]()
    settings = read_schedule(type(schedule).__name__, schedule.get_config())
    assert settings is not None
    ours = Schedule(settings.pop("class"), settings)
    theirs = [np.float32(schedule(tf.constant(step, tf.int64))) for step in range(STEPS)]
    apart = [abs(ours(t) - float(x)) / np.spacing(x) for t, x in enumerate(theirs)]
    assert max(apart) <= UNITS
    assert sum(each > 0 for each in apart) <= STEPS // 20


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("Mine", {}),
        (3, {}),
        ("CosineDecay", None),
        ("CosineDecay", {"initial_learning_rate": 0.1}),
        ("CosineDecay", {"initial_learning_rate": 0.1, "decay_steps": 0}),
        ("CosineDecay", {"initial_learning_rate": 0.1, "decay_steps": 3, "more": 1}),
        ("CosineDecay", {"initial_learning_rate": "x", "decay_steps": 3}),
        ("ExponentialDecay", {"initial_learning_rate": 1, "decay_steps": 3, "decay_rate": -1}),
        ("PolynomialDecay", {"initial_learning_rate": 1, "decay_steps": 3, "cycle": 1}),
        ("CosineDecayRestarts", {"initial_learning_rate": 1, "first_decay_steps": 3, "t_mul": 0.5}),
        ("PiecewiseConstantDecay", {"boundaries": [3], "values": [1.0]}),
        ("PiecewiseConstantDecay", {"boundaries": [3, 2], "values": [1.0, 2.0, 3.0]}),
        ("PiecewiseConstantDecay", {"boundaries": ["x"], "values": [1.0, 2.0]}),
        ("PiecewiseConstantDecay", {"boundaries": [], "values": [1.0]}),
    ],
)
def test_a_schedule_that_is_none_of_keras_is_not_taken_over(kind: Any, given: Any) -> None:
    assert read_schedule(kind, given) is None


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ({"name": "MaxNorm", "m": 3, "axis": 0}, ("MaxNorm", {"max_value": 3.0}, (0,))),  # Keras 1
        ("nonneg", ("NonNeg", {}, (0,))),
        ({"class_name": "UnitNorm", "config": {"axis": None}}, ("UnitNorm", {}, ())),
        ({"class_name": "MaxNorm", "config": {"max_value": "x"}}, None),
        ({"class_name": "MaxNorm", "config": {"axis": "x"}}, None),
        ({"class_name": "Mine", "config": {}}, None),
        ([1], None),
        (None, None),
    ],
)
def test_constraints_are_words_of_a_closed_table(value: Any, rule: Any) -> None:
    found = read_constraint(value)
    assert (found and (found.kind, found.settings, found.axes)) == rule


OPTIMIZERS: dict[str, tuple[Callable[..., Any], type[KerasOptimizer], dict[str, Any]]] = {
    "Adamax": (O.Adamax, KerasAdamax, {}),
    "Nadam": (O.Nadam, KerasNadam, {"weight_decay": 0.01}),
    "Adagrad": (O.Adagrad, KerasAdagrad, {"initial_accumulator_value": 0.03}),
    "Adadelta": (O.Adadelta, KerasAdadelta, {"rho": 0.9}),
    "Lion": (O.Lion, KerasLion, {}),
}


@pytest.mark.parametrize("accumulated", [1, 3])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_forty_steps_are_those_of_keras_to_the_bit(name: str, accumulated: int) -> None:
    make, ours_of, given = OPTIMIZERS[name]
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(7, 5)).astype("f4")
    variable, parameter = keras.Variable(weights), nn.Parameter(torch.tensor(weights))
    theirs = make(
        0.01, **given, gradient_accumulation_steps=accumulated if accumulated > 1 else None
    )
    ours = ours_of([parameter], 0.01, **given)
    ours.accumulate = accumulated
    theirs.build([variable])
    for step in range(40):
        gradient = (rng.normal(size=(7, 5)) * 10 ** rng.uniform(-5, 0, (7, 5))).astype("f4")
        theirs.apply([tf.constant(gradient)], [variable])
        parameter.grad = torch.tensor(gradient)
        if step == 20:  # as from a checkpoint
            state, ours = ours.state_dict(), ours_of([parameter], 0.01, **given)
            ours.load_state_dict(state)
            ours.accumulate = accumulated
        ours.step()
        assert np.array_equal(variable.numpy(), parameter.detach().numpy())


def scheduled(path: str) -> Any:
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            L.Input((5, 3)),
            L.GRU(4, kernel_constraint="max_norm", activity_regularizer="l2"),
            L.Dense(3, "softmax", bias_constraint="non_neg"),
        ]
    )
    schedule = S.CosineDecay(0.01, 9, 0.1, warmup_target=0.125, warmup_steps=4)
    optimizer = O.Nadam(schedule, gradient_accumulation_steps=2)
    model.compile(optimizer, "sparse_categorical_crossentropy")
    model.save(path)
    return model


def test_a_run_goes_on_within_its_schedule_to_the_bit(run: Run) -> None:
    model = scheduled("model.keras")
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(9, 5, 3)).astype("f4"), rng.integers(0, 3, 9)
    np.savez("data.npz", x=x, y=y)
    fit = ("fit", "--model.from_keras", "model.keras", "--data.source", "data.npz",
           "--data.train_size", 1, "--data.batch_size", 3)  # fmt: skip
    said = run(*fit, "--trainer.max_epochs", 5, "--trainer.default_root_dir", "whole")
    assert "learning_rate CosineDecay (" in said
    assert "gradient_accumulation_steps 2" in said
    run(*fit, "--trainer.max_epochs", 3, "--trainer.default_root_dir", "parts")
    part = "parts/lightning_logs/version_0/checkpoints/last.ckpt"  # one gradient is kept in it
    run(*fit, "--trainer.max_epochs", 5, "--trainer.default_root_dir", "parts", "--ckpt_path", part)
    whole = torch.load("whole/lightning_logs/version_0/checkpoints/last.ckpt", weights_only=True)
    [last] = sorted(Path("parts").glob("lightning_logs/*/checkpoints/last.ckpt"))[-1:]
    parts = torch.load(last, weights_only=True)
    assert whole["global_step"] == parts["global_step"] == 15
    for name, weight in whole["state_dict"].items():
        assert torch.equal(weight, parts["state_dict"][name])
    # the whole data in one batch, as Keras has them
    fit = (*fit[:-1], 9, "--trainer.max_epochs", 6, "--trainer.default_root_dir", "one")
    run(*fit)
    with Path("one/lightning_logs/version_0/metrics.csv").open(newline="") as file:
        ours = [float(row["train_loss"]) for row in csv.DictReader(file)]
    theirs = model.fit(x, y, 9, 6, shuffle=False, verbose=0).history["loss"]
    assert ours == pytest.approx(theirs, rel=1e-5)


def test_a_checkpoint_with_another_schedule_is_refused_or_none() -> None:
    scheduled("model.keras")
    description = load_keras("model.keras").description
    DESCRIPTION.check(dict(description), "")
    optimizer = PortedNetwork(rebuild(description)).optimizer([nn.Parameter(torch.zeros(1))])
    assert optimizer.schedule is not None
    assert optimizer.accumulate == 2
    wrong = {"class": "CosineDecay", "initial_learning_rate": 0.1}
    compiled = {**description["compiled"], "schedule": wrong}
    with pytest.raises(InputError, match="a schedule 'CosineDecay' with other settings"):
        PortedNetwork(rebuild(description | {"compiled": compiled})).optimizer(
            [nn.Parameter(torch.zeros(1))]
        )


def test_an_optimizer_that_the_user_names_applies_no_constraints_and_says_so(run: Run) -> None:
    scheduled("model.keras")
    np.savez("data.npz", x=np.zeros((4, 5, 3), "f4"), y=np.arange(4) % 3)
    fit = ("fit", "--model.from_keras", "model.keras", "--data.source", "data.npz")
    only = ("--data.train_size", 1, "--trainer.max_epochs", 1, "--optimizer", "KerasSGD")
    said = run(*fit, *only)
    assert "takes the place of the file's (Nadam, learning_rate CosineDecay" in said
    assert "not taken over: kernel_constraint of 'gru" in said
