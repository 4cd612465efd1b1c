"""The loss that a Keras file was compiled with: a word of a closed table, never resolved."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from grulight.keras_files.reader.untrusted_text import Json, quote

LARGEST = 1e30  # of any number
_ALIASES = {
    "mse": "mean_squared_error",
    "mae": "mean_absolute_error",
    "huber_loss": "huber",
    "logcosh": "log_cosh",
    "sparse_categorical_crossentropy": "categorical_crossentropy",  # other labels, same function
}
LOSSES = (
    *("mean_squared_error", "mean_absolute_error", "huber", "log_cosh"),
    *("binary_crossentropy", "categorical_crossentropy"),
)
_ARGUMENTS = {
    "huber": "delta",
    "binary_crossentropy": "label_smoothing",
    "categorical_crossentropy": "label_smoothing",
}
_MEANS = ("auto", "sum_over_batch_size", "mean", "mean_with_sample_weight")
_PLAIN = {  # arguments that change nothing
    **dict.fromkeys(("name", "fn", "dtype", "from_logits"), ...),
    "axis": -1,
}


class Loss(NamedTuple):
    """The loss in what Keras notes of `compile`.

    Attributes:
        known: Its name among `LOSSES`, whether it takes logits, and the arguments that it was
            given: `label_smoothing`, `delta`. None for any other loss.
        name: What the file calls it; None where it has none.
        dropped: Arguments that are not taken over, in words.
    """

    known: Mapping[str, Json] | None
    name: str | None
    dropped: tuple[str, ...] = ()


def recorded_loss(compiled: Json) -> Mapping[str, Json] | None:
    """Return the loss in what Keras notes of `compile`, where it is one of `LOSSES`.

    Args:
        compiled: `training_config` of HDF5 files, `compile_config` of `.keras` files.
    """
    return read_loss(compiled.get("loss")).known if isinstance(compiled, dict) else None


def read_loss(loss: Json) -> Loss:
    """Read what Keras notes as the loss: a name, an object, or one of these for each output."""
    if isinstance(loss, dict) and "class_name" not in loss and len(loss) == 1:
        [loss] = loss.values()  # by the name of the only output
    if isinstance(loss, list) and len(loss) == 1:
        [loss] = loss
    settings: Json = None
    if isinstance(loss, dict) and "class_name" in loss:
        settings = loss.get("config")
        # a function is noted by its name
        loss = loss["class_name"] if isinstance(settings, dict) else settings
    if loss is None or loss in ([], {}):
        return Loss(None, None)
    if not isinstance(loss, str):
        return Loss(None, "a loss of its own for each output")
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", loss[:80]).lower()
    name = _ALIASES.get(name, name)
    if name not in LOSSES:
        return Loss(None, loss)
    return _with_arguments(name, loss, settings if isinstance(settings, dict) else None)


def _with_arguments(name: str, said: str, settings: Mapping[str, Json] | None) -> Loss:
    found: dict[str, Json] = {"name": name, "from_logits": False}
    if settings is None:
        return Loss(found, said)
    found["from_logits"] = settings.get("from_logits") is True
    own, dropped = _ARGUMENTS.get(name), []
    for key, value in settings.items():
        if key == "reduction":
            plain = value in _MEANS
        else:
            plain = _PLAIN.get(key) in (..., value) or value is False
        if key == own and _is_number(value) and (value > 0 if own == "delta" else 0 <= value <= 1):
            found |= {own: float(value)} if value else {}
        elif not plain:
            dropped.append(f"{key} {quote(value)} of the loss")
    if name == "huber" and "delta" not in settings:
        # Keras 3 leaves it out of the file, and loads 1.0 itself
        dropped.append("Huber's delta, which is not in the file (1.0 is taken)")
    return Loss(found, said, tuple(dropped))


def _is_number(value: Json) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and abs(value) < LARGEST
