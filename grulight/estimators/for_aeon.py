"""The estimators with aeon's interface, for its pipelines and benchmarks."""

from typing import Any

from numpy.typing import NDArray
from sklearn.base import clone

from grulight.estimators.classifier import SequenceClassifier
from grulight.estimators.regressor import SequenceRegressor
from grulight.extras import extra

_TAGS = {
    "X_inner_type": ["np-list", "numpy3D"],
    "algorithm_type": "deeplearning",
    "capability:multivariate": True,
    "capability:unequal_length": True,
    "python_dependencies": "torch",
}

BaseClassifier: Any = extra("aeon.classification", "data", "AeonClassifier").BaseClassifier
BaseRegressor: Any = extra("aeon.regression", "data", "AeonRegressor").BaseRegressor


class AeonClassifier(BaseClassifier):
    """A :class:`SequenceClassifier` as aeon's classifiers are: any of its collections for X.

    Args:
        estimator: The classifier, whose settings are taken; None for the default ones.
    """

    _tags = _TAGS

    def __init__(self, estimator: SequenceClassifier | None = None) -> None:
        self.estimator = estimator
        super().__init__()

    def _fit(self, X: Any, y: NDArray[Any]) -> "AeonClassifier":
        given = SequenceClassifier() if self.estimator is None else clone(self.estimator)
        self.estimator_ = given.set_params(channels_first=True).fit(X, y)
        return self

    def _predict(self, X: Any) -> NDArray[Any]:
        found: NDArray[Any] = self.estimator_.predict(X)
        return found

    def _predict_proba(self, X: Any) -> NDArray[Any]:
        found: NDArray[Any] = self.estimator_.predict_proba(X)
        return found

    @classmethod
    def _get_test_params(cls, parameter_set: str = "default") -> dict[str, Any]:
        return {"estimator": SequenceClassifier(max_epochs=2)}


class AeonRegressor(BaseRegressor):
    """A :class:`SequenceRegressor` as aeon's regressors are: any of its collections for X.

    Args:
        estimator: The regressor, whose settings are taken; None for the default ones.
    """

    _tags = _TAGS

    def __init__(self, estimator: SequenceRegressor | None = None) -> None:
        self.estimator = estimator
        super().__init__()

    def _fit(self, X: Any, y: NDArray[Any]) -> "AeonRegressor":
        given = SequenceRegressor() if self.estimator is None else clone(self.estimator)
        self.estimator_ = given.set_params(channels_first=True).fit(X, y)
        return self

    def _predict(self, X: Any) -> NDArray[Any]:
        found: NDArray[Any] = self.estimator_.predict(X)
        return found

    @classmethod
    def _get_test_params(cls, parameter_set: str = "default") -> dict[str, Any]:
        return {"estimator": SequenceRegressor(max_epochs=2)}
