"""The settings that both estimators have."""

from numbers import Integral
from typing import Any, get_args

from sklearn.base import BaseEstimator

from grulight.data.missing import Missing
from grulight.errors import InputError
from grulight.kernels.fused import Kernel


class SequenceParameters(BaseEstimator):
    """Hold the settings; ``SequenceClassifier`` says what each does."""

    def __init__(
        self,
        hidden_size: int = 16,
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        *,
        max_epochs: int = 100,
        batch_size: int = 32,
        lr: float = 0.01,
        standardize: bool = True,
        missing: Missing = "error",
        channels_first: bool | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        kernel: Kernel = "auto",
        accelerator: str = "auto",
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bidirectional = bidirectional
        self.dropout = dropout
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.standardize = standardize
        self.missing = missing
        self.channels_first = channels_first
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.kernel = kernel
        self.accelerator = accelerator
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        """Say what X may be."""
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = self.missing != "error"
        return tags

    def check_parameters(self) -> None:
        """Check what nobody else would, or not by the parameter's name.

        Raises:
            InputError: A setting is wrong.
        """
        for name in ("hidden_size", "num_layers", "max_epochs", "batch_size", "n_iter_no_change"):
            value = getattr(self, name)
            if not isinstance(value, Integral) or value < 1:
                raise InputError(f"{name}={value!r}: expected a whole number of at least 1.")
        if self.missing not in get_args(Missing):
            raise InputError(f"missing={self.missing!r}: expected error, last, mean or mask.")
