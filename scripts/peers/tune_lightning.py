"""A worker of Optuna around plain Lightning, as Optuna's examples have it."""

import logging
import sys
import warnings
from dataclasses import replace

import lightning_plain
import numpy as np
import optuna
import torch
from lightning.pytorch import Trainer, seed_everything
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import MaxTrialsCallback
from torch import Tensor
from work import Work, load


class Classifier(lightning_plain.Classifier):
    """A GRU and a linear layer with torch's own first weights, validated after each epoch."""

    def __init__(self, work: Work, lr: float) -> None:
        super().__init__(work)
        self.lr = lr
        for layer in (self.gru, self.head):
            layer.reset_parameters()

    def validation_step(self, batch: list[Tensor]) -> None:
        """Log loss and accuracy."""
        self._evaluate(batch, "val")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam."""
        return torch.optim.Adam(self.parameters(), self.lr)


def main(path: str, journal: str, trials: int, epochs: int, seed: int) -> None:
    """Take trials of the shared study until so many are finished."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    work = load(path)
    count = len(work.x) * 4 // 5
    settings = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}

    def objective(trial: optuna.Trial) -> float:
        seed_everything(trial.number, verbose=False)
        hidden = trial.suggest_int("hidden_size", 8, 32, log=True)
        lr = trial.suggest_float("lr", 1e-3, 1e-1, log=True)
        weights = {
            "gru.weight_ih_l0": np.zeros((3 * hidden, work.x.shape[2]), np.float32),
            "gru.weight_hh_l0": np.zeros((3 * hidden, hidden), np.float32),
            "gru.bias_ih_l0": np.zeros(3 * hidden, np.float32),
            "gru.bias_hh_l0": np.zeros(3 * hidden, np.float32),
            "head.weight": np.zeros((work.classes, hidden), np.float32),
            "head.bias": np.zeros(work.classes, np.float32),
        }
        model = Classifier(replace(work, weights=weights), lr)
        trainer = Trainer(
            max_epochs=epochs, accelerator="cpu", devices=1, enable_model_summary=False, **settings
        )
        loaders = (
            lightning_plain.loader(work.x[:count], work.y[:count], work.batch, shuffle=True),
            lightning_plain.loader(work.x[count:], work.y[count:], work.batch, shuffle=False),
        )
        trainer.fit(model, *loaders)
        return float(trainer.callback_metrics["val_loss"])

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(journal)), study_name="grulight",
        sampler=optuna.samplers.RandomSampler(seed), load_if_exists=True,
    )  # fmt: skip
    study.optimize(objective, callbacks=[MaxTrialsCallback(trials)])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
