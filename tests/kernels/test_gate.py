"""What is handed to a compiled kernel is refused unless every index in it is within its arrays."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from grulight import GRUClassifier
from grulight.errors import InputError
from grulight.kernels.operator import gru, gru_backward
from grulight.kernels.prediction import Predictor
from grulight.kernels.rules import COLUMNS, Updates, keras_adam
from grulight.kernels.steps import Adam, Noise, State, train_steps

INPUTS, HIDDEN, CLASSES, COUNT, STEPS = 5, 16, 3, 12, 7
SIZE = 3 * HIDDEN * (INPUTS + HIDDEN + 2) + CLASSES * (HIDDEN + 1)
Spoil = Callable[[np.ndarray], Any]

SPOILED: dict[str, Spoil] = {
    "as it is": lambda a: a,
    "read-only": lambda a: frozen(a),
    "wider": lambda a: a.astype(np.float64),
    "of the other byte order": lambda a: a.astype(a.dtype.newbyteorder()),
    "strided": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "unaligned": lambda a: unaligned(a),
    "short": lambda a: a[:-1],
    "long": lambda a: np.concatenate([a, a]),
    "of one": lambda a: a[:1],
    "of none": lambda a: a[:0],
    "with an axis more": lambda a: a[..., None],
    "far above": lambda a: changed(a, 2_000_000_000),
    "one above": lambda a: changed(a, COUNT + STEPS),
    "below": lambda a: changed(a, -1),
    "far below": lambda a: changed(a, -(2**31)),
    "zero": lambda a: changed(a, 0),
    "with NaN": lambda a: changed(a.astype(np.float64), np.nan),
    "with a fraction": lambda a: changed(a.astype(np.float64), 1.5),
    "texts": lambda a: a.astype("U4"),
    "objects": lambda a: a.astype(object),
    "complex": lambda a: a.astype(complex),
    "masked": lambda a: np.ma.masked_less(a, 1),
    "a list": lambda a: a.tolist(),
    "nothing": lambda a: None,
}


def frozen(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


def unaligned(array: np.ndarray) -> np.ndarray:
    room = np.zeros(array.nbytes + 1, np.uint8)[1:]
    found = room.view(array.dtype).reshape(array.shape)
    found[...] = array
    return found


def changed(array: np.ndarray, value: float) -> np.ndarray:
    array = array.copy()
    array.reshape(-1)[array.size // 2] = value
    return array


def training() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    zero = np.zeros(SIZE, np.float32)
    return {
        "parameters": rng.normal(size=SIZE).astype(np.float32) / 4,
        "exp_avg": zero.copy(),
        "exp_avg_sq": zero.copy(),
        "values": rng.normal(size=(COUNT, STEPS, INPUTS)).astype(np.float32),
        "lengths": rng.integers(1, STEPS + 1, COUNT),
        "labels": rng.integers(0, CLASSES, COUNT),
        "batch": np.arange(COUNT),
    }


def train(
    arrays: dict[str, Any],
    rule: Adam | Updates = Adam(),  # noqa: B008  # a tuple
    noise: Noise | None = None,
    **more: np.ndarray,
) -> np.ndarray:
    names = "parameters", "exp_avg", "exp_avg_sq"
    data = arrays["values"], arrays["lengths"], arrays["labels"]
    state = State(*(arrays[name] for name in names), **more)
    batches = [arrays["batch"]] * 2
    sizes = (INPUTS, HIDDEN, True)
    return train_steps(state, 0, rule, sizes, data, batches, noise=noise)[0]


@pytest.mark.parametrize("name", training())
@pytest.mark.parametrize("how", SPOILED)
def test_training_answers_as_before_or_refuses(name: str, how: str) -> None:
    arrays, expected = training(), train(training())
    spoiled = arrays | {name: SPOILED[how](arrays[name])}
    try:
        found = train(spoiled)
    except InputError:
        assert how not in ("as it is", "a list") or name in ("parameters", "exp_avg", "exp_avg_sq")
    else:
        same = how in ("as it is", "read-only", "wider", "of the other byte order", "strided")
        assert np.array_equal(found, expected) or not same
        assert how != "masked"


def test_one_moment_of_another_shape_or_type_is_named() -> None:
    arrays = training()
    with pytest.raises(InputError, match=r"exp_avg \(820,\): expected \(1155,\)"):
        train(arrays | {"exp_avg": np.zeros(820, np.float32)})
    with pytest.raises(InputError, match=r"exp_avg_sq \(float64\): expected .* array of float32"):
        train(arrays | {"exp_avg_sq": np.zeros(SIZE)})
    with pytest.raises(InputError, match="exp_avg is read-only"):
        train(arrays | {"exp_avg": frozen(arrays["exp_avg"])})
    with pytest.raises(InputError, match="labels from 0 to 3: expected 0 to 2"):
        train(arrays | {"labels": changed(np.zeros(COUNT, int), 3)})
    with pytest.raises(InputError, match="a sequence in each"):
        train(arrays | {"batch": np.arange(0)})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rows": np.zeros((3, 1, COLUMNS))}, rf"rows \(3, 1, {COLUMNS}\): expected \(2, groups"),
        ({"rows": np.zeros((2, 1, 11))}, r"rows \(2, 1, 11\): expected"),
        ({"rows": np.zeros((2, 0, COLUMNS))}, "rows .*: expected"),
        ({"rows": np.full((2, 1, COLUMNS), "x")}, "rows hold <U1, expected numbers"),
        ({"groups": np.array([0, 0, 1, 0, 0, 0])}, "groups from 0 to 1: expected -1 to 0"),
        ({"groups": np.zeros(5, int)}, r"groups \(5,\): expected one for each of 6 rows"),
        ({"variables": np.array([0, 1, 2, 3, 4, 6])}, "variables from 0 to 6: expected -1 to 5"),
        ({"variables": np.zeros(7, int)}, r"variables \(7,\): expected one for each of 6 rows"),
    ],
)
def test_settings_that_do_not_fit_the_batches_are_refused(
    changes: dict[str, Any], said: str
) -> None:
    rule = keras_adam(Adam(), 0, 2, double=False)._replace(**changes)
    with pytest.raises(InputError, match=said):
        train(training(), rule=rule)


@pytest.mark.parametrize("name", ["third", "sums"])
def test_what_few_optimisers_keep_is_looked_at_too(name: str) -> None:
    for kept in (
        np.zeros(SIZE),
        np.zeros(SIZE - 1, np.float32),
        frozen(np.zeros(SIZE, np.float32)),
    ):
        with pytest.raises(InputError, match=f"^{name} "):
            train(training(), **{name: kept})


@pytest.mark.parametrize(
    ("count", "between", "head"),
    [(2 * COUNT * HIDDEN - 1, False, True), (0, False, True), (2 * COUNT * HIDDEN, True, True)],
    ids=["one too few", "none", "between layers of which there are none"],
)
def test_noise_of_another_size_is_refused_or_fits(count: int, between: bool, head: bool) -> None:
    noise = Noise(np.ones(count, np.float32), between, head)
    if count == 2 * COUNT * HIDDEN:  # one layer has nothing between
        assert np.array_equal(train(training(), noise=noise), train(training()))
        return
    with pytest.raises(
        InputError, match=rf"noise \({count},\): expected \({2 * COUNT * HIDDEN},\)"
    ):
        train(training(), noise=noise)


def weights(**other: Any) -> list[np.ndarray]:
    classifier = GRUClassifier(INPUTS, CLASSES, HIDDEN, **other)
    return [p.detach().numpy() for p in classifier.network.parameters()]


@pytest.mark.parametrize("at", range(6))
def test_weights_that_do_not_fit_each_other_get_no_address_taken(at: int) -> None:
    for how in ("strided", "short", "long", "of none", "wider", "objects", "unaligned", "a list"):
        arrays: list[Any] = weights()
        arrays[at] = SPOILED[how](arrays[at])
        with pytest.raises(InputError):
            Predictor(arrays)
    arrays = weights()
    arrays[at] = frozen(arrays[at])
    values = training()["values"]
    assert Predictor(arrays)(values).shape == (COUNT, CLASSES)


@pytest.mark.parametrize("layers", [1, 2], ids=["compiled", "in torch"])
def test_arrays_are_answered_whatever_their_layout_and_never_written_to(layers: int) -> None:
    torch.manual_seed(0)
    ask = GRUClassifier(INPUTS, CLASSES, HIDDEN, layers).eval().predict_proba
    values, lengths = training()["values"], training()["lengths"]
    expected = ask(values, lengths)
    for how in ("read-only", "wider", "of the other byte order", "strided", "unaligned", "a list"):
        given = SPOILED[how](values), SPOILED[how](lengths)
        np.testing.assert_array_equal(ask(*given), expected)
        np.testing.assert_array_equal(given[0], values)
    many = frozen(np.tile(values, (50, 1, 1)))  # more than one call takes
    np.testing.assert_allclose(ask(many, np.tile(lengths, 50))[-COUNT:], expected, atol=1e-6)


@pytest.mark.parametrize("layers", [1, 2], ids=["compiled", "in torch"])
def test_what_is_no_sequence_or_length_is_refused(layers: int) -> None:
    ask = GRUClassifier(INPUTS, CLASSES, HIDDEN, layers).eval().predict_proba
    values, lengths = training()["values"], training()["lengths"]
    for how in ("texts", "objects", "complex", "masked", "with an axis more", "nothing"):
        with pytest.raises(InputError):
            ask(SPOILED[how](values))
    hows = ["texts", "objects", "complex", "masked", "with an axis more", "short", "long"]
    for how in [*hows, "far above", "one above", "zero", "below", "with NaN", "with a fraction"]:
        with pytest.raises(InputError, match="lengths"):
            ask(values, SPOILED[how](lengths))


@pytest.mark.parametrize(
    ("mean", "scale", "expected"),
    [
        ([0.0], [1.0], r"mean \(1,\): expected one for each of 5 features"),
        ([0.0] * 5, [1.0] * 4, r"scale \(4,\)"),
        ([0.0, np.nan, 0.0, 0.0, 0.0], [1.0] * 5, r"mean\[1\] is nan, expected a finite number"),
        ([0.0] * 5, [1.0, 1.0, np.inf, 1.0, 1.0], r"scale\[2\] is inf"),
        ([0.0] * 5, [1.0, 0.0, 1.0, 1.0, 1.0], r"scale\[1\] is 0.0, expected a number above zero"),
        ([0.0] * 5, [1e-60] * 5, r"scale\[0\] is 0.0"),
        ([1e300] * 5, [1.0] * 5, r"mean\[0\] is inf"),
        (["a"] * 5, [1.0] * 5, "mean hold"),
    ],
)
def test_what_does_not_standardise_is_refused_at_once(mean: Any, scale: Any, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        GRUClassifier(INPUTS, CLASSES, mean=mean, scale=scale)
    with pytest.raises(InputError):
        Predictor(weights(), mean, scale)


@pytest.mark.parametrize("layers", [1, 2], ids=["compiled", "in torch"])
def test_statistics_that_become_nan_are_an_error_not_an_answer(layers: int) -> None:
    model = GRUClassifier(INPUTS, CLASSES, HIDDEN, layers, mean=[0.0] * 5, scale=[1.0] * 5).eval()
    assert model.mean is not None
    model.mean[1] = np.nan
    with pytest.raises(InputError, match=r"mean\[1\] is nan"):
        model.predict_proba(training()["values"])


def tensors() -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(0)
    shapes = {"x": (4, STEPS, INPUTS), "h0": (4, 6), "w_ih": (18, INPUTS), "w_hh": (18, 6)}
    shapes |= {"b_ih": (18,), "b_hh": (18,)}
    found = {name: torch.tensor(rng.normal(size=shape)) for name, shape in shapes.items()}
    given = list(found.items())
    return dict([*given[:2], ("lengths", torch.tensor([7, 1, 4, 2])), *given[2:]])


@pytest.mark.parametrize("name", ["x", "h0", "lengths", "w_ih", "w_hh", "b_ih", "b_hh"])
def test_the_operator_refuses_tensors_that_do_not_fit(name: str) -> None:
    given = tensors()
    out, last, tape = gru(*given.values(), False, True)
    wrong = [given[name][:-1], given[name][..., None], given[name].to(torch.complex64)]
    wrong += [given[name].float()] if name != "x" else [given[name][..., :-1]]
    wrong += [torch.tensor([8, 1, 4, 2]), torch.tensor([7, 0, 4, 2])] if name == "lengths" else []
    for each in wrong:
        spoiled = list((given | {name: each}).values())
        with pytest.raises(InputError):
            gru(*spoiled, False, True)
        with pytest.raises(InputError):
            gru_backward(out, last, *spoiled, tape, False, True)


def test_the_operator_goes_back_only_over_a_tape_of_its_own() -> None:
    given = tensors()
    out, last, tape = gru(*given.values(), False, True)
    for each in (tape[:-1], tape[:0], tape.float(), torch.cat([tape, tape])):
        with pytest.raises(InputError, match="tape"):
            gru_backward(out, last, *given.values(), each, False, True)
    for pulls in ((out[:-1], last), (out, last[:, 1:]), (out.float(), last)):
        with pytest.raises(InputError, match=r"d_out|d_last"):
            gru_backward(*pulls, *given.values(), tape, False, True)


def spoiled_at_random(draw: Any) -> None:
    arrays: dict[str, Any] = training()
    for name in draw(st.sets(st.sampled_from(sorted(arrays)), min_size=1, max_size=3)):
        arrays[name] = SPOILED[draw(st.sampled_from(sorted(SPOILED)))](arrays[name])
    try:
        losses = train(arrays)
    except InputError:
        return
    assert losses.shape == (2,)


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_mixture_is_trained_on_or_refused(data: Any) -> None:
    spoiled_at_random(data.draw)


@pytest.mark.slow
@given(st.data())
@settings(max_examples=20_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_of_many_mixtures_is_trained_on_or_refused(data: Any) -> None:
    spoiled_at_random(data.draw)
