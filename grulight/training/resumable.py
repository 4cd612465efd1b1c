"""A LightningModule whose training goes on from a checkpoint to the bit."""

from typing import Any

from lightning.pytorch.trainer.states import TrainerFn

from grulight.checkpoint_files.reader import FORMAT
from grulight.training.continuing import require_continued
from grulight.training.divergence import require_finite_weights
from grulight.training.measured import MeasuredModule
from grulight.training.process_state import (
    ProcessState,
    gather_process_states,
    restore_process_state,
)
from grulight.training.steps_per_execution import go_on_within_epoch


class ResumableModule(MeasuredModule):
    """Keep in checkpoints what Lightning leaves out, and take it up again.

    Attributes:
        optimization: The optimiser and the scheduler that the command line asked for.
        resumed_steps: Steps together in the epoch that is finished first; None for no such epoch.
    """

    def __init__(self) -> None:
        super().__init__()
        self.optimization: dict[str, Any] | None = None
        self.resumed_steps: int | None = None
        self._resumed: list[ProcessState] | None = None  # what each process has to go on with

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Mark the checkpoint as one of ours; keep what it takes to continue to the bit.

        Raises:
            InputError: A weight is not finite.
        """
        weights = checkpoint["state_dict"]
        require_finite_weights(weights, checkpoint["epoch"], checkpoint["global_step"])
        checkpoint["grulight_format"] = FORMAT
        checkpoint["optimization"] = self.optimization
        checkpoint["processes"] = gather_process_states(self.train_means.sums, self.device)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take over what each process had, for the batches that are still to come.

        Raises:
            InputError: A training cannot go on from it.
        """
        if self._trainer is None:  # load_from_checkpoint: nothing is to come
            return
        if self.trainer.precision == "64-true":
            # Lightning loads the weights before it converts the module: they would be rounded
            self.double()
        if self.trainer.state.fn == TrainerFn.FITTING:
            require_continued(str(self.trainer.ckpt_path), checkpoint, self, self.trainer.max_steps)
        self._resumed = checkpoint.get("processes")
        self.resumed_steps = go_on_within_epoch(self.trainer, checkpoint)

    def on_train_start(self) -> None:
        """Go on in the epoch's means and in the random numbers, which dropout draws from."""
        trainer, states, self._resumed = self.trainer, self._resumed, None
        sums = restore_process_state(states, trainer.global_rank, trainer.world_size, self.device)
        self.train_means.reset()
        if sums is not None:
            self.train_means.sums = sums
