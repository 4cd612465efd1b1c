"""A Keras file, or a checkpoint of one, as a torch module."""

import warnings
from pathlib import Path
from typing import Any

from grulight.checkpoint_files.reader import read_checkpoint, require_described, require_weights
from grulight.errors import InputError, one_line, option
from grulight.keras_files.layer_report import state_not_kept
from grulight.keras_files.model_description import (
    build_model,
    describe,
    id_names_of,
    plan_model,
    rebuild,
)
from grulight.keras_files.plan.placement import place
from grulight.keras_files.ported_model import PortedModel
from grulight.keras_files.reader.container import ZIP_MAGIC, read_container
from grulight.keras_files.reader.untrusted_text import naming, quote, reading

_ZIP_NAME = 30  # where the name of the first member stands in a zip (APPNOTE.TXT 4.3.7)


def load_keras(
    path: str | Path,
    *,
    config: str | Path | dict[str, Any] | None = None,
    up_to: str | None = None,
) -> PortedModel:
    """Open a Keras model file of any generation in torch; nothing in the file is run.

    Args:
        path: `.keras`, `.h5`, `.hdf5`, weights (`.weights.h5`, `.weights.json`, `.npz`), a
            SavedModel (its folder, a zip of it, `saved_model.pb`), a checkpoint of TensorFlow (its
            prefix, a file of it, its folder), a folder or `model.json` of TensorFlow.js, or a
            checkpoint of `grulight port` or of a training with `--model.from_keras`; the content
            decides, not the name.
        config: For a file of weights alone, the model's JSON (`model.to_json()`): a file, or the
            dictionary in it.
        up_to: Port the model up to this layer, its output, or its input where it cannot be
            ported; `outer/inner` for a layer of a model inside. Only the inputs that this needs
            are asked for.

    Raises:
        InputError: The file is damaged, refused, or has a layer that cannot be ported.

    Warns:
        UserWarning: A layer is stateful; state is not kept between calls.
    """
    path = Path(path)
    with reading(path):
        if _is_checkpoint(path):
            model = _from_checkpoint(path, config, up_to)
        else:
            with naming(path):
                model = _ported(path, config, up_to)
        _warn_of_state(path, model)
        return model


def _ported(
    path: Path, config: str | Path | dict[str, Any] | None, up_to: str | None
) -> PortedModel:
    container = read_container(path, config)
    description = describe(container, up_to)
    graph, variables = plan_model(description)
    arrays = place(variables, container.weights, graph)
    description |= {"shapes": arrays.shapes(), "dtype": arrays.dtype()}
    if graph.front_ends:
        description["id_names"] = names = id_names_of(graph, container.vocabularies)
        description["ignored"] += [
            f"{each.kind} {quote(each.layer)} is cut away: {quote(each.input)} takes ids, "
            f"{len(names.get(each.input, ())) or 'none'} of them with a name"
            for each in graph.front_ends
        ]
    description["ignored"] += [
        f"that models share {quote(each)}, each has its own copy" for each in arrays.shared()
    ]
    return build_model(graph, arrays, description)


def _warn_of_state(path: Path, model: PortedModel) -> None:
    """Say that a stateful layer starts every call from zero, where Keras goes on."""
    if (text := state_not_kept(model.table)) is not None:
        warnings.warn(f"{one_line(path)}: {text}", stacklevel=3)


def _is_checkpoint(path: Path) -> bool:
    """Return whether a file is a zip that begins as torch's do, with `…/data.pkl`."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(_ZIP_NAME + 255)
    name = head[_ZIP_NAME:][: int.from_bytes(head[26:28], "little")]
    return head.startswith(ZIP_MAGIC) and name.endswith(b"/data.pkl")


def _from_checkpoint(path: Path, config: object, up_to: str | None) -> PortedModel:
    """Make the Keras model of a checkpoint again."""
    checkpoint = read_checkpoint(path)
    settings = checkpoint.get("hyper_parameters", {})
    description = checkpoint.get("keras_model") or settings.get("from_keras")
    if description is None or config is not None or up_to is not None:
        if description is None:
            why = "holds no Keras model; grulight.load_classifier opens it"
        else:
            why = f"takes no {option('config')} or {option('up_to')}"
        raise InputError(f"{path}: is a checkpoint, and {why}.")
    prefix = "" if "keras_model" in checkpoint else "network.model."
    state = {
        name.removeprefix(prefix): held
        for name, held in checkpoint.get("state_dict", {}).items()
        if name.startswith(prefix)
    }
    require_described(path, description, state)
    with naming(path):
        model = rebuild(description)
    require_weights(path, model.state_dict(), state)
    model.load_state_dict(state)
    return model
