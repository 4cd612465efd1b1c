"""Optimisers that only a program makes: compiled steps train as one by one, or say why not."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from test_execution import spied

from grulight import GRUClassifier, SequenceDataModule
from grulight.optim import KerasAdam, KerasSGD
from grulight.optimizer_base import Clipping, KerasOptimizer
from grulight.training import dropout_noise, many_steps

pytestmark = pytest.mark.filterwarnings(
    "ignore:Total length of `list` across ranks is zero",
    "ignore:`training_step` returned `None`",
)
Make = Callable[[GRUClassifier], Any]
QUIET = {
    **{"accelerator": "cpu", "precision": "64-true", "logger": False},
    **{"enable_checkpointing": False, "enable_progress_bar": False, "num_sanity_val_steps": 0},
}


def trained(
    make: Make, together: int | None, settings: dict[str, Any] | None = None, **options: Any
) -> GRUClassifier:
    class Own(GRUClassifier):
        def configure_optimizers(self) -> Any:
            return make(self)

    seed_everything(1)
    data = SequenceDataModule(batch_size=64)
    module = Own(**data.describe(), steps_per_execution=together, **settings or {})
    Trainer(max_epochs=2, **QUIET, **options).fit(module, datamodule=data)
    return module


def assert_same_weights(ours: GRUClassifier, theirs: GRUClassifier) -> None:
    for name, expected in theirs.network.state_dict().items():
        torch.testing.assert_close(
            ours.network.state_dict()[name], expected, rtol=1e-11, atol=1e-13
        )


def groups_by_epoch(module: GRUClassifier) -> Any:
    gru = {"params": list(module.network.gru.parameters()), "lr": 0.02, "weight_decay": 0.1}
    head = {"params": list(module.network.head.parameters()), "betas": (0.5, 0.9)}
    optimizer = torch.optim.AdamW([gru, head], lr=0.05)
    return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)]


def groups_by_step(module: GRUClassifier) -> Any:
    gru, head = module.network.gru, module.network.head
    groups = [{"params": head.parameters()}, {"params": gru.parameters(), "lr": 0.02}]
    optimizer = KerasSGD(groups, lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20)
    return [optimizer], [{"scheduler": schedule, "interval": "step"}]


def clipping(rule: str, limit: float) -> Make:
    def make(module: GRUClassifier) -> KerasOptimizer:
        network = module.network
        w_ih, w_hh, b_ih, b_hh = network.gru.parameters()
        head = [(each,) for each in network.head.parameters()]
        optimizer = KerasSGD(module.parameters(), lr=0.5)
        # Keras' GRU has one bias where torch has two
        optimizer.clip = Clipping(rule, limit, ((b_ih, b_hh), (w_ih,), (w_hh,), *head))
        return optimizer

    return make


def accumulating(module: GRUClassifier) -> KerasOptimizer:
    optimizer = KerasAdam(module.parameters(), amsgrad=True)
    optimizer.accumulate, optimizer.schedule = 3, lambda step: 0.1 / (1 + step)
    return optimizer


def accumulating_and_clipping(module: GRUClassifier) -> KerasOptimizer:
    optimizer: KerasOptimizer = clipping("clipnorm", 0.02)(module)
    optimizer.accumulate = 4
    return optimizer


MADE: dict[str, Make] = {
    "groups, rates by epoch": groups_by_epoch,
    "groups, rates by step": groups_by_step,
    "clipnorm": clipping("clipnorm", 0.03),
    "global_clipnorm": clipping("global_clipnorm", 0.03),
    "clipvalue": clipping("clipvalue", 0.003),
    "Keras' accumulation": accumulating,
    "Keras' accumulation, clipnorm": accumulating_and_clipping,
}


@pytest.mark.parametrize("made", MADE)
def test_compiled_steps_train_as_one_by_one(monkeypatch: pytest.MonkeyPatch, made: str) -> None:
    one = trained(MADE[made], 1)
    taken = spied(monkeypatch)
    several = trained(MADE[made], 5)
    assert sum(taken) == 2 * 13  # batches
    assert_same_weights(several, one)
    ours, theirs = (module.optimizers().optimizer.state_dict() for module in (several, one))
    assert ours["param_groups"] == theirs["param_groups"]
    for number, expected in theirs["state"].items():
        assert ours["state"][number].keys() == expected.keys()
        for name, kept in expected.items():
            torch.testing.assert_close(ours["state"][number][name], kept, rtol=1e-9, atol=1e-13)


def test_a_limit_of_the_trainers_comes_before_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = {"gradient_clip_val": 0.002, "gradient_clip_algorithm": "value"}
    one = trained(clipping("global_clipnorm", 0.01), 1, **limit)
    taken = spied(monkeypatch)
    assert_same_weights(trained(clipping("global_clipnorm", 0.01), None, **limit), one)
    assert taken


def constrained(module: GRUClassifier) -> KerasOptimizer:
    optimizer = KerasSGD(module.parameters())
    optimizer.constrain = lambda: None
    return optimizer


def clipping_a_part(module: GRUClassifier) -> KerasOptimizer:
    optimizer = KerasSGD(module.parameters())
    optimizer.clip = Clipping("clipvalue", 0.1, ((module.network.head.bias,),))
    return optimizer


def maximizing(module: GRUClassifier) -> torch.optim.Optimizer:
    return torch.optim.SGD(module.parameters(), maximize=True)


@pytest.mark.parametrize(
    ("make", "options", "said"),
    [
        (constrained, {}, "the optimizer has constraints"),
        (clipping_a_part, {}, "the optimizer has clipping of its own"),
        (accumulating, {"gradient_clip_val": 1.0}, "the optimizer accumulates gradients, and the"),
        (maximizing, {}, "the optimizer has maximize"),
    ],
    ids=["constraints", "part", "both", "maximize"],
)
def test_what_they_do_not_know_is_said(make: Make, options: dict[str, Any], said: str) -> None:
    line = trained(make, None, **options).line_of_steps
    assert line is not None
    assert line.startswith(f"steps: one by one ({said}")


@pytest.mark.parametrize(
    "make", [accumulating, groups_by_step], ids=["Keras' accumulation", "the Trainer's"]
)
def test_what_is_dropped_may_be_drawn_in_portions(
    monkeypatch: pytest.MonkeyPatch, make: Make
) -> None:
    settings = {"dropout": 0.3, "num_layers": 2}
    options = {"accumulate_grad_batches": 1 if make is accumulating else 2}
    whole = trained(make, None, settings, **options)
    taken = spied(monkeypatch)
    monkeypatch.setattr(dropout_noise, "_AT_ONCE", 25_000)
    cut = trained(make, None, settings, **options)
    assert len(taken) > 8  # calls, where two epochs make two
    for name, expected in whole.network.state_dict().items():
        assert torch.equal(cut.network.state_dict()[name], expected)


def test_what_is_dropped_may_be_drawn_on_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"dropout": 0.3, "num_layers": 2}
    monkeypatch.setattr(dropout_noise, "_AT_ONCE", 25_000)
    found, drawing = [], []
    draw = many_steps.drawn_noise

    def noticed(*given: Any) -> Any:
        drawing.append(threading.current_thread() is not threading.main_thread())
        return draw(*given)

    monkeypatch.setattr(many_steps, "drawn_noise", noticed)
    for threads in (1, 2):
        monkeypatch.setattr("grulight.kernels.threads._allowed", lambda threads=threads: threads)
        module = trained(groups_by_step, None, settings)
        found.append((*module.network.state_dict().values(), torch.get_rng_state()))
    assert drawing == [False] * (len(drawing) // 2) + [True] * (len(drawing) // 2)
    for ours, theirs in zip(*found, strict=True):
        assert torch.equal(ours, theirs)


def test_a_limit_below_zero_is_none_as_in_lightning() -> None:
    def make(module: GRUClassifier) -> KerasAdam:
        return KerasAdam(module.parameters())

    for own, expected in zip(
        trained(make, None, gradient_clip_val=-1.0).parameters(),
        trained(make, None).parameters(),
        strict=True,
    ):
        assert torch.equal(own, expected)
