"""Metrics for TensorBoard, handed over together."""

import time
from collections.abc import Mapping
from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only


class TensorBoardEvents(TensorBoardLogger):
    """Keep metrics until they are saved, and write those that came together as one event.

    Each event wakes the thread that writes it: one for each number takes as long as ten steps.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._waiting: list[tuple[dict[str, float], int | None, float]] = []

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Take metrics (name to number) of a step; ``save`` writes them."""
        if any(isinstance(value, dict) for value in metrics.values()):  # several lines in a chart
            super().log_metrics(metrics, step)
            return
        numbers = {name: float(value) for name, value in metrics.items()}
        self._waiting.append((numbers, step, time.time()))

    @rank_zero_only
    def save(self) -> None:
        """Write what waits."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        waiting, self._waiting = self._waiting, []
        for numbers, step, at in waiting:
            values = [Summary.Value(tag=name, simple_value=each) for name, each in numbers.items()]
            # as Lightning does where it writes a summary of its own
            self.experiment._get_file_writer().add_summary(Summary(value=values), step, at)
        super().save()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write what waits, and close the file."""
        if self._waiting:
            self.save()
        super().finalize(status)
