"""What every compiled call asks first: behind this gate a kernel trusts types, shapes and indices.

Compiled code does not notice an index past the end of an array: it reads, or overwrites, whatever
lies there. So whatever gives an array to a kernel takes it from one of these functions, once for
each array that it keeps and once a call for one that it is handed. All of them raise ``InputError``
(a ``ValueError``) that names the argument and says what was expected; none writes into its input.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from grulight.errors import InputError
from grulight.kernels.reference import Array
from grulight.kernels.rules import COLUMNS
from grulight.kernels.sizes import padded

if TYPE_CHECKING:  # arrays alone are predicted for without torch
    import torch
    from torch import Tensor

Axes = tuple[int | str, ...]  # an axis of any size has a name
_WHOLE = tuple(f"torch.{each}" for each in ("int64", "int32", "int16", "int8", "uint8"))


def _words(axes: Axes) -> str:
    return f"({', '.join(map(str, axes))}{',' * (len(axes) == 1)})"


def _require_axes(name: str, shape: Sequence[int], axes: Axes) -> None:
    fits = len(shape) == len(axes) and all(
        size == axis or (type(axis) is str and size > 0)
        for size, axis in zip(shape, axes, strict=True)
    )
    if not fits:
        raise InputError(f"{name} {tuple(shape)}: expected {_words(axes)}.")


def sequences(values: Any, features: int) -> NDArray[Any]:
    """Return values (batch, time, features) that are numbers, as they lie in memory.

    There may be no sequence at all, but each has a step.
    """
    found = _numbers("values", values)
    shape = found.shape
    if len(shape) != 3 or shape[2] != features or not shape[1]:
        raise InputError(f"values {shape}: expected (batch, time, {features}).")
    return found


def ready(values: NDArray[Any], kind: Any) -> NDArray[Any]:
    """Return numbers as kernels take them: of one type, C-contiguous, aligned and writeable.

    Where they are not, this is a copy: kernels are compiled for nothing else, and only read them.
    """
    if values.dtype == kind and values.flags.carray:
        return values
    return np.require(values, kind, ["C", "A", "W"])


def held(name: str, array: Any, kind: np.dtype[Any], axes: Axes, *, written: bool = False) -> Array:
    """Return an array whose address is kept, or that is written to: it is not copied."""
    _require_unmasked(name, array)
    found: Array | None = array if isinstance(array, np.ndarray) and array.dtype == kind else None
    if found is None or not found.flags.c_contiguous or not found.flags.aligned:
        what = getattr(array, "dtype", type(array).__name__)
        raise InputError(f"{name} ({what}): expected a C-contiguous, aligned array of {kind}.")
    if written and not found.flags.writeable:
        raise InputError(f"{name} is read-only, expected an array that can be moved in place.")
    _require_axes(name, found.shape, axes)
    return found


def whole(name: str, given: Any, count: int, least: int, most: int) -> NDArray[np.int64]:
    """Return whole numbers (count,) from ``least`` to ``most``, such as lengths and indices."""
    found = _numbers(name, given)
    if found.shape != (count,):
        raise InputError(f"{name} {found.shape}: expected one for each of {count} rows.")
    if count and found.dtype.kind == "b":
        raise InputError(f"{name} hold {found.dtype}, expected whole numbers.")
    if count:
        low, high = np.minimum.reduce(found), np.maximum.reduce(found)
        if not least <= low <= high <= most:  # nor is NaN
            raise InputError(f"{name} from {low} to {high}: expected {least} to {most}.")
        if found.dtype.kind == "f" and (found != np.floor(found)).any():
            at = int((found != np.floor(found)).argmax())
            raise InputError(f"{name}[{at}] is {found[at]}, expected a whole number.")
    return ready(found, np.int64)


def statistics(
    mean: Any, scale: Any, features: int, kind: Any = np.float32
) -> tuple[Array | None, Array | None]:
    """Return what standardises, finite numbers (features,) of which no scale is zero.

    Neither of them where one is missing: alone they standardise nothing.
    """
    found = [
        None if given is None else _finite(name, given, features, kind)
        for name, given in (("mean", mean), ("scale", scale))
    ]
    if found[0] is None or found[1] is None:
        return None, None
    if (found[1] <= 0).any():
        at = int((found[1] <= 0).argmax())
        raise InputError(f"scale[{at}] is {found[1][at]}, expected a number above zero.")
    return found[0], found[1]


def offset(given: Any, features: int) -> Array | None:
    """Return what is subtracted from raw features, finite float64 (features,); None for nothing."""
    return None if given is None else _finite("offset", given, features, np.float64)


def row(name: str, given: Any, count: int, kind: Any) -> NDArray[Any]:
    """Return numbers (count,) of a type."""
    found = ready(_numbers(name, given), kind)
    _require_axes(name, found.shape, (count,))
    return found


def table(name: str, given: Any, rows: int, columns: int, kind: Any) -> NDArray[Any]:
    """Return numbers (rows, columns) of a type."""
    found = ready(_numbers(name, given), kind)
    _require_axes(name, found.shape, (rows, columns))
    return found


def of_steps(name: str, given: Any, valid: NDArray[np.bool_]) -> NDArray[Any]:
    """Return what the valid steps (batch, time) have, as rows (steps,) or (steps, any)."""
    found = _numbers(name, given)
    if found.shape[:2] != valid.shape:
        raise InputError(f"{name} {found.shape}: expected {_words((*valid.shape, '…'))}.")
    return found[valid]


def _finite(name: str, given: Any, features: int, kind: Any) -> Array:
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite then
        array = ready(_numbers(name, given), kind)
    if array.shape != (features,):
        raise InputError(f"{name} {array.shape}: expected one for each of {features} features.")
    if not np.isfinite(array).all():
        at = int(np.isfinite(array).argmin())
        raise InputError(f"{name}[{at}] is {array[at]}, expected a finite number.")
    return array


def network(parameters: Sequence[Any], *, classes: bool = True) -> list[Array]:
    """Return the parameters of a GRUNet of one layer in one direction, in its order.

    Args:
        parameters: Of the GRU, then of the head.
        classes: Whether it answers with classes, two of which have a single logit.
    """
    if len(parameters) not in (4, 6):
        raise InputError(f"{len(parameters)} parameters: expected 4, or 6 with the GRU's biases.")
    kind = kind_of("w_ih", parameters[0])
    hidden = _last_axis("w_hh", parameters[1])
    inputs, outputs = _last_axis("w_ih", parameters[0]), np.shape(parameters[-1])[:1]
    if outputs == (2,) and classes:
        raise InputError("2 logits: expected one where there are two classes.")
    gates = 3 * hidden
    axes: list[Axes] = [(gates, inputs), (gates, hidden), *[(gates,)] * (len(parameters) - 4)]
    axes += [(*outputs, hidden), ("logits",)]
    names = ["w_ih", "w_hh", *["b_ih", "b_hh"][: len(parameters) - 4], "weight", "bias"]
    rows = zip(names, parameters, axes, strict=True)
    return [held(name, array, kind, each) for name, array, each in rows]


def kind_of(name: str, array: Any) -> np.dtype[Any]:
    """Return the type of numbers, which kernels know."""
    kind: np.dtype[Any] | None = array.dtype if isinstance(array, np.ndarray) else None
    if kind is None or kind not in (np.float32, np.float64):
        found = type(array).__name__ if kind is None else kind
        raise InputError(f"{name} holds {found}, expected float32 or float64.")
    return kind


class _Sizes(Protocol):
    """Those of ``steps.Sizes``."""

    @property
    def inputs(self) -> int: ...
    @property
    def hidden(self) -> int: ...
    @property
    def layers(self) -> int: ...
    @property
    def directions(self) -> int: ...
    @property
    def weights(self) -> list[int]: ...


def state(arrays: Sequence[Any], sizes: _Sizes) -> int:
    """Check what training moves, flat as ``train_steps`` has it; return the number of logits."""
    kind, size = kind_of("parameters", arrays[0]), arrays[0].size
    least = min(sizes.inputs, sizes.hidden, sizes.layers)
    answer = sizes.hidden * sizes.directions
    logits, rest = divmod(int(size) - sum(sizes.weights), answer + 1)
    if least < 1 or sizes.directions not in (1, 2) or logits < 1 or rest:
        raise InputError(
            f"parameters: {size} numbers are no network of {sizes.inputs} features and "
            f"{sizes.hidden} units."
        )
    for name, array in zip(("parameters", "exp_avg", "exp_avg_sq"), arrays, strict=True):
        held(name, array, kind, (size,), written=True)
    return logits


def updates(
    rows: Any, groups: Any, counts: tuple[int, int], more: Sequence[Any], size: int, kind: Any
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the settings of each step and group, and the groups; see ``rules.Updates``.

    Args:
        rows: (batches, groups, columns).
        groups: (parameters,) which of them each parameter has, below zero for none.
        counts: Batches and parameters.
        more: A third moment and the sums, of so many numbers as there are in all parameters.
        size: So many.
        kind: Of the parameters.
    """
    found = ready(_numbers("rows", rows), kind)
    _require_axes("rows", found.shape, (counts[0], "groups", COLUMNS))
    most = found.shape[1] - 1
    for name, array in zip(("third", "sums"), more, strict=True):
        held(name, array, np.dtype(kind), (int(size),), written=True)
    return found, whole("groups", groups, counts[1], -1, most)


def batches(each: Sequence[Any], step: int) -> NDArray[np.int64]:
    """Return where each batch starts in all of them, and where the last one ends."""
    if not isinstance(step, int) or step < 0:
        raise InputError(f"step {step!r}: expected a whole number of steps taken before.")
    if not each or not all(np.ndim(batch) == 1 and len(batch) for batch in each):
        raise InputError("batches: expected at least one, and a sequence in each.")
    return np.cumsum([0, *map(len, each)])


def layer(
    x: "Tensor",
    h0: "Tensor",
    lengths: "Tensor | None",
    w_ih: "Tensor",
    w_hh: "Tensor",
    b_ih: "Tensor | None",
    b_hh: "Tensor | None",
    kinds: "Sequence[torch.dtype]",
) -> None:
    """Check the shapes and types that one layer in one direction is given, on any device.

    What lengths hold is for ``lengths_of`` to look at.
    """
    if x.dtype not in kinds:
        raise InputError(f"x is {x.dtype}, expected one of {', '.join(map(str, kinds))}.")
    if x.dim() != 3 or w_ih.dim() != 2 or w_hh.dim() != 2:
        raise InputError("x, w_ih and w_hh: expected 3, 2 and 2 axes.")
    (batch, steps, inputs), gates, hidden = x.shape, w_hh.shape[0], w_hh.shape[1]
    if not steps or not inputs or not hidden or gates != 3 * hidden:
        raise InputError(f"x {tuple(x.shape)}, w_hh {tuple(w_hh.shape)}: expected (3 H, H).")
    if (b_ih is None) != (b_hh is None):
        raise InputError("b_ih and b_hh: expected both or neither.")
    like(x, "h0", h0, (batch, hidden))
    like(x, "w_ih", w_ih, (gates, inputs))
    like(x, "w_hh", w_hh, (gates, hidden))
    if b_ih is not None:
        like(x, "b_ih", b_ih, (gates,))
        like(x, "b_hh", b_hh, (gates,))
    if lengths is not None and (lengths.shape != (batch,) or str(lengths.dtype) not in _WHOLE):
        raise InputError(
            f"lengths {tuple(lengths.shape)} of {lengths.dtype}: expected one for each of {batch} "
            "rows, whole numbers."
        )


def like(x: "Tensor", name: str, tensor: "Tensor | None", shape: tuple[int, ...]) -> None:
    """Check that a tensor, where there is one, has a shape, and x's type and device."""
    if tensor is None:
        return
    if tensor.shape != shape:
        raise InputError(f"{name} {tuple(tensor.shape)}: expected {shape}.")
    if tensor.dtype is not x.dtype or tensor.is_cuda != x.is_cuda:
        found = f"{tensor.dtype} on {tensor.device}"
        raise InputError(f"{name} is {found}, expected {x.dtype} on {x.device} as x is.")


def lengths_of(lengths: "Tensor", batch: int, steps: int) -> None:
    """Check what the lengths of padded sequences hold; on a GPU this waits for it."""
    if lengths.shape != (batch,):
        raise InputError(f"lengths {tuple(lengths.shape)}: expected one for each of {batch} rows.")
    if not batch:
        return
    low, high = (int(each) for each in lengths.aminmax())
    if low < 1 or high > steps:
        raise InputError(f"lengths from {low} to {high}: expected 1 to {steps}, the time steps.")


def pulls(x: "Tensor", d_out: "Tensor | None", d_last: "Tensor | None", h0: "Tensor") -> None:
    """Check the derivatives that a backward pass starts from."""
    like(x, "d_out", d_out, (*x.shape[:2], h0.shape[1]))
    like(x, "d_last", d_last, (x.shape[0], h0.shape[1]))


def tape(x: "Tensor", kept: "Tensor", hidden: int) -> None:
    """Check that ``grulight::gru`` left this behind for its backward pass, having read x."""
    batch, steps, _ = x.shape
    like(x, "tape", kept, (batch * (5 * steps + 1) * padded(hidden, x.itemsize),))


def _require_unmasked(name: str, given: Any) -> None:
    if type(given) is not np.ndarray and isinstance(given, np.ma.MaskedArray):
        raise InputError(f"{name} is a masked array; fill it first.")


def _numbers(name: str, given: Any) -> NDArray[Any]:
    _require_unmasked(name, given)
    try:
        array = np.asarray(given)
    except ValueError as error:  # rows of several lengths
        raise InputError(f"{name}: expected an array of numbers ({error}).") from error
    if array.dtype.kind not in "fiub":
        raise InputError(f"{name} hold {array.dtype}, expected numbers.")
    return array


def _last_axis(name: str, array: Any) -> int:
    if np.ndim(array) != 2 or not np.size(array):
        raise InputError(f"{name} {np.shape(array)}: expected two axes.")
    return int(np.shape(array)[1])


def float_of(dtype: "torch.dtype") -> type[np.floating[Any]]:
    """Return NumPy's type for what a module computes in, or float32 where NumPy lacks it."""
    return np.float64 if str(dtype) == "torch.float64" else np.float32
