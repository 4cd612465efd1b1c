"""Run the proof or some tests on a copy of the source, in a process of its own.

The libraries are imported once, before the processes are forked: they take longer than a check.
"""

import os
import sys
import time
import warnings
from contextlib import suppress
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

LONGEST = 420  # seconds; a bug may be a loop without end
LIBRARIES = (
    *("triton", "numba", "torch", "lightning.pytorch", "torchmetrics.classification"),
    *("jsonargparse", "rich.table", "matplotlib.pyplot", "safetensors.numpy", "jinja2"),
    *("tensorflow", "keras", "tf_keras", "h5py", "pytest"),
)
SETTINGS = {
    "CUDA_VISIBLE_DEVICES": "-1",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "KERAS_BACKEND": "tensorflow",
    "OMP_NUM_THREADS": "1",
    "TRITON_INTERPRET": "1",
}


class Run(NamedTuple):
    """How a process ended: its exit code, what it said last, and how long it took."""

    code: int
    last: str
    seconds: float


def preload() -> None:
    """Import all that is not ours."""
    os.environ.update(SETTINGS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in LIBRARIES:
            with suppress(ImportError):
                import_module(name)


def run_in_child(
    task: str, tree: Path, kernels: Path, *arguments: str | Path, longest: float = LONGEST
) -> Run:
    """Run a task of this module's on a copy of the source.

    Args:
        task: `check`, `tests`, or a task of `models`.
        tree: The copy.
        kernels: Where Numba keeps what it compiles.
        arguments: The task's own.
        longest: Seconds, after which it is killed.
    """
    began, log = time.monotonic(), tree.parent / "log.txt"
    words = [str(each) for each in arguments]
    process = get_context("fork").Process(target=_child, args=(task, tree, kernels, log, words))
    process.start()
    process.join(longest)
    if process.is_alive():
        process.kill()
        process.join()
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    code = process.exitcode
    return Run(1 if code is None else code, "\n".join(lines[-6:]), time.monotonic() - began)


def _child(task: str, tree: Path, kernels: Path, log: Path, arguments: list[str]) -> None:
    import numba

    os.environ["NUMBA_CACHE_DIR"] = numba.config.CACHE_DIR = str(kernels)
    os.environ["PYTHONPATH"] = str(tree)  # for the programs that tests start
    with log.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", 1), os.fdopen(2, "w", 1)
    os.chdir(tree)
    sys.path.insert(0, str(tree))
    code = TASKS[task](arguments)
    sys.stdout.flush()
    os._exit(code)


def check(arguments: list[str]) -> int:
    """Run `parity check`, or `parity replay` of a record; stop at the first difference."""
    from parity.__main__ import main
    from parity.result import Result

    def noted(result: Result, name: str, value: object) -> None:
        object.__setattr__(result, name, value)
        if name == "findings" and any(each.differs for each in result.findings):
            print(f"different: {result.reason}")
            sys.stdout.flush()
            os._exit(1)

    Result.__setattr__ = noted  # type: ignore[method-assign]
    [path] = arguments
    return main(["replay" if path.endswith(".safetensors") else "check", path])


def tests(arguments: list[str]) -> int:
    """Run tests, the slow ones too, until one fails."""
    import pytest

    warnings.resetwarnings()
    options = ["-x", "-q", "-n", "0", "-m", "not slurm", "-p", "no:cacheprovider", "--tb=line"]
    return int(pytest.main([*options, *arguments]))


def build(arguments: list[str]) -> int:
    """Write the file of a model, or a record."""
    from mutants.models import write

    write(*arguments)
    return 0


TASKS = {"check": check, "tests": tests, "build": build}
