"""The gates' arithmetic on CPUs: sigmoid, tanh, and a step of the GRU, on whole vectors."""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from grulight.kernels.numba_cache import jit
from grulight.kernels.numba_simd import data_of, fused, llvm, vectors_at
from grulight.kernels.sizes import VECTOR

# exp by range reduction: x = n ln 2 + r with ln 2 in two parts (Cody and Waite; the parts are those
# of Cephes' expf.c and fdlibm's e_exp.c), e^r - 1 by its Taylor series, where |r| <= ln 2 / 2
# leaves less than a tenth of a unit in the last place.
EXPONENTIAL: dict[ir.Type, dict[str, Any]] = {
    ir.FloatType(): {
        "limit": 87.0,
        "ln2": (0.693359375, -2.12194440e-4),
        "terms": 7,
        "integer": ir.IntType(32),
        "round": 1.5 * 2.0**23,  # adding it leaves the nearest integer in the last bits
        "mantissa": 23,
        "bias": 127,
    },
    ir.DoubleType(): {
        "limit": 708.0,
        "ln2": (6.93147180369123816490e-01, 1.90821492927058770002e-10),
        "terms": 13,
        "integer": ir.IntType(64),
        "round": 1.5 * 2.0**52,
        "mantissa": 52,
        "bias": 1023,
    },
}


def _like(kind: ir.Type, element: ir.Type) -> ir.Type:
    """Return the type of as many elements as ``kind`` has."""
    return ir.VectorType(element, kind.count) if isinstance(kind, ir.VectorType) else element


def _constant(kind: ir.Type, value: float) -> ir.Constant:
    many = isinstance(kind, ir.VectorType)
    return ir.Constant(kind, [value] * kind.count if many else value)


def _exponential(builder: Any, x: Any) -> tuple[Any, Any]:
    """Emit m and s with e^x = s (1 + m), s a power of two; x beyond the limits counts as these.

    NaN stays NaN, as both comparisons with it are false.
    """
    kind = x.type
    table = EXPONENTIAL[kind.element if isinstance(kind, ir.VectorType) else kind]
    integer = _like(kind, table["integer"])

    def number(value: float) -> ir.Constant:
        return _constant(kind, value)

    for sign, limit in ((">", table["limit"]), ("<", -table["limit"])):
        bound = number(limit)
        x = builder.select(builder.fcmp_ordered(sign, x, bound), bound, x)
    shifted = fused(builder, x, number(1.0 / np.log(2.0)), number(table["round"]))
    whole = builder.fsub(shifted, number(table["round"]))
    r = x
    for part in table["ln2"]:
        r = fused(builder, whole, number(-part), r)
    factorials = np.cumprod(np.arange(1.0, table["terms"] + 1))
    m = number(1.0 / factorials[-1])
    for factorial in factorials[-2:0:-1]:
        m = fused(builder, m, r, number(1.0 / factorial))
    m = fused(builder, m, builder.fmul(r, r), r)
    bits = builder.add(builder.bitcast(shifted, integer), _constant(integer, table["bias"]))
    s = builder.bitcast(builder.shl(bits, _constant(integer, table["mantissa"])), kind)
    return m, s


def _sigmoid(builder: Any, x: Any) -> Any:
    """Emit 1 / (1 + e^-x)."""
    one = _constant(x.type, 1.0)
    m, s = _exponential(builder, builder.fneg(x))
    return builder.fdiv(one, builder.fadd(one, fused(builder, s, m, s)))


def _tanh(builder: Any, x: Any) -> Any:
    """Emit tanh x, with e = e^(-2|x|) and x's sign: (1 - e) / (1 + e), or 1 - 2e / (1 + e).

    As fdlibm's s_tanh.c: the first near zero, with e - 1 in one piece; the second elsewhere, as
    gradients need 1 - tanh^2.
    """
    one, two = (_constant(x.type, value) for value in (1.0, 2.0))
    size = llvm(builder, "fabs", x)
    m, s = _exponential(builder, builder.fneg(builder.fmul(two, size)))
    e = fused(builder, s, m, s)
    near = builder.fcmp_ordered("<", size, _constant(x.type, 0.5))
    small = builder.fneg(fused(builder, s, m, builder.fsub(s, one)))
    part = builder.fdiv(builder.select(near, small, builder.fmul(two, e)), builder.fadd(one, e))
    found = builder.select(near, part, builder.fsub(one, part))
    return llvm(builder, "copysign", found, x)


def _of_one_number(emitted: Any) -> Any:
    @intrinsic
    def function(typing: Any, x: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return emitted(builder, *arguments)

        return x(x), emit

    return function


_sigmoid_of, _tanh_of = _of_one_number(_sigmoid), _of_one_number(_tanh)


@jit
def sigmoid(x: Any) -> Any:
    """Return 1 / (1 + e^-x) of a number."""
    return _sigmoid_of(x)


@jit
def tanh(x: Any) -> Any:
    """Return tanh x of a number."""
    return _tanh_of(x)


@intrinsic
def cell(
    typing: Any, tape: Any, at: Any, slot: Any, rows: Any, width: Any, bias: Any, ahead: Any
) -> Any:
    """Turn the shares of a step's gates into gates, and its states into those ahead.

    Args:
        typing: Numba's.
        tape: Flat; at ``at`` begins the step, whose slots are those of ``numba_cpu``.
        at: Where the step begins.
        slot: Numbers of a slot.
        rows: Sequences that are still read.
        width: Numbers of each sequence in a slot, whole vectors.
        bias: Of n, r, z and c, flat: (4 * width,).
        ahead: Where in ``tape`` the new states go.
    """
    size = types.intp
    signature = types.void(tape, size, size, size, size, bias, size)

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        tape, at, slot, rows, width, bias, ahead = arguments
        tape = data_of(context, builder, signature.args[0], tape)
        bias = data_of(context, builder, signature.args[5], bias)
        index = ir.IntType(64)
        aligned = signature.args[0].dtype.bitwidth // 8

        def load(array: Any, where: Any) -> Any:
            return builder.load(vectors_at(builder, array, where), align=aligned)

        def store(value: Any, where: Any) -> None:
            builder.store(value, vectors_at(builder, tape, where), align=aligned)

        def places(start: Any, stride: Any, count: int) -> list[Any]:
            return [builder.add(start, builder.mul(stride, index(n))) for n in range(count)]

        step = index(VECTOR // aligned)
        with (
            cgutils.for_range_slice(builder, index(0), width, step, inc=True) as (k, _),
            cgutils.for_range(builder, rows, intp=index) as row,
        ):
            b_n, b_r, b_z, b_c = (load(bias, where) for where in places(k, width, 4))
            k = builder.add(k, builder.mul(row.index, width))
            h_at, *gates_at = places(builder.add(at, k), slot, 5)
            h = load(tape, h_at)
            n, r, z, c = (load(tape, where) for where in gates_at)
            r = _sigmoid(builder, builder.fadd(r, b_r))
            z = _sigmoid(builder, builder.fadd(z, b_z))
            c = builder.fadd(c, b_c)
            n = _tanh(builder, fused(builder, r, c, builder.fadd(n, b_n)))
            new = fused(builder, z, builder.fsub(h, n), n)
            for value, where in zip((n, r, z, c), gates_at, strict=True):
                store(value, where)
            store(new, builder.add(ahead, k))
        return context.get_dummy_value()

    return signature, emit
