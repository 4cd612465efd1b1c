"""`grulight fit` on a GPU, beside plain Lightning there and beside steps with nothing around."""

import subprocess
from collections.abc import Callable, Mapping
from statistics import mean

from peers import peer_process
from peers.benchmark_state import Benchmark
from peers.peer_process import Process, Sample, Skipped
from peers.work import draw

IDLE = 0.1  # of the time, at most
GPU = ("--trainer.accelerator", "gpu")
LIGHTNING = ("lightning_plain.py", "gpu")
# of a GPU's driver: the share of the last moments in which anything ran, twenty times a second
SAMPLED = (
    "nvidia-smi",
    "--query-gpu=utilization.gpu",
    "--format=csv,noheader,nounits",
    "-lms",
    "50",
)


def measure(bench: Benchmark, env: Mapping[str, str]) -> None:
    """Time epochs: of the default run, and of as many sequences as were asked for at most."""
    peers = {
        "grulight": ("grulight_fit.py", *GPU),
        "lightning": LIGHTNING,
        "cuDNN graph": ("torch_cuda.py", "graph", "float32", "epoch"),
        "Triton graph": ("torch_cuda.py", "triton-graph", "float32", "epoch"),
    }
    bench.measure(draw(), peers, {("gpu fit", "default"): peer_process.epochs}, env)
    count = bench.largest
    large = {"steps": 100, "hidden": 64, "batch": 4096, "features": 8}
    # the same kernels, compared with float64 on the CPU, which takes too long for all sequences
    few = draw(2 * 4096, **large)
    bench.measure(
        few, {"grulight": peers["grulight"]}, {("gpu fit", "8192"): peer_process.epochs}, env
    )
    if not bench.results["gpu fit", "8192", "grulight"].values:
        return
    alone = {"grulight": ("grulight_fit.py", "option", *GPU), "lightning": LIGHTNING}
    many, only = draw(count, **large), {"grulight": alone["grulight"]}
    bench.measure(many, alone, {("gpu fit", str(count)): peer_process.epochs}, env)
    bench.measure(many, only, {("gpu idle", str(count)): idle}, env)
    bench.results["gpu idle", str(count), "at most"] = Sample((IDLE,))


def idle(process: Process) -> Callable[[], float]:
    """Warm up; return what measures in which share of an epoch's time the GPU does nothing.

    Raises:
        Skipped: The peer does not train, or there is nobody to ask.
    """
    peer_process.epochs(process)

    def once() -> float:
        try:
            sampler = subprocess.Popen(SAMPLED, stdout=subprocess.PIPE, text=True)
        except OSError as error:
            raise Skipped(f"not installed: {SAMPLED[0]}") from error
        try:
            seconds = 0.0
            while seconds < 2:  # so that there are enough samples
                seconds += sum(process.ask(do="epochs", count=1))
        finally:
            sampler.terminate()
        lines = sampler.communicate()[0].split()
        busy = [float(line) / 100 for line in lines if line.isdecimal()]
        if len(busy) < 10:
            raise Skipped(f"refused: {len(busy)} samples of {SAMPLED[0]}")
        # the first and the last are not of these epochs alone
        return 1 - mean(busy[5:-1])

    return once
