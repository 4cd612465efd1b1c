import numpy as np
import pytest

from grulight.model import GRUNet
from parity.cases import Case, training_question
from parity.question import Network, Question, batches_of

NETWORKS = [
    Network(5, 3),
    Network(4, 1, 7, num_layers=3, bidirectional=True),
    Network(2, 10, 3, num_layers=2, bias=False),
]


@pytest.mark.parametrize("network", NETWORKS)
def test_shapes_are_those_of_the_network_that_users_run(network: Network) -> None:
    net = GRUNet(**network.sizes)
    theirs = {name: tuple(p.shape) for name, p in net.named_parameters()}
    assert network.shapes() == theirs
    assert list(network.shapes()) == list(theirs)


@pytest.mark.parametrize("network", NETWORKS)
def test_random_case_is_blind_to_nothing(network: Network) -> None:
    question = Case("seeing", network).question()
    for name, array in {**question.weights, **question.inputs}.items():
        if array.dtype.kind == "f":
            assert (array != 0).all(), name
            np.testing.assert_array_equal(array.astype(np.float32), array, name)
    lengths = question.inputs["lengths"]
    batch, time, _ = question.inputs["values"].shape
    assert lengths.min() == 1
    assert lengths.max() == time
    assert batch % 2
    assert time % 2


def test_batches_follow_the_order_and_keep_the_smaller_last_one() -> None:
    values = np.arange(10.0).reshape(10, 1, 1)
    data = {"values": values, "labels": np.arange(10)}
    asked: Question = training_question("x", Network(1, 10), {}, data, epochs=2, batch_size=4)
    batches = [batch.inputs["labels"] for batch in batches_of(asked)]
    assert [len(batch) for batch in batches] == [4, 4, 2, 4, 4, 2]
    np.testing.assert_array_equal(np.concatenate(batches[:3]), asked.inputs["order"][0])
    assert sorted(np.concatenate(batches[3:])) == list(range(10))
