"""A Keras model as plain data: layers with checked settings, and the calls between them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from grulight.errors import InputError
from grulight.keras_files.plan.constants import Constant, constant, unwrapped
from grulight.keras_files.reader.untrusted_text import Json, quote
from grulight.keras_files.reader.versions import KerasVersion

Shape = tuple[int | None, ...]  # with the batch first; None is any size
LARGEST = (1 << 31) - 1  # no size in a layer's settings may exceed it
MOST_INTEGERS = 16  # in one setting


class Ref(NamedTuple):
    """One tensor of the graph: which output of which call of which layer."""

    layer: str
    call: int
    tensor: int


Argument = Ref | Constant | float | bool | None


@dataclass(frozen=True)
class LayerSpec:
    """One layer of a Keras file.

    Attributes:
        name: Its name in the file, or a path of names inside a nested model.
        kind: Its class, in the words of current Keras.
        config: Its settings as the file has them, in the words of current Keras.
        version: The Keras that wrote them.
        inner: The layers it wraps, such as `forward_layer`.
        graph: What it is made of, for a nested model.
    """

    name: str
    kind: str
    config: Mapping[str, Json]
    version: KerasVersion
    inner: Mapping[str, "LayerSpec"] = field(default_factory=dict)
    graph: "Graph | None" = None

    def refuse(self, key: str, expected: str) -> InputError:
        """Return the refusal of one setting."""
        return InputError(
            f"layer {quote(self.name)} ({self.kind}): {key} = {quote(self.config.get(key))}, "
            f"expected {expected}."
        )

    def integer(self, key: str, default: int | None = None, least: int = 1) -> int:
        """Return an integer setting; a list of one integer counts as one."""
        value = self.config.get(key, default)
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if type(value) is not int or not least <= value <= LARGEST:
            raise self.refuse(key, f"an integer from {least} to {LARGEST}")
        return value

    def integers(self, key: str, default: Json = None, fewest: int = 1) -> tuple[int, ...]:
        """Return a setting that is an integer or a list of some."""
        value = self.config.get(key, default)
        values = value if isinstance(value, list) else [value]
        wrong = any(type(each) is not int or abs(each) > LARGEST for each in values)
        if wrong or not fewest <= len(values) <= MOST_INTEGERS:
            raise self.refuse(key, f"{fewest} to {MOST_INTEGERS} integers")
        return tuple(values)

    def sizes(self, key: str, axes: int, default: int | None = None) -> tuple[int, ...]:
        """Return a size for each of some axes; one integer is that of all."""
        value = self.config.get(key, default)
        found = value if isinstance(value, list) else [value] * axes
        if len(found) != axes or any(type(n) is not int or not 1 <= n <= LARGEST for n in found):
            raise self.refuse(key, f"an integer from 1 to {LARGEST}, or {axes} of them")
        return tuple(found)

    def number(self, key: str, default: float | None = None) -> float:
        """Return a numeric setting; an array without axes counts as one."""
        value = unwrapped(self.config.get(key, default))
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.refuse(key, "a number")
        try:
            return float(value)
        except OverflowError:
            raise self.refuse(key, "a number that float64 holds") from None

    def numbers(self, key: str, default: float | None = None) -> Constant | float:
        """Return a setting that is a number or an array of some."""
        value = unwrapped(self.config.get(key, default))
        return constant(self.name, value) if isinstance(value, list) else self.number(key, default)

    def share(self, key: str, default: float | None = None) -> float:
        """Return a setting from 0 to 1, such as how much is dropped."""
        value = self.number(key, default)
        if not 0 <= value <= 1:
            raise self.refuse(key, "a number from 0 to 1")
        return value

    def flag(self, key: str, default: bool = False) -> bool:
        """Return a setting that is true or false; null counts as the default."""
        value = self.config.get(key, default)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.refuse(key, "true or false")
        return value

    def choice(self, key: str, choices: tuple[str, ...], default: str | None = None) -> str:
        """Return a setting that is one of a few words."""
        value = self.config.get(key, default)
        if value not in choices:
            raise self.refuse(key, f"one of {', '.join(choices)}")
        return str(value)


@dataclass(frozen=True)
class Call:
    """One use of a layer.

    Attributes:
        layer: Which one.
        index: Which of its uses, from 0.
        inputs: What it is called with, a GRU's initial states last.
        masks: The masks given by name, one per input; none where they follow from the inputs.
        training: Whether the layer is called as in training, where the call says so.
    """

    layer: str
    index: int
    inputs: tuple[Argument, ...]
    masks: tuple[Ref | None, ...] = ()
    training: bool | None = None


class FrontEnd(NamedTuple):
    """A layer that turned text into ids, which was cut away.

    Attributes:
        layer: Its name.
        kind: Its class.
        input: The input that takes ids instead.
        config: Its settings.
        names: What each id stands for, where the settings say so.
    """

    layer: str
    kind: str
    input: str
    config: Mapping[str, Json]
    names: tuple[str, ...] | None


@dataclass(frozen=True)
class Graph:
    """A model.

    Attributes:
        layers: Every layer that the outputs need, by name.
        calls: The uses of them, each after those it depends on.
        inputs: Where the model's inputs enter, in the file's order.
        outputs: Where its outputs leave, in the file's order.
        siblings: Name and class of every layer of the file, also unused ones, in its order:
            the places of arrays in native files are counted by class.
        shapes: The shape of each input.
        size: Calls in all, those in nested models included.
        cut: Whether it ends earlier than the file's.
        front_ends: The layers in front of it that were cut away.
        output_names: The keys of the outputs, where the model answers with a dictionary.
    """

    layers: Mapping[str, LayerSpec]
    calls: tuple[Call, ...]
    inputs: tuple[Ref, ...]
    outputs: tuple[Ref, ...]
    siblings: tuple[tuple[str, str], ...]
    shapes: tuple[Shape, ...]
    size: int
    cut: bool = False
    front_ends: tuple[FrontEnd, ...] = ()
    output_names: tuple[str, ...] = ()

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of the model's inputs."""
        return tuple(ref.layer for ref in self.inputs)
