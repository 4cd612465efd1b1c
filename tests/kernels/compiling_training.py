"""Compile a training for an H100 that need not be there; print what a thread and a program take.

Usage: compiling_training.py FEATURES UNITS ANSWERS [all]; `all` compiles every option in.
"""

import re
import subprocess
import sys
import tempfile

import numpy as np
import triton
from triton import compile
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from grulight.kernels import triton_training
from grulight.kernels.rules import COLUMNS, KERAS_ADAM, Updates
from grulight.kernels.steps import Sizes, Task
from grulight.kernels.triton_training_kernels import train_kernel
from grulight.kernels.triton_update import settings_of

COUNTS = ("batches", "steps", "size", "in_order", "slots")
WHOLE = ("lengths", "begins", "labels", "order", "starts", "answers", "noise_starts")
WIDE = ("limits", "squares", "losses", "metrics")
TYPES = {
    **dict.fromkeys(train_kernel.arg_names, "*fp32"),
    **dict.fromkeys(COUNTS, "i32"),
    **dict.fromkeys(WHOLE, "*i64"),
    **dict.fromkeys(WIDE, "*fp64"),
    **{"groups": "*i32", "variables": "*i32", "smoothing": "fp32"},
}
OPTIONAL = ("third", "sums", "groups", "variables", "lengths", "weights", "noise", "noise_starts")

inputs, hidden, outputs = map(int, sys.argv[1:4])
every = sys.argv[4:] == ["all"]
sizes = Sizes(inputs, hidden, True)
limits = {"norm": 1.0, "value": 1.0, "of_variable": 1.0, "variables": np.arange(6)} if every else {}
updates = Updates(KERAS_ADAM, np.ones((1, 1, COLUMNS)), **limits)
settings = settings_of(updates, [*sizes.weights, outputs * hidden, outputs], "cpu")
constants = triton_training.constants_of(sizes, outputs, Task(per_step=every), settings)
options = {name: constants.pop(name) for name in ("num_warps", "num_stages", "enable_fp_fusion")}
constants |= {} if every else dict.fromkeys(OPTIONAL)
signature = TYPES | dict.fromkeys(constants, "constexpr")
aligned = [["tt.divisibility", 16]]
pointers = (n for n, kind in enumerate(signature.values()) if kind.startswith("*"))
source = ASTSource(train_kernel, signature, constants, {(n,): aligned for n in pointers})
program = compile(source, target=GPUTarget("cuda", 90, 32), options=options)
with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
    file.write(program.asm["cubin"])
    file.flush()
    command = [triton.knobs.nvidia.cuobjdump.path, "--dump-resource-usage", file.name]
    usage = subprocess.run(command, capture_output=True, text=True, check=True).stdout
found = {name: int(number) for name, number in re.findall(r"(REG|STACK):(\d+)", usage)}
print(f"registers {found['REG']} spilled {found['STACK']} shared {program.metadata.shared}")
