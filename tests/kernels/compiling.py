"""Compile the kernels for an H100 that need not be there; print the shared memory they take.

Usage: compiling.py INPUTS HIDDEN DTYPE
"""

import sys
from typing import Any

import torch
from triton import compile
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from grulight.kernels import triton_cuda

OPTIONS = {"num_warps", "num_stages", "enable_fp_fusion"}
POINTERS = {"float32": "*fp32", "bfloat16": "*bf16"}


def shared_memory(
    kernel: Any, settings: dict[str, int], dtype: str, absent: tuple[str, ...]
) -> int:
    """Return the bytes that a kernel takes that is given all but the absent arguments."""
    constants = {name: settings.get(name) for name in kernel.arg_names if name.isupper()}
    constants |= {name: None for name in absent if name in kernel.arg_names}
    types = {"batch": "i32", "steps": "i32", "lengths": "*i64", "sums": "*fp32"}
    types |= dict.fromkeys(constants, "constexpr")
    signature = {name: types.get(name, POINTERS[dtype]) for name in kernel.arg_names}
    aligned = [[("tt.divisibility"), 16]]
    pointers = (n for n, kind in enumerate(signature.values()) if kind.startswith("*"))
    source = ASTSource(kernel, signature, constants, {(n,): aligned for n in pointers})
    options = {name: settings[name] for name in OPTIONS}
    program = compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    return int(program.metadata.shared)


inputs, hidden, dtype = *map(int, sys.argv[1:3]), sys.argv[3]
kind = getattr(torch, dtype)
weights = torch.empty(3 * hidden, inputs, dtype=kind), torch.empty(3 * hidden, hidden, dtype=kind)
for kernel, tiles in (
    (triton_cuda.forward_kernel, triton_cuda.FORWARD),
    (triton_cuda.backward_kernel, triton_cuda.BACKWARD),
):
    _, settings = triton_cuda._settings(*weights, True, tiles)
    absent = ("d_gates",) if triton_cuda._sums_inside(settings) else ("sums", "d_x")
    print("shared", shared_memory(kernel, settings, dtype, absent))
