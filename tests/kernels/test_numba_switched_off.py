"""Numba that was told to compile nothing: ``auto`` takes torch, its name is refused in a line."""

import os
import subprocess
import sys

_TRAINS = """
import sys
from grulight.cli import main
sys.exit(main(["fit", "--trainer.max_epochs", "1", *sys.argv[1:]]))
"""


def trained(*options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", _TRAINS, *options]
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_auto_takes_torch_and_says_so() -> None:
    done = trained()
    assert done.returncode == 0, done.stderr
    assert "GRU (torch)" in done.stdout


def test_the_kernel_that_is_asked_for_by_name_is_refused_in_a_line() -> None:
    done = trained("--model.kernel", "numba")
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert "--model.kernel numba is compiled by Numba, which NUMBA_DISABLE_JIT forbids" in line
