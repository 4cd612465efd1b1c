from dataclasses import replace

import numpy as np
import pytest

from parity.cases import Case, training_question
from parity.question import Arrays, Network, Question
from parity.rungs import Finding, judge
from parity.tolerances import (
    bounds,
    cap,
    conditioned_bound,
    float32_floor,
    noise_floor,
    operations,
    perturb,
    unsteady,
)

QUESTION = Case("small", Network(3, 2, 4)).question().as_dtype("float32")


def test_every_number_moves_by_one_unit_in_the_last_place() -> None:
    theirs = {"x": np.linspace(-3, 3, 1001, dtype=np.float32), "n": np.arange(3)}
    ours = perturb(theirs, np.random.default_rng(0))
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


def test_what_float32_rounds_away_counts_for_outputs_alone_and_under_the_same_cap() -> None:
    def side(question: Question) -> Arrays:
        off = 1.0 + (3e-5 if question.dtype == "float32" else 0.0)
        return {name: np.full(2, off, question.dtype) for name in ("logits", "grad.w", "loss")}

    floors = float32_floor(side, QUESTION, side(QUESTION))
    assert floors["logits"] == pytest.approx(3e-5, rel=1e-2)
    assert floors["grad.w"] == floors["loss"] == 2.0**-23
    assert bounds(QUESTION, floors, floors)["logits"] == min(8 * floors["logits"], cap(QUESTION))
    asked = replace(QUESTION, task="training")
    assert float32_floor(side, asked, side(QUESTION))["logits"] == 2.0**-23


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_float64_without_numbers_does_not_let_nan_through(bad: float) -> None:
    def side(question: Question) -> Arrays:
        value = 1.0 if question.dtype == "float32" else bad
        return {"logits": np.full(2, value, question.dtype)}

    answer = side(QUESTION)
    floors = float32_floor(side, QUESTION, answer)
    [finding] = judge(QUESTION, {"logits": np.full(2, np.nan, np.float32)}, answer, floors)
    assert finding.differs
    assert finding.bound <= cap(QUESTION)


def test_weights_must_be_equal_and_float64_does_not_look_at_floors() -> None:
    own = Question("own", "weights", QUESTION.network, {}, {}, dtype="float32")
    assert bounds(own, ["a"], {"a": 1.0}) == {"a": 0.0}
    assert bounds(QUESTION.as_dtype("float64"), ["a"], {"a": 1.0}) == {"a": 1e-12}
    assert bounds(QUESTION, ["a"], {"a": 2e-7}) == {"a": 8 * 2e-7}


@pytest.mark.parametrize("floor", [1.0, 1e9, np.inf])
def test_no_floor_widens_a_bound_beyond_the_number_of_operations(floor: float) -> None:
    [bound] = bounds(QUESTION, ["a"], {"a": floor}).values()
    assert bound == cap(QUESTION) < 1e-3
    assert cap(QUESTION) == np.finfo("f4").eps * operations(QUESTION)


def test_the_cap_grows_with_steps_and_sums_but_never_beyond_a_hundredth() -> None:
    longer = Case("long", Network(3, 2, 4), time=110).question().as_dtype("float32")
    wider = Case("wide", Network(3, 2, 40)).question().as_dtype("float32")
    assert 5 * cap(QUESTION) < cap(longer)
    assert 3 * cap(QUESTION) < cap(wider)
    assert cap(Case("huge", Network(3, 2, 999), time=9).question().as_dtype("float32")) == 1e-2


def test_a_training_has_the_operations_of_its_updates() -> None:
    data = Case("data", Network(3, 2, 4), batch=10).inputs()
    kept = {name: data[name] for name in ("values", "labels", "lengths")}
    asked = training_question("t", QUESTION.network, QUESTION.weights, kept, 3, batch_size=4)
    one = replace(asked, task="network", inputs=kept)
    assert operations(asked) == 9 * operations(one)


def test_what_was_chosen_by_nobody_is_held_to_six_digits_in_float64() -> None:
    assert conditioned_bound(1e-9) == 8e-9
    assert conditioned_bound(1.0) == conditioned_bound(np.inf) == 1e-6


def test_other_bits_the_second_time_are_seen_though_the_numbers_are_equal() -> None:
    first = {"a": np.zeros(3), "b": np.full(2, np.nan), "c": np.ones(2)}
    assert unsteady(first, {n: array.copy() for n, array in first.items()}) == []
    assert unsteady(first, {**first, "a": np.array([0.0, -0.0, 0.0]), "c": np.ones(3)}) == [
        "a",
        "c",
    ]
    assert unsteady(first, {"a": first["a"]}) == ["b", "c"]


def ask(ours: np.ndarray, theirs: np.ndarray, floor: float) -> Finding:
    [finding] = judge(QUESTION, {"logits": ours}, {"logits": theirs}, {"logits": floor})
    return finding


ONE = np.ones((2, 3), np.float32)


@pytest.mark.parametrize("floor", [1e-7, np.inf, np.nan])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_against_a_number_is_different_whatever_the_floor(bad: float, floor: float) -> None:
    spoilt = ONE.copy()
    spoilt[1, 1] = bad
    for ours, theirs in ((spoilt, ONE), (ONE, spoilt), (np.full_like(ONE, bad), ONE)):
        assert ask(ours, theirs, floor).differs


def test_nan_on_both_sides_decides_nothing() -> None:
    none = np.full_like(ONE, np.nan)
    finding = ask(none, none, 1e-7)
    assert (finding.same, finding.undecided, finding.differs) == (False, True, False)


def test_between_cap_and_floors_nothing_is_decided() -> None:
    most = cap(QUESTION)
    assert ask(ONE * np.float32(1 + most / 2), ONE, 1.0).same
    assert ask(ONE * np.float32(1 + most * 2), ONE, most).undecided
    assert ask(ONE * np.float32(1 + most * 20), ONE, most).differs
    assert ask(ONE * np.float32(1 + most * 2), ONE, 1e-7).differs
