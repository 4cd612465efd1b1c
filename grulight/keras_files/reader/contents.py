"""What a model's files hold, whatever their format."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from grulight.keras_files.reader.compiled import Compiled
from grulight.keras_files.reader.untrusted_text import Json
from grulight.keras_files.reader.versions import KerasVersion
from grulight.keras_files.reader.weight_groups import Weights


@dataclass(frozen=True)
class Container:
    """A Keras file.

    Attributes:
        config: The model's configuration: `class_name` and `config`.
        version: The Keras that wrote the file.
        weights: The arrays, not read yet.
        ignored: What else the file holds, in words.
        compiled: What it was compiled with.
        vocabularies: The words of layers that turn text into ids, by the layers' names.
    """

    config: dict[str, Json]
    version: KerasVersion
    weights: Weights
    ignored: tuple[str, ...]
    compiled: Compiled
    vocabularies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
