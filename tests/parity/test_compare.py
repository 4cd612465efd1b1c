import re

import numpy as np
import pytest

from parity.compare import Incomparable, compare, first_step_beyond, locate, step_profile

ONES = np.ones((2, 3))


def one(ours: np.ndarray, theirs: np.ndarray, name: str = "logits") -> float:
    [difference] = compare({name: ours}, {name: theirs})
    return difference.relative


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("sides", ["ours", "theirs", "both"])
def test_what_is_not_finite_is_infinitely_far_even_from_itself(bad: float, sides: str) -> None:
    spoilt = ONES.copy()
    spoilt[1, 2] = bad
    ours = ONES if sides == "theirs" else spoilt
    theirs = ONES if sides == "ours" else spoilt
    [difference] = compare({"logits": ours}, {"logits": theirs})
    assert difference.relative == np.inf
    assert difference.index == (1, 2)


def test_nothing_but_nan_is_infinitely_far() -> None:
    assert one(np.full(3, np.nan), np.full(3, np.nan)) == np.inf


@pytest.mark.parametrize(
    ("ours", "theirs", "message"),
    [
        ({"a": ONES.T}, {"a": ONES}, "ours has shape (3, 2), theirs (2, 3)"),
        ({"a": ONES[:1]}, {"a": ONES}, "shape"),
        ({"a": ONES.astype("f4")}, {"a": ONES}, "ours is float32, theirs is float64"),
        ({}, {"a": ONES}, "ours lacks ['a']"),
        ({"a": ONES, "b": ONES}, {"a": ONES}, "has ['b'] besides"),
        ({"a": ONES[:0]}, {"a": ONES[:0]}, "is empty"),
        ({}, {}, "Nothing to compare"),
    ],
)
def test_what_cannot_be_compared_is_refused(ours: dict, theirs: dict, message: str) -> None:
    with pytest.raises(Incomparable, match=re.escape(message)):
        compare(ours, theirs)


def test_one_wrong_element_among_a_million_decides() -> None:
    theirs = np.ones(1_000_000)
    ours = theirs.copy()
    ours[123_456] += 1e-3
    assert one(ours, theirs) == pytest.approx(1e-3)


def test_any_difference_from_all_zeros_is_infinite() -> None:
    assert one(np.full(2, 1e-300), np.zeros(2)) == np.inf
    assert one(np.zeros(2), np.zeros(2)) == 0.0


def test_scale_is_theirs_so_that_an_exploding_port_cannot_hide() -> None:
    assert one(np.array([1e6, 1.0]), np.array([1.0, 1.0])) == pytest.approx(1e6)


@pytest.mark.parametrize(
    ("name", "index", "shape", "words"),
    [
        ("hidden.l0.forward", (3, 5, 2), (7, 9, 4), "sequence 3, time step 5, unit 2"),
        ("grad.gru.weight_ih_l0", (5, 1), (12, 3), "gate z, unit 1, index 1"),
        ("grad.gru.bias_hh_l1_reverse", (11,), (12,), "gate h, unit 3"),
        ("keras.gru_0/forward/kernel", (1, 5), (3, 12), "gate r, unit 1, index 1"),
        ("train.gru.weight_hh_l0", (9, 0, 1), (10, 12, 4), "snapshot 9, gate r, unit 0, index 1"),
        ("train.loss", (17,), (125,), "batch 17"),
        ("grad.values", (1, 2, 3), (4, 5, 6), "sequence 1, time step 2, feature 3"),
        ("grad.head.weight", (1, 2), (3, 4), "index 1, 2"),
        ("keras.dense/kernel", (1, 2), (6, 3), "index 1, 2"),
        ("loss", (), (), ""),
    ],
)
def test_places_are_named(name: str, index: tuple, shape: tuple, words: str) -> None:
    assert locate(name, index, shape) == words


def test_first_time_step_beyond_the_bound_is_found_not_the_worst() -> None:
    theirs = np.ones((2, 5, 3))
    ours = theirs.copy()
    ours[1, 2, 0] += 1e-6
    ours[0, 4, 1] += 1.0
    assert first_step_beyond(ours, theirs, 1e-12) == 2
    assert first_step_beyond(theirs, theirs, 1e-12) is None
    np.testing.assert_allclose(step_profile(ours, theirs), [0, 0, 1e-6, 0, 1], rtol=1e-9)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_number_on_one_side_alone_is_shown_before_what_no_side_has(bad: float) -> None:
    ours, theirs = np.full(4, np.nan), np.array([np.nan, 1.0, np.nan, 2.0])
    ours[1], ours[3] = 1.0, bad
    [difference] = compare({"logits": ours}, {"logits": theirs})
    assert difference.index == (3,)
    assert (np.isfinite(difference.ours), difference.theirs) == (False, 2.0)


def test_shapes_that_would_broadcast_are_refused() -> None:
    for shape in ((), (1,), (1, 3), (2, 1), (1, 2, 3)):
        with pytest.raises(Incomparable, match="shape"):
            compare({"a": np.ones(shape)}, {"a": ONES})
