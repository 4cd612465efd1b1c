"""An optimiser's step on a CUDA device in one launch, for each of the rules of ``kernels.rules``.

It can be held in a CUDA graph: what changes from step to step is read on the device, at the row of
settings that a counter there tells. Limits on norms take a launch more each, as all gradients must
be known before the first parameter moves; each program sums its own part and all read the sums in
the same order, so that two runs give the same bits.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import triton
from torch import Tensor

from grulight.errors import InputError
from grulight.kernels import gate, rules
from grulight.kernels.rules import COLUMNS, Updates
from grulight.kernels.triton_update_kernels import squares_kernel, update_kernel

BLOCK = 1024  # numbers of a program
_ADAM, _RMSPROP = (rules.KERAS_ADAM, rules.ADAM), (rules.KERAS_RMSPROP, rules.RMSPROP)


class FlatState(NamedTuple):
    """What a step moves, in place: flat float32 tensors (P,), as ``steps.State`` has arrays.

    The second moment may be left out where a rule keeps none (SGD, RMSprop without momentum), the
    third without amsgrad or centring, the sums where no gradients are accumulated.
    """

    parameters: Tensor
    exp_avg: Tensor
    exp_avg_sq: Tensor | None = None
    third: Tensor | None = None
    sums: Tensor | None = None


class Settings(NamedTuple):
    """``rules.Updates`` on a device.

    Attributes:
        rule: Of ``rules``.
        rows: (steps, groups, COLUMNS); others may be copied into it between steps.
        limits: (3,) float64: of the norm of all gradients, of each value, and of the norm of each
            variable's gradient.
        groups: (P,) int32, of each number; None for one group.
        variables: (P,) int32, of each number; None where none is limited.
        counts: Whether the norm and whether values are limited, and how many variables are.
        needs: Which tensors of a ``FlatState`` may not be missing.
    """

    rule: int
    rows: Tensor
    limits: Tensor
    groups: Tensor | None
    variables: Tensor | None
    counts: tuple[bool, bool, int]
    needs: frozenset[str]


def settings_of(updates: Updates, sizes: Sequence[int], device: torch.device | str) -> Settings:
    """Copy updates to a device.

    Args:
        updates: How each of several steps updates.
        sizes: How many numbers each parameter has.
        device: Where to.
    """

    def of_numbers(of_parameters: object) -> Tensor:
        each = np.repeat(np.asarray(of_parameters, np.int32), sizes)
        return torch.from_numpy(each).to(device)

    groups, variables, count = updates.groups, None, 0
    if updates.of_variable and updates.variables is not None:
        count = int(np.max(updates.variables)) + 1
        variables = of_numbers(updates.variables)
    single = groups is None or not np.any(groups)
    return Settings(
        updates.rule,
        torch.tensor(updates.rows, dtype=torch.float32, device=device),
        torch.tensor(
            [updates.norm, updates.value, updates.of_variable], dtype=torch.float64, device=device
        ),
        None if single else of_numbers(groups),
        variables,
        (bool(updates.norm), bool(updates.value), count),
        _needs(updates),
    )


def _needs(updates: Updates) -> frozenset[str]:
    """Return the moments and sums that a rule reads, besides the first moment."""
    rows, rule = updates.rows, updates.rule
    adam, squared = (rule in each for each in (_ADAM, _ADAM + _RMSPROP))
    found = {
        "exp_avg_sq": adam or (rule in _RMSPROP and np.any(rows[..., rules.MOMENTUM])),
        "third": squared and np.any(rows[..., rules.FLAG]),
        "sums": np.any(rows[..., rules.SUMMED]),
    }
    return frozenset(name for name, needed in found.items() if needed)


def update(
    state: FlatState,
    gradients: Tensor,
    settings: Settings,
    step: Tensor,
    *,
    zero_gradients: bool = False,
) -> None:
    """Move parameters by one step, or add up gradients where ``rows.WAITS`` says so.

    Args:
        state: Moved in place.
        gradients: (P,).
        settings: How.
        step: (1,) int64 on the device: the row that holds. The caller counts on.
        zero_gradients: Whether gradients are zero afterwards, for an autograd that adds to them.

    Raises:
        InputError: A tensor does not fit the others, or the rule needs one that is missing.
    """
    check(state, gradients, settings)
    size, (norm, value, variables) = gradients.numel(), settings.counts
    parts = triton.cdiv(size, BLOCK)
    squares = gradients.new_empty((1 + variables) * parts, dtype=torch.float64)
    _, rows, limits, groups, of_variables, *_ = settings
    how = step, rows, groups, limits, of_variables, squares
    given = state.parameters, gradients, *state[1:], *how, size
    shared = {
        **{"GROUPS": settings.rows.shape[1], "NORM": norm, "VALUE": value, "num_warps": 4},
        **{"PARTS": parts, "PADDED": triton.next_power_of_2(parts), "BLOCK": BLOCK},
        "enable_fp_fusion": False,  # each operation is rounded by itself, as on the CPU
    }
    with torch.cuda.device_of(gradients):  # type: ignore[no-untyped-call]
        for many in [0] * norm + [variables] * (variables > 0):
            squares_kernel[(parts,)](*given, VARIABLES=many, **shared)
        update_kernel[(parts,)](
            *given, RULE=settings.rule, VARIABLES=variables, ZERO=zero_gradients, **shared
        )


def check(state: FlatState, gradients: Tensor, settings: Settings, *, axes: int = 1) -> None:
    """Check that tensors fit each other and the rule, as far as that can be told on the host.

    Args:
        state: What is moved.
        gradients: Of as many numbers.
        settings: How.
        axes: Of these tensors; with two, the first is that of several networks.

    Raises:
        InputError: They do not.
    """
    if gradients.dtype != torch.float32 or gradients.dim() != axes:
        found, wanted = tuple(gradients.shape), ("(P,)", "(models, P)")[axes - 1]
        raise InputError(f"parameters {found} of {gradients.dtype}: expected {wanted} of float32.")
    for name, tensor in zip(FlatState._fields, state, strict=True):
        gate.like(gradients, name, tensor, gradients.shape)
        if tensor is not None and not tensor.is_contiguous():
            raise InputError(f"{name} does not lie in one piece; expected a contiguous tensor.")
    missing = [name for name in sorted(settings.needs) if getattr(state, name) is None]
    if missing:
        raise InputError(f"{missing[0]} is missing: the optimiser's settings need it.")
    rows = settings.rows
    if rows.dim() != axes + 2 or rows.shape[-1] != COLUMNS or not rows.is_contiguous():
        raise InputError(f"rows {tuple(rows.shape)}: expected (steps, groups, {COLUMNS}).")
