"""A benchmark's state: which peers take part, and what they were measured at."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from peers import peer_process
from peers.oracle import CUDNN_FLOORS, Truth, truth_of
from peers.peer_process import PEERS, Process, Sample, Skipped
from peers.work import Work, save
from rich.console import Console

from parity.tolerances import FLOAT32_FLOORS

CUDNN = ("cudnn float32", "compile float32", "graph float32", "cuDNN graph")
# warms a peer up and returns what measures it once
Warm = Callable[[Process], Callable[[], float]]
Command = tuple[Sequence[str], Mapping[str, str]]


class Benchmark:
    """Runs suites and keeps what they measured.

    Args:
        peers: Those that take part.
        rounds: How often each is measured.
        threads: Threads of each.
        console: Where progress is shown.
        largest: Sequences beyond which nothing is measured.
    """

    def __init__(
        self,
        peers: Sequence[str],
        rounds: int,
        threads: int,
        console: Console,
        largest: int = 1_000_000,
    ) -> None:
        self.peers = {name: PEERS[name] for name in peers}
        self.rounds, self.threads, self.largest = rounds, threads, largest
        self.console = console
        self.results: dict[tuple[str, str, str], Sample] = {}
        self.versions: dict[str, str] = {}
        self.off: dict[str, float] = {}  # noise floors

    def measure(
        self,
        work: Work,
        peers: Mapping[str, Sequence[str]],
        cases: Mapping[tuple[str, str], Warm],
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Measure every case (suite, name) of one work with every peer.

        Args:
            work: What all of them are given.
            peers: Name to file and arguments.
            cases: What warms a peer up and returns its measurement.
            env: Environment of the peers, if not the usual one.
        """
        env = peer_process.environment(self.threads) if env is None else env
        with ExitStack() as stack:
            path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "work.npz"
            save(work, path)
            truth = truth_of(work)
            running: dict[str, Process | str] = {}  # or why not
            for name, command in peers.items():
                with self.console.status(f"{name}: starts"):
                    try:
                        process = stack.enter_context(Process(command, path, env))
                        self._check(name, process, truth, path.with_name("answer.npz"))
                        running[name] = process
                    except Skipped as reason:
                        running[name] = str(reason)
            for (suite, case), warm in cases.items():
                with self.console.status(f"{suite} {case}"):
                    timed = self._timed(running, warm)
                for name in peers:
                    self.results[suite, case, name] = timed[name]

    def _check(self, name: str, process: Process, truth: Truth, path: Path) -> None:
        self.versions[name] = process.versions
        process.ask(do="check", path=str(path))
        with np.load(path) as file:
            answer = dict(file)
        epsilon = 2.0**-7 if name.endswith("bfloat16") else 2.0**-23
        at_most = CUDNN_FLOORS if name in CUDNN else FLOAT32_FLOORS
        self.off[name] = max(truth.checked(answer, epsilon, at_most), self.off.get(name, 0.0))

    def _timed(self, running: Mapping[str, Process | str], warm: Warm) -> dict[str, Sample]:
        measures, skipped = {}, {}
        for name, process in running.items():
            try:
                if isinstance(process, str):
                    raise Skipped(process)
                measures[name] = warm(process)
            except Skipped as reason:
                skipped[name] = Sample(note=str(reason))
        return skipped | peer_process.in_turns(measures, self.rounds)

    def run(self, suites: Sequence[str], case: str, commands: Mapping[str, Command]) -> None:
        """Run whole programs in turns; keep their seconds and their peak memory.

        Args:
            suites: Which of "cold" and "memory" are wanted.
            case: What they do.
            commands: Name to command and environment.
        """
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}

        def once(name: str) -> Callable[[], float]:
            def measure() -> float:
                found[name].append(peer_process.run_once(*commands[name]))
                return found[name][-1][0]

            return measure

        measures = {name: once(name) for name in commands}
        with self.console.status(f"{case}: each once to warm up, then {self.rounds} rounds"):
            peer_process.in_turns(measures, 1)
            for each in found.values():
                each.clear()
            timed = peer_process.in_turns(measures, self.rounds)
        for name, sample in timed.items():
            for suite, column in (("cold", 0), ("memory", 1)):
                if suite in suites:
                    values = tuple(pair[column] for pair in found[name] if sample.values)
                    self.results[suite, case, name] = Sample(values, sample.note)
