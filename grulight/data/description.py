"""What a model has to know of the data that it is trained on: sizes, names and statistics."""

from abc import abstractmethod
from functools import cached_property
from typing import Any

import numpy as np
from lightning.pytorch import LightningDataModule
from numpy.typing import NDArray

from grulight.data.splitting import Parts
from grulight.data.statistics import feature_statistics

# what a model has to know of the data, by the names that both have for it
DESCRIPTION = (
    *("input_size", "num_classes", "num_values", "per_step"),
    *("class_names", "feature_names", "offset", "mean", "scale"),
)


class DescribedDataModule(LightningDataModule):
    """Describe the training part.

    Attributes:
        standardize: Whether the description has statistics to scale features by.
    """

    standardize: bool

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

    def describe(self) -> dict[str, Any]:
        """Return what a model has to know of the data, as arguments of ``GRUClassifier``."""
        return {name: getattr(self, name) for name in DESCRIPTION}

    @cached_property
    def _statistics(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return feature_statistics(self.parts.train)
