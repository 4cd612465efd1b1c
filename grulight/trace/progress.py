"""A progress bar that shares the console of the trace and leaves nothing behind."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TaskID


class TerminalProgress(ProgressBar):
    """Count the batches of the current pass, or the epochs where each takes one step.

    Lightning's RichProgressBar makes a console of its own, into which the trace's rows would be
    torn; here both use one, so that rows appear above the bar.
    """

    def __init__(self, console: Console) -> None:
        super().__init__()
        columns = (*Progress.get_default_columns(), MofNCompleteColumn())
        self._progress = Progress(*columns, console=console, transient=True)
        self._task: TaskID = self._progress.add_task("", total=None)
        self._enabled = True

    def enable(self) -> None:
        """Show the bar."""
        self._enabled = True

    def disable(self) -> None:
        """Hide the bar, as Lightning asks on all processes but the first."""
        self._enabled = False

    def _begin(self, title: str, total: float | None, done: int = 0) -> None:
        if self._enabled:
            total = None if total == float("inf") else total
            self._progress.reset(self._task, total=total, completed=done, description=title)
            self._progress.start()

    def _advance(self, *_: Any, **__: Any) -> None:
        self._progress.advance(self._task)

    def _end(self, *_: Any, **__: Any) -> None:
        self._progress.stop()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start counting an epoch; epochs, where one is over in a single execution."""
        if trainer.num_training_batches == 1:
            endless = trainer.max_epochs in (None, -1)
            total = None if endless else trainer.max_epochs
            self._begin("epochs", total, trainer.current_epoch)
            return
        last = "" if trainer.max_epochs in (None, -1) else f"/{trainer.max_epochs}"
        self._begin(f"epoch {trainer.current_epoch + 1}{last}", trainer.num_training_batches)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start counting the test."""
        self._begin("test", sum(trainer.num_test_batches))

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start counting a prediction."""
        self._begin("predict", sum(trainer.num_predict_batches))

    on_train_batch_end = on_test_batch_end = on_predict_batch_end = _advance
    on_train_end = on_test_end = on_predict_end = on_exception = _end
