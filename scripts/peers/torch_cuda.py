"""GRUs on a CUDA device: cuDNN, torch.compile, a CUDA graph, Triton.

An epoch has as many steps as the sequences make batches, all of them of the first batch.
"""

from collections.abc import Callable, Sequence

import torch
from peer_server import Peer, Unavailable, boundary, serve
from torch import Tensor, nn
from work import Array, Work

from grulight.errors import InputError
from grulight.model import GRUNet


def build(work: Work, arguments: Sequence[str]) -> Peer:
    """Take steps as the arguments say; then a torch dtype; then ``epoch``, or one step is one.

    ``cudnn``, ``compile`` (torch.compile), ``graph`` (a CUDA graph), ``triton``, ``triton-graph``.
    All steps are of the first batch, which stays where it is.
    """
    how, dtype = arguments[0], getattr(torch, arguments[1])
    if not torch.cuda.is_available():
        raise Unavailable("torch finds no CUDA device")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    net = _network(work, "triton" if how.startswith("triton") else "torch").to("cuda", dtype)
    logits: Callable[[Tensor], Tensor] = torch.compile(net) if how == "compile" else net

    def on_device(values: Array) -> Tensor:
        return torch.from_numpy(values).to("cuda", dtype)

    def predict(values: Array) -> Array:
        with torch.inference_mode():
            return logits(on_device(values)).float().softmax(-1).cpu().numpy()

    def gradients(values: Array, labels: Array) -> dict[str, Array]:
        found = logits(on_device(values)).float()
        loss = nn.functional.cross_entropy(found, torch.from_numpy(labels).cuda())
        names, leaves = zip(*net.named_parameters(), strict=True)
        grads = torch.autograd.grad(loss, leaves)
        return {name: grad.float().cpu().numpy() for name, grad in zip(names, grads, strict=True)}

    x, y = on_device(work.x[: work.batch]), torch.from_numpy(work.y[: work.batch]).cuda()
    optimizer = torch.optim.Adam(net.parameters(), fused=True, capturable=how.endswith("graph"))
    sums = torch.zeros(2, device="cuda")
    steps = -(-len(work.x) // work.batch) if arguments[2:] == ["epoch"] else 1

    def step() -> None:
        found = logits(x)
        loss = nn.functional.cross_entropy(found.float(), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        sums.add_(torch.stack((loss.detach(), (found.argmax(-1) == y).float().mean())))

    steps = -(-len(work.x) // work.batch)

    def train() -> None:
        once = _captured(step) if how.endswith("graph") else step
        while True:
            boundary()
            for _ in range(steps):
                once()
            torch.cuda.synchronize()

    device = torch.cuda.get_device_name()
    versions = f"torch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}, {device}"
    predicts = predict if not how.endswith("graph") else "only training steps are captured"
    return Peer(versions, predicts, gradients, train)


def _network(work: Work, kernel: str) -> GRUNet:
    try:
        net = GRUNet(work.x.shape[2], work.classes, work.hidden, kernel=kernel)
        net.load_state_dict({n: torch.from_numpy(array) for n, array in work.weights.items()})
        net.cuda()(torch.zeros(1, 1, work.x.shape[2], device="cuda"))
    except InputError as error:
        raise Unavailable(str(error)) from error
    return net


def _captured(step: Callable[[], None]) -> Callable[[], None]:
    """Record a step after the warm-up that PyTorch asks for, on a stream of its own."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


if __name__ == "__main__":
    serve(build)
