"""A GRU that predicts values of a sequence, with scikit-learn's interface."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.utils import check_array

from grulight.data.readers.digits import Digits, as_float32
from grulight.errors import InputError
from grulight.estimators.base import SequenceEstimator


class SequenceRegressor(RegressorMixin, SequenceEstimator):
    """Predict one value or several of sequences by a GRU, as scikit-learn's regressors do.

    Its loss is the mean squared error of values scaled to mean 0 and deviation 1 over the training
    data. X, the arguments and the other attributes are those of :class:`SequenceClassifier`.

    Attributes:
        model_: The trained :class:`grulight.GRUClassifier`, which answers with values; less an
            offset where float32 could not tell them apart, as 1e9 and a little.
    """

    _kind = "values"

    def __sklearn_tags__(self) -> Any:
        """Say what X and y may be."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _read_targets(self, y: Any) -> tuple[NDArray[Any], list[str]]:
        if y is None:
            raise InputError("SequenceRegressor requires y to be passed, but the target y is None")
        values = check_array(y, ensure_2d=False, dtype="numeric", input_name="y")
        if values.ndim == 0:
            raise InputError("y is a single number, expected one for each sequence.")
        self._scalars = values.ndim == 1
        rows = values[:, None] if self._scalars else values
        digits = Digits(rows.shape[1])
        digits.add(rows, as_float32(rows))
        self._offset = np.array(digits.offset() or 0.0)
        return rows - self._offset, [str(n) for n in range(rows.shape[1])]

    def _strata(self, y: NDArray[Any]) -> None:
        return None

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return the values of each sequence, (N,) or (N, K) as y had them.

        Args:
            X: As in ``fit``; sequences may be longer or shorter than those trained on.

        Raises:
            ValueError: X is wrong, or has other features than in training.
            NotFittedError: ``fit`` comes first.
        """
        found: NDArray[np.float64] = self._answers(X, "value_").astype(np.float64) + self._offset
        return found[:, 0] if self._scalars else found
