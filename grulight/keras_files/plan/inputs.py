"""The shapes of a model's inputs, wherever its Keras wrote them."""

from grulight.errors import InputError
from grulight.keras_files.plan.entries import Entry
from grulight.keras_files.plan.spec import Shape
from grulight.keras_files.reader.untrusted_text import Json, quote

DEFAULT_SHAPES: dict[str, Shape] = {"Embedding": (None, None), "Dense": (None, None)}


def first_shape(config: Entry, name: str, entry: Entry) -> Shape:
    """Return the input shape of a Sequential without InputLayer: its first layer may tell."""
    settings = entry.get("config")
    if isinstance(settings, dict):
        if shape := _listed(settings):
            return _shape(name, shape)
        if entry["class_name"] != "Embedding" and isinstance(settings.get("input_dim"), int):
            steps = [] if entry["class_name"] == "Dense" else [settings.get("input_length")]
            return _shape(name, [None, *steps, settings["input_dim"]])  # Keras 1
    build = entry.get("build_config")
    shape = config.get("build_input_shape") or (
        build.get("input_shape") if isinstance(build, dict) else None
    )
    if isinstance(shape, list) and shape:
        return _shape(name, shape)
    return DEFAULT_SHAPES.get(entry["class_name"], (None, None, None))


def _listed(settings: Entry) -> Json:
    return settings.get("batch_shape") or settings.get("batch_input_shape")


def input_shape(name: str, entry: Entry) -> Shape:
    """Return the shape of an InputLayer."""
    settings = entry.get("config")
    if not isinstance(settings, dict) or settings.get("sparse") or settings.get("ragged"):
        raise InputError(f"input {quote(name)} is sparse or ragged. Expected a dense tensor.")
    return _shape(name, _listed(settings))


def _shape(name: str, shape: Json) -> Shape:
    fine = isinstance(shape, list) and 0 < len(shape) < 16
    if not fine or not all(n is None or (type(n) is int and 0 <= n < 1 << 31) for n in shape):
        raise InputError(f"input {quote(name)} has the shape {quote(shape)}, expected sizes.")
    return (None, *shape[1:])
