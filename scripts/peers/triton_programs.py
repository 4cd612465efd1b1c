"""Whole trainings on a CUDA device, one program each, side by side; an epoch is one launch."""

from collections.abc import Sequence

import numpy as np
import torch
from peer_server import Peer, Unavailable, boundary, serve
from work import Array, Work

from grulight.kernels.rules import KERAS_ADAM, Adam, Updates, keras_adam, row
from grulight.kernels.steps import Sizes, Task
from grulight.kernels.triton_training import obstacle, on_device, train_steps
from grulight.kernels.triton_update import FlatState
from grulight.model import GRUNet

# moves nothing, and leaves the gradients in the first moment
PROBE = Updates(KERAS_ADAM, np.array([[row(new=1.0, new_square=1.0, epsilon=1.0)]]))


class Programs:
    """Networks that start alike and are shown the sequences in orders of their own.

    Args:
        work: Whose sequences and first weights they have.
        models: How many there are.
        device: Where they are trained.
    """

    def __init__(self, work: Work, models: int, device: str) -> None:
        self.work, self.models, self.device = work, models, device
        self.sizes = Sizes(work.x.shape[2], work.hidden, biases=True)
        net = GRUNet(work.x.shape[2], work.classes, work.hidden)
        self.names = [name for name, _ in net.named_parameters()]
        self.data = on_device((work.x, None, work.y), work.classes, Task(), device)
        self.state = self._first(models)
        self.batches = np.diff([*range(0, len(work.x), work.batch), len(work.x)]).tolist()
        self.step, self.losses = 0, torch.empty(0)

    def _first(self, models: int) -> FlatState:
        flat = np.concatenate([self.work.weights[name].ravel() for name in self.names])
        first = torch.from_numpy(flat).to(self.device).repeat(models, 1)
        return FlatState(first, torch.zeros_like(first), torch.zeros_like(first))

    def epoch(self) -> None:
        """Train all networks for an epoch; nothing waits for the device."""
        updates = keras_adam(Adam(), self.step, len(self.batches), double=False)
        order = torch.rand(self.models, len(self.work.x), device=self.device).argsort(1)
        given = [updates] * self.models, self.sizes, self.data, order, self.batches
        self.losses, _, _ = train_steps(self.state, *given)
        self.step += len(self.batches)

    def gradients(self, values: Array, labels: Array) -> dict[str, Array]:
        """Return the gradients of the first network's mean loss by its first weights."""
        state = self._first(1)
        data = on_device((values, None, labels), self.work.classes, Task(), self.device)
        order = np.arange(len(values))[None]
        train_steps(state, [PROBE], self.sizes, data, order, [len(values)])
        flat = state.exp_avg[0].cpu().numpy()
        sizes = [self.work.weights[name].size for name in self.names]
        parts = np.split(flat, np.cumsum(sizes)[:-1])
        shapes = [self.work.weights[name].shape for name in self.names]
        return {
            name: part.reshape(shape)
            for name, part, shape in zip(self.names, parts, shapes, strict=True)
        }

    def wrong(self) -> str | None:
        """Say what is wrong with the epoch that was just trained, or None."""
        losses = self.losses.cpu()
        if losses.shape != (self.models, len(self.batches)) or not losses.isfinite().all():
            return "a loss is missing or not finite"
        return None


def build(work: Work, arguments: Sequence[str]) -> Peer:
    """Train so many networks side by side."""
    if not torch.cuda.is_available():
        raise Unavailable("torch finds no CUDA device")
    sizes = Sizes(work.x.shape[2], work.hidden, biases=True)
    why = obstacle(sizes, work.classes, torch.device("cuda"))
    if why:
        raise Unavailable(f"the training in one program {why}")
    programs = Programs(work, int(arguments[0]), "cuda")

    def train() -> None:
        while True:
            boundary()
            programs.epoch()
            torch.cuda.synchronize()

    device = torch.cuda.get_device_name()
    versions = f"torch {torch.__version__}, {device}"
    said = "only trainings are measured"
    return Peer(versions, said, programs.gradients, train, programs.wrong)


if __name__ == "__main__":
    serve(build)
