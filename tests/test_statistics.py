import numpy as np
import pytest

from grulight.data import statistics
from grulight.data.sequences import Sequences


def make(values: np.ndarray, lengths: np.ndarray) -> Sequences:
    names = tuple(map(str, range(values.shape[2])))
    return Sequences(values, lengths, None, (), names, lengths.astype(str), "test")


def test_statistics_equal_those_of_the_valid_steps_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "_CHUNK", 100)
    generator = np.random.default_rng(0)
    values = generator.normal(1000.0, [1.0, 5.0, 0.01], (50, 6, 3))
    lengths = generator.integers(1, 7, 50)
    valid = np.concatenate([row[:length] for row, length in zip(values, lengths, strict=True)])
    mean, scale = statistics.feature_statistics(make(values, lengths))
    np.testing.assert_allclose(mean, valid.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(scale, valid.std(axis=0), rtol=1e-10)


def test_a_constant_feature_is_left_at_zero_not_at_infinity() -> None:
    mean, scale = statistics.feature_statistics(make(np.full((3, 2, 1), 0.1), np.array([2, 2, 1])))
    assert mean[0] == 0.1
    assert scale[0] == 1.0
