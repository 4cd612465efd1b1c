"""The numbers of a checkpoint whose network one compiled call computes, read without torch."""

import os
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grulight.checkpoint_files.format import HYPER_PARAMETERS
from grulight.checkpoint_files.reader import Checkpoint, require_known, structure
from grulight.checkpoint_files.unpickler import TensorStub
from grulight.errors import InputError
from grulight.kernels.choices import HAS_NUMBA, LARGEST
from grulight.kernels.prediction import Predictor
from grulight.kernels.steps import Answer

Array = NDArray[Any]
_KNOWN = HYPER_PARAMETERS.needed.keys() | HYPER_PARAMETERS.optional.keys()
# by which a description is of another network, or of one that is to be looked at more closely
_PLAIN = {"num_layers": 1, "bidirectional": False, "from_keras": None, "class_weight": None}
_WEIGHTS = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")


@dataclass(frozen=True)
class PlainGRU:
    """A GRU of one layer in one direction and its head, in float32.

    Attributes:
        checkpoint: All that the file holds, with stand-ins for tensors but the arrays.
        arrays: The ``state_dict``.
        predictor: Answers for sequences less the offset.
    """

    checkpoint: Checkpoint
    arrays: dict[str, Array]
    predictor: Predictor

    @property
    def settings(self) -> dict[str, Any]:
        """Arguments of the classifier."""
        settings: dict[str, Any] = self.checkpoint["hyper_parameters"]
        return settings


def read_plain_gru(path: str | os.PathLike[str]) -> PlainGRU | None:
    """Read a checkpoint's network; None where it is another, or something is wrong with the file.

    What is wrong is for :func:`grulight.checkpoint_files.reader.read_checkpoint` to say.
    """
    try:
        checkpoint = structure(path)
        require_known(path, checkpoint)
        settings, state = checkpoint["hyper_parameters"], checkpoint["state_dict"]
        if not _is_plain(settings) or {"keras_model", "why_python_only"} & checkpoint.keys():
            return None
        shapes = _shapes(settings)
        if {name: each.shape for name, each in state.items()} != shapes:
            return None
        arrays = _arrays(path, state)
        return PlainGRU(checkpoint, arrays, _predictor(settings, arrays))
    # of a file that is damaged, or became another meanwhile; zipfile raises the last two
    except (InputError, KeyError, ValueError, OSError, zipfile.BadZipFile, RuntimeError):
        return None


def _is_plain(settings: Mapping[str, Any]) -> bool:
    """Return whether one compiled call computes the network of a description."""
    if not HAS_NUMBA or settings.keys() - _KNOWN or settings.get("freeze"):
        return False
    if any(settings.get(name, plain) != plain for name, plain in _PLAIN.items()):
        return False
    kernel, hidden = settings.get("kernel", "auto"), settings.get("hidden_size", 16)
    return bool(kernel == "numba" or (kernel == "auto" and hidden <= LARGEST))


def _answer(settings: Mapping[str, Any]) -> tuple[Answer, int]:
    """Return what is answered, and the numbers of an answer."""
    values, classes = settings.get("num_values", 0), settings["num_classes"]
    if values:
        return "labels" if settings.get("multilabel") else "values", values
    return "classes", 1 if classes == 2 else classes


def _shapes(settings: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a description's ``state_dict``.

    Raises:
        ValueError: It does not fit itself.
    """
    features, hidden = settings["input_size"], settings.get("hidden_size", 16)
    kind, size = _answer(settings)
    gates = ((3 * hidden, features), (3 * hidden, hidden), (3 * hidden,), (3 * hidden,))
    count = 4 if settings.get("bias", True) else 2
    shapes: dict[str, tuple[int, ...]] = {
        f"network.gru.{name}": shape
        for name, shape in zip(_WEIGHTS[:count], gates[:count], strict=True)
    }
    shapes |= {"network.head.weight": (size, hidden), "network.head.bias": (size,)}
    held = [settings.get(name) for name in ("mean", "scale")]
    if all(each is not None for each in held):
        shapes |= {"mean": (features,), "scale": (features,)}
    names = (2 if kind == "classes" and size == 1 else size, settings.get("class_names"))
    each_feature = [*held, settings.get("feature_names"), settings.get("offset")]
    each_value = [settings.get(name) for name in ("target_mean", "target_scale")]
    if (
        (kind == "classes" and settings["num_classes"] < 2)
        or (names[1] and len(names[1]) != names[0])
        or (held[0] is None) != (held[1] is None)
        or (each_value[0] is None) != (each_value[1] is None)
        or any(each is not None and len(each) != features for each in each_feature)
        or any(each is not None and len(each) != size for each in each_value)
        or not 0 <= settings.get("label_smoothing", 0.0) < 1
        or (kind == "values" and settings.get("label_smoothing", 0.0))
    ):
        raise ValueError
    return shapes


def _arrays(path: str | os.PathLike[str], state: Mapping[str, TensorStub]) -> dict[str, Array]:
    """Return the numbers of tensors.

    Raises:
        ValueError: They are not finite, or of another kind than a training leaves.
    """
    found = {}
    with zipfile.ZipFile(path) as archive:
        prefix = archive.namelist()[0].split("/")[0]
        order = f"{prefix}/byteorder"
        if order in archive.namelist() and archive.read(order).decode() != sys.byteorder:
            raise ValueError
        for name, stub in state.items():
            numbers = archive.read(f"{prefix}/data/{stub.storage.key}")
            strides = np.cumprod((1, *reversed(stub.shape[1:])))[::-1].tolist()
            if stub.dtype != "torch.float32" or [*stub.stride] != strides:
                raise ValueError
            count = int(np.prod(stub.shape))
            array = np.frombuffer(numbers, np.float32, count, 4 * stub.offset)
            found[name] = array.reshape(stub.shape).copy()
            if not np.isfinite(found[name]).all():
                raise ValueError
    return found


def _predictor(settings: Mapping[str, Any], arrays: Mapping[str, Array]) -> Predictor:
    kind, _ = _answer(settings)
    units = None
    if kind == "values" and settings.get("target_mean") is not None:
        units = np.array(settings["target_mean"]), np.array(settings["target_scale"])
    names = [f"network.gru.{name}" for name in _WEIGHTS]
    weights = [arrays[name] for name in names if name in arrays]
    return Predictor(
        [*weights, arrays["network.head.weight"], arrays["network.head.bias"]],
        arrays.get("mean"),
        arrays.get("scale"),
        kind,
        settings.get("per_step", False),
        units,
    )
