"""`Trainer.fit` from Python goes on from a checkpoint under the same rules as the command."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch.optim import Optimizer

from grulight.data.datamodule import SequenceDataModule
from grulight.errors import InputError
from grulight.optim import KerasAdam
from grulight.training.classifier import GRUClassifier

pytestmark = [
    pytest.mark.filterwarnings("ignore:Total length of .list.:UserWarning"),
    pytest.mark.filterwarnings("ignore:.training_step. returned .None.:UserWarning"),
]


class Momentum(GRUClassifier):
    def configure_optimizers(self) -> Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1, momentum=0.9)


class InTwoGroups(GRUClassifier):
    def configure_optimizers(self) -> Optimizer:
        first, *rest = self.parameters()
        return KerasAdam([{"params": [first]}, {"params": rest}])


def fit(
    kind: type[GRUClassifier], epochs: int, path: Path | None = None, **settings: Any
) -> GRUClassifier:
    torch.manual_seed(0)
    data = SequenceDataModule(seed=0)
    classifier = kind(**data.describe() | settings)
    trainer = Trainer(
        max_epochs=epochs,
        logger=False,
        accelerator="cpu",
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(classifier, data, ckpt_path=path, weights_only=True)
    if path is None:
        trainer.save_checkpoint("one.ckpt")
    return classifier


@pytest.fixture
def one() -> Path:
    fit(GRUClassifier, 1)
    return Path("one.ckpt")


@pytest.mark.parametrize("kind", [Momentum, InTwoGroups])
def test_another_optimizer_is_refused_in_a_line(one: Path, kind: type[GRUClassifier]) -> None:
    with pytest.raises(InputError, match=r"^one\.ckpt: was trained with another optimizer"):
        fit(kind, 2, one)


def test_another_model_is_refused_in_a_line(one: Path) -> None:
    with pytest.raises(InputError, match=r"^one\.ckpt: was trained with hidden_size=16, this run"):
        fit(GRUClassifier, 2, one, hidden_size=8)


def test_moments_of_another_shape_are_refused_in_a_line(one: Path) -> None:
    held = torch.load(one, weights_only=True)
    held["optimizer_states"][0]["state"][0]["exp_avg"] = torch.zeros(2, 2)
    torch.save(held, one)
    with pytest.raises(InputError, match=r"^one\.ckpt: .*exp_avg of"):
        fit(GRUClassifier, 2, one)


def test_the_same_goes_on_to_the_bit(one: Path) -> None:
    resumed = fit(GRUClassifier, 2, one).state_dict()
    for name, weight in fit(GRUClassifier, 2).state_dict().items():
        assert torch.equal(weight, resumed[name]), name
