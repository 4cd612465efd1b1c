"""Recorded steps train as steps one by one, to the bit: what a GPU replays, replayed on a CPU."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from replaying import Calling, Refused, Replaying
from test_compiled_optimisers import MADE

from grulight import GRUClassifier, SequenceDataModule
from grulight.data import on_device
from grulight.data.blocks import Blocks
from grulight.data.held import held, room_for
from grulight.training import capture, recorded_steps, recorded_update
from grulight.training.capture import Recorded
from grulight.training.divergence import Diverged

pytestmark = pytest.mark.filterwarnings(
    "ignore:Total length of `list` across ranks is zero",
    "ignore:`training_step` returned `None`",
)
Settings = dict[str, Any]
Make = Callable[[GRUClassifier], Any]
QUIET = {
    **{"accelerator": "cpu", "logger": False, "enable_checkpointing": False, "max_epochs": 2},
    **{"enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0},
}
PRECISIONS = ("32-true", pytest.param("64-true", marks=pytest.mark.slow))
DEEP = {"num_layers": 2, "bidirectional": True, "hidden_size": 5, "dropout": 0.3}
# data, model
TASKS: dict[str, tuple[Settings, Settings]] = {
    "default": ({}, {}),
    "smoothed": ({}, {"label_smoothing": 0.1}),
    "uneven, standardised": ({"batch_size": 30, "standardize": True}, {}),
    "ragged, no biases": ({"source": "ragged.npz"}, {"bias": False}),
    "values": ({"source": "values.npz", "standardize": True}, {}),
    "labels": ({"source": "labels.npz"}, {"label_smoothing": 0.1}),
    "weighted": ({"source": "weighted.npz"}, {"class_weight": "balanced"}),
    "deep, dropped": ({}, DEEP),
    "deep, dropped, ragged": ({"source": "ragged.npz", "batch_size": 8}, DEEP),
    "frozen": ({}, {"freeze": "gru.weight_ih*"}),
    "nn.GRU": ({}, {"kernel": "torch", "num_layers": 2}),
    "whole classes per step": ({"source": "whole per step.npz"}, {"dropout": 0.2}),
}
PER_STEP: dict[str, tuple[Settings, Settings]] = {
    "classes": ({"source": "classes per step.npz"}, {}),
    "values": ({"source": "values per step.npz"}, {"num_layers": 2}),
    "labels": ({"source": "labels per step.npz"}, {"dropout": 0.3}),
}


def torchs(kind: Any, **settings: Any) -> Make:
    return lambda module: kind(module.parameters(), **settings)


OPTIMIZERS: dict[str, Make] = {
    **{name: make for name, make in MADE.items() if "accumulation" not in name},
    "SGD": torchs(torch.optim.SGD, lr=0.1),
    "SGD, Nesterov": torchs(
        torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01
    ),
    "SGD, dampened": torchs(torch.optim.SGD, lr=0.1, momentum=0.9, dampening=0.5),
    "Adam": torchs(torch.optim.Adam, lr=0.01, weight_decay=0.01),
    "Adam, largest squares": torchs(torch.optim.Adam, lr=0.05, amsgrad=True),
    "AdamW": torchs(torch.optim.AdamW, lr=0.01, weight_decay=0.1),
    "RMSprop": torchs(torch.optim.RMSprop, lr=0.001),
    "RMSprop, all": torchs(
        torch.optim.RMSprop, lr=0.001, momentum=0.5, centered=True, weight_decay=0.01
    ),
}


def keras(name: str, **settings: Any) -> Make:
    from grulight import optim

    return torchs(getattr(optim, name), **settings)


OPTIMIZERS |= {
    "Keras' Adam, all": keras("KerasAdam", lr=0.05, amsgrad=True, weight_decay=0.01),
    "Keras' RMSprop": keras("KerasRMSprop"),
    "Keras' RMSprop, all": keras("KerasRMSprop", momentum=0.5, centered=True, weight_decay=0.01),
    "Keras' SGD": keras("KerasSGD", lr=0.1),
    "Keras' SGD, Nesterov": keras(
        "KerasSGD", lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01
    ),
}


@pytest.fixture(autouse=True)
def _recorded_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the second step of a shape be recorded, so that those of few are replayed too."""
    monkeypatch.setattr(capture, "WARM", 1)


@pytest.fixture(autouse=True)
def _quiet(tmp_path: Path) -> Iterator[None]:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    write_sources(np.random.default_rng(0))
    yield
    capture.CAPTURES.pop("cpu", None)


def write_sources(rng: np.random.Generator) -> None:
    """Write sequences of 1 to 37 steps, of which several numbers are rounded up to one."""
    values = rng.normal(size=(200, 37, 2)).cumsum(axis=1)
    lengths = rng.integers(1, 38, 200)
    padding = np.arange(37) >= lengths[:, None]
    last = np.take_along_axis(values, lengths[:, None, None] - 1, axis=1)[:, 0]
    values[padding] = 1e6  # nobody may read it
    classes = (last > 0).sum(axis=1)
    answers = {
        "ragged": classes > 0,
        "values": last * 10 + 300,
        "labels": last > 0,
        "classes per step": (values > 0).sum(axis=2),
        "values per step": values * 10 + 300,
        "labels per step": values > 0,
        "weighted": classes,
    }
    for name, y in answers.items():
        more = {"weights": rng.uniform(0.5, 2, 200)} if name == "weighted" else {}
        np.savez(f"{name}.npz", x=values, lengths=lengths, y=y, **more)
    whole = rng.normal(size=(200, 9, 2))
    np.savez("whole per step.npz", x=whole, y=(whole > 0).sum(axis=2))


class Fitted:
    """A training, with all that it leaves."""

    def __init__(
        self,
        together: int | None,
        task: tuple[Settings, Settings] = ({}, {}),
        make: Make | None = None,
        precision: str = "32-true",
        kind: Any = None,
        **options: Any,
    ) -> None:
        class Own(GRUClassifier):
            def configure_optimizers(self) -> Any:
                return super().configure_optimizers() if make is None else make(self)

        capture.CAPTURES.pop("cpu", None)
        if kind is not None:
            capture.CAPTURES["cpu"] = kind
        before = Replaying.replays
        seed_everything(1)
        self.data = SequenceDataModule(**{"batch_size": 64} | task[0])
        self.module = Own(**self.data.describe(), steps_per_execution=together, **task[1])
        self.trainer = Trainer(precision=precision, **QUIET | options)
        self.trainer.fit(self.module, datamodule=self.data)
        self.replays = Replaying.replays - before
        self.optimizer = self.trainer.optimizers[0]
        on_gpu = options.get("accelerator") == "gpu"
        self.random = torch.cuda.get_rng_state() if on_gpu else torch.get_rng_state()

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield weights, moments, metrics and random numbers."""
        yield from self.module.network.state_dict().items()
        for number, kept in self.optimizer.state_dict()["state"].items():
            for name, value in kept.items():
                if value is not None:
                    yield f"{name} of {number}", torch.as_tensor(value)
        yield from self.trainer.callback_metrics.items()
        yield "random numbers", self.random


def assert_same(ours: Fitted, theirs: Fitted) -> None:
    expected = dict(theirs.tensors())
    assert {name for name, _ in ours.tensors()} == expected.keys()
    for name, tensor in ours.tensors():
        assert torch.equal(tensor, expected[name]), name
    settings = (each.optimizer.state_dict()["param_groups"] for each in (ours, theirs))
    assert next(settings) == next(settings)
    assert ours.trainer.global_step == theirs.trainer.global_step


def assert_close(ours: Fitted, theirs: Fitted) -> None:
    expected = dict(theirs.tensors())
    for name, tensor in ours.tensors():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("task", TASKS)
def test_every_task_ends_with_the_bits_of_steps_one_by_one(task: str, precision: str) -> None:
    one = Fitted(1, TASKS[task], precision=precision)
    several = Fitted(5, TASKS[task], precision=precision, kind=Replaying)
    assert several.module.line_of_steps is None
    assert_same(several, one)
    assert several.replays >= several.trainer.global_step // 2


QUICK = ("groups, rates by step", "SGD, Nesterov", "AdamW", "RMSprop, all", "Keras' Adam, all")
EACH = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in OPTIMIZERS]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", EACH)
def test_every_optimiser_ends_with_the_bits_of_its_own_steps(name: str, precision: str) -> None:
    one = Fitted(1, make=OPTIMIZERS[name], precision=precision)
    several = Fitted(5, make=OPTIMIZERS[name], precision=precision, kind=Replaying)
    if name == "global_clipnorm" and precision == "64-true":  # squares are added in another order
        assert_close(several, one)
    elif name != "global_clipnorm":
        assert_same(several, one)


@pytest.mark.parametrize("limit", [{}, {"gradient_clip_algorithm": "value"}], ids=["norm", "value"])
def test_the_trainers_limits_on_gradients_hold(limit: Settings) -> None:
    options = {"gradient_clip_val": 0.02} | limit
    assert_same(Fitted(None, kind=Replaying, **options), Fitted(1, **options))


@pytest.mark.parametrize("name", PER_STEP)
def test_steps_that_do_not_count_count_for_nothing(name: str) -> None:
    one = Fitted(1, PER_STEP[name], precision="64-true")
    several = Fitted(5, PER_STEP[name], precision="64-true", kind=Replaying)
    assert_close(several, one)
    # how many are taken together does not change a bit
    assert_same(Fitted(2, PER_STEP[name], precision="64-true", kind=Replaying), several)


@pytest.mark.parametrize(
    "name",
    [
        "Keras' Adam, all",
        *(pytest.param(each, marks=pytest.mark.slow) for each in ("AdamW", "clipnorm")),
        "groups, rates by step",
    ],
)
def test_one_kernel_moves_the_parameters_as_torch_does(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    pytest.importorskip("triton")
    expected = Fitted(5, make=OPTIMIZERS[name], kind=Calling)
    monkeypatch.setattr(recorded_update, "has_kernel", lambda parameters: True)
    found = Fitted(5, make=OPTIMIZERS[name], kind=Calling)
    weights = dict(expected.tensors())
    for what, tensor in found.tensors():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, weights[what], rtol=2e-4, atol=2e-6)
    settings = (each.optimizer.state_dict()["param_groups"] for each in (found, expected))
    assert next(settings) == next(settings)


@pytest.mark.parametrize(("name", "anything"), [("values", np.nan), ("classes", 10**6)])
def test_what_stands_in_the_padding_of_labels_is_not_read(name: str, anything: float) -> None:
    def trained(spoil: bool) -> dict[str, torch.Tensor]:
        data = SequenceDataModule(f"{name} per step.npz")
        module = GRUClassifier(**data.describe(), steps_per_execution=3)
        train = data.parts.train
        if spoil:
            train.labels[~train.counted] = anything
        Trainer(**QUIET).fit(module, datamodule=data)
        return module.state_dict()

    capture.CAPTURES["cpu"] = Replaying
    torch.manual_seed(0)
    expected = trained(spoil=False)
    torch.manual_seed(0)
    for key, tensor in trained(spoil=True).items():
        assert torch.equal(tensor, expected[key]), key


def test_what_is_recorded_is_what_is_called() -> None:
    task = TASKS["deep, dropped, ragged"]
    assert_same(Fitted(5, task, kind=Replaying), Fitted(5, task, kind=Calling))


@pytest.mark.parametrize("free", [1 << 40, 1], ids=["held", "copied"])
@pytest.mark.parametrize(
    "task",
    ["weighted", *(pytest.param(n, marks=pytest.mark.slow) for n in ("default", "values"))],
)
def test_data_on_the_device_are_the_same_data(
    monkeypatch: pytest.MonkeyPatch, task: str, free: int
) -> None:
    one = Fitted(1, TASKS[task], precision="64-true")
    monkeypatch.setattr(on_device, "free_bytes", lambda device: free)
    several = Fitted(3, TASKS[task], precision="64-true", kind=Replaying)
    assert_same(several, one)
    words = "kept on cpu" if free > 1 else "blocks are copied to cpu ahead of their steps"
    assert f"data: {words}" in str(several.module.line_of_data)


@pytest.mark.parametrize("free", [1 << 40, 1], ids=["held", "copied"])
def test_so_they_are_for_steps_one_by_one(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    task = TASKS["deep, dropped, ragged"]
    one = Fitted(1, task)
    monkeypatch.setattr(on_device, "free_bytes", lambda device: free)
    there = Fitted(1, task)
    assert_same(there, one)
    assert str(there.module.line_of_data).startswith("data: ")
    assert "one by one" in str(there.module.line_of_steps)


def test_a_training_that_can_no_longer_be_recorded_goes_on_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Forget(Callback):
        def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            if trainer.current_epoch == 1:
                capture.CAPTURES.pop("cpu")

    one = Fitted(1)
    monkeypatch.setattr(on_device, "free_bytes", lambda device: 1 << 40)
    assert_same(Fitted(5, kind=Replaying, callbacks=[Forget()]), one)


def test_blocks_that_are_copied_leave_room_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    def together(free: int) -> int:
        monkeypatch.setattr(on_device, "free_bytes", lambda device: free)
        task = {"batch_size": 10}, {}
        return Fitted(None, task, kind=Calling).trainer.train_dataloader.steps_per_execution

    of_batch = 10 * (10 * 5 * 4 + 8 + 8)
    assert together(2 * 80 * of_batch) == 32  # all 80 batches fit
    assert together(2 * 80 * of_batch - 2) == 9  # batches in a sixteenth
    assert together(1) == 2


def test_data_that_are_held_are_no_room_for_others() -> None:
    data = SequenceDataModule()
    blocks = Blocks(data.batches(data.parts.train), 3)
    block = next(iter(blocks))
    kept = held(blocks.batches, torch.device("cpu"), torch.float32)
    assert not kept.has_room(block)
    room = room_for(block)
    assert room.has_room(block)
    room.take_in(block)
    own = room.batch(torch.arange(32, 64), 10)
    expected = [*block.split()][1]
    assert torch.equal(own.values, expected.values)
    assert own.labels is not None
    assert expected.labels is not None
    assert torch.equal(own.labels, expected.labels)


def test_a_line_says_how_much_of_the_device_data_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_device, "free_bytes", lambda device: 500_000)
    line = Fitted(None, kind=Calling).module.line_of_data
    assert line == "data: kept on cpu (0.17 MB; at most 0.25 MB are kept, half of what is free)"


def test_equal_lengths_rounded_up_share_a_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, int]] = []
    step = recorded_steps._step
    monkeypatch.setattr(
        recorded_steps, "_step", lambda *given: made.append(given[-2:]) or step(*given)
    )
    data = {"source": "ragged.npz", "batch_size": 4, "train_size": 198}
    several = Fitted(10, (data, {}), kind=Calling)
    assert_same(several, Fitted(1, (data, {})))
    assert len(made) == len({*made})
    assert {size for size, _ in made} == {4, 2}
    assert max(steps for _, steps in made) == 37  # not more than there are
    found = {min(recorded_steps.rounded_up(steps), 37) for _, steps in made}
    assert {steps for _, steps in made} == found
    assert len(found) < 22


def test_time_steps_are_rounded_up_by_an_eighth_at_most() -> None:
    for steps in range(1, 2000):
        assert steps <= recorded_steps.rounded_up(steps) <= steps * 9 / 8


def test_few_numbers_of_time_steps_are_told_apart() -> None:
    assert len({recorded_steps.rounded_up(n) for n in range(1, 1025)}) == 8 * 8


def test_shapes_beyond_those_that_are_kept_are_launched_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = {"source": "ragged.npz", "batch_size": 8}, {}
    expected = Fitted(1, task)
    monkeypatch.setattr(recorded_steps, "Recorded", lambda capturing: Recorded(capturing, most=1))
    few = Fitted(4, task, kind=Replaying)
    assert_same(few, expected)
    monkeypatch.setattr(recorded_steps, "Recorded", Recorded)
    assert 0 < few.replays < Fitted(4, task, kind=Replaying).replays


def test_a_loss_that_is_not_finite_ends_the_training_at_its_step() -> None:
    class Poison(Callback):
        def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            if trainer.current_epoch == 1:
                torch.nn.init.constant_(pl_module.network.head.bias, float("nan"))

    said = []
    for kind in (None, Replaying):
        with pytest.raises(Diverged, match="in epoch 2, at step 14, the loss is nan") as caught:
            Fitted(4, kind=kind, callbacks=[Poison()])
        said.append(str(caught.value))
    assert said[0] == said[1]


def end_momentum(module: GRUClassifier) -> None:
    module.optimizers().optimizer.param_groups[0]["momentum"] = 0.0


def drop_more(module: GRUClassifier) -> None:
    module.network.dropout.p = 0.5


def freeze(module: GRUClassifier) -> None:
    module.network.gru.weight_ih_l0.requires_grad_(False)


def move(module: GRUClassifier) -> None:
    for weight in module.network.parameters():
        weight.data = weight.data.clone()


def scale_otherwise(module: GRUClassifier) -> None:
    module.scale = module.scale * 2


@pytest.mark.parametrize("change", [end_momentum, drop_more, freeze, move, scale_otherwise])
def test_what_changes_between_epochs_is_not_replayed(change: Callable[..., None]) -> None:
    class Change(Callback):
        def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            if trainer.current_epoch == 1:
                change(pl_module)

    task = {"standardize": True}, {"dropout": 0.1}
    make = OPTIMIZERS["SGD, dampened"]
    one = Fitted(1, task, make, callbacks=[Change()])
    assert_same(Fitted(5, task, make, kind=Replaying, callbacks=[Change()]), one)


def test_labels_that_are_none_are_refused_before_a_step() -> None:
    from grulight.errors import InputError

    data = SequenceDataModule("labels.npz")
    module = GRUClassifier(**data.describe(), steps_per_execution=2)
    data.parts.train.labels[7] = 2
    capture.CAPTURES["cpu"] = Calling
    with pytest.raises(InputError, match="values beyond 0 to 1"):
        Trainer(**QUIET).fit(module, datamodule=data)


@pytest.mark.parametrize(
    ("task", "options", "said"),
    [
        (({}, {}), {"accumulate_grad_batches": 2}, "gradients of several batches are added up"),
        pytest.param(
            ({}, {"kernel": "torch", **DEEP}),
            {},
            "cuDNN drops between layers by numbers of its",
            marks=pytest.mark.slow,
        ),
        (({"source": "ragged.npz"}, {"kernel": "torch"}), {}, "cuDNN asks the host for the leng"),
        (({}, {}), {"precision": "bf16-mixed"}, "the precision is bf16-mixed"),
    ],
    ids=["accumulated", "cuDNN's dropout", "cuDNN's lengths", "precision"],
)
def test_what_is_not_recorded_is_said_and_trains_the_same(
    task: tuple[Settings, Settings], options: Settings, said: str
) -> None:
    one, alone = Fitted(1, task, **options), Fitted(None, task, kind=Replaying, **options)
    line = alone.module.line_of_steps
    assert line is not None
    assert line.startswith(f"steps: one by one ({said}")
    assert_same(alone, one)
    together = Fitted(5, task, kind=Replaying, **options)
    line = together.module.line_of_steps
    assert line is not None
    assert line.startswith("steps: 5 together, but not in a compiled call (")
    assert_same(together, one)


def test_a_training_that_is_over_holds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_device, "free_bytes", lambda device: 1 << 40)
    fitted = Fitted(5, kind=Calling)
    assert fitted.module._records._tensors is None
    assert fitted.trainer.train_dataloader._held is None
    fitted.trainer.fit_loop.epoch_progress.reset()  # once more
    fitted.trainer.fit(fitted.module, datamodule=fitted.data)


def test_a_copy_of_a_module_has_no_recordings() -> None:
    import copy

    module = Fitted(5, kind=Calling).module
    module._records._tensors = torch.zeros(1)
    assert copy.deepcopy(module)._records._tensors is None


def test_a_replay_notices_what_a_graph_would() -> None:
    counter, where, total = iter(range(9)), torch.zeros(1, dtype=torch.int64), torch.zeros(3)
    numbers = torch.tensor([1.0, 10.0, 100.0])

    def counts_on_the_host() -> None:
        total.add_(numbers[next(counter)])

    def counts_on_the_device() -> None:
        total[0].add_(numbers.index_select(0, where)[0])
        where.add_(1)

    def waits() -> None:
        total.add_(float(numbers.sum()))

    recorder = Replaying(torch.device("cpu"))
    step = recorder.record(counts_on_the_host)
    assert total.tolist() == [0, 0, 0]  # to record is not to take
    step(), step()
    assert total.tolist() == [2, 2, 2]  # the number of the first time, twice
    step = recorder.record(counts_on_the_device)
    step(), step()
    assert total.tolist() == [13, 2, 2]
    with pytest.raises(Refused):
        recorder.record(waits)
