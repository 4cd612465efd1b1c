"""A GRU that names the class of a sequence, with scikit-learn's interface."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets

from grulight.errors import InputError
from grulight.estimators.base import SequenceEstimator


class SequenceClassifier(ClassifierMixin, SequenceEstimator):
    """Tell classes of sequences apart by a GRU, as scikit-learn's classifiers do.

    For X an array (sequences, steps, features), or (sequences, steps) of one feature, or a list of
    arrays (steps, features) of unequal lengths; aeon's collections have features, their channels,
    before steps.

    Args:
        hidden_size: Units of the GRU.
        num_layers: Stacked GRU layers.
        bidirectional: Also read the sequence backwards.
        dropout: Probability of zeroing between layers and before the output, in training only.
        max_epochs: Passes over the training data.
        batch_size: Sequences per step of the optimiser.
        lr: Learning rate of Keras' Adam, whose own default, 0.001, is for more data.
        standardize: Scale every feature to mean 0 and deviation 1 over the training data.
        missing: What becomes of missing values (NaN): an ``error``, the ``last`` value before, the
            ``mean`` of the training data, or a ``mask``.
        channels_first: Whether X is (sequences, features, steps), and its arrays (features, steps),
            as in aeon. None sees it where the lengths of a list's arrays show it, takes other X as
            it is above, and warns where there are more features than steps.
        early_stopping: Stop when the loss of a validation part gets no lower, and keep the weights
            that it was lowest with.
        validation_fraction: Share of the training data, at random, that is held out for it.
        n_iter_no_change: Epochs without a lower loss that are waited for.
        kernel: What computes the GRU; see ``GRUClassifier``.
        accelerator: Where it is trained: ``cpu``, ``gpu`` or what Lightning's Trainer else takes.
        random_state: Seed of the initial weights, the shuffling, the dropout and the validation
            part; the same bits for the same seed. None draws one from NumPy.
        verbose: Print the loss and the accuracy of every epoch.

    Attributes:
        classes_: (C,) the classes, sorted.
        model_: The trained :class:`grulight.GRUClassifier`.
        n_features_in_: Features per step; the columns where X was (sequences, steps).
        n_iter_: Epochs that were trained.
        loss_curve_: Training loss of each of them.
        channels_first_: Whether X was read so.
    """

    _kind = "classes"

    def _read_targets(self, y: Any) -> tuple[NDArray[Any], list[str]]:
        if y is None:
            raise InputError("SequenceClassifier requires y to be passed, but the target y is None")
        labels = column_or_1d(y, warn=True)
        check_classification_targets(labels)
        self.classes_, indices = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError(
                f"y has only one class ({self.classes_[0]}), expected at least 2 to tell apart."
            )
        return indices, [str(each) for each in self.classes_.tolist()]

    def _strata(self, y: NDArray[Any]) -> NDArray[Any]:
        return y

    def predict_proba(self, X: Any) -> NDArray[np.floating]:
        """Return the probability of each class.

        Args:
            X: As in ``fit``; sequences may be longer or shorter than those trained on.

        Returns:
            (N, C), in the order of ``classes_``.

        Raises:
            ValueError: X is wrong, or has other features than in training.
            NotFittedError: ``fit`` comes first.
        """
        return self._answers(X, "probability_")

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most probable class of each sequence, (N,), as y had it."""
        best = self.predict_proba(X).argmax(axis=1)  # first: it says what was not fitted
        found: NDArray[Any] = self.classes_[best]
        return found
