import pytest
import torch
from torch import nn

from grulight.model import GRUNet


def test_default_network_is_the_original_one() -> None:
    shapes = {name: tuple(p.shape) for name, p in GRUNet(5, 3).named_parameters()}
    assert shapes == {
        "gru.weight_ih_l0": (48, 5),
        "gru.weight_hh_l0": (48, 16),
        "gru.bias_ih_l0": (48,),
        "gru.bias_hh_l0": (48,),
        "head.weight": (3, 16),
        "head.bias": (3,),
    }


@pytest.mark.parametrize("bidirectional", [False, True], ids=["one_way", "both_ways"])
@pytest.mark.parametrize("layers", [1, 2])
def test_padding_changes_nothing(layers: int, bidirectional: bool) -> None:
    net = GRUNet(4, 3, 6, layers, bidirectional).double().eval()
    values = torch.randn(5, 7, 4, dtype=torch.float64)
    lengths = torch.tensor([1, 7, 3, 5, 2])
    padded = values.clone()
    for row, length in zip(padded, lengths, strict=True):
        row[length:] = torch.nan
    together = net(padded, lengths)
    alone = [net(row[None, :n]) for row, n in zip(values, lengths, strict=True)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-12, atol=1e-14)


def test_summary_is_the_last_state_of_both_directions() -> None:
    net = GRUNet(4, 3, 6, 2, bidirectional=True)
    values = torch.randn(5, 7, 4)
    output, _ = net.gru(values)
    expected = torch.cat((output[:, -1, :6], output[:, 0, 6:]), dim=-1)
    torch.testing.assert_close(net.summarize(values), expected)


def test_dropout_acts_before_the_head_and_only_in_training() -> None:
    net = GRUNet(4, 3, 8, dropout=0.5)
    values = torch.randn(2, 3, 4)
    assert not torch.equal(net(values), net(values))
    net.eval()
    assert torch.equal(net(values), net(values))
    assert isinstance(net.gru, nn.GRU)
