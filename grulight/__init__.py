"""Train GRU sequence classifiers with PyTorch Lightning; they equal your Keras ones."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from grulight.commands.tune_from_python import tune as tune
    from grulight.data.datamodule import SequenceDataModule
    from grulight.data.sequences import Sequences
    from grulight.errors import InputError
    from grulight.estimators.classifier import SequenceClassifier as SequenceClassifier
    from grulight.estimators.regressor import SequenceRegressor as SequenceRegressor
    from grulight.keras_files.port import load_keras
    from grulight.model import GRUNet
    from grulight.optim import KerasAdam, KerasRMSprop
    from grulight.runs.trained import load_classifier
    from grulight.training.classifier import GRUClassifier

# without those of _HOME that need an extra, so that `import *` does not
__all__ = [
    "GRUClassifier",
    "GRUNet",
    "InputError",
    "KerasAdam",
    "KerasRMSprop",
    "SequenceDataModule",
    "Sequences",
    "load_classifier",
    "load_keras",
]

_HOME = {
    "GRUClassifier": "training.classifier",
    "GRUNet": "model",
    "InputError": "errors",
    "KerasAdam": "optim",
    "KerasRMSprop": "optim",
    "SequenceClassifier": "estimators.classifier",
    "SequenceDataModule": "data.datamodule",
    "SequenceRegressor": "estimators.regressor",
    "Sequences": "data.sequences",
    "load_classifier": "runs.trained",
    "load_keras": "keras_files.port",
    "tune": "commands.tune_from_python",
}


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, "__version__"})


def __getattr__(name: str) -> object:
    if name == "__version__":
        return import_module("importlib.metadata").version(__name__)
    # torch and Lightning take seconds to import: only who uses them waits
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
