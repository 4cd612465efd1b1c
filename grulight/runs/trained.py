"""The classifier of a checkpoint, which predicts at once: torch and Lightning wait until asked for.

A process that only calls ``predict_proba`` needs a compiled call and NumPy. Whatever else is done
with the classifier makes it the LightningModule that it is in Python's eyes from the start, as
``importlib.util.LazyLoader`` does with modules: one object, whoever holds it.
"""

import os
from collections.abc import Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from grulight.checkpoint_files.plain_gru import PlainGRU, read_plain_gru
from grulight.kernels import gate
from grulight.kernels.unequal import padded

if TYPE_CHECKING:
    from grulight.training.classifier import GRUClassifier

_ALONE, _HELD = Lock(), "_held"


def load_classifier(path: str | os.PathLike[str]) -> "GRUClassifier":
    """Return the trained classifier of a checkpoint file, ready to predict.

    Of a GRU of one layer in one direction, ``predict_proba`` imports neither torch nor Lightning.

    Raises:
        InputError: The file is missing, damaged, or a checkpoint of something else; or weights are
            missing, not finite, or of other shapes than the description says.
    """
    plain = read_plain_gru(path)
    if plain is not None:
        return cast("GRUClassifier", _Predicting(path, plain))
    from grulight.runs.checkpoint import load_classifier

    return load_classifier(path)


class _Predicting:
    """Predict; become a GRUClassifier for anything else."""

    def __init__(self, path: str | os.PathLike[str], plain: PlainGRU) -> None:
        offset = gate.offset(plain.settings.get("offset"), plain.settings["input_size"])
        vars(self)[_HELD] = path, plain, offset

    def predict_proba(
        self,
        values: NDArray[np.floating] | Sequence[NDArray[np.floating]],
        lengths: NDArray[np.integer] | None = None,
    ) -> NDArray[np.floating]:
        """Return what is predicted; see ``GRUClassifier.predict_proba``."""
        held = vars(self).get(_HELD)
        if held is None:  # it becomes a GRUClassifier, or did after this method was asked for
            classifier: GRUClassifier = _become(self)
            return classifier.predict_proba(values, lengths)
        plain: PlainGRU = held[1]
        offset = held[2]
        whole, lengths = padded(values, lengths)
        if offset is not None:
            whole = gate.sequences(whole, plain.settings["input_size"]) - offset
        return plain.predictor(whole, lengths)

    @property  # type: ignore[misc]  # what isinstance asks for
    def __class__(self) -> Any:
        from grulight.training.classifier import GRUClassifier

        return GRUClassifier  # CPython compares it with the type before: it must not change here

    def __getattr__(self, name: str) -> Any:
        return getattr(_become(self), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(_become(self), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(_become(self), name)

    def __call__(self, *args: Any, **settings: Any) -> Any:
        return _become(self)(*args, **settings)

    def __repr__(self) -> str:
        return repr(_become(self))

    def __dir__(self) -> Any:
        return dir(_become(self))

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _become(self).__reduce_ex__(protocol)


def _become(predicting: Any) -> Any:
    """Make a classifier of what only predicts, where it is not one yet; return it."""
    import torch

    from grulight.runs.checkpoint import classifier_in

    with _ALONE:
        held = vars(predicting)
        if type(predicting) is _Predicting:
            path, plain, _ = held[_HELD]
            weights = {name: torch.from_numpy(each) for name, each in plain.arrays.items()}
            classifier = classifier_in(path, plain.checkpoint | {"state_dict": weights})
            held.clear()
            held.update(vars(classifier))
            object.__dict__["__class__"].__set__(predicting, type(classifier))
    return predicting
