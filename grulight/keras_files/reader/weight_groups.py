"""The arrays of a Keras file by layer, unread: the native tree, or the groups of older files."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from grulight.errors import InputError
from grulight.keras_files.reader.attributes import Attributes
from grulight.keras_files.reader.hdf5 import Stored, walk
from grulight.keras_files.reader.headers import Headers
from grulight.keras_files.reader.links import members
from grulight.keras_files.reader.object_layers import ObjectWeights
from grulight.keras_files.reader.untrusted_text import quote

NATIVE_ROOTS = ("layers", "_layer_checkpoint_dependencies")


@dataclass(frozen=True)
class NativeWeights:
    """The tree of Keras 2.13 and later: arrays found by the class and the place of their layer.

    Attributes:
        arrays: By path below the container of layers, such as `gru/cell/vars/0`.
        names: Layer names by path, such as `gru`, where the file gives them (from Keras 3.6).
        children: What each group holds, by path; the container itself is the empty path.
    """

    arrays: Mapping[str, Stored]
    names: Mapping[str, str]
    children: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class LegacyWeights:
    """The groups of Keras 1 to 3 in HDF5: arrays by layer name, in the order the file lists them.

    Attributes:
        layers: The arrays of each layer.
    """

    layers: Mapping[str, tuple[Stored, ...]]


@dataclass(frozen=True)
class NamedWeights:
    """Arrays under names that begin with their layer's, as TensorFlow.js keeps them.

    Attributes:
        arrays: By name, such as `gru/gru_cell/kernel`; those of a layer in its order.
    """

    arrays: Mapping[str, Stored]


Weights = NativeWeights | LegacyWeights | NamedWeights | ObjectWeights


def native_weights(headers: Headers, attributes: Attributes, tops: dict[str, int]) -> NativeWeights:
    """List the arrays of Keras 2.13 and later, below the groups at the root."""
    tree = walk(headers, tops)
    names = {}
    for path, group in tree.groups.items():
        text = attributes.text(group, "name") if path.endswith("/vars") else None
        if text is not None:
            names[_below(path).removesuffix("/vars")] = headers.text(text)
    arrays = {_below(path): stored for path, stored in tree.arrays.items()}
    return native_names(arrays, names, map(_below, tree.groups))


def native_names(
    arrays: Mapping[str, Stored],
    names: Mapping[str, str] = MappingProxyType({}),
    groups: Iterable[str] = (),
) -> NativeWeights:
    """Return a tree from the paths of its arrays and of what else is in it.

    Args:
        arrays: By path below the container of layers.
        names: Layer names by path, where the file gives them.
        groups: Paths of groups, some of which may hold no array.
    """
    children: dict[str, dict[str, None]] = {}
    for path in filter(None, [*groups, *arrays]):
        parts = path.split("/")
        for depth in range(len(parts)):  # groups of a Windows file lack their parents
            children.setdefault("/".join(parts[:depth]), {})[parts[depth]] = None
    return NativeWeights(arrays, names, {path: tuple(held) for path, held in children.items()})


def legacy_weights(
    headers: Headers, attributes: Attributes, group: int, names: list[str]
) -> LegacyWeights:
    """List the arrays of each layer that the file names, in its order.

    Raises:
        InputError: A layer or an array that is named is not there, or twice.
    """
    tops = members(headers, group)
    tops.pop("optimizer_weights", None)
    tree = walk(headers, tops)
    layers: dict[str, tuple[Stored, ...]] = {}
    for name in names:
        if name in layers or name not in tree.groups:
            raise InputError(
                f"layer_names lists {quote(name)}, for which there is no group, or twice. "
                "Expected one group per layer."
            )
        held: dict[str, Stored] = {}
        for weight in attributes.names(tree.groups[name], "weight_names") or []:
            path = f"{name}/{weight}"
            if path in held or path not in tree.arrays:
                raise InputError(
                    f"weight_names lists {quote(path)}, for which there is no array, or twice. "
                    "Expected one array per weight."
                )
            held[path] = tree.arrays[path]
        layers[name] = tuple(held.values())
    return LegacyWeights(layers)


def _below(path: str) -> str:
    return path.partition("/")[2]
