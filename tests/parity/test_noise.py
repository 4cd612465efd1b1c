import numpy as np
import pytest

from parity.cases import Arrays, Case, Network, Question
from parity.noise import bounds, noise_floor, nudge

QUESTION = Case("small", Network(3, 2, 4)).question().as_dtype("float32")


def test_every_number_moves_by_one_unit_in_the_last_place() -> None:
    theirs = {"x": np.linspace(-3, 3, 1001, dtype=np.float32), "n": np.arange(3)}
    ours = nudge(theirs, np.random.default_rng(0))
    assert ours["x"].dtype == np.float32
    up, down = (np.nextafter(theirs["x"], np.float32(way)) for way in (np.inf, -np.inf))
    assert ((ours["x"] == up) | (ours["x"] == down)).all()
    assert 300 < (ours["x"] == up).sum() < 700
    assert ours["n"] is theirs["n"]


def test_floor_is_the_largest_of_several_draws() -> None:
    moves = iter([0.0, 3e-5, 0.0, 0.0, 0.0, 0.0])

    def side(question: Question) -> Arrays:
        return {"logits": np.array([1.0 + next(moves)], np.float32)}

    floors = noise_floor(side, QUESTION, {"logits": np.ones(1, np.float32)})
    assert floors["logits"] == pytest.approx(3e-5, rel=1e-2)


def test_floor_of_a_side_that_does_not_move_is_one_unit_in_the_last_place() -> None:
    answer = {"logits": np.ones(1, np.float32)}
    assert noise_floor(lambda question: answer, QUESTION, answer) == {"logits": 2.0**-23}


def test_weights_must_be_equal_and_float64_does_not_look_at_floors() -> None:
    own = Question("own", "weights", QUESTION.network, {}, {}, dtype="float32")
    assert bounds(own, ["a"], {"a": 1.0}) == {"a": 0.0}
    assert bounds(QUESTION.as_dtype("float64"), ["a"], {"a": 1.0}) == {"a": 1e-12}
    assert bounds(QUESTION, ["a"], {"a": 2e-7}) == {"a": 8 * 2e-7}
