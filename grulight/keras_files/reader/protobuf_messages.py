"""The few protobuf messages that a SavedModel's metadata and variables are read from.

Fields that are not needed are left undeclared, so that nothing is made of them. What may be large
or many (the graph, the objects) is passed over, or stays bytes until it is looked at: a message
takes many times the memory of its bytes. Numbers and names: tensorflow/core/protobuf/
{saved_model,meta_graph,saved_object_graph,trackable_object_graph,tensor_bundle}.proto and
keras/protobuf/saved_metadata.proto.
"""

from functools import cache
from typing import Any

from grulight.errors import InputError
from grulight.keras_files.reader.table import varint

VARINT, DELIMITED = 0, 2  # kinds of fields
WIDTHS = {1: 8, 5: 4}  # bytes of the others
PACKAGE = "grulight"
REPEATED = "repeated "
# message: field: number and type
MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "SavedObject": {"children": (1, "repeated Child"), "user_object": (4, "UserObject")},
    "UserObject": {"identifier": (1, "bytes"), "metadata": (3, "bytes")},
    "MetadataNode": {
        "node_path": (3, "bytes"),
        "identifier": (4, "bytes"),
        "metadata": (5, "bytes"),
    },
    "Object": {"children": (1, "repeated Child"), "attributes": (2, "repeated Attribute")},
    "Child": {"node_id": (1, "int32"), "local_name": (2, "bytes")},
    "Attribute": {
        "name": (1, "bytes"),
        "full_name": (2, "bytes"),
        "checkpoint_key": (3, "bytes"),
    },
    "BundleHeader": {"num_shards": (1, "int32"), "endianness": (2, "int32")},
    "BundleEntry": {
        "dtype": (1, "int32"),
        "shape": (2, "Shape"),
        "shard_id": (3, "int32"),
        "offset": (4, "int64"),
        "size": (5, "int64"),
        "crc32c": (6, "fixed32"),
        "slices": (7, "repeated bytes"),
    },
    "Shape": {"dim": (2, "repeated Dim"), "unknown_rank": (3, "bool")},
    "Dim": {"size": (1, "int64")},
}


def parse(name: str, data: bytes, where: str) -> Any:
    """Return a message of a table's kind.

    Args:
        name: Which of `MESSAGES`.
        data: Its bytes, whose number the caller has bounded.
        where: What they are, for the refusal.

    Raises:
        InputError: They are no such message.
    """
    from google.protobuf.message import DecodeError  # for these formats alone

    found = _classes()[name]()
    try:
        found.ParseFromString(data)
    except (DecodeError, ValueError) as error:
        raise _damaged(where) from error
    return found


def parts(data: bytes, field: int, most: int, where: str) -> list[bytes]:
    """Return the values of a field that is text or messages; other fields are passed over.

    Args:
        data: A message.
        field: The field's number.
        most: How many fields the message may have in all.
        where: What it is, for the refusal.

    Raises:
        InputError: The message is damaged, or has too many fields.
    """
    found: list[bytes] = []
    at = 0
    for _ in range(most):
        if at == len(data):
            return found
        tag, at = _varint(data, at, where)
        length = WIDTHS.get(tag & 7, 0)
        if tag & 7 == DELIMITED:
            length, at = _varint(data, at, where)
        elif tag & 7 == VARINT:
            _, at = _varint(data, at, where)
        elif not length:
            raise _damaged(where)
        if at + length > len(data):
            raise _damaged(where)
        if tag == field << 3 | DELIMITED:
            found.append(data[at : at + length])
        at += length
    raise InputError(f"{where} has more than {most} parts. Refused: no Keras model needs that.")


def _varint(data: bytes, at: int, where: str) -> tuple[int, int]:
    try:
        return varint(data, at)
    except InputError:
        raise _damaged(where) from None


def _damaged(where: str) -> InputError:
    return InputError(f"{where} is damaged. Copy or download the files again.")


@cache
def _classes() -> dict[str, Any]:
    """Return the classes of the messages, made in a pool of their own."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="saved_model_parts.proto", package=PACKAGE)
    for name, fields in MESSAGES.items():
        held = file.message_type.add(name=name)
        for field, (number, words) in fields.items():
            _declare(held.field.add(name=field, number=number), words)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
        for name in MESSAGES
    }


def _declare(field: Any, words: str) -> None:
    kind = words.removeprefix(REPEATED)
    field.label = field.LABEL_REPEATED if words != kind else field.LABEL_OPTIONAL
    if kind in MESSAGES:
        field.type, field.type_name = field.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
    else:
        field.type = getattr(field, f"TYPE_{kind.upper()}")
