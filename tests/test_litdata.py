import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from litsets import SAMPLES, optimized

from grulight.cli import main
from grulight.data.batches import Batches
from grulight.data.orders import shuffled_sequences
from grulight.data.readers import ReadOptions, read
from grulight.errors import InputError


def test_samples_become_sequences(tmp_path: Path) -> None:
    sequences = read(optimized(tmp_path, SAMPLES))
    assert sequences.values.shape == (50, 8, 2)
    assert sequences.class_names == ("down", "up")
    assert sequences.ids.tolist() == [f"s{at}" for at in range(50)]
    assert sequences.labels is not None
    assert sequences.labels.tolist() == [1, 0] * 25
    for at, sample in enumerate(SAMPLES):
        length = len(sample["values"])
        assert sequences.lengths[at] == length
        values = np.asarray(sequences.values)[at]
        np.testing.assert_array_equal(values[:length], sample["values"])
        assert not values[length:].any()


def test_a_shuffled_part_serves_each_sample_once_and_block_by_block(tmp_path: Path) -> None:
    part = read(optimized(tmp_path, SAMPLES)).part(5, 45)
    order = shuffled_sequences(part, 0, 0)
    assert sorted(order.tolist()) == list(range(40))
    assert part.values.blocks.tolist() == [0, 3, 11, 19, 27, 35, 40]  # type: ignore[attr-defined]
    expected = np.asarray(part.values)[order]
    for at, batch in enumerate(Batches(part, 7, lambda epoch: order)):
        steps = batch.values.shape[1]
        np.testing.assert_array_equal(batch.values, expected[7 * at : 7 * at + 7, :steps])


def test_a_set_can_be_handed_to_another_process(tmp_path: Path) -> None:
    samples = [{"values": torch.from_numpy(each["values"]), "label": 1.5} for each in SAMPLES]
    found = read(optimized(tmp_path, samples))
    again = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(again.values[:, :], found.values[:, :])


def test_a_run_trains_on_litdata(tmp_path: Path) -> None:
    source = optimized(tmp_path, SAMPLES)
    root = ["--trainer.default_root_dir", str(tmp_path), "--trainer.max_epochs", "1"]
    assert main(["fit", "--data.source", source, *root]) == 0


def test_samples_have_values_and_labels_per_step(tmp_path: Path) -> None:
    steps = [len(sample["values"]) for sample in SAMPLES]
    targets = {
        "values": [np.array([at / 4, 1]) for at in range(50)],
        "per step": [np.full(steps[at], 5 + at % 2) for at in range(50)],
        "values per step": [np.full((steps[at], 2), at / 4) for at in range(50)],
    }
    for kind, labels in targets.items():
        samples = [SAMPLES[at] | {"label": labels[at]} for at in range(50)]
        (tmp_path / kind).mkdir()
        found = read(optimized(tmp_path / kind, samples))
        assert found.labels is not None
        assert found.has_values == ("values" in kind)
        assert found.follows_steps == ("per step" in kind)
        for at, label in enumerate(labels):
            got = found.labels[at, : steps[at]] if found.per_step else found.labels[at]
            ours = got if found.has_values else np.array([5, 6])[got]
            np.testing.assert_array_equal(ours, label)
    samples = [SAMPLES[0] | {"label": np.arange(2)}, SAMPLES[1] | {"label": np.arange(3)}]
    (tmp_path / "uneven").mkdir()
    with pytest.raises(InputError, match=r"'label': has shape \(3,\) in sample 1 and \(2,\)"):
        read(optimized(tmp_path / "uneven", samples))


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        ({"values": np.full((3, 2), np.nan, np.float32), "label": "up"}, "sample 1 holds NaN"),
        ({"values": np.ones((3, 5), np.float32), "label": "up"}, "sample 1 has 5 features"),
        ({"values": np.ones(3, np.float32), "label": "up"}, r"sample 1: 'values' holds float32"),
    ],
)
def test_a_wrong_sample_is_named(tmp_path: Path, sample: dict[str, object], expected: str) -> None:
    first = {"values": SAMPLES[0]["values"], "label": "up"}
    with pytest.raises(InputError, match=expected):
        read(optimized(tmp_path, [first, sample]))


def test_missing_labels_and_sets_are_refused(tmp_path: Path) -> None:
    source = optimized(tmp_path, [{"values": sample["values"]} for sample in SAMPLES])
    with pytest.raises(InputError, match="has no labels, expected a 'label'"):
        read(source)
    assert read(source, ReadOptions(require_labels=False)).labels is None
    with pytest.raises(InputError, match="does not exist"):
        read(f"litdata:{tmp_path / 'missing'}")
