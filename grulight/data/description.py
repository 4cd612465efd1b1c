"""What a model has to know of the data that it is trained on: sizes, names and statistics."""

from abc import abstractmethod
from functools import cached_property
from typing import Any

import numpy as np
from lightning.pytorch import LightningDataModule

from grulight.data.missing import Fill, Filling, fitted
from grulight.data.readers import ReadOptions
from grulight.data.sequences import Sequences
from grulight.data.splitting import Parts
from grulight.data.statistics import (
    Statistics,
    are_labels,
    feature_statistics,
    value_statistics,
)

# what a model has to know of the data, by the names that both have for it
DESCRIPTION = (
    *("input_size", "num_classes", "num_values", "per_step", "multilabel"),
    *("class_names", "feature_names", "offset", "mean", "scale", "missing", "fill"),
    *("target_mean", "target_scale"),
)


class DescribedDataModule(LightningDataModule):
    """Describe the training part.

    Attributes:
        options: How it was read.
        standardize: Whether the description has statistics to scale features by.
        standardize_targets: Whether it has statistics to scale values by.
        missing: How missing values are filled; None where there are none.
    """

    options: ReadOptions
    standardize: bool
    standardize_targets: bool
    missing: Fill | None

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

    @cached_property
    def multilabel(self) -> bool:
        """Whether labels are several that hold or not, such as (1, 0, 1), and no values."""
        return are_labels(self.parts.train, self.options.targets.kind)

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

    @property
    def target_mean(self) -> list[float] | None:
        """Mean of each value over the training part; None where labels are not scaled."""
        return None if self._value_statistics is None else self._value_statistics[0].tolist()

    @property
    def target_scale(self) -> list[float] | None:
        """Standard deviation of each value over the training part; None likewise."""
        return None if self._value_statistics is None else self._value_statistics[1].tolist()

    @cached_property
    def _statistics(self) -> Statistics:
        return feature_statistics(self.parts.train)

    @cached_property
    def _value_statistics(self) -> Statistics | None:
        scaled = self.standardize_targets and self.num_values and not self.multilabel
        return value_statistics(self.parts.train) if scaled else None
