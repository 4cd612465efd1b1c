"""The benchmark's side: start peers in processes of their own, ask them, take turns."""

import json
import os
import random
import re
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from time import perf_counter
from typing import Any

HERE = Path(__file__).resolve().parent
LIMIT = 1800.0  # seconds that an answer may take
SPAN = 0.3  # seconds that a peer is timed for per round, at least once

# name -> its file and arguments
PEERS: dict[str, tuple[str, ...]] = {
    "keras-tensorflow": ("keras_fit.py", "tensorflow"),
    "keras-torch": ("keras_fit.py", "torch"),
    "keras-jax": ("keras_fit.py", "jax"),
    "lightning": ("lightning_plain.py",),
    "torch": ("torch_loop.py", "torch"),
    "jax-step": ("jax_optax.py", "step"),
    "jax": ("jax_optax.py", "epoch"),
    "jax-unrolled": ("jax_optax.py", "unrolled"),
    "onnxruntime": ("onnx_runtime.py",),
    "fused": ("torch_loop.py", "numba"),
    "grulight": ("grulight_fit.py",),
}


class Skipped(Exception):
    """A peer cannot do this here; the message says why."""


@dataclass(frozen=True)
class Sample:
    """What was measured in the rounds, or why nothing was.

    Attributes:
        values: One per round; seconds, or bytes.
        note: Why there are none.
    """

    values: tuple[float, ...] = ()
    note: str = ""

    @property
    def median(self) -> float:
        """The median round."""
        return statistics.median(self.values)

    @property
    def spread(self) -> float:
        """Distance between the quartiles, as a share of the median."""
        if len(self.values) < 2:
            return 0.0
        low, _, high = statistics.quantiles(self.values, n=4, method="inclusive")
        return (high - low) / self.median


def environment(threads: int, gpu: bool = False) -> dict[str, str]:
    """Return variables that give every library so many threads, and no accelerator but by wish."""
    cpu = {} if gpu else {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    counts = ("OMP", "MKL", "OPENBLAS", "NUMBA", "VECLIB_MAXIMUM", "NUMEXPR")
    eigen = "true" if threads > 1 else "false"
    return {
        **os.environ,
        **cpu,
        **{f"{name}_NUM_THREADS": str(threads) for name in counts},
        "TF_NUM_INTRAOP_THREADS": str(threads),
        "TF_NUM_INTEROP_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "XLA_FLAGS": f"--xla_cpu_multi_thread_eigen={eigen}",
        "NPROC": str(threads),  # the size of XLA's own pool
        "PYTHONPATH": str(HERE.parent.parent),
    }


def reason_in(errors: Path) -> str:
    """Say why a program ended, from what it wrote to its error stream."""
    lines = errors.read_text(errors="replace").strip().splitlines()
    last = lines[-1][:200] if lines else "it said nothing"
    missing = re.match("ModuleNotFoundError: No module named '(.*)'", last)
    return f"not installed: {missing[1]}" if missing else f"failed: {last}"


class Process:
    """A peer at work; use it in a ``with`` statement.

    Args:
        command: The peer's file and arguments.
        work: File of its work.
        env: Environment variables.

    Raises:
        Skipped: It cannot run here.
    """

    def __init__(self, command: Sequence[str], work: Path, env: Mapping[str, str]) -> None:
        self._directory = tempfile.TemporaryDirectory()
        self._errors = Path(self._directory.name) / "stderr"
        file, *arguments = command
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                [sys.executable, str(HERE / file), str(work), *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=dict(env),
                cwd=self._directory.name,
                start_new_session=True,  # its ranks end with it
            )
        try:
            self.versions: str = self._answer()
        except BaseException:
            self.close()
            raise

    def ask(self, **request: Any) -> Any:
        """Send a request and return the answer.

        Raises:
            Skipped: The peer ended instead.
        """
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # the answer says why
            print(json.dumps(request), file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        timer = Timer(LIMIT, self._kill)
        timer.start()
        line = self._process.stdout.readline()
        timer.cancel()
        if not line:
            raise Skipped(reason_in(self._errors))
        reply = json.loads(line)
        if "skip" in reply:
            raise Skipped(reply["skip"])
        return reply["answer"]

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """End the peer and all its ranks."""
        self._kill()
        self._process.communicate()
        self._directory.cleanup()

    def __enter__(self) -> "Process":
        """Return the running peer."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.close()


def epochs(process: Process) -> Callable[[], float]:
    """Warm up; return what measures the median epoch of one round.

    Raises:
        Skipped: The peer does not train, or trains something else.
    """
    first = process.ask(do="epochs", count=2)  # the first one compiles
    if isinstance(first, str):
        raise Skipped(first)
    # a framework's epoch ends, and is compared, where the next one starts
    wrong = process.ask(do="verify")
    if wrong:
        raise Skipped(f"refused: {wrong}")
    count = max(1, min(20, int(SPAN / first[-1])))
    return lambda: statistics.median(process.ask(do="epochs", count=count))


def calls(process: Process, size: int) -> Callable[[], float]:
    """Warm up; return what measures the median prediction of ``size`` sequences in one round.

    Raises:
        Skipped: The peer does not predict.
    """
    first = process.ask(do="calls", size=size, seconds=0)
    if isinstance(first, str):
        raise Skipped(first)
    return lambda: process.ask(do="calls", size=size, seconds=SPAN)


def in_turns(
    measures: Mapping[str, Callable[[], float]], rounds: int, seed: int = 0
) -> dict[str, Sample]:
    """Measure each once per round, in an order that is drawn anew every round."""
    found: dict[str, list[float]] = {name: [] for name in measures}
    failed: dict[str, str] = {}
    order, draw = list(measures), random.Random(seed)
    for _ in range(rounds):
        draw.shuffle(order)
        for name in order:
            if name in failed:
                continue
            try:
                found[name].append(measures[name]())
            except Skipped as reason:
                failed[name] = str(reason)
    return {
        name: Sample(note=failed[name]) if name in failed else Sample(tuple(values))
        for name, values in found.items()
    }


def run_once(command: Sequence[str], env: Mapping[str, str]) -> tuple[float, float]:
    """Run a command in a directory of its own; return its seconds and its peak memory in bytes.

    Raises:
        Skipped: It failed.
    """
    with tempfile.TemporaryDirectory() as directory:
        errors = Path(directory) / "stderr"
        start = perf_counter()
        with errors.open("w") as file:
            process = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=file, env=dict(env), cwd=directory
            )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise Skipped(reason_in(errors))
    return seconds, _bytes(usage)


def _bytes(usage: resource.struct_rusage) -> float:
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
