"""CUDA graphs of steps train as the same steps launched kernel by kernel, to the bit."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from replaying import Calling
from test_recorded_steps import (
    OPTIMIZERS,
    PER_STEP,
    TASKS,
    Fitted,
    _quiet,  # noqa: F401 - writes the sources
    assert_same,
)

from grulight.data import on_device
from grulight.training import capture, steps
from grulight.training.capture import CudaCapture

CUDA = torch.cuda.is_available()
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not CUDA, reason="needs a CUDA device"),
    pytest.mark.filterwarnings(
        "ignore:Total length of `list` across ranks is zero",
        "ignore:`training_step` returned `None`",
    ),
]
# the last batch, which is smaller, is recorded in the third epoch
GPU = {"accelerator": "gpu", "devices": 1, "max_epochs": 4}
# cuDNN rounds products of float32 to TF32 where it may
EXACT = ("torch.backends.cudnn.allow_tf32", "torch.backends.cuda.matmul.allow_tf32")
ALL = TASKS | {f"{name} per step": task for name, task in PER_STEP.items()}


@pytest.fixture(autouse=True)
def _exact(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in EXACT:
        monkeypatch.setattr(name, False)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Return what will have been recorded; all trainings are to record."""
    found: list[Any] = []
    record = CudaCapture.record

    def counted(self: CudaCapture, step: Any) -> Any:
        found.append(step)
        return record(self, step)

    monkeypatch.setattr(CudaCapture, "record", counted)
    yield found
    assert found


def called(monkeypatch: pytest.MonkeyPatch, *given: Any, **options: Any) -> Fitted:
    """Return a training whose steps are the same, but launched kernel by kernel."""
    with monkeypatch.context() as patched:
        patched.setitem(capture.CAPTURES, "cuda", Calling)
        return Fitted(*given, **GPU, **options)


@pytest.mark.parametrize("task", ALL)
def test_a_graph_ends_with_the_bits_of_its_kernels(
    monkeypatch: pytest.MonkeyPatch, recorded: list[Any], task: str
) -> None:
    assert_same(Fitted(5, ALL[task], **GPU), called(monkeypatch, 5, ALL[task]))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_graph_of_any_optimiser_does(
    monkeypatch: pytest.MonkeyPatch, recorded: list[Any], name: str
) -> None:
    make = OPTIMIZERS[name]
    assert_same(Fitted(5, make=make, **GPU), called(monkeypatch, 5, make=make))


@pytest.mark.parametrize("task", ALL)
def test_it_trains_as_steps_one_by_one(recorded: list[Any], task: str) -> None:
    ours, theirs = Fitted(5, ALL[task], **GPU), Fitted(1, ALL[task], **GPU)
    expected = dict(theirs.tensors())
    for name, tensor in ours.tensors():
        if tensor.is_floating_point():
            least = 0.02 if name == "train_accuracy" else 1e-4  # one answer more is right
            torch.testing.assert_close(tensor, expected[name], rtol=1e-3, atol=least)
        else:  # random numbers
            assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_in_float64_every_optimiser_moves_as_its_own_steps(recorded: list[Any], name: str) -> None:
    options = {"make": OPTIMIZERS[name], "precision": "64-true"} | GPU
    ours, theirs = Fitted(5, **options), Fitted(1, **options)
    expected = dict(theirs.tensors())
    for what, tensor in ours.tensors():
        torch.testing.assert_close(tensor, expected[what], rtol=1e-10, atol=1e-12)


def test_the_default_optimiser_ends_with_the_bits_of_its_own_steps(recorded: list[Any]) -> None:
    assert_same(Fitted(5, **GPU), Fitted(1, **GPU))


@pytest.mark.parametrize("task", ["default", "weighted", "values", "deep, dropped, ragged"])
def test_data_that_are_held_or_copied_are_the_same(
    monkeypatch: pytest.MonkeyPatch, recorded: list[Any], task: str
) -> None:
    held = Fitted(5, TASKS[task], **GPU)
    assert str(held.module.line_of_data).startswith("data: kept on cuda:0 (")
    monkeypatch.setattr(on_device, "free_bytes", lambda device: 1)
    copied = Fitted(5, TASKS[task], **GPU)
    assert "copied to cuda:0 ahead" in str(copied.module.line_of_data)
    assert_same(copied, held)


def test_once_all_is_recorded_nothing_waits_for_the_device(
    monkeypatch: pytest.MonkeyPatch, recorded: list[Any]
) -> None:
    take, checked = steps.take_recorded, []

    def strict(trainer: Any, *given: Any) -> None:
        torch.cuda.set_sync_debug_mode("error" if trainer.current_epoch > 2 else "default")
        try:
            take(trainer, *given)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        checked.append(trainer.current_epoch)

    monkeypatch.setattr(steps, "take_recorded", strict)
    Fitted(5, **GPU)
    assert 3 in checked


class Memory(Callback):
    """Notes how much memory is taken at the end of each epoch."""

    def __init__(self) -> None:
        self.taken: list[int] = []

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.taken.append(torch.cuda.memory_allocated())


def test_memory_does_not_grow(recorded: list[Any]) -> None:
    memory = Memory()
    Fitted(5, TASKS["uneven, standardised"], **GPU | {"max_epochs": 8}, callbacks=[memory])
    assert len({*memory.taken[4:]}) == 1
