import numpy as np
import pytest

from parity.distribution import equivalence, student_tail
from parity.question import Network


@pytest.mark.parametrize(
    ("t", "freedom", "tail"), [(1.6860, 38, 0.05), (2.0930, 19, 0.025), (-1.7291, 19, 0.95)]
)
def test_tail_is_that_of_the_printed_t_table(t: float, freedom: float, tail: float) -> None:
    assert student_tail(t, freedom) == pytest.approx(tail, rel=1e-3)


def test_equal_samples_are_shown_to_be_equivalent() -> None:
    rng = np.random.default_rng(0)
    assert equivalence("loss", rng.normal(size=20), rng.normal(size=20)).shown


@pytest.mark.parametrize("shift", [-1.0, 1.0])
def test_a_shift_of_one_deviation_is_never_called_equivalent(shift: float) -> None:
    rng = np.random.default_rng(1)
    shown = [
        equivalence("loss", rng.normal(size=20) + shift, rng.normal(size=20)).shown
        for _ in range(100)
    ]
    assert np.mean(shown) <= 0.1


def test_few_seeds_show_nothing() -> None:
    rng = np.random.default_rng(2)
    assert not equivalence("loss", rng.normal(size=3), rng.normal(size=3)).shown


@pytest.mark.parametrize("bad", [[1.0], [1.0, np.nan]])
def test_what_is_no_sample_is_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="at least two finite values"):
        equivalence("loss", np.array(bad), np.array([1.0, 2.0]))


@pytest.mark.slow
def test_twenty_seeds_train_equally_well_on_both_sides() -> None:
    from parity.sides.keras_pipeline import train_seeds as train_keras_seeds
    from parity.sides.torch_training import train_seeds

    rng = np.random.default_rng(3)
    values = rng.normal(size=(600, 8, 3))
    labels = (values[:, :, :2].mean(axis=1) > 0).sum(axis=1)
    parts = [{"values": values[a:b], "labels": labels[a:b]} for a, b in ((0, 400), (400, 600))]
    given = Network(3, 3, 8), *parts, 20
    ours, theirs = train_seeds(*given), train_keras_seeds(*given)
    for quantity in ("loss", "accuracy"):
        assert equivalence(quantity, ours[quantity], theirs[quantity]).shown, quantity
