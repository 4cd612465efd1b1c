"""Compile the kernels for a GPU that need not be there; print what their programs use.

Usage: compiling.py INPUTS HIDDEN
"""

import subprocess
import sys
from typing import Any

import torch
from triton import compile, knobs
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from grulight.kernels import triton_cuda

OPTIONS = {"num_warps", "num_stages", "enable_fp_fusion"}


def resources(kernel: Any, settings: dict[str, int], absent: tuple[str, ...]) -> str:
    """Return what cuobjdump says of a kernel that is given all but the absent arguments."""
    constants = {name: settings.get(name) for name in kernel.arg_names if name.isupper()}
    constants |= {name: None for name in absent if name in kernel.arg_names}
    types = {"batch": "i32", "steps": "i32", "lengths": "*i64"}
    types |= dict.fromkeys(constants, "constexpr")
    signature = {name: types.get(name, "*fp32") for name in kernel.arg_names}
    aligned = [[("tt.divisibility"), 16]]
    pointers = (n for n, kind in enumerate(signature.values()) if kind.startswith("*"))
    source = ASTSource(kernel, signature, constants, {(n,): aligned for n in pointers})
    options = {name: settings[name] for name in OPTIONS}
    program = compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    with open("program.cubin", "wb") as file:
        file.write(program.asm["cubin"])
    command = [knobs.nvidia.cuobjdump.path, "-res-usage", file.name]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


inputs, hidden = map(int, sys.argv[1:])
weights = torch.empty(3 * hidden, inputs), torch.empty(3 * hidden, hidden)
_, settings = triton_cuda._settings(*weights, reverse=True)
absent = ("d_gates",) if triton_cuda._sums_inside(settings) else ("sums", "d_x")
for kernel in (triton_cuda.forward_kernel, triton_cuda.backward_kernel):
    print(resources(kernel, settings, absent))
