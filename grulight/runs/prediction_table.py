"""Predictions as a table: a row per sequence, or per step of one, written batch by batch."""

import time
from collections.abc import Sequence

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from grulight.data.batches import Batch
from grulight.data.sequences import Sequences
from grulight.runs.ensemble import Ensemble
from grulight.runs.table_file import Table
from grulight.training.answers import prediction_columns
from grulight.training.classifier import GRUClassifier


class PredictionWriter(Callback):
    """Write each batch's predictions to a table, and forget them.

    Args:
        table: Where they go.
        parts: What is predicted, in this order, one data loader each.
    """

    def __init__(self, table: Table, parts: Sequence[Sequences]) -> None:
        self.table = table
        self.parts = parts
        self.written = [0] * len(parts)
        self.seconds = 0.0

    @property
    def complete(self) -> bool:
        """Whether every sequence has its rows."""
        return self.written == [len(part) for part in self.parts]

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self.seconds = -time.perf_counter()

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Tensor,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write the batch."""
        answers, disagreement = outputs.float().cpu().numpy(), None
        if isinstance(pl_module, Ensemble):
            disagreement = answers.std(axis=0)
            answers, pl_module = answers.mean(axis=0), pl_module.first
        assert isinstance(pl_module, GRUClassifier)
        start = self.written[dataloader_idx]
        self.written[dataloader_idx] = stop = start + len(answers)
        part = self.parts[dataloader_idx]
        columns = prediction_columns(
            pl_module.head,
            pl_module.class_names,
            part.ids[start:stop],
            part.lengths[start:stop] if pl_module.network.follows_steps else None,
            answers,
            disagreement,
        )
        self.table.append(columns)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock."""
        self.seconds += time.perf_counter()
