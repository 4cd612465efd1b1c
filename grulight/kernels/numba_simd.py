"""What the kernels for CPUs are made of: the product of small matrices, whole vectors.

What keeps one sequence's bits in any batch: no fast-math, and every product sums over k in order,
each of its columns in a SIMD lane of its own, so that neither a neighbour in the batch nor the
width of a vector changes a rounding.

``NUMBA_BOUNDSCHECK=1`` compiles all kernels, into a cache of their own, so that an index past the
end of an array raises ``IndexError``. It does not see what intrinsics address (``_tile`` here,
``numba_gates.cell``, ``numba_network.same_bits``): there ``reach`` looks at the last number. Nor
does it see whether an address is of an array as large as is said (``numba_network.predict``), or
that an index below zero counts from the end: these are for ``gate`` alone.
"""

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from grulight.kernels.numba_cache import BOUNDSCHECK, jit
from grulight.kernels.sizes import VECTOR

# Rows of a tile, whose sums times three bands stay in registers: AVX-512 has 32 as wide as VECTOR.
TALL = 8 if get_host_cpu_features().get("avx512f") else 4


@jit
def place(j: int, k: int, count: int, band: int, bands: int, lanes: int) -> int:
    """Return where a weight w[k, band, j] lies in strips: (P / lanes, count, bands, lanes)."""
    found: int = ((j // lanes * count + k) * bands + band) * lanes + j % lanes
    return found


@jit
def reach(array: Any, last: int) -> None:
    """Raise IndexError where a flat array ends before a place; for where bounds are checked."""
    if last < 0 or last >= array.size:
        raise IndexError("a kernel reaches beyond an array")


def llvm(builder: Any, name: str, *arguments: Any) -> Any:
    """Emit a function of LLVM's, all of whose arguments are of one type, as is its result."""
    kind = arguments[0].type
    many = isinstance(kind, ir.VectorType)
    suffix = f"v{kind.count}{kind.element.intrinsic_name}" if many else kind.intrinsic_name
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(kind, [kind] * len(arguments)), f"llvm.{name}.{suffix}"
    )
    return builder.call(function, arguments)


def fused(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """Emit a b + c, rounded once where the CPU can, always the same on one machine."""
    return llvm(builder, "fmuladd", a, b, c)


def data_of(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    """Emit the pointer to an array's first number."""
    return context.make_array(kind)(context, builder, array).data


def vectors_at(builder: Any, data: Any, place: Any) -> Any:
    """Emit a pointer to the whole vector that begins at a place of a flat array."""
    number = data.type.pointee
    count = VECTOR // (8 if number == ir.DoubleType() else 4)
    return builder.bitcast(builder.gep(data, [place]), ir.VectorType(number, count).as_pointer())


def _tile(rows: int, adds: Sequence[bool]) -> Any:
    """Return the innermost product: so many rows times so many vectors, kept in registers.

    It adds sum_k a[r, k] w[k, c] to out[r, c], or puts it there where ``adds[c]`` is false; arrays
    are flat, each with where it starts and the steps to its next row (or k) and its next vector
    (or k).
    """
    columns = len(adds)

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
            arrays = [data_of(context, builder, signature.args[n], arguments[n]) for n in (0, 4, 8)]
            (o_at, o_row, o_col), (a_at, a_row, a_k), (w_at, w_k, w_col) = (
                arguments[n + 1 : n + 4] for n in (0, 4, 8)
            )
            number = context.get_value_type(out.dtype)
            bytes_of = out.dtype.bitwidth // 8
            vector = ir.VectorType(number, VECTOR // bytes_of)

            def at(place: Any, *steps: tuple[Any, Any]) -> Any:
                for number_of, step in steps:
                    place = builder.add(place, builder.mul(number_of, step))
                return place

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
                        vectors_at(builder, arrays[2], at(w_at, (k, w_k), (index(c), w_col))),
                        align=bytes_of,
                    )
                    for c in range(columns)
                ]
                for r in range(rows):
                    value = builder.load(
                        builder.gep(arrays[1], [at(a_at, (index(r), a_row), (k, a_k))])
                    )
                    lone = builder.insert_element(vector(ir.Undefined), value, ir.IntType(32)(0))
                    mask = ir.VectorType(ir.IntType(32), vector.count)([0] * vector.count)
                    spread = builder.shuffle_vector(lone, lone, mask)
                    for c in range(columns):
                        old = builder.load(sums[r][c])
                        builder.store(fused(builder, spread, weights[c], old), sums[r][c])
            for r in range(rows):
                for c in range(columns):
                    place = vectors_at(
                        builder, arrays[0], at(o_at, (index(r), o_row), (index(c), o_col))
                    )
                    found = builder.load(sums[r][c])
                    if adds[c]:
                        found = builder.fadd(builder.load(place, align=bytes_of), found)
                    builder.store(found, place, align=bytes_of)
            return context.get_dummy_value()

        return signature, emit

    return tile


def _strip(adds: Sequence[bool]) -> Any:
    """Return the product for any number of rows and, of each band, a strip."""
    many, four, one = _tile(TALL, adds), _tile(4, adds), _tile(1, adds)

    def strip(
        out: Any, out_at: int, out_row: int, out_col: int,
        a: Any, a_at: int, a_row: int, a_k: int,
        w: Any, w_at: int, w_k: int, w_col: int,
        rows: int, count: int,
    ) -> None:  # fmt: skip
        tall = rows - rows % TALL
        whole = rows - rows % 4
        for s in range(0, tall, TALL):
            many(out, out_at + s * out_row, out_row, out_col,
                 a, a_at + s * a_row, a_row, a_k, w, w_at, w_k, w_col, count)  # fmt: skip
        for s in range(tall, whole, 4):
            four(out, out_at + s * out_row, out_row, out_col,
                 a, a_at + s * a_row, a_row, a_k, w, w_at, w_k, w_col, count)  # fmt: skip
        for s in range(whole, rows):
            one(out, out_at + s * out_row, out_row, out_col,
                a, a_at + s * a_row, a_row, a_k, w, w_at, w_k, w_col, count)  # fmt: skip

    return _named(strip, adds)


def _named(function: Any, adds: Sequence[bool]) -> Any:
    """Compile a function under a name that says to what it adds.

    Numba tells functions of one name apart by a number that each process counts anew: a kernel that
    was kept by another would be linked with a product that adds elsewhere.
    """
    function.__qualname__ = "_".join((function.__name__, *map(str, adds)))
    return jit(function)


def product_of(*adds: bool) -> Any:
    """Return out[s, c] += sum_k a[s, k] w[k, c] for any number of rows, columns in bands of P.

    A band is read in strips, as wide as a vector: the weights of a strip should lie together, as
    ``place`` lays them, or each is fetched from memory that is too far apart for the cache.

    Args:
        *adds: For each band whether it adds to what is there, or takes its place.
    """
    # one band leaves registers for a second strip, for which rows need not be read again
    together = 2 if len(adds) == 1 and TALL == 8 else 1
    single = _strip(adds)
    several = single if together == 1 else _strip(adds * together)

    def product(
        out: Any, out_at: int, out_row: int, out_band: int, out_strip: int,
        a: Any, a_at: int, a_row: int, a_k: int,
        w: Any, w_at: int, w_k: int, w_band: int, w_strip: int,
        rows: int, width: int, count: int,
    ) -> None:  # fmt: skip
        lanes = VECTOR // out.itemsize
        strips, bands = width // lanes, len(adds)
        if BOUNDSCHECK and rows and width and count:
            last = lanes - 1
            reach(out, out_at + (rows - 1) * out_row + (bands - 1) * out_band
                  + (strips - 1) * out_strip + last)  # fmt: skip
            reach(a, a_at + (rows - 1) * a_row + (count - 1) * a_k)
            reach(w, w_at + (count - 1) * w_k + (bands - 1) * w_band
                  + (strips - 1) * w_strip + last)  # fmt: skip
        out_col, w_col = (out_band, w_band) if together == 1 else (out_strip, w_strip)
        for _ in range(strips // together):
            several(out, out_at, out_row, out_col, a, a_at, a_row, a_k,
                    w, w_at, w_k, w_col, rows, count)  # fmt: skip
            out_at += together * out_strip
            w_at += together * w_strip
        for _ in range(strips % together):
            single(out, out_at, out_row, out_band, a, a_at, a_row, a_k,
                   w, w_at, w_k, w_band, rows, count)  # fmt: skip
            out_at += out_strip
            w_at += w_strip

    return _named(product, adds)
