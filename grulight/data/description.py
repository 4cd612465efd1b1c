"""What a model has to know of the data that it is trained on: sizes, names and statistics."""

from abc import abstractmethod
from functools import cached_property
from typing import Any

import numpy as np
from lightning.pytorch import LightningDataModule
from numpy.typing import NDArray

from grulight.data.missing import Fill, Filling, fitted
from grulight.data.readers import ReadOptions
from grulight.data.sequences import Sequences
from grulight.data.splitting import Parts, Split
from grulight.data.statistics import feature_statistics
from grulight.errors import InputError

# what a model has to know of the data, by the names that both have for it
DESCRIPTION = (
    *("input_size", "num_classes", "num_values", "per_step"),
    *("class_names", "feature_names", "offset", "mean", "scale", "missing", "fill"),
)

OF_TABLES = ("layout", "separator", "decimal", "steps", "group")  # options that only they have
SPLIT_OPTIONS = ("split", "train_size", "val_size", "seed")
COLUMNS = ("sequence", "time", "label")
# what a checkpoint remembers of how data were read: options, and the seed of the split
READING = (
    *(*OF_TABLES, "targets", "per_step", "window", "horizon"),
    *("split", "train_size", "val_size", "split_seed"),
)
_LASTING = ("split", "split_seed", "group", "window", "horizon")  # while a run goes on


class DescribedDataModule(LightningDataModule):
    """Describe the training part, and how it was read.

    Attributes:
        source: Where it was read.
        options: How.
        seed: Of the shuffling.
        standardize: Whether the description has statistics to scale features by.
        missing: How missing values are filled; None where there are none.
    """

    source: str
    options: ReadOptions
    seed: int | None
    standardize: bool
    missing: Fill | None

    _split: Split
    _fill: list[float] | None

    @property
    @abstractmethod
    def unfilled(self) -> Parts:
        """The parts as they were read."""

    @cached_property
    def filling(self) -> Filling | None:
        """How missing values are filled; None where none may be missing."""
        if self.missing is None:
            return None
        if self._fill is not None:
            return Filling(self.missing, np.array(self._fill))
        return fitted(self.missing, self.unfilled.train)

    def _filled(self, part: Sequences) -> Sequences:
        return part if self.filling is None else self.filling(part)

    @property
    @abstractmethod
    def parts(self) -> Parts:
        """What trains, validates and tests."""

    @property
    def input_size(self) -> int:
        """Features per time step."""
        return len(self.parts.train.feature_names)

    @property
    def num_classes(self) -> int:
        """Classes of the training part; 0 where its labels are values."""
        return len(self.parts.train.class_names)

    @property
    def num_values(self) -> int:
        """Values of each label; 0 where the labels are classes."""
        return self.parts.train.num_values

    @property
    def per_step(self) -> bool:
        """Whether there is a label for each time step."""
        return self.parts.train.per_step

    @property
    def class_names(self) -> list[str]:
        """Names of the classes, in the order of the model's outputs."""
        return list(self.parts.train.class_names)

    @property
    def feature_names(self) -> list[str]:
        """Names of the features."""
        return list(self.parts.train.feature_names)

    @property
    def offset(self) -> list[float] | None:
        """What was subtracted from each feature while it was read; None for nothing."""
        held = self.parts.train.offset
        return None if held is None else list(held)

    @property
    def mean(self) -> list[float] | None:
        """Mean of each feature over the training part; None without standardisation."""
        return self._statistics[0].tolist() if self.standardize else None

    @property
    def scale(self) -> list[float] | None:
        """Standard deviation of each feature over the training part; None likewise."""
        return self._statistics[1].tolist() if self.standardize else None

    @property
    def fill(self) -> list[float] | None:
        """Mean of each feature that fills missing values; None where there are none."""
        return None if self.filling is None else self.filling.means.tolist()

    def describe(self) -> dict[str, Any]:
        """Return what a model has to know of the data, as arguments of ``GRUClassifier``."""
        return {name: getattr(self, name) for name in DESCRIPTION}

    @cached_property
    def _statistics(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return feature_statistics(self.parts.train)

    def state_dict(self) -> dict[str, Any]:
        """Return the seed of the shuffling, and what was read and split how, for checkpoints."""
        columns = {name: getattr(self.options, name) for name in COLUMNS}
        reading = {name: self._read_how[name] for name in READING}
        return {"seed": self.seed, "source": self.source, "columns": columns, "reading": reading}

    @property
    def _read_how(self) -> dict[str, Any]:
        options, split, cut = self.options, self._split, self._split.windows
        return vars(options) | {
            "targets": options.targets.kind,
            "per_step": options.targets.per_step,
            "window": None if cut is None else cut.length,
            "horizon": 1 if cut is None else cut.horizon,
            "split": split.by,
            "train_size": split.train_size,
            "val_size": split.val_size,
            "split_seed": 0 if split.by == "positional" else split.seed,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the shuffling of the run that is resumed.

        Raises:
            InputError: Another seed or split was asked for.
        """
        was, now = state_dict.get("reading", {}), self._read_how
        for name in _LASTING:
            if was.get(name, now[name]) != now[name]:
                option = "seed" if name == "split_seed" else name
                raise InputError(
                    f"--data.{option} {now[name]}: the run that goes on was trained with "
                    f"{was[name]}. Split and read the data as then."
                )
        if self.seed not in (None, state_dict["seed"]):
            raise InputError(
                f"--data.seed {self.seed}: the run that goes on shuffles with "
                f"{state_dict['seed']}. Leave it out."
            )
        self.seed = state_dict["seed"]
