"""The loss that a Keras file was compiled with: a word of a closed table, never resolved."""

import re
from collections.abc import Mapping

from grulight.keras_files.reader.untrusted_text import Json

_ALIASES = {
    "mse": "mean_squared_error",
    "mae": "mean_absolute_error",
    "sparse_categorical_crossentropy": "categorical_crossentropy",  # other labels, same function
}
LOSSES = (
    *("mean_squared_error", "mean_absolute_error"),
    *("binary_crossentropy", "categorical_crossentropy"),
)


def recorded_loss(compiled: Json) -> Mapping[str, Json] | None:
    """Return the loss in what Keras notes of `compile`.

    Args:
        compiled: `training_config` of HDF5 files, `compile_config` of `.keras` files.

    Returns:
        Its name among `LOSSES` and whether it takes logits; None for any other loss, and where
        several outputs have one each.
    """
    loss = compiled.get("loss") if isinstance(compiled, dict) else None
    if isinstance(loss, dict) and "class_name" not in loss and len(loss) == 1:
        [loss] = loss.values()  # by the name of the only output
    if isinstance(loss, list) and len(loss) == 1:
        [loss] = loss
    from_logits = False
    if isinstance(loss, dict):
        settings = loss.get("config")
        if isinstance(settings, dict):
            from_logits = settings.get("from_logits") is True
            loss = loss.get("class_name")
        else:
            loss = settings  # a function, by its name
    if not isinstance(loss, str):
        return None
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", loss[:80]).lower()
    name = _ALIASES.get(name, name)
    return {"name": name, "from_logits": from_logits} if name in LOSSES else None
