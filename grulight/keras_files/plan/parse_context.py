"""What a configuration is parsed with: its Keras, what can be ported, how far it may grow."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

from grulight.errors import InputError
from grulight.keras_files.plan.spec import Graph, LayerSpec
from grulight.keras_files.reader.untrusted_text import Json
from grulight.keras_files.reader.versions import KerasVersion

MAX_CALLS = 5000  # of all nested models together
MAX_LAYERS = 2 * MAX_CALLS  # with those that are never called
MAX_NESTING = 5


@dataclass
class Progress:
    """How far the parsing of a model has come.

    Attributes:
        layers: How many layers have been read, those inside others included.
        models: The models inside it that have been read, with their entries, by their identity.
    """

    layers: int = 0
    models: dict[int, tuple[Json, Graph]] = field(default_factory=dict)


@dataclass(frozen=True)
class ParseContext:
    """What a configuration is parsed with.

    Attributes:
        version: The Keras that wrote it.
        up_to: The layer to end the model at: after it, or before it where it cannot be ported.
        portable: Whether a layer can be ported.
        operations: The bare operations that can be ported, by Keras 3's names.
        nesting: How many models this one lies in.
        progress: How far the parsing of the whole has come.
    """

    version: KerasVersion
    up_to: str | None = None
    portable: Callable[[LayerSpec], bool] = lambda spec: True
    operations: Collection[str] = ()
    nesting: int = 0
    progress: Progress = field(default_factory=Progress)

    def inside(self) -> "ParseContext":
        """Return what a model inside this one is parsed with."""
        return replace(self, up_to=None, nesting=self.nesting + 1)


def too_many_layers() -> InputError:
    """Return the refusal of a model with more layers than any has."""
    return InputError(f"the model has more than {MAX_LAYERS} layers. Refused.")
