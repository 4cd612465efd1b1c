"""Check and time whole trainings on a GPU, in one program each, for several tiles and warps.

First an epoch of the default run must end where the compiled steps on the CPU end, twice with the
same bits, alone and beside others. The tile and the warps that are fastest belong into
``triton_training.TILES``.
"""

import argparse
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from peers.work import Work, draw

from grulight.kernels import triton_training
from grulight.kernels.rules import Adam, keras_adam
from grulight.kernels.steps import Sizes, State, Task, train_steps
from grulight.kernels.triton_update import FlatState
from grulight.model import GRUNet

# by units: sequences and warps of a program
TRIED = {
    16: ((32, 4), (32, 8), (32, 16), (16, 4), (16, 8)),
    32: ((32, 8), (32, 16), (16, 8), (16, 16)),
    64: ((16, 8), (16, 16), (32, 16)),
}
WITHIN = 1e-4  # of the largest parameter, after the 25 steps of an epoch


class Training:
    """Networks that start alike, with an order of all epochs for each.

    Args:
        work: Sequences and first weights.
        models: How many networks.
        epochs: How many epochs one call takes.
    """

    def __init__(self, work: Work, models: int, epochs: int = 1) -> None:
        net = GRUNet(work.x.shape[2], work.classes, work.hidden)
        parts = [work.weights[name].ravel() for name, _ in net.named_parameters()]
        self.work, self.models, self.first = work, models, np.concatenate(parts)
        self.sizes, rng = Sizes(work.x.shape[2], work.hidden, True), np.random.default_rng(0)
        each = [[rng.permutation(len(work.x)) for _ in range(epochs)] for _ in range(models)]
        self.order = np.array(each).reshape(models, -1)
        self.batches = [work.batch] * (self.order.shape[1] // work.batch)
        self.updates = keras_adam(Adam(), 0, len(self.batches), double=False)
        given = work.x, None, work.y
        self.data = triton_training.on_device(given, work.classes, Task(), "cuda")
        self.there = torch.from_numpy(self.order).cuda()

    def take(self, models: slice = slice(None)) -> tuple[FlatState, torch.Tensor]:
        """Train all networks or some; return their state and losses."""
        order = self.there[models]
        first = torch.from_numpy(self.first).cuda().repeat(len(order), 1)
        state = FlatState(first, torch.zeros_like(first), torch.zeros_like(first))
        updates = [self.updates] * len(order)
        given = updates, self.sizes, self.data, order, self.batches
        return state, triton_training.train_steps(state, *given)[0]

    def on_the_cpu(self) -> tuple[State, np.ndarray]:
        """Train the first network by the compiled steps on the CPU."""
        state = State(self.first.copy(), *np.zeros((2, self.first.size), np.float32))
        data, batches = (self.work.x, None, self.work.y), self.order[0].reshape(-1, self.work.batch)
        return state, train_steps(state, 0, Adam(), self.sizes, data, [*batches])[0]


def wrong() -> Iterator[str]:
    """Yield what is wrong with trainings."""
    several = Training(draw(), 5)
    state, losses = several.take()
    cpu, theirs = several.on_the_cpu()
    off = float(np.abs(state.parameters[0].cpu().numpy() - cpu.parameters).max())
    off /= float(np.abs(cpu.parameters).max())
    off_loss = float(np.abs(losses[0].cpu().numpy() / theirs - 1).max())
    print(f"after an epoch: parameters {off:.1e} off, losses {off_loss:.1e}")
    if not max(off, off_loss) < WITHIN:
        yield "it does not train as the CPU does"
    for _ in range(20):
        again, _ = several.take()
        if not torch.equal(again.parameters, state.parameters):
            yield "two runs have other bits"
            break
    for model in range(several.models):
        alone, _ = several.take(slice(model, model + 1))
        if not torch.equal(alone.parameters[0], state.parameters[model]):
            yield f"network {model} has other bits alone"


class Timed:
    """The kernel, with events around each launch: what the CPU prepares is not counted.

    Args:
        kernel: Triton's.
    """

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel
        self.start, self.end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        """Return what launches it."""
        launch = self.kernel[grid]

        def timed(*arguments: Any, **constants: Any) -> None:
            self.start.record()
            launch(*arguments, **constants)
            self.end.record()

        return timed


def microseconds(training: Training, rounds: int = 5) -> float:
    """Return the median time of a step of all networks."""
    training.take()  # compiles
    kernel = triton_training.train_kernel
    timed, times = Timed(kernel), []
    triton_training.train_kernel = timed
    for _ in range(rounds):
        training.take()
        timed.end.synchronize()
        times.append(timed.start.elapsed_time(timed.end) * 1e3 / len(training.batches))
    triton_training.train_kernel = kernel
    return statistics.median(times)


def main(arguments: Sequence[str] | None = None) -> int:
    """Check, then time what was asked for; return 1 where something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, nargs="+", choices=TRIED, default=[16])
    parser.add_argument("--models", type=int, nargs="+", default=[1, 100, 264])
    options = parser.parse_args(arguments)
    found = list(wrong())
    for each in found:
        print("WRONG:", each)
    print(f"{torch.cuda.get_device_name()}: µs of a step of 32 sequences of 10 steps, by networks")
    for units in options.units:
        works = {models: Training(draw(hidden=units), models, 10) for models in options.models}
        for tile, warps in TRIED[units]:
            triton_training.TILES[units] = tile, warps
            times = (f"{models}: {microseconds(each):.1f}" for models, each in works.items())
            print(f"{units} units, tile {tile}, {warps} warps:", ", ".join(times), flush=True)
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
