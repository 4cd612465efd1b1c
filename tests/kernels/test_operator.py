from typing import Any

import pytest
import torch
import torch._dynamo
from torch import Tensor

from grulight.kernels.fused import FusedGRU
from grulight.kernels.operator import gru, gru_backward
from grulight.model import GRUNet

# torch's own tracing uses what torch deprecates
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def arguments(bias: bool, ragged: bool) -> tuple[Any, ...]:
    def leaf(*size: int) -> Tensor:
        return torch.randn(*size, dtype=torch.float64, requires_grad=True)

    biases = (leaf(18), leaf(18)) if bias else (None, None)
    lengths = torch.tensor([4, 1, 3]) if ragged else None
    return leaf(3, 4, 5), leaf(3, 6), lengths, leaf(18, 5), leaf(18, 6), *biases


@pytest.mark.parametrize("bias", [False, True], ids=["no bias", "bias"])
@pytest.mark.parametrize("ragged", [False, True], ids=["full", "ragged"])
def test_operators_keep_torchs_contract(bias: bool, ragged: bool) -> None:
    given = arguments(bias, ragged)
    torch.library.opcheck(gru, (*given, ragged, True))
    with torch.no_grad():
        torch.library.opcheck(gru, (*given, ragged, False))
        out, last, tape = gru(*given, ragged, True)

        pulls = torch.ones_like(out), torch.ones_like(last)
        for pull in (pulls, (None, pulls[1])):
            rest = (*given, tape, ragged, True)
            torch.library.opcheck(gru_backward, (*pull, *rest))


def test_compile_sees_one_operator_per_layer_and_direction() -> None:
    net = GRUNet(5, 3, num_layers=2, bidirectional=True)
    graphs: list[torch.fx.GraphModule] = []

    def note(graph: torch.fx.GraphModule, _: Any) -> Any:
        graphs.append(graph)
        return graph

    values = torch.randn(4, 6, 5)
    with torch._dynamo.config.patch(allow_rnn=True):
        compiled = torch.compile(net, backend=note, fullgraph=True)
        assert torch.equal(compiled(values), net(values))
    [graph] = graphs
    assert [str(n.target) for n in graph.graph.nodes].count("grulight.gru.default") == 4
    torch._dynamo.reset()


def test_export_sees_one_operator() -> None:
    net = GRUNet(5, 3).eval()
    values, lengths = torch.randn(4, 6, 5), torch.tensor([6, 1, 3, 2])
    program = torch.export.export(net, (values, lengths))
    calls = [str(node.target) for node in program.graph.nodes]
    assert calls.count("grulight.gru.default") == 1
    assert torch.equal(program.module()(values, lengths), net(values, lengths))


def test_autocast_computes_in_float32() -> None:
    layer = FusedGRU(5, 16, batch_first=True)
    values = torch.randn(4, 6, 5).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        out, _ = layer(values)
    assert torch.equal(out, layer(values.float())[0])


def test_a_second_derivative_is_refused() -> None:
    layer = FusedGRU(5, 16, batch_first=True)
    out, _ = layer(torch.randn(4, 6, 5))
    [slope] = torch.autograd.grad(out.sum(), [layer.weight_hh_l0], create_graph=True)
    with pytest.raises(RuntimeError, match=r"backward through grulight\.gru_backward"):
        slope.sum().backward()
