"""What is measured: one function for each suite."""

import subprocess
import sys
from functools import partial

from peers import gpu_fits, peer_process
from peers.benchmark_state import Benchmark
from peers.claims import Verdict, linear
from peers.work import Work, draw

NO_TRAINING, NO_PREDICTION = ("onnxruntime",), ("lightning", "jax-step")
GROWING = ("torch", "fused", "jax", "onnxruntime", "grulight")
SEQUENCES = (1_000, 10_000, 100_000, 1_000_000)
STEPS = (10, 100, 1_000)
HIDDEN = (8, 16, 32, 64, 128, 256)
LATENCIES = (1, 32, 800, 100_000)
# hidden size, batch: the default, and where data parallelism might pay
SCALED = ((16, 32), (16, 1024), (64, 1024), (128, 1024), (256, 1024))
CUDA = [
    (how, dtype)
    for how in ("cudnn", "compile", "graph", "triton", "triton-graph")
    for dtype in ("float32", "bfloat16")
]
CUDA_BATCHES = (32, 1024, 65_536)
# an epoch of the default run: a captured step again and again, and trainings in one program each
CUDA_EPOCHS = {
    **{f"{how} float32": ("torch_cuda.py", how, "float32") for how in ("graph", "triton-graph")},
    **{name: ("triton_programs.py", name.split()[0]) for name in ("1 program", "100 programs")},
}


def epoch(bench: Benchmark) -> None:
    """An epoch of the default training."""
    peers = {n: command for n, command in bench.peers.items() if n not in NO_TRAINING}
    bench.measure(draw(), peers, {("epoch", "default"): peer_process.epochs})


def latency(bench: Benchmark) -> None:
    """Predictions of one to many sequences, NumPy in and NumPy out."""
    peers = {n: command for n, command in bench.peers.items() if n not in NO_PREDICTION}
    cases = {
        ("latency", str(size)): partial(peer_process.calls, size=size)
        for size in LATENCIES
        if size <= bench.largest
    }
    bench.measure(draw(), peers, cases)


def growth(bench: Benchmark) -> None:
    """Growth with sequences (batches of 1000), with steps, units and threads (as by default)."""
    counts = [size for size in SEQUENCES if size <= bench.largest]
    predictions = {
        ("prediction by sequences", str(n)): partial(peer_process.calls, size=n) for n in counts
    }
    peers = {n: command for n, command in bench.peers.items() if n in GROWING}
    bench.measure(draw(), peers, predictions)
    for n in counts:
        work = draw(n, batch=1_000)
        bench.measure(work, peers, {("epoch by sequences", str(n)): peer_process.epochs})
    for axis, sizes in (("steps", STEPS), ("hidden", HIDDEN)):
        for size in sizes:
            cases = {
                (f"prediction by {axis}", str(size)): partial(peer_process.calls, size=800),
                (f"epoch by {axis}", str(size)): peer_process.epochs,
            }
            bench.measure(draw(**{axis: size}), peers, cases)
    for threads in (1, 2):
        cases = {
            ("prediction by threads", str(threads)): partial(peer_process.calls, size=100_000),
            ("epoch by threads", str(threads)): peer_process.epochs,
        }
        work = draw(10_000, hidden=64, batch=1_000)
        bench.measure(work, peers, cases, peer_process.environment(threads))


def linearity(bench: Benchmark) -> list[Verdict]:
    """Judge how grulight's cost grows, where that was measured."""
    found = []
    for suite, least in (
        ("prediction by sequences", 10_000),
        ("epoch by sequences", 10_000),
        ("prediction by steps", 10),
        ("epoch by steps", 10),
    ):
        costs = {
            int(case): sample.median
            for (name, case, peer), sample in bench.results.items()
            if name == suite and peer == "grulight" and sample.values and int(case) >= least
        }
        if len(costs) > 1:
            words = f"cost per unit, {suite} from {min(costs)} to {max(costs)}"
            found.append(linear(words, costs))
    return found


def scaling(bench: Benchmark) -> dict[str, int]:
    """Time `grulight fit` on one and two ranks; return the parameters of each case."""
    parameters = {}
    for hidden, batch in SCALED:
        work = draw(max(800, 8 * batch), hidden=hidden, batch=batch)
        case = f"{hidden}, {batch}"
        parameters[case] = sum(array.size for array in work.weights.values())
        ranks = {
            name: ("grulight_fit.py", "--trainer.devices", str(count))
            for name, count in (("1 rank", 1), ("2 ranks", 2))
        }
        bench.measure(
            work, ranks, {("scaling", case): peer_process.epochs}, peer_process.environment(1)
        )
    return parameters


def cuda_device() -> str | None:
    """Name the CUDA device that torch finds, asked in a process of its own."""
    code = "import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else '')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return done.stdout.strip() or None


def gpu(bench: Benchmark) -> list[str]:
    """Time steps and predictions on a CUDA device; return what is to be said of them."""
    device = cuda_device()
    if device is None:
        return ["GPU rows are left out: torch finds no CUDA device."]
    said = [f"GPU: {device}; float32 without TF32."]
    peers = {f"{how} {dtype}": ("torch_cuda.py", how, dtype) for how, dtype in CUDA}
    env = peer_process.environment(bench.threads, gpu=True)
    for batch in CUDA_BATCHES:
        work = draw(batch, batch=batch)
        cases = {
            ("gpu", f"train {batch}"): peer_process.epochs,
            ("gpu", f"predict {batch}"): partial(peer_process.calls, size=batch),
        }
        bench.measure(work, peers, cases, env)
        said.append(_floor(bench, work))
    gpu_fits.measure(bench, env)
    return said


def gpu_fit(bench: Benchmark) -> list[str]:
    """Time `grulight fit` on a CUDA device alone; return what is to be said of it."""
    device = cuda_device()
    if device is None:
        return ["GPU rows are left out: torch finds no CUDA device."]
    gpu_fits.measure(bench, peer_process.environment(bench.threads, gpu=True))
    return [f"GPU: {device}; float32 without TF32."]


def gpu_epochs(bench: Benchmark) -> list[str]:
    """Time epochs of the default run on a CUDA device; return what is to be said of them."""
    device = cuda_device()
    if device is None:
        return ["GPU rows are left out: torch finds no CUDA device."]
    env = peer_process.environment(bench.threads, gpu=True)
    bench.measure(draw(), CUDA_EPOCHS, {("gpu-epoch", "25 steps"): peer_process.epochs}, env)
    return [f"GPU: {device}; float32 without TF32; a captured step is that of one batch."]


def _floor(bench: Benchmark, work: Work) -> str:
    """Say what a training step must read and compute at least, and what that is per second."""
    batch, steps, features = work.x[: work.batch].shape
    read = 2 * 4 * batch * steps * features  # sequences, once forward and once backward
    operations = 3 * 2 * batch * steps * 3 * work.hidden * (features + work.hidden)
    line = f"A step of {batch} reads {read / 1e6:.3g} MB and takes {operations / 1e9:.3g} GFLOP"
    sample = bench.results["gpu", f"train {batch}", "triton float32"]
    if not sample.values:
        return f"{line} at least."
    seconds = sample.median
    return (
        f"{line} at least; Triton's takes {seconds * 1e6:.4g} µs: {read / seconds / 1e9:.4g} GB/s "
        f"and {operations / seconds / 1e12:.3g} TFLOP/s."
    )
