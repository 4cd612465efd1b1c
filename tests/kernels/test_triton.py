import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from grulight.kernels.reference import PARAMETERS, gru_layer, gru_layer_backward

if find_spec("triton") is None:
    pytest.skip("needs the package triton", allow_module_level=True)

CUDA = torch.cuda.is_available()

from grulight.kernels import triton_cuda  # noqa: E402

COMPILING = Path(__file__).with_name("compiling.py")
DEVICES = [
    pytest.param("cpu", marks=pytest.mark.skipif(CUDA, reason="on CUDA the kernels are compiled")),
    pytest.param(
        "cuda",
        marks=[pytest.mark.gpu, pytest.mark.skipif(not CUDA, reason="needs a CUDA device")],
    ),
]
every_device = pytest.mark.parametrize("device", DEVICES)

CASES: dict[str, dict[str, Any]] = {
    "default": {},
    "fewer units than a tile": {"hidden": 8, "inputs": 3},
    "odd units, input in three tiles": {"hidden": 33, "inputs": 37, "time": 2},
    "odd units, gradients on chip": {"hidden": 27, "inputs": 16},
    "one step": {"time": 1},
    "one sequence": {"batch": 1},
    "two programs": {"batch": 35, "time": 2},
    "ragged": {"lengths": [4, 1, 3, 4, 2]},
    "reverse": {"reverse": True},
    "reverse, ragged": {"reverse": True, "lengths": [4, 1, 3, 4, 2]},
    "reverse, ragged, gradients by products": {
        "reverse": True, "lengths": [4, 1, 3, 4, 2], "inputs": 20,
    },
    "no bias": {"bias": False},
    "no bias, gradients by products": {"bias": False, "inputs": 20},
    "saturated": {"reach": 30.0},
    "tiny": {"reach": 0.01},
}  # fmt: skip


class Layer:
    """A layer in one direction with its input and the derivatives of some objective."""

    def __init__(
        self,
        batch: int = 5,
        time: int = 4,
        inputs: int = 5,
        hidden: int = 16,
        lengths: list[int] | None = None,
        reverse: bool = False,
        bias: bool = True,
        reach: float = 1.0,
    ) -> None:
        self.gru = nn.GRU(inputs, hidden, bias=bias, batch_first=True)
        self.parameters = [p.detach() for p in self.gru.parameters()]
        self.x, self.h0 = torch.randn(batch, time, inputs) * reach, torch.randn(batch, hidden)
        self.pulls = torch.randn(batch, time, hidden), torch.randn(batch, hidden)
        self.lengths = None if lengths is None else torch.tensor(lengths)
        self.reverse = reverse
        if lengths is not None:
            valid = torch.arange(time) < self.lengths[:, None]
            self.pulls[0][~valid] = 7.0  # what arrives past the end must count for nothing
            self.x[~valid] = torch.nan


def ours(layer: Layer, device: str, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Return states, last states, and the derivatives by input, initial state, parameters."""

    def there(*tensors: Tensor) -> list[Tensor]:
        return [tensor.to(device, dtype) for tensor in tensors]

    x, h0, *parameters = there(layer.x, layer.h0, *layer.parameters)
    biases = parameters[2:] or (None, None)
    given = x, h0, layer.lengths, *parameters[:2], *biases
    out, last = triton_cuda.forward(*given, layer.reverse)
    d_x, d_h0, flat = triton_cuda.backward(
        *there(*layer.pulls), *given, out, layer.reverse, needs_x=True
    )
    parts = flat.split([parameter.numel() for parameter in parameters])
    by_parameters = [part.view_as(p) for part, p in zip(parts, parameters, strict=True)]
    return [found.cpu() for found in (out, last, d_x, d_h0, *by_parameters)]


def torchs(layer: Layer) -> list[Tensor]:
    """Return the same from nn.GRU; a reversed one is made of the sequences turned round."""
    batch, time, _ = layer.x.shape
    lengths = torch.full((batch,), time) if layer.lengths is None else layer.lengths
    turn = torch.arange(time).expand(batch, time)
    if layer.reverse:
        turn = torch.where(turn < lengths[:, None], lengths[:, None] - 1 - turn, turn)
    rows = torch.arange(batch)[:, None]
    x, h0 = layer.x.nan_to_num(0.0).requires_grad_(), layer.h0.clone().requires_grad_()
    packed = pack_padded_sequence(x[rows, turn], lengths, batch_first=True, enforce_sorted=False)
    states, last = layer.gru(packed, h0[None])
    out = pad_packed_sequence(states, batch_first=True, total_length=time)[0][rows, turn]
    objective = (out * layer.pulls[0]).sum() + (last[0] * layer.pulls[1]).sum()
    leaves = [x, h0, *layer.gru.parameters()]
    return [out.detach(), last[0].detach(), *torch.autograd.grad(objective, leaves)]


def exact(layer: Layer) -> list[np.ndarray]:
    """Return the same from the reference in float64."""

    def wide(tensor: Tensor) -> np.ndarray:
        return tensor.double().nan_to_num(0.0).numpy()

    batch, time, _ = layer.x.shape
    parameters = {n: wide(p) for n, p in zip(PARAMETERS, layer.parameters, strict=False)}
    lengths = np.full(batch, time) if layer.lengths is None else layer.lengths.numpy()
    given = wide(layer.x), wide(layer.h0), parameters, lengths, layer.reverse
    out, last, tape = gru_layer(*given)
    d_x, d_h0, found = gru_layer_backward(tape, parameters, *map(wide, layer.pulls))
    return [out, last, d_x, d_h0, *found.values()]


@every_device
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_float32_errs_at_most_twice_as_much_as_torch(case: dict[str, Any], device: str) -> None:
    totals = np.zeros((2, 6 + 2 * case.get("bias", True)))
    for seed in range(3):
        torch.manual_seed(seed)
        layer = Layer(**case)
        right = exact(layer)
        for total, found in zip(totals, (ours(layer, device), torchs(layer)), strict=True):
            total += [
                np.linalg.norm(part.numpy() - r) for part, r in zip(found, right, strict=True)
            ]
    assert (totals[0] <= 2 * totals[1]).all()


@every_device
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    "case",
    [CASES["default"], CASES["reverse, ragged, gradients by products"], {"hidden": 100, "time": 2}],
    ids=["default", "reverse, ragged, gradients by products", "as many units as fit"],
)
def test_half_precision_errs_by_its_own_rounding(
    case: dict[str, Any], dtype: torch.dtype, device: str
) -> None:
    if device == "cpu" and dtype == torch.bfloat16:
        pytest.skip("Triton's interpreter multiplies bfloat16 as integers")
    layer = Layer(**case)
    for found, right in zip(ours(layer, device, dtype), exact(layer), strict=True):
        assert found.dtype == dtype
        error = np.linalg.norm(found.double().numpy() - right)
        assert error < 2 * torch.finfo(dtype).eps * np.linalg.norm(right)


@every_device
def test_a_sequence_has_the_same_bits_in_any_batch(device: str) -> None:
    layer = Layer(batch=70, time=3, lengths=[3, 1, 2, 3, 2] * 14)
    whole = ours(layer, device)
    chosen = torch.tensor([66, 3, 40])
    layer.x, layer.h0 = layer.x[chosen], layer.h0[chosen]
    layer.pulls = layer.pulls[0][chosen], layer.pulls[1][chosen]
    assert layer.lengths is not None
    layer.lengths = layer.lengths[chosen]
    for few, many in zip(ours(layer, device)[:4], whole[:4], strict=True):
        assert torch.equal(few, many[chosen])


@every_device
@pytest.mark.parametrize("inputs", [5, 20], ids=["sums inside", "products"])
def test_two_runs_give_the_same_bits(inputs: int, device: str) -> None:
    layer = Layer(batch=70, time=3, inputs=inputs)
    for once, again in zip(ours(layer, device), ours(layer, device), strict=True):
        assert torch.equal(once, again)


@every_device
def test_derivatives_that_are_not_given_are_zero_and_those_not_asked_for_are_empty(
    device: str,
) -> None:
    layer = Layer()
    given = [p.to(device) for p in (layer.x, layer.h0, *layer.parameters, *layer.pulls)]
    x, h0, *parameters, d_out, d_last = given
    args = x, h0, None, *parameters
    out, _ = triton_cuda.forward(*args, False)
    for pulls, zeros in (
        ((d_out, None), (d_out, torch.zeros_like(d_last))),
        ((None, d_last), (torch.zeros_like(d_out), d_last)),
    ):
        short = triton_cuda.backward(*pulls, *args, out, False, needs_x=False)
        full = triton_cuda.backward(*zeros, *args, out, False, needs_x=True)
        assert short[0].numel() == 0
        assert all(torch.equal(a, b) for a, b in zip(short[1:], full[1:], strict=True))


def on(name: str, major: int, kilobytes: int) -> Any:
    memory = kilobytes * 1024
    return lambda _: SimpleNamespace(
        name=name, major=major, minor=0, shared_memory_per_block_optin=memory
    )


def test_layers_that_do_not_fit_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    obstacle = triton_cuda.obstacle.__wrapped__  # the cache knows no other GPU
    device = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "get_device_properties", on("H100", 9, 227))
    assert obstacle(64, torch.float32, device) is None
    assert obstacle(128, torch.bfloat16, device) is None
    assert "at most 64 units in torch.float32" in obstacle(65, torch.float32, device)
    assert "at most 128 units in torch.float16" in obstacle(129, torch.float16, device)
    assert "torch.float64" in obstacle(16, torch.float64, device)
    monkeypatch.setattr(torch.cuda, "get_device_properties", on("A100", 8, 163))
    assert obstacle(32, torch.float32, device) is None
    assert "A100 has 8.0" in obstacle(64, torch.float32, device)
    assert obstacle(64, torch.bfloat16, device) is None
    monkeypatch.setattr(torch.cuda, "get_device_properties", on("T4", 7, 64))
    assert "compute capability 8.0" in obstacle(16, torch.float32, device)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("size", [(5, 16), (37, 16), (16, 32), (64, 64), (100, 128)], ids=str)
def test_kernels_take_no_more_shared_memory_than_they_say(
    size: tuple[int, int], dtype: str
) -> None:
    if size[1] > 64 and dtype == "float32":
        pytest.skip("such a layer does not fit")
    environment = os.environ | {"TRITON_INTERPRET": "0", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, COMPILING, *map(str, size), dtype]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    taken = [int(number) for number in re.findall(r"shared (\d+)", done.stdout)]
    assert len(taken) == 2
    bytes_each = {"float32": 4, "bfloat16": 2}[dtype]
    assert max(taken) <= triton_cuda.SHARED[bytes_each][triton_cuda._padded(size[1])]
