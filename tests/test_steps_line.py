"""Where steps are not taken in compiled calls, the run's first table says why, and what helps."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback

from grulight.cli import main
from grulight.training import reasons
from grulight.training.reasons import Reason

Run = Callable[..., str]


class PrintLoss(Callback):
    """A callback of a user's that sees each step."""

    def on_train_batch_end(self, *args: object) -> None: ...


WATCHED = "--trainer.callbacks+=test_steps_line.PrintLoss"
TOGETHER = "--model.steps_per_execution"
LINES: dict[tuple[object, ...], str] = {
    (WATCHED,): (
        "steps: one by one (a callback of yours, PrintLoss, looks at each; "
        "--model.steps_per_execution 32 takes them together)"
    ),
    ("--model.kernel", "torch"): (
        "steps: one by one (the GRU is computed by torch; on a CPU --model.kernel numba compiles "
        "them)"
    ),
    ("--model.kernel", "torch", TOGETHER, 5): (
        "steps: 5 together, but not in a compiled call (the GRU is computed by torch)"
    ),
    ("--optimizer", "Adagrad"): (
        "steps: one by one (the optimizer is Adagrad; Adam, AdamW, SGD, RMSprop and Keras' are "
        "compiled)"
    ),
    ("--trainer.precision", "bf16-mixed"): (
        "steps: one by one (the precision is bf16-mixed; --trainer.precision 32-true compiles them)"
    ),
    ("--trainer.limit_train_batches", 7): (
        "steps: one by one (a limit counts batches, --trainer.limit_train_batches; without it they "
        "are taken together)"
    ),
    ("--checkpoint.every_n_steps", 7): (
        "steps: one by one (--checkpoint.every_n_steps 7 and an epoch's steps have no divisor in "
        "common; a divisor of these lets them be taken together)"
    ),
    ("--data.batch_size", 1000): "steps: one by one (an epoch has a single batch)",
    (TOGETHER, 1): (
        "steps: one by one (--model.steps_per_execution 1 asks for it; left out, they are taken "
        "together)"
    ),
}


def said(run: Run, *options: object) -> list[str]:
    output = run("fit", "--trainer.max_epochs", 1, *options)
    return [line for line in output.splitlines() if line.startswith("steps")]


@pytest.mark.parametrize("options", LINES, ids=lambda options: " ".join(map(str, options)))
def test_a_line_says_why_and_what_helps(run: Run, options: tuple[object, ...]) -> None:
    assert said(run, *options) == [LINES[options]]


@pytest.mark.parametrize("options", [(), (WATCHED, TOGETHER, 32)], ids=["default", "asked for"])
def test_nothing_is_said_where_steps_are_compiled(run: Run, options: tuple[object, ...]) -> None:
    assert said(run, *options) == []


def test_what_cannot_be_is_refused_in_the_same_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", TOGETHER, "5", "--trainer.val_check_interval", "0.5"]) == 2
    words = reasons.LIMIT.of("--trainer.val_check_interval").words
    assert f"{TOGETHER} 5: {words}. Leave it out." in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:Total length of `list` across ranks is zero")
def test_their_number_may_be_asked_for_before_there_is_an_optimiser() -> None:
    from lightning.pytorch import Trainer

    from grulight import GRUClassifier, SequenceDataModule
    from grulight.errors import InputError

    class ByStep(GRUClassifier):
        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters())
            total = int(self.trainer.estimated_stepping_batches)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total)
            return [optimizer], [{"scheduler": schedule, "interval": "step"}]

    def trained(**settings: int) -> tuple[int, str | None]:
        data = SequenceDataModule()
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        trainer = Trainer(max_epochs=1, accelerator="cpu", **quiet)
        module = ByStep(**data.describe(), **settings)
        trainer.fit(module, datamodule=data)
        return trainer.global_step, module.line_of_steps

    assert trained() == (25, f"steps: one by one ({reasons.EARLY})")
    with pytest.raises(InputError, match="steps_per_execution=5: their number was asked for"):
        trained(steps_per_execution=5)


def test_a_network_of_ones_own_is_not_taken_for_ours() -> None:
    from grulight.heads import ClassHead
    from grulight.model import GRUNet
    from grulight.training.compiled_network import trainable

    class Own(GRUNet):
        """Answers otherwise, as a subclass may."""

    assert trainable(GRUNet(3, 2), ClassHead(2)) is not None
    assert trainable(Own(3, 2), ClassHead(2)) is None


def test_every_reason_is_a_short_line() -> None:
    found = [each for each in vars(reasons).values() if isinstance(each, Reason)]
    assert len(found) > 15
    assert all(len(str(each)) < 200 for each in found)
