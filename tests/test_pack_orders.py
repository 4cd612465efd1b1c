import numpy as np

from grulight.data.readers import read
from grulight.data.shuffling import shuffled_blocks, shuffled_sequences

BLOCKS = np.array([0, 10, 13, 40, 41, 60, 75])


def test_each_sequence_comes_once_in_an_order_that_seed_and_epoch_decide() -> None:
    order = shuffled_blocks(BLOCKS, 3, 1, together=2)
    assert sorted(order.tolist()) == list(range(75))
    assert order.tolist() == shuffled_blocks(BLOCKS, 3, 1, together=2).tolist()
    assert order.tolist() != shuffled_blocks(BLOCKS, 3, 2, together=2).tolist()
    assert order.tolist() != shuffled_blocks(BLOCKS, 4, 1, together=2).tolist()


def test_a_block_is_needed_in_one_stretch_and_mixed_with_its_neighbours() -> None:
    order = shuffled_blocks(BLOCKS, 3, 1, together=2)
    blocks = np.searchsorted(BLOCKS, order, side="right") - 1
    window, seen = 0, []
    while window < len(order):
        here = set(blocks[window : window + 1].tolist())
        size = 0
        while size < sum(np.diff(BLOCKS)[list(here)]):
            here.add(int(blocks[window + size]))
            size += 1
        seen.append(here)
        window += size
    assert sum(map(len, seen)) == len(BLOCKS) - 1
    assert max(map(len, seen)) == 2


def test_data_in_memory_is_shuffled_over_all_of_it() -> None:
    order = shuffled_sequences(read("waves"), 0, 0)
    assert sorted(order.tolist()) == list(range(1000))
