"""A LightningModule that answers for arrays, data frames and files."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from grulight.data.readers import ReadOptions
from grulight.data.readers.table_columns import TableLayout
from grulight.data.windows import Windows
from grulight.kernels import gate
from grulight.kernels.unequal import padded
from grulight.model import GRUNet
from grulight.training.answers import predicted
from grulight.training.compiled_network import CompiledPredictor, compiled, predict_in_torch
from grulight.training.steps import StepsModule


class AnsweringModule(StepsModule):
    """Answer for what a program has in memory.

    Attributes:
        class_names: What each class is called, or each label or value.
        windows: How the series of its training were cut, to forecast; None for no windows.
    """

    class_names: tuple[str, ...]
    _offset: NDArray[np.float64] | None

    def __init__(self) -> None:
        super().__init__()
        self._predictor: CompiledPredictor | None = None
        self.windows: Windows | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what holds addresses and a lock: it is made anew."""
        return super().__getstate__() | {"_predictor": None}

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return logits (batch, label) for raw sequences (batch, time, feature), less the offset.

        A Keras model may answer for each step, (batch, step, label), or with values.
        """
        logits: Tensor = self.network(self.standardized(values), lengths)
        return logits

    def summarize(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return the GRU's summaries (batch, summary) of raw sequences (batch, time, feature)."""
        assert isinstance(self.network, GRUNet)
        return self.network.summarize(self.standardized(values), lengths)

    def predict_proba(
        self,
        values: NDArray[np.floating] | Sequence[NDArray[np.floating]],
        lengths: NDArray[np.integer] | None = None,
    ) -> NDArray[np.floating]:
        """Return what is predicted, NumPy in and NumPy out.

        A GRUNet of one layer in one direction takes one compiled call, in which a sequence gets
        the same bits in any batch. Nothing is written to values and lengths.

        Args:
            values: (N, T, F) raw sequences, padded; or a list of N arrays (T, F) of any lengths.
            lengths: (N,) valid steps, which come first; None for all.

        Returns:
            (N, C) probability of each class; see :meth:`predict_step` for Keras models.

        Raises:
            InputError: Values or lengths do not fit the model, or what standardises is not finite.
        """
        whole, lengths = padded(values, lengths)
        if self._offset is not None:
            whole = gate.sequences(whole, self.hparams["input_size"]) - self._offset
        return self.predict_read(whole, lengths)

    def predict_read(
        self, values: NDArray[np.floating], lengths: NDArray[np.integer] | None = None
    ) -> NDArray[np.floating]:
        """Return what :meth:`predict_proba` does, for sequences less the offset, as read."""
        predictor = self._predictor
        if predictor is None or not predictor.is_current():
            predictor = self._predictor = compiled(self, self.network, self.head)
        if predictor is not None:
            return predictor(values, lengths)
        return predict_in_torch(self, self.hparams["input_size"], values, lengths)

    def predict(
        self,
        data: Any,
        sequence: str = "sequence",
        time: str = "time",
        layout: TableLayout = "long",
    ) -> Any:
        """Return what is predicted for each sequence of a data frame, a file or arrays.

        What was trained to forecast from windows of series answers for every window.

        Args:
            data: A data frame with one row per time step, or what else ``SequenceDataModule``
                takes for a source. Labels are not looked at.
            sequence: Column of a table that says which sequence a row belongs to.
            time: Column of a table that orders the rows of a sequence, where there is one.
            layout: Whether a table has one row per time step (long) or per sequence (wide).

        Returns:
            The table that ``grulight predict`` writes, as a frame of the kind that was given; as
            arrays by their names where it was no frame.

        Raises:
            InputError: The data cannot be read, or do not fit the model.
        """
        return predicted(self, data, ReadOptions(sequence=sequence, time=time, layout=layout))
