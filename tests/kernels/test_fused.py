import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from grulight.errors import InputError
from grulight.kernels.fused import LARGEST, FusedGRU
from grulight.model import GRUNet

SHAPES: dict[str, dict[str, Any]] = {
    "one layer": {},
    "no bias": {"bias": False},
    "time first": {"batch_first": False},
    "two ways": {"bidirectional": True},
    "three layers": {"num_layers": 3},
    "two layers, two ways": {"num_layers": 2, "bidirectional": True},
    "many units": {"hidden_size": 70},
}
LENGTHS = torch.tensor([3, 9, 1, 4, 9, 2, 7])


@pytest.fixture(params=SHAPES.values(), ids=SHAPES.keys())
def shape(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {"input_size": 5, "hidden_size": 16, "batch_first": True} | request.param


def pair(dtype: torch.dtype = torch.float64, **shape: Any) -> tuple[FusedGRU, nn.GRU]:
    theirs = nn.GRU(**shape, dtype=dtype)
    ours = FusedGRU(**shape, dtype=dtype, kernel="numba")
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def leaves_for(gru: nn.GRU) -> tuple[Tensor, Tensor]:
    dtype, ways = gru.weight_hh_l0.dtype, 1 + gru.bidirectional
    x = torch.randn(7, 9, gru.input_size, dtype=dtype, requires_grad=True)
    h0 = torch.randn(gru.num_layers * ways, 7, gru.hidden_size, dtype=dtype, requires_grad=True)
    return x if gru.batch_first else x.detach().transpose(0, 1).requires_grad_(), h0


def answers(gru: nn.GRU, x: Any, h0: Tensor, leaf: Tensor, **settings: Any) -> list[Tensor]:
    """Return states, last states, and derivatives of both by every leaf."""
    out, last = gru(x, h0, **settings)
    data = out.data if isinstance(out, PackedSequence) else out
    torch.manual_seed(5)
    pulls = [torch.randn(array.shape, dtype=array.dtype) for array in (data, last)]
    objective = (data * pulls[0]).sum() + (last * pulls[1]).sum()
    return [data, last, *torch.autograd.grad(objective, [leaf, h0, *gru.parameters()])]


def assert_near(ours: list[Tensor], theirs: list[Tensor]) -> None:
    for mine, other in zip(ours, theirs, strict=True):
        scale = other.abs().max().item()
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-13 * max(scale, 1.0))


def test_states_and_gradients_equal_torch(shape: dict[str, Any]) -> None:
    ours, theirs = pair(**shape)
    x, h0 = leaves_for(theirs)
    assert_near(answers(ours, x, h0, x), answers(theirs, x, h0, x))


@pytest.mark.parametrize("sort", [False, True], ids=["as they come", "sorted"])
def test_packed_sequences_equal_torch(shape: dict[str, Any], sort: bool) -> None:
    ours, theirs = pair(**shape)
    x, h0 = leaves_for(theirs)
    lengths = LENGTHS.sort(descending=True).values if sort else LENGTHS
    found = []
    for gru in (ours, theirs):
        packed = pack_padded_sequence(x, lengths, gru.batch_first, enforce_sorted=sort)
        found.append(answers(gru, packed, h0, x))
    assert_near(*found)


def test_lengths_are_the_same_as_packing(shape: dict[str, Any]) -> None:
    ours, theirs = pair(**shape)
    x, h0 = leaves_for(theirs)
    ours_in_torch = FusedGRU(**shape, dtype=torch.float64, kernel="torch")
    ours_in_torch.load_state_dict(theirs.state_dict())
    mine = answers(ours, x, h0, x, lengths=LENGTHS)
    assert_near(mine, answers(ours_in_torch, x, h0, x, lengths=LENGTHS))
    packed = pack_padded_sequence(x, LENGTHS, theirs.batch_first, enforce_sorted=False)
    torch.testing.assert_close(mine[1], theirs(packed, h0)[1], rtol=0, atol=1e-13)


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
def test_gradients_equal_finite_differences(lengths: Tensor | None) -> None:
    gru = FusedGRU(3, 4, 2, batch_first=True, bidirectional=True, dtype=torch.float64)
    names = [name for name, _ in gru.named_parameters()]
    x, h0 = leaves_for(gru)

    def run(x: Tensor, h0: Tensor, *weights: Tensor) -> Any:
        named = dict(zip(names, weights, strict=True))
        return torch.func.functional_call(gru, named, (x[:, :4], h0), {"lengths": limited})

    limited = None if lengths is None else lengths.clamp(max=4)
    assert torch.autograd.gradcheck(run, (x, h0, *gru.parameters()), fast_mode=True)


def test_no_gradient_is_asked_of_one_result_alone() -> None:
    ours, theirs = pair(input_size=5, hidden_size=16, batch_first=True)
    x, _ = leaves_for(theirs)
    for part in (0, 1):
        mine, other = (gru(x)[part].square().sum() for gru in (ours, theirs))
        assert_near(
            list(torch.autograd.grad(mine, list(ours.parameters()))),
            list(torch.autograd.grad(other, list(theirs.parameters()))),
        )


@pytest.mark.parametrize("batch_first", [True, False])
def test_one_sequence_without_a_batch_equals_torch(batch_first: bool) -> None:
    ours, theirs = pair(input_size=5, hidden_size=16, batch_first=batch_first)
    x, h0 = torch.randn(9, 5).double(), torch.randn(1, 16).double()
    assert_near(list(ours(x)), list(theirs(x)))
    assert_near(list(ours(x, h0)), list(theirs(x, h0)))


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (65, 1)], ids=str)
def test_smallest_sizes_equal_torch(size: tuple[int, int]) -> None:
    ours, theirs = pair(input_size=1, hidden_size=1, batch_first=True)
    x = torch.randn(*size, 1).double()
    assert_near(list(ours(x)), list(theirs(x)))


@pytest.mark.parametrize("size", [(0, 9, 5), (7, 0, 5), (7, 9, 4), (7, 9), (2, 7, 9, 5)], ids=str)
def test_bad_and_empty_input_ends_as_in_torch(size: tuple[int, ...]) -> None:
    ours, theirs = pair(input_size=5, hidden_size=16, batch_first=True)
    found = []
    for gru in (ours, theirs):
        try:
            found.append(gru(torch.ones(size).double())[0].shape)
        except (RuntimeError, ValueError) as error:
            found.append((type(error), str(error)))
    assert found[0] == found[1]


def test_memory_layout_makes_no_difference() -> None:
    ours, _ = pair(input_size=5, hidden_size=16, batch_first=True)
    x = torch.randn(9, 7, 10).double().transpose(0, 1)[..., ::2]
    assert torch.equal(ours(x)[0], ours(x.contiguous())[0])


def test_the_same_seed_drops_the_same_states_as_torch() -> None:
    ours, theirs = pair(input_size=5, hidden_size=16, num_layers=3, dropout=0.5, batch_first=True)
    x, h0 = leaves_for(theirs)
    found = []
    for gru in (ours, theirs):
        torch.manual_seed(4)
        found.append(list(gru(x, h0)))
    assert_near(*found)
    assert not torch.equal(ours(x, h0)[0], ours(x, h0)[0])
    ours.eval()
    assert torch.equal(ours(x, h0)[0], ours(x, h0)[0])


@pytest.mark.parametrize("bad", [0, 10])
def test_lengths_that_do_not_fit_are_refused(bad: int) -> None:
    gru = FusedGRU(5, 16, batch_first=True)
    with pytest.raises(ValueError, match="expected 1 to 9"):
        gru(torch.randn(2, 9, 5), lengths=torch.tensor([bad, 3]))
    with pytest.raises(ValueError, match="one for each of 2 rows"):
        gru(torch.randn(2, 9, 5), lengths=torch.tensor([3]))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_ends_as_in_torch_and_stays_in_its_sequence(value: float) -> None:
    ours, theirs = pair(torch.float32, input_size=5, hidden_size=16, batch_first=True)
    x = torch.randn(5, 9, 5)
    clean = ours(x)[0]
    x[2, 4, 1] = value
    torch.testing.assert_close(ours(x)[0], theirs(x)[0], equal_nan=True)
    assert torch.equal(ours(x)[0][[0, 1, 3, 4]], clean[[0, 1, 3, 4]])
    assert torch.equal(ours(x)[0][2, :4], clean[2, :4])


def test_auto_takes_numba_where_it_runs_and_torch_elsewhere() -> None:
    assert FusedGRU(5, 16).kernel == "numba"
    assert FusedGRU(5, 16).double().kernel == "numba"
    for gru in (
        FusedGRU(5, 16).bfloat16(),
        FusedGRU(5, LARGEST + 1),
        FusedGRU(5, 16, device="meta"),
        FusedGRU(5, 16, kernel="torch"),
    ):
        assert gru.kernel == "torch"
    assert "kernel=auto (numba)" in repr(GRUNet(5, 3))
    assert FusedGRU(5, LARGEST + 1, kernel="numba").kernel == "numba"


def test_a_kernel_that_was_asked_for_and_cannot_run_is_an_error() -> None:
    with pytest.raises(InputError, match="choose one of auto, torch, numba, triton"):
        FusedGRU(5, 16, kernel="cudnn")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"weights are torch\.bfloat16"):
        FusedGRU(5, 16, kernel="numba").bfloat16()(torch.ones(2, 3, 5).bfloat16())
    with pytest.raises(InputError, match="runs on the CPU"):
        FusedGRU(5, 16, kernel="numba", device="meta")(torch.ones(2, 3, 5, device="meta"))
    with pytest.raises(InputError, match=r"triton.*runs on CUDA.*cpu"):
        GRUNet(5, 3, kernel="triton")(torch.ones(2, 3, 5))


def test_weights_load_both_ways_and_copies_compute_the_same() -> None:
    ours, theirs = pair(input_size=5, hidden_size=16, num_layers=2, bidirectional=True)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(9, 7, 5).double()
    twin = copy.deepcopy(ours)
    assert torch.equal(twin(x)[0], ours(x)[0])
    assert twin.kernel == "numba"
