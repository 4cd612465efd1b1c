"""The words of a text layer, where a model's files have them as plain text: the names of ids."""

from collections import Counter

from grulight.keras_files.reader.folders import Folder
from grulight.keras_files.reader.untrusted_text import Json

FRONT_ENDS = ("TextVectorization", "StringLookup", "IntegerLookup")
MAX_BYTES = 16 << 20  # of one vocabulary; half a million words
MAX_WORDS = 1 << 19
MAX_LETTERS = 80  # of one word, for display

Words = tuple[str, ...]


def words_of(content: bytes) -> Words:
    """Return the words of a `vocabulary.txt`, one a line, the first ones and their beginnings."""
    words = content[:MAX_BYTES].decode("utf-8", "replace").split("\n")
    if words[-1] == "":
        words.pop()
    return tuple(word.removesuffix("\r")[:MAX_LETTERS] for word in words[:MAX_WORDS])


def asset_vocabularies(folder: Folder, config: dict[str, Json]) -> dict[str, Words]:
    """Return the words of each text layer of a `.keras` zip by its name, where they are there.

    Keras keeps them below `assets/layers`, its layers counted by class as its arrays are.
    """
    model = config.get("config")
    layers = model.get("layers") if isinstance(model, dict) else model
    seen: Counter[str] = Counter()
    found = {}
    for entry in layers if isinstance(layers, list) else []:
        kind = entry.get("class_name") if isinstance(entry, dict) else None
        settings = entry.get("config") if isinstance(entry, dict) else None
        if kind not in FRONT_ENDS or not isinstance(settings, dict):
            continue
        group = GROUPS[kind] + (f"_{seen[kind]}" if seen[kind] else "")
        seen[kind] += 1
        path = f"assets/layers/{group}/vocabulary.txt"
        if path in folder and folder.size(path) <= MAX_BYTES:
            found[str(settings.get("name"))] = words_of(folder.read(path, MAX_BYTES))
    return found


GROUPS = {
    "TextVectorization": "text_vectorization",
    "StringLookup": "string_lookup",
    "IntegerLookup": "integer_lookup",
}
