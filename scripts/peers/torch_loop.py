"""A bare torch loop around nn.GRU, or around FusedGRU: tensors in memory, nothing else."""

from collections.abc import Sequence

import numpy as np
import torch
from peer_server import Peer, Unavailable, boundary, serve
from torch import nn
from work import Array, Work


def build(work: Work, arguments: Sequence[str]) -> Peer:
    """Train and predict with the kernel that the arguments name: torch or numba."""
    (kernel,) = arguments
    gru = _gru(kernel, work)
    head = nn.Linear(work.hidden, work.classes)
    net = nn.ModuleDict({"gru": gru, "head": head})
    net.load_state_dict({name: torch.from_numpy(array) for name, array in work.weights.items()})
    first = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    x, y = torch.from_numpy(work.x), torch.from_numpy(work.y)

    def logits(values: torch.Tensor) -> torch.Tensor:
        return head(gru(values)[1][-1])

    def predict(values: Array) -> Array:
        with torch.inference_mode():
            return logits(torch.from_numpy(values)).softmax(-1).numpy()

    def gradients(values: Array, labels: Array) -> dict[str, Array]:
        net.load_state_dict(first)
        loss = nn.functional.cross_entropy(
            logits(torch.from_numpy(values)), torch.from_numpy(labels)
        )
        found = torch.autograd.grad(loss, list(net.parameters()))
        names = (name for name, _ in net.named_parameters())
        return {name: grad.numpy() for name, grad in zip(names, found, strict=True)}

    def train() -> None:
        optimizer = torch.optim.Adam(net.parameters())
        while True:
            boundary()
            sums = torch.zeros(2)
            for chosen in torch.randperm(len(x)).split(work.batch):
                found = logits(x[chosen])
                loss = nn.functional.cross_entropy(found, y[chosen])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                right = (found.argmax(-1) == y[chosen]).sum()
                sums += torch.stack((loss.detach() * len(chosen), right))
            sums.tolist()

    return Peer(f"torch {torch.__version__}, numpy {np.__version__}", predict, gradients, train)


def _gru(kernel: str, work: Work) -> nn.GRU:
    sizes = work.x.shape[2], work.hidden
    if kernel == "torch":
        return nn.GRU(*sizes, batch_first=True)
    try:
        from grulight.kernels.fused import FusedGRU
    except ImportError as error:
        raise Unavailable(f"grulight has no FusedGRU ({error})") from error
    return FusedGRU(*sizes, batch_first=True, kernel=kernel)


if __name__ == "__main__":
    serve(build)
