"""What the kernels for CPUs are made of: compiling, exp, and the product of small matrices.

What keeps one sequence's bits in any batch: no fast-math, and every product sums over k in order,
each of its columns in a SIMD lane of its own, so that neither a neighbour in the batch nor the
width of a vector changes a rounding.
"""

from collections.abc import Callable
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

VECTOR = 64  # bytes: the widest registers of today's CPUs

# exp by range reduction: x = n ln 2 + r with ln 2 in two parts (Cody and Waite; the parts are those
# of Cephes' expf.c and fdlibm's e_exp.c), e^r - 1 by its Taylor series, where |r| <= ln 2 / 2
# leaves less than a tenth of a unit in the last place.
EXPONENTIAL: dict[types.Type, dict[str, Any]] = {
    types.float32: {
        "limit": 87.0,
        "ln2": (0.693359375, -2.12194440e-4),
        "terms": 7,
        "integer": ir.IntType(32),
        "round": 1.5 * 2.0**23,  # adding it leaves the nearest integer in the last bits
        "mantissa": 23,
        "bias": 127,
    },
    types.float64: {
        "limit": 708.0,
        "ln2": (6.93147180369123816490e-01, 1.90821492927058770002e-10),
        "terms": 13,
        "integer": ir.IntType(64),
        "round": 1.5 * 2.0**52,
        "mantissa": 52,
        "bias": 1023,
    },
}


# Python's check of divisors, a branch, would keep LLVM from using vectors
jit = partial(njit, error_model="numpy")


@cache
def _sources() -> str:
    """Return a digest of all kernels: Numba's cache would notice changes of one file only."""
    files = sorted(Path(__file__).parent.glob("numba_*.py"))
    return sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def compiled(function: Callable[..., Any]) -> Any:
    """Compile on first use, kept on disk where a place for that can be written."""
    function.__qualname__ += _sources()  # which Numba names its files after
    try:
        return jit(cache=True, nogil=True)(function)
    except RuntimeError:  # no such place
        return jit(nogil=True)(function)


def _fused(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """Emit a b + c, rounded once where the CPU can, always the same on one machine."""
    kind = a.type
    if isinstance(kind, ir.VectorType):
        name = f"llvm.fmuladd.v{kind.count}{kind.element.intrinsic_name}"
    else:
        name = f"llvm.fmuladd.{kind.intrinsic_name}"
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(kind, (kind, kind, kind)), name
    )
    return builder.call(function, (a, b, c))


@intrinsic
def fused(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """Return a b + c, rounded once where the CPU can."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _fused(builder, *arguments)

    return a(a, a, a), emit


@intrinsic
def exponential(typing: Any, x: Any) -> Any:
    """Return m and s with e^x = s (1 + m), s a power of two; x beyond the limits counts as these.

    NaN stays NaN, as both comparisons with it are false.
    """
    table = EXPONENTIAL[x]

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (x,) = arguments
        number, integer = x.type, table["integer"]
        for sign, limit in ((">", table["limit"]), ("<", -table["limit"])):
            bound = number(limit)
            x = builder.select(builder.fcmp_ordered(sign, x, bound), bound, x)
        shifted = _fused(builder, x, number(1.0 / np.log(2.0)), number(table["round"]))
        whole = builder.fsub(shifted, number(table["round"]))
        r = x
        for part in table["ln2"]:
            r = _fused(builder, whole, number(-part), r)
        factorials = np.cumprod(np.arange(1.0, table["terms"] + 1))
        m = number(1.0 / factorials[-1])
        for factorial in factorials[-2:0:-1]:
            m = _fused(builder, m, r, number(1.0 / factorial))
        m = _fused(builder, m, builder.fmul(r, r), r)
        bits = builder.add(builder.bitcast(shifted, integer), integer(table["bias"]))
        s = builder.bitcast(builder.shl(bits, integer(table["mantissa"])), number)
        return context.make_tuple(builder, signature.return_type, (m, s))

    return types.UniTuple(x, 2)(x), emit


@jit
def sigmoid(x: Any) -> Any:
    """Return 1 / (1 + e^-x)."""
    one = type(x)(1)
    m, s = exponential(-x)
    return one / (one + fused(s, m, s))


@jit
def tanh(x: Any) -> Any:
    """Return tanh x, with e = e^(-2|x|) and x's sign: (1 - e) / (1 + e), or 1 - 2e / (1 + e).

    As fdlibm's s_tanh.c: the first near zero, with e - 1 in one piece; the second elsewhere, as
    gradients need 1 - tanh^2.
    """
    one, two = type(x)(1), type(x)(2)
    m, s = exponential(-two * abs(x))
    near = abs(x) < type(x)(0.5)
    part = (-fused(s, m, s - one) if near else two * fused(s, m, s)) / (one + fused(s, m, s))
    return np.copysign(part if near else one - part, x)


def _tile(rows: int, columns: int) -> Any:
    """Return the innermost product: so many rows times so many vectors, kept in registers.

    It adds sum_k a[r, k] w[k, c] to out[r, c]; arrays are flat, each with where it starts and the
    steps to its next row (or k) and its next vector (or k).
    """

    @intrinsic
    def tile(
        typing: Any,
        out: Any, out_at: Any, out_row: Any, out_col: Any,
        a: Any, a_at: Any, a_row: Any, a_k: Any,
        w: Any, w_at: Any, w_k: Any, w_col: Any,
        count: Any,
    ) -> Any:  # fmt: skip
        size = types.intp
        signature = types.void(out, *[size] * 3, a, *[size] * 3, w, *[size] * 3, size)

        def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            arrays = [
                context.make_array(signature.args[n])(context, builder, arguments[n]).data
                for n in (0, 4, 8)
            ]
            (o_at, o_row, o_col), (a_at, a_row, a_k), (w_at, w_k, w_col) = (
                arguments[n + 1 : n + 4] for n in (0, 4, 8)
            )
            number = context.get_value_type(out.dtype)
            bytes_of = out.dtype.bitwidth // 8
            vector = ir.VectorType(number, VECTOR // bytes_of)

            def at(array: Any, place: Any, *steps: tuple[Any, Any]) -> Any:
                for number_of, step in steps:
                    place = builder.add(place, builder.mul(number_of, step))
                return builder.gep(array, [place])

            def vectors(pointer: Any) -> Any:
                return builder.bitcast(pointer, vector.as_pointer())

            index = ir.IntType(64)
            sums = [
                [
                    cgutils.alloca_once_value(builder, vector([0.0] * vector.count))
                    for _ in range(columns)
                ]
                for _ in range(rows)
            ]
            with cgutils.for_range(builder, arguments[12], intp=index) as loop:
                k = loop.index
                weights = [
                    builder.load(
                        vectors(at(arrays[2], w_at, (k, w_k), (index(c), w_col))),
                        align=bytes_of,
                    )
                    for c in range(columns)
                ]
                for r in range(rows):
                    value = builder.load(at(arrays[1], a_at, (index(r), a_row), (k, a_k)))
                    lone = builder.insert_element(vector(ir.Undefined), value, ir.IntType(32)(0))
                    mask = ir.VectorType(ir.IntType(32), vector.count)([0] * vector.count)
                    spread = builder.shuffle_vector(lone, lone, mask)
                    for c in range(columns):
                        old = builder.load(sums[r][c])
                        builder.store(_fused(builder, spread, weights[c], old), sums[r][c])
            for r in range(rows):
                for c in range(columns):
                    place = vectors(at(arrays[0], o_at, (index(r), o_row), (index(c), o_col)))
                    old = builder.load(place, align=bytes_of)
                    builder.store(
                        builder.fadd(old, builder.load(sums[r][c])), place, align=bytes_of
                    )
            return context.get_dummy_value()

        return signature, emit

    return tile


def _product(columns: int) -> Any:
    """Return out[s, c] += sum_k a[s, k] w[k, c] for any number of rows, columns in bands of P."""
    four, one = _tile(4, columns), _tile(1, columns)

    @jit
    def product(
        out: Any, out_at: int, out_row: int, out_band: int,
        a: Any, a_at: int, a_row: int, a_k: int,
        w: Any, w_at: int, w_k: int, w_band: int,
        rows: int, width: int, count: int,
    ) -> None:  # fmt: skip
        for j in range(0, width, VECTOR // out.itemsize):
            whole = rows - rows % 4
            for s in range(0, whole, 4):
                four(out, out_at + s * out_row + j, out_row, out_band,
                     a, a_at + s * a_row, a_row, a_k, w, w_at + j, w_k, w_band, count)  # fmt: skip
            for s in range(whole, rows):
                one(out, out_at + s * out_row + j, out_row, out_band,
                    a, a_at + s * a_row, a_row, a_k, w, w_at + j, w_k, w_band, count)  # fmt: skip

    return product


product3 = _product(3)
product1 = _product(1)
