"""Our answers: GRUNet, grulight's optimisers and the training that ``grulight fit`` runs."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import cast

import torch
import torch._dynamo
import torch._functorch.config
from torch import Tensor, nn

from grulight.errors import InputError
from grulight.keras_files.layers.layout import network_to_keras, network_to_torch
from grulight.kernels.fused import Kernel
from grulight.model import GRUNet
from parity.question import Array, Arrays, Network, Question, gradients_of
from parity.sides.answers import forward_alone, stack_snapshots
from parity.sides.quiet import without_warnings
from parity.sides.torch_network import (
    clipped_cross_entropy,
    copy_of,
    head_of,
    hidden_states,
    load_weights,
    probabilities,
)
from parity.sides.torch_optimizers import OPTIMIZERS
from parity.sides.torch_training import train, train_together

KERNELS = ("auto", "torch", "numba", "compile")


class TorchSide:
    """Answer questions with PyTorch.

    Args:
        kernel: Which implementation of the GRU computes.
        device: Where it computes.
    """

    def __init__(self, kernel: str = "torch", device: str = "cpu") -> None:
        if kernel not in KERNELS:
            raise InputError(f"--kernel {kernel}: choose one of {', '.join(KERNELS)}.")
        if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
            raise InputError(f"--device {device}: choose cpu or cuda.")
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise InputError(f"--device {device}: no CUDA device is available; choose cpu.")
        self.kernel = kernel
        self.device = torch.device(device)

    @property
    def name(self) -> str:
        """What computes, for reports."""
        return self._named(self.kernel)

    def name_for(self, network: Network) -> str:
        """What computes with a network of these sizes: what ``auto`` takes, too."""
        if self.kernel != "auto":
            return self.name
        net = GRUNet(**network.sizes).to(self.device)
        double, single = (net.to(dtype).gru.kernel for dtype in (torch.float64, torch.float32))
        taken = single if single == double else f"{double} in float64, {single} in float32"
        return self._named(f"auto: {taken}")

    def _named(self, kernel: str) -> str:
        return f"torch {torch.__version__} ({kernel}, {self.device})"

    def __call__(self, question: Question) -> Arrays:
        """Compute what a question asks."""
        # compiling imports parts of torch that warn of their own deprecation
        with _exact_float32(), without_warnings() if self.kernel == "compile" else nullcontext():
            answer: Arrays = getattr(self, f"_{question.task}")(question)
        return answer

    def together(self, question: Question) -> tuple[Arrays, list[int]]:
        """Answer a "training" question with many steps at once; see :func:`train_together`."""
        with _exact_float32():
            return train_together(question, self.device, self._arithmetic)

    def _weights(self, question: Question) -> Arrays:
        """Port Keras variables into a GRUNet, and the GRUNet's parameters back."""
        net = GRUNet(**question.network.sizes).to(getattr(torch, question.dtype))
        load_weights(net, network_to_torch(network_to_keras(question.weights)))
        weights = {name: p.detach().numpy() for name, p in net.named_parameters()}
        return _named("weights", weights) | _named("keras", network_to_keras(weights))

    def _network(self, question: Question) -> Arrays:
        """Run GRUNet forward, and backward from random cotangents and from the loss."""
        net = self._build(question)
        leaves: dict[str, Tensor] = {
            n: self._tensor(question.inputs[n]) for n in ("values", "h0") if n in question.inputs
        }
        for leaf in leaves.values():
            leaf.requires_grad_()
        labels = self._tensor(question.inputs["labels"])
        lengths = question.inputs.get("lengths")
        logits, hidden, last = hidden_states(
            net,
            leaves["values"],
            None if lengths is None else torch.tensor(lengths),
            leaves.get("h0"),
        )
        valid = None
        if question.network.per_step and lengths is not None:
            valid = torch.arange(logits.shape[1]) < torch.tensor(lengths)[:, None]
            valid = valid.to(self.device)
        loss = head_of(question.network).score(logits, labels, valid).loss
        outputs = {"logits": logits} | {f"hidden.{name}": array for name, array in hidden.items()}
        pulls = [
            (outputs[name.removeprefix("pull.")] * self._tensor(array)).sum()
            for name, array in question.inputs.items()
            if name.startswith("pull.")
        ]
        leaves.update(net.named_parameters())
        answer = outputs | {f"last.{name}": array for name, array in last.items()}
        answer |= {"loss": loss}
        if question.network.answer != "values":
            answer["probabilities"] = probabilities(question.network, logits)
        answer |= _gradients("grad", torch.stack(pulls).sum(), leaves)
        answer |= _gradients("lossgrad", loss, leaves)
        return {name: tensor.detach().cpu().numpy() for name, tensor in answer.items()}

    def _forward(self, question: Question) -> Arrays:
        """Run the network forward."""
        return forward_alone(self._network(question))

    def _losses(self, question: Question) -> Arrays:
        """Return the loss of given logits, directly and from clipped probabilities."""
        logits = self._tensor(question.inputs["logits"]).requires_grad_()
        labels = self._tensor(question.inputs["labels"])
        network = question.network
        losses = {"logits": head_of(network).loss(logits, labels)}
        if network.answer != "values":
            likely = probabilities(network, logits)
            losses["probabilities"] = clipped_cross_entropy(likely, labels)
        answer = {f"loss.{name}": loss for name, loss in losses.items()}
        for name, loss in losses.items():
            answer[f"slope.{name}"] = torch.autograd.grad(loss, logits, retain_graph=True)[0]
        return {name: tensor.detach().cpu().numpy() for name, tensor in answer.items()}

    def _steps(self, question: Question) -> Arrays:
        """Return the weights along the steps of an optimiser."""
        settings = dict(question.settings)
        make, every = OPTIMIZERS[settings.pop("optimizer")], settings.pop("every")
        weights = {n: nn.Parameter(self._tensor(array)) for n, array in question.weights.items()}
        optimizer = make(list(weights.values()), **settings)
        snapshots = []
        for step, gradients in enumerate(gradients_of(question), start=1):
            for name, parameter in weights.items():
                parameter.grad = self._tensor(gradients[name])
            optimizer.step()
            if step % every == 0:
                snapshots.append(copy_of(weights))
        return stack_snapshots("step", snapshots)

    def _training(self, question: Question) -> Arrays:
        """Train as ``grulight fit`` does."""
        return train(question, self.device, self._arithmetic)

    @property
    def _arithmetic(self) -> Kernel:
        return "torch" if self.kernel == "compile" else cast(Kernel, self.kernel)

    def _build(self, question: Question) -> GRUNet:
        net = GRUNet(**question.network.sizes, kernel=self._arithmetic)
        net.to(self.device, getattr(torch, question.dtype))
        load_weights(net, question.weights)
        if self.kernel == "compile":
            # else torch.compile leaves the GRU to eager code and refuses a second backward
            torch._dynamo.config.allow_rnn = True
            torch._functorch.config.donated_buffer = False
            net.compile()
        return net

    def _tensor(self, array: Array) -> Tensor:
        return torch.tensor(array, device=self.device)


def _gradients(name: str, objective: Tensor, leaves: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the derivatives by all leaves; zero where the objective does not depend on one."""
    found = torch.autograd.grad(
        objective, list(leaves.values()), retain_graph=True, materialize_grads=True
    )
    return {f"{name}.{leaf}": gradient for leaf, gradient in zip(leaves, found, strict=True)}


def _named(prefix: str, arrays: Arrays) -> Arrays:
    return {f"{prefix}.{name}": array for name, array in arrays.items()}


@contextmanager
def _exact_float32() -> Iterator[None]:
    """Keep float32 products float32: cuDNN would otherwise round their factors to TF32."""
    allowed = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = allowed
