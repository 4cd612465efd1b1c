"""What both estimators do: they train a GRU, and ask it."""

import warnings
from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split
from sklearn.utils import (
    check_array,
    check_consistent_length,
    check_random_state,
    column_or_1d,
)
from sklearn.utils.validation import check_is_fitted
from torch.optim import Optimizer

from grulight.data.datamodule import SequenceDataModule
from grulight.data.readers.targets import Kind
from grulight.errors import InputError
from grulight.estimators.fitting import (
    ONE_AT_A_TIME,
    LossCurve,
    StopAtBest,
    seeded,
    train,
    trainer_for,
)
from grulight.estimators.inputs import Series, is_table, read_series, width
from grulight.estimators.parameters import SequenceParameters
from grulight.optim import KerasAdam
from grulight.training.classifier import GRUClassifier


class Learner(GRUClassifier):
    """A GRUClassifier with a learning rate of its own."""

    lr: float

    def configure_optimizers(self) -> Optimizer:
        """Return Keras' Adam."""
        return KerasAdam(self.parameters(), self.lr)


class SequenceEstimator(SequenceParameters):
    """Train a GRU on sequences, as ``GRUClassifier`` and ``SequenceDataModule`` do."""

    _kind: Kind

    @abstractmethod
    def _read_targets(self, y: Any) -> tuple[NDArray[Any], list[str]]:
        """Return y as ``SequenceDataModule`` takes it, and what its numbers are called."""

    @abstractmethod
    def _strata(self, y: NDArray[Any]) -> NDArray[Any] | None:
        """Return what a validation part should have in the same shares; None for nothing."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train afresh.

        Args:
            X: (N, T, F), (N, T), or N arrays (T, F).
            y: (N,).
            sample_weight: (N,) how much the loss of each sequence counts, in training and in early
                stopping, against the others; None for alike.

        Returns:
            The estimator.

        Raises:
            ValueError: X, y or a parameter is wrong.
        """
        self.check_parameters()
        series, self.channels_first_ = read_series(X, self.channels_first, self)
        self.n_features_in_: int = width(series)
        targets, names = self._read_targets(y)
        check_consistent_length(series, targets)
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        weights = _relative(sample_weight, len(series))
        data = self._data(series, targets, weights, seed)
        with ONE_AT_A_TIME:
            self._train(data, names, seed)
        self._columns = self.n_features_in_ if is_table(series) else None
        return self

    def _data(
        self, series: Series, targets: NDArray[Any], weights: NDArray[Any] | None, seed: int
    ) -> SequenceDataModule:
        share = 0.0
        if self.early_stopping:
            kept, held_out = train_test_split(
                np.arange(len(targets)),
                test_size=self.validation_fraction,
                random_state=seed,
                stratify=self._strata(targets),
            )
            order, share = np.concatenate([kept, held_out]), len(held_out) / len(targets)
            targets = targets[order]
            weights = None if weights is None else weights[order]
            series = [series[n] for n in order] if isinstance(series, list) else series[order]
        data = SequenceDataModule(
            (series, targets) if weights is None else (series, targets, weights),
            train_size=1.0,
            val_size=share,
            batch_size=int(self.batch_size),
            standardize=bool(self.standardize),
            missing=self.missing,
            seed=seed,
            targets=self._kind,
            per_step=False,
        )
        _ = data.parts  # which reads them, and then has notes
        for note in data.notes:
            # the other way of reading X has been asked about, with its parameter's name
            if " is read as " not in note:
                warnings.warn(note, stacklevel=6)
        return data

    def _train(self, data: SequenceDataModule, names: list[str], seed: int) -> None:
        curve = LossCurve(bool(self.verbose))
        stopping = [StopAtBest(self.n_iter_no_change)] if self.early_stopping else []
        trainer = trainer_for(self.accelerator, int(self.max_epochs), [curve, *stopping])
        with seeded(seed, trainer.strategy.root_device):
            model = Learner(
                **data.describe() | {"class_names": names},
                hidden_size=int(self.hidden_size),
                num_layers=int(self.num_layers),
                bidirectional=bool(self.bidirectional),
                dropout=float(self.dropout),
                kernel=self.kernel,
            )
            model.lr = float(self.lr)
            train(trainer, model, data)
        self.model_: GRUClassifier = model
        self.loss_curve_: list[float] = curve.losses
        self.n_iter_: int = len(curve.losses)

    def _answers(self, X: Any, prefix: str) -> NDArray[Any]:
        """Return the columns of the model's answers that begin so, (N, K)."""
        check_is_fitted(self)
        series, _ = read_series(X, self.channels_first_, self)
        if self._columns and is_table(series) and series.shape[1] != self._columns:
            raise InputError(
                f"X has {series.shape[1]} features, but {type(self).__name__} is expecting "
                f"{self._columns} features as input. Sequences of another length than those "
                "trained on go in as (sequences, steps, 1)."
            )
        columns = self.model_.predict(series)
        return np.stack([columns[f"{prefix}{name}"] for name in self.model_.class_names], axis=1)


def _relative(weights: Any, count: int) -> NDArray[np.float64] | None:
    """Return weights (N,) whose mean is 1, so that the learning rate means the same."""
    if weights is None:
        return None
    found = column_or_1d(check_array(weights, ensure_2d=False, input_name="sample_weight"))
    check_consistent_length(found, np.empty(count))
    if (found < 0).any() or not found.any():
        raise InputError("sample_weight: a weight below zero, or all of them zero.")
    relative: NDArray[np.float64] = found / found.mean(dtype=np.float64)
    return relative
