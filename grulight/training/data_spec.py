"""What the data need of a network: its head, and whether a Keras model has it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from grulight.errors import InputError, option
from grulight.heads import ClassHead, Head, LabelHead, ValueHead
from grulight.kernels import gate

if TYPE_CHECKING:
    from grulight.keras_files.ported_network import PortedNetwork


class DataSpec(NamedTuple):
    """What the data need of a model; see ``GRUClassifier``."""

    input_size: int
    num_classes: int
    num_values: int
    per_step: bool
    multilabel: bool = False
    target_mean: Sequence[float] | None = None
    target_scale: Sequence[float] | None = None
    label_smoothing: float = 0.0

    @property
    def head(self) -> Head:
        """What a network that learns the labels answers."""
        smoothing = self.label_smoothing
        if not 0 <= smoothing < 1:
            raise InputError(
                f"{option('model.label_smoothing', smoothing)}: expected 0 up to below 1."
            )
        if not self.num_values:
            outputs = 1 if self.num_classes == 2 else self.num_classes
            return ClassHead(outputs, self.per_step, smoothing)
        if self.multilabel:
            return LabelHead(self.num_values, self.per_step, smoothing)
        if smoothing:
            raise InputError(f"{option('model.label_smoothing')}: values have none. Leave it out.")
        mean, scale = gate.statistics(
            self.target_mean, self.target_scale, self.num_values, np.float64
        )
        if mean is None or scale is None:
            return ValueHead(self.num_values, self.per_step)
        return ValueHead(
            self.num_values, self.per_step, mean=(*mean.tolist(),), scale=(*scale.tolist(),)
        )


def ported_network(model: str | dict[str, Any], spec: DataSpec) -> "PortedNetwork":
    """Return a Keras model in the place of the GRUNet.

    Args:
        model: Its file, or its description from a checkpoint.
        spec: What the data need.

    Raises:
        InputError: It cannot be read, or answers otherwise than the data need.
    """
    from grulight.keras_files.model_description import rebuild
    from grulight.keras_files.port import load_keras
    from grulight.keras_files.ported_network import PortedNetwork
    from grulight.keras_files.reader.untrusted_text import naming

    name = model if isinstance(model, str) else "the ported model"
    ported = load_keras(model) if isinstance(model, str) else rebuild(model)
    with naming(Path(name)):
        network = PortedNetwork(ported)
    head = network.head
    labels = (head.num_classes, 0 if head.num_classes else head.size, head.per_step)
    if (network.input_size, *labels) != spec[:4]:
        raise InputError(
            f"{name}: reads {network.input_size} features and answers with {head.words}, but the "
            f"data have {spec.input_size} features and {spec.head.words}."
        )
    return network
