"""Predictions as a table: a row per sequence, or per step of one, written batch by batch."""

import time
from collections.abc import Sequence

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from torch import Tensor

from grulight.data.batches import Batch
from grulight.data.sequences import Sequences
from grulight.errors import InputError
from grulight.heads import Columns, Head
from grulight.runs.ensemble import Ensemble
from grulight.runs.table_file import Table
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
            disagreement = answers.std(axis=0).max(axis=-1)
            answers, pl_module = answers.mean(axis=0), pl_module.first
        assert isinstance(pl_module, GRUClassifier)
        start = self.written[dataloader_idx]
        self.written[dataloader_idx] = stop = start + len(answers)
        part = self.parts[dataloader_idx]
        columns = prediction_columns(
            pl_module.head,
            pl_module.class_names,
            part.ids[start:stop],
            part.lengths[start:stop]
            if getattr(pl_module.network, "follows_steps", False)
            else None,
            answers,
            disagreement,
        )
        self.table.append(columns)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock."""
        self.seconds += time.perf_counter()


def prediction_columns(
    head: Head,
    names: Sequence[str],
    ids: NDArray[np.str_],
    lengths: NDArray[np.int64] | None,
    answers: NDArray[np.floating],
    disagreement: NDArray[np.floating] | None = None,
) -> Columns:
    """Put the predictions of a batch into columns.

    Args:
        head: What they mean.
        names: The classes, labels or values.
        ids: (B,) names of the sequences.
        lengths: (B,) how many answers of each sequence count; None for all.
        answers: (B, C) or (B, S, C).
        disagreement: (B,) or (B, S), the largest standard deviation over an ensemble's members;
            None for a single model.

    Returns:
        ``sequence``, ``step`` (counted from 0) where there is an answer for each, then
        ``predicted`` and ``probability_<class>``, or ``probability_<label>``, or
        ``value_<name>``; and ``disagreement`` of an ensemble.

    Raises:
        InputError: An answer is not finite.
    """
    if not head.per_step:
        _require_finite(answers, ids)
        spread = {} if disagreement is None else {"disagreement": disagreement}
        return {"sequence": ids, **head.columns(answers, names), **spread}
    counted = np.ones(answers.shape[:2], dtype=bool)
    if lengths is not None:
        counted = np.arange(answers.shape[1]) < lengths[:, None]
    sequences, steps = counted.nonzero()
    _require_finite(answers[counted], ids[sequences])
    spread = {} if disagreement is None else {"disagreement": disagreement[counted]}
    found = head.columns(answers[counted], names)
    return {"sequence": ids[sequences], "step": steps, **found, **spread}


def _require_finite(answers: NDArray[np.floating], ids: NDArray[np.str_]) -> None:
    """Refuse answers (B, C) that say nothing."""
    finite = np.isfinite(answers).all(axis=1)
    if not finite.all():
        raise InputError(
            f"sequence {ids[finite.argmin()]}: the answer is not finite. Its values, or the "
            "model's weights, are too large; nothing was written."
        )
