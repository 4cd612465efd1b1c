"""When a run saves itself: after each epoch, and between batches every so often or when stopped."""

from grulight.runs.saving.between_batches import RunSaver
from grulight.runs.saving.epoch_checkpoint import RunCheckpoint

__all__ = ["RunCheckpoint", "RunSaver"]
