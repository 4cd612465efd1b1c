"""Layers that turn text into ids, in front of a model: cut away, so that the model takes ids."""

from collections.abc import Mapping
from dataclasses import replace

from grulight.keras_files.plan.cutting import Wiring
from grulight.keras_files.plan.entries import Entries, Entry
from grulight.keras_files.plan.spec import Argument, Call, FrontEnd, Ref, Shape
from grulight.keras_files.reader.untrusted_text import Json
from grulight.keras_files.reader.vocabulary import FRONT_ENDS, MAX_LETTERS, MAX_WORDS, Words

UNKNOWN = "[UNK]"


def without_front_ends(wiring: Wiring, entries: Entries) -> tuple[Wiring, tuple[FrontEnd, ...]]:
    """Return the wiring without layers that make ids of an input, which then takes the ids.

    Where something else reads the text too, nothing is cut away.
    """
    held: dict[Ref, FrontEnd] = {}
    moved: dict[Ref, Ref] = {}
    for call in wiring.calls:
        source = call.inputs[0] if len(call.inputs) == 1 else None
        readers = [each for each in wiring.calls if source in each.inputs]
        if source not in wiring.inputs or len(readers) > 1 or not _makes_ids(entries[call.layer]):
            continue
        assert isinstance(source, Ref)
        kind, config = entries[call.layer]["class_name"], entries[call.layer]["config"]
        held[source] = FrontEnd(call.layer, kind, source.layer, config, id_names(kind, config))
        moved[Ref(call.layer, call.index, 0)] = source
    if not held:
        return wiring, ()
    gone = {ref[:2] for ref in moved}
    kept = [_moved(each, moved) for each in wiring.calls if (each.layer, each.index) not in gone]
    pairs = zip(wiring.inputs, wiring.shapes, strict=True)
    shapes = tuple(
        _ids_shape(entries[held[ref].layer], shape) if ref in held else shape
        for ref, shape in pairs
    )
    outputs = tuple(moved.get(ref, ref) for ref in wiring.outputs)
    return replace(wiring, calls=kept, outputs=outputs, shapes=shapes), tuple(held.values())


def id_names(kind: str, config: Mapping[str, Json], words: Words | None = None) -> Words | None:
    """Return the name of each id that a layer gives: those of special ids, then the words.

    Args:
        kind: Its class.
        config: Its settings.
        words: Its words, with or without the special ones; None for those in the settings.

    Returns:
        None where they are not known: the settings may name a file of words, which is not opened.
    """
    if words is None:
        listed = config.get("vocabulary")
        if not isinstance(listed, list) or not listed:
            return None
        words = tuple(str(each)[:MAX_LETTERS] for each in listed[:MAX_WORDS])
    mask = "" if kind == "TextVectorization" else config.get("mask_token")
    unknown = UNKNOWN if kind == "TextVectorization" else config.get("oov_token", UNKNOWN)
    count = 1 if kind == "TextVectorization" else config.get("num_oov_indices", 1)
    count = count if type(count) is int and 0 <= count <= MAX_WORDS else 1
    special = (*(() if mask is None else (mask,)), *(unknown,) * count)
    special = tuple(str(each)[:MAX_LETTERS] for each in special)
    return words if words[: len(special)] == special else (*special, *words)[:MAX_WORDS]


def _makes_ids(entry: Entry) -> bool:
    """Return whether a layer turns each text or number into an id."""
    config = entry.get("config")
    if entry["class_name"] not in FRONT_ENDS or not isinstance(config, dict):
        return False
    plain = not any(config.get(key) for key in ("invert", "ragged", "sparse", "ngrams"))
    # before TensorFlow 2.4 the mode was written as a name, and lookups had none
    mode = config.get("output_mode", "int") in ("int", None)
    return plain and mode


def _ids_shape(entry: Entry, shape: Shape) -> Shape:
    """Return the shape of the ids of an input of this shape."""
    if entry["class_name"] != "TextVectorization":
        return shape
    steps = entry["config"].get("output_sequence_length")
    return (None, steps if type(steps) is int and steps > 0 else None)


def _moved(call: Call, moved: Mapping[Ref, Ref]) -> Call:
    """Return a call that reads inputs where it read what was made of them."""

    def one(argument: Argument) -> Argument:
        return moved.get(argument, argument) if isinstance(argument, Ref) else argument

    masks = tuple(None if mask is None else moved.get(mask, mask) for mask in call.masks)
    return replace(call, inputs=tuple(map(one, call.inputs)), masks=masks)
