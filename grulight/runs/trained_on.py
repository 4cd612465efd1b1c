"""What a checkpoint remembers of the data it was trained on, for commands that read data again."""

from dataclasses import dataclass, field
from typing import Any

from grulight.checkpoint_files.reader import Checkpoint
from grulight.data.readers import has_names
from grulight.data.remembered import COLUMNS, OF_TABLES, READING
from grulight.data.windows import Windows
from grulight.errors import InputError


@dataclass(frozen=True)
class TrainedOn:
    """The source of a training, and what its columns are called.

    Attributes:
        source: As ``--data.source``; None in older checkpoints.
        columns: Names of the sequence, time and label column of a table, by their use.
        reading: How it was read and split, as arguments of ``SequenceDataModule``; and
            ``split_seed``. Empty in older checkpoints.
    """

    source: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    reading: dict[str, Any] = field(default_factory=dict)

    def settings_for(self, *sources: str | None) -> dict[str, Any]:
        """Return arguments of ``SequenceDataModule`` that read sources as the training's was.

        Args:
            sources: What is read; options of tables are for them if one of them is a table.
        """
        settings = {name: each for name, each in self.reading.items() if each is not None}
        settings["seed"] = settings.pop("split_seed", None)
        if any(has_names(each) for each in sources if each):
            return self.columns | settings
        if "window" in settings:  # what is forecast has a name in arrays as well
            settings["label"] = self.columns.get("label")
        return {name: each for name, each in settings.items() if name not in OF_TABLES}

    @property
    def windows(self) -> Windows | None:
        """How its series were cut; None where they were not."""
        length = self.reading.get("window")
        cut = (self.reading.get("horizon", 1), self.columns.get("label", "label"))
        return None if length is None else Windows(length, *cut)

    def require_named(self, option: str) -> None:
        """Ask for a source where it is not the built-in one.

        It is not taken from the checkpoint: whoever wrote that would choose what is opened here.

        Raises:
            InputError: The training read another.
        """
        if self.source not in (None, "waves"):
            raise InputError(
                f"{option}: is not said, and this checkpoint was not trained on the built-in "
                f"waves but on {self.source[:200]}. Name what to read, such as that."
            )


def trained_on(checkpoint: Checkpoint) -> TrainedOn:
    """Return what a checkpoint remembers of its data."""
    held = checkpoint.get("SequenceDataModule", {})
    columns, reading = held.get("columns", {}), held.get("reading", {})
    return TrainedOn(
        held.get("source"),
        # no others: those of a file from a stranger could name what is opened here
        {name: columns[name] for name in COLUMNS if name in columns},
        {name: reading[name] for name in READING if name in reading},
    )
