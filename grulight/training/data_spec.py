"""What the data need of a network, and whether one has it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from grulight.errors import InputError
from grulight.heads import ClassHead, ValueHead

if TYPE_CHECKING:
    from grulight.keras_files.ported_network import PortedNetwork


class DataSpec(NamedTuple):
    """What the data need of a model."""

    input_size: int
    num_classes: int
    num_values: int
    per_step: bool

    @property
    def words(self) -> str:
        """The labels of the data in words, such as "3 values per step"."""
        head = ValueHead(self.num_values, self.per_step)
        return head.words if self.num_values else ClassHead(self.num_classes, self.per_step).words


def require_classes(spec: DataSpec) -> None:
    """Refuse labels that a GRUNet cannot learn.

    Raises:
        InputError: They are values, or there is one for each step.
    """
    if spec.num_values or spec.per_step:
        raise InputError(
            f"the data have {spec.words}, but GRUNet names one class per sequence. Bring a Keras "
            "model that answers so (--model.from_keras), or say how the labels are meant "
            "(--data.targets, --data.per_step)."
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
    if (network.input_size, *labels) != spec:
        raise InputError(
            f"{name}: reads {network.input_size} features and answers with {head.words}, but the "
            f"data have {spec.input_size} features and {spec.words}."
        )
    return network
