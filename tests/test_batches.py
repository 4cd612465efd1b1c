from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from grulight.data.batches import Batches, shuffled
from grulight.data.sequences import Sequences


def sequences(count: int = 7, steps: int = 4, features: int = 2) -> Sequences:
    values = np.arange(count * steps * features, dtype=np.float32).reshape(count, steps, features)
    return Sequences(
        values=values,
        lengths=np.full(count, steps),
        labels=np.arange(count) % 3,
        class_names=("a", "b", "c"),
        feature_names=tuple(map(str, range(features))),
        ids=np.arange(count).astype(str),
        source="test",
    )


def test_batches_cover_every_sequence_once_in_order_and_keep_the_last_partial_one() -> None:
    data = sequences()
    batches = list(Batches(data, 3))
    assert [len(batch.values) for batch in batches] == [3, 3, 1]
    assert len(Batches(data, 3)) == 3
    assert torch.equal(torch.cat([batch.values for batch in batches]), torch.tensor(data.values))
    assert torch.cat([batch.labels for batch in batches]).tolist() == data.labels.tolist()


def test_full_sequences_come_without_lengths() -> None:
    assert next(iter(Batches(sequences(), 3))).lengths is None


def test_batches_are_cut_to_their_longest_sequence() -> None:
    data = replace(sequences(), lengths=np.array([1, 2, 1, 4, 4, 4, 4]))
    short, long, _ = Batches(data, 3)
    assert short.values.shape == (3, 2, 2)
    assert short.lengths.tolist() == [1, 2, 1]
    assert long.values.shape == (3, 4, 2)


def test_order_is_asked_for_at_each_pass() -> None:
    epoch = 0
    batches = Batches(sequences(), 7, partial(shuffled, 7, 1), lambda: epoch)
    first = next(iter(batches)).labels
    epoch = 1
    second = next(iter(batches)).labels
    assert first.tolist() != second.tolist()
    assert sorted(first.tolist()) == sorted(second.tolist())


@pytest.mark.parametrize("seed", [0, 7])
def test_shuffled_is_a_permutation_and_a_pure_function(seed: int) -> None:
    order = shuffled(100, seed, 3)
    assert sorted(order) == list(range(100))
    assert (order == shuffled(100, seed, 3)).all()
    assert (order != shuffled(100, seed, 4)).any()
    assert (order != shuffled(100, seed + 1, 3)).any()


def test_float64_and_read_only_values_become_writable_float32(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", sequences().values.astype(np.float64))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    for order in (None, lambda epoch: np.arange(7)):
        batch = next(iter(Batches(replace(sequences(), values=mapped), 7, order)))
        assert batch.values.dtype == torch.float32
        batch.values.zero_()
    assert mapped[6, 3, 1] == 55
