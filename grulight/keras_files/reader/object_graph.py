"""The graph of objects in a checkpoint: which object holds which, and which holds a variable.

One variable has one key and many paths, so a layer's variables are found from the root by the names
of attributes (KERAS_FACTS section 7.2), not by their keys.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from grulight.errors import InputError
from grulight.keras_files.reader.bundle import Bundle
from grulight.keras_files.reader.hdf5 import Stored
from grulight.keras_files.reader.protobuf_messages import parse, parts
from grulight.keras_files.reader.untrusted_text import quote

KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
MAX_BYTES = 64 << 20
MAX_NODES = 200_000
MAX_NODE = 1 << 20  # bytes of one
MAX_LINKS = 500_000  # of all nodes that are looked at
LAYER = re.compile(r"layer-(\d{1,5})")
VALUE = b"VARIABLE_VALUE"
SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"


class ObjectGraph:
    """Objects by number, each read when it is asked for.

    Args:
        bundle: The tensors of the checkpoint.

    Raises:
        InputError: It is damaged, or larger than any model's.
    """

    def __init__(self, bundle: Bundle) -> None:
        if KEY not in bundle:
            raise InputError(
                "holds variables without the objects they belong to, as tf.compat.v1.train.Saver "
                "writes them. Build the model in code, load_weights, and save it as .keras."
            )
        self._bundle = bundle
        self._nodes = nodes_of(bundle.text(KEY, MAX_BYTES), "the object graph")
        self._read: dict[int, Any] = {}
        self._names: dict[str, str] = {}  # the key that a variable's name belongs to
        self._links = Links()

    def children(self, node: int) -> Mapping[str, int]:
        """Return the objects that one holds, by the names of its attributes."""
        if node not in self._read:
            found = parse("Object", node_at(self._nodes, node), "the object graph")
            keys = {each.name: each for each in found.attributes}
            self._read[node] = (self._links.of(found), keys.get(VALUE))
        links: Mapping[str, int] = self._read[node][0]
        return links

    def variable(self, node: int) -> Stored | None:
        """Return the variable that an object is, unread; None where it is another object."""
        self.children(node)
        attribute = self._read[node][1]
        if attribute is None:
            return None
        key = attribute.checkpoint_key.decode("utf-8", "replace")
        name = attribute.full_name.decode("utf-8", "replace") or key.removesuffix(SUFFIX)
        if self._names.setdefault(name, key) != key:
            name = key.removesuffix(SUFFIX)
        return self._bundle.stored(key, name)

    def layers(self, node: int) -> dict[int, int]:
        """Return the layers of a model by their place in it."""
        matches = ((LAYER.fullmatch(name), child) for name, child in self.children(node).items())
        return {int(match[1]): child for match, child in matches if match}


class Links:
    """Reads what objects hold, up to a number in all."""

    def __init__(self) -> None:
        self._left = MAX_LINKS

    def of(self, node: Any) -> dict[str, int]:
        """Return the objects that one holds, by name.

        Raises:
            InputError: Two have one name, or there are too many.
        """
        self._left -= len(node.children)
        if self._left < 0:
            raise InputError(f"the object graph has more than {MAX_LINKS} links. Refused.")
        found: dict[str, int] = {}
        for each in node.children:
            name = each.local_name.decode("utf-8", "replace")
            if found.setdefault(name, each.node_id) != each.node_id:
                raise InputError(
                    f"the object graph has two objects called {quote(name)} in one. Refused: "
                    "readers would disagree on which one counts."
                )
        return found


def nodes_of(data: bytes, where: str) -> Sequence[bytes]:
    """Return the nodes of a graph of objects as bytes.

    Raises:
        InputError: It is damaged, or has too many.
    """
    nodes = parts(data, 1, MAX_NODES, where)
    if not nodes:
        raise InputError(f"{where} has no objects. Copy or download the files again.")
    return nodes


def node_at(nodes: Sequence[bytes], number: int) -> bytes:
    """Return a node's bytes.

    Raises:
        InputError: There is none of this number, or it is larger than any of a model's.
    """
    if not 0 <= number < len(nodes):
        raise InputError(f"the object graph leads to object {number} of {len(nodes)}. Refused.")
    if len(nodes[number]) > MAX_NODE:
        raise InputError(f"an object of the object graph takes more than {MAX_NODE} bytes.")
    return nodes[number]
