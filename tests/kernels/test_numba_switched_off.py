"""Numba that was told to compile nothing: ``auto`` takes torch, its name is refused in a line."""

import os
import subprocess
import sys

_TRAINS = """
from grulight.cli import main
print(main(["fit", "--model.kernel", "numba"]))
print(main(["fit", "--trainer.max_epochs", "1", "--trainer.limit_test_batches", "0"]))
"""


def test_auto_takes_torch_and_says_so_and_the_name_is_refused_in_a_line() -> None:
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    command = [sys.executable, "-c", _TRAINS]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("2\n")
    assert done.stdout.endswith("\n0\n")
    assert "GRU (torch)" in done.stdout
    assert "the GRU is computed by torch, as --model.kernel auto chose" in done.stdout
    [line] = done.stderr.splitlines()
    assert "--model.kernel numba is compiled by Numba, which NUMBA_DISABLE_JIT forbids" in line
