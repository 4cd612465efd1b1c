"""Whole programs, each in a process of its own: how long they take, and their peak memory."""

import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from peers import peer_process
from peers.benchmark_state import Benchmark, Command
from peers.peer_process import HERE, Skipped
from peers.work import draw, save

SCRIPTS = ("keras-tensorflow", "keras-torch", "keras-jax", "lightning", "grulight")
# what a process that only predicts may take: seconds, bytes
ALONE = {"cold": 2.5, "memory": 300e6}


def programs(bench: Benchmark, wanted: Sequence[str]) -> None:
    """Whole programs: the default run against scripts of the same work; those that predict."""
    env = peer_process.environment(bench.threads)
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory) / "work.npz"
        save(draw(), work)
        commands = {n: (_script(n, work), env) for n in SCRIPTS if n in bench.peers}
        bench.run(wanted, "default", commands)
        if "grulight" not in bench.peers:
            return
        if "cold" in wanted:
            _uncompiled(bench, commands["grulight"], Path(directory))
        try:
            checkpoint = _trained(env, Path(directory))
        except Skipped as reason:
            for suite in wanted:
                bench.results[suite, "predict", "grulight"] = peer_process.Sample(note=str(reason))
            return
        _alone(bench, wanted, env, checkpoint)
        if "memory" in wanted:
            _predictions(bench, env, checkpoint)


def _script(peer: str, work: Path) -> list[str]:
    """Return the command that trains five epochs and tests."""
    if peer == "grulight":
        return [sys.executable, "-m", "grulight", "fit", "--trainer.accelerator", "cpu"]
    file, *arguments = peer_process.PEERS[peer]
    return [sys.executable, str(HERE / file), str(work), "script", *arguments]


def _uncompiled(bench: Benchmark, command: Command, directory: Path) -> None:
    """Time the first run after an installation, which compiles the kernels."""
    env = dict(command[1]) | {"NUMBA_CACHE_DIR": str(directory / "cache")}
    try:
        sample = peer_process.Sample((peer_process.run_once(command[0], env)[0],))
    except Skipped as reason:
        sample = peer_process.Sample(note=str(reason))
    bench.results["cold", "default", "grulight, its first run"] = sample


def _trained(env: Mapping[str, str], directory: Path) -> Path:
    """Train by default; return the checkpoint.

    Raises:
        Skipped: The training failed.
    """
    fit = [sys.executable, "-m", "grulight", "fit", "--trainer.accelerator", "cpu"]
    peer_process.run_once([*fit, "--trainer.default_root_dir", str(directory)], env)
    return directory / "lightning_logs/version_0/checkpoints/last.ckpt"


def _alone(
    bench: Benchmark, wanted: Sequence[str], env: Mapping[str, str], checkpoint: Path
) -> None:
    """Time a process that opens a checkpoint and predicts for 32 sequences, beside its bounds."""
    values = checkpoint.with_name("values.npy")
    np.save(values, draw().sequences(32))
    command = [sys.executable, str(HERE / "predict_alone.py"), str(checkpoint), str(values)]
    bench.run(wanted, "predict_proba", {"grulight": (command, env)})
    for suite in wanted:
        bench.results[suite, "predict_proba", "at most"] = peer_process.Sample((ALONE[suite],))


def _predictions(bench: Benchmark, env: Mapping[str, str], checkpoint: Path) -> None:
    for count in (10_000, 100_000):
        source = checkpoint.with_name(f"{count}.npy")
        np.save(source, draw().sequences(count))
        options = ["--ckpt_path", str(checkpoint), "--data.source", str(source)]
        command = [sys.executable, "-m", "grulight", "predict", "--trainer.accelerator", "cpu"]
        command += options
        bench.run(["memory"], f"predict {count}", {"grulight": (command, env)})
