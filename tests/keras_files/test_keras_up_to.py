"""`up_to` ends a model where it says and reads only what that needs; advice in refusals works."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from theirs import KERAS_3, Flavour, built, keras_2, quietly

import grulight
from grulight.errors import InputError

RANDOM = np.random.default_rng(2)


def code(k: Flavour, name: str = "code") -> Any:
    return k.Lambda(lambda x: 2 * x, name=name)


def in_steps(k: Flavour) -> Any:
    frame = k.Sequential(
        [k.Input((4,), name="in"), k.Dense(3, name="d"), code(k), k.Dense(2)], name="frame"
    )
    steps = [k.Dropout(0.1), k.TimeDistributed(frame, name="td"), k.GRU(3), k.Dense(2)]
    return k.Sequential([k.Input((5, 4), name="x"), *steps])


def first_in_steps(k: Flavour) -> Any:
    frame = k.Sequential([k.Input((4,), name="in"), code(k), k.Dense(2)], name="frame")
    steps = [k.Dense(4, name="before"), k.TimeDistributed(frame, name="td"), k.GRU(3)]
    return k.Sequential([k.Input((5, 4), name="x"), *steps])


def nested(k: Flavour) -> Any:
    a, b = k.Input((5, 4), name="a"), k.Input((5, 4), name="b")
    read = k.GRU(4, name="read", return_sequences=True)(a)
    tail = k.Dense(2, name="tail")(k.Add(name="add")([read, code(k)(b)]))
    inner = k.Model([a, b], tail, name="inner")
    x, y = k.Input((5, 4), name="x"), k.Input((5, 4), name="y")
    return k.Model([x, y], k.GRU(2, name="end")(inner([x, y])))


def read_twice(k: Flavour) -> Any:
    x = k.Input((5, 4), name="x")
    g = k.GRU(4, return_sequences=True, name="g")(x)
    return k.Model(x, k.GRU(3)(code(k)(k.Multiply(name="m")([g, g]))))


def at_once(k: Flavour) -> Any:
    x = k.Input((5, 4), name="x")
    return k.Model(x, k.GRU(3)(code(k)(x)))


FILES = [
    pytest.param(KERAS_3, "keras", id="keras 3"),
    pytest.param(keras_2(), "h5", id="tf_keras"),
    pytest.param(KERAS_3, "h5", id="keras 3 hdf5", marks=pytest.mark.slow),
    pytest.param(keras_2(), "keras", id="tf_keras zip", marks=pytest.mark.slow),
]
ADVISED: dict[str, tuple[Callable[[Flavour], Any], str | None, tuple[int, ...] | None]] = {
    "in a model for each step": (in_steps, "td/code", (2, 5, 3)),
    "first in a model for each step": (first_in_steps, "td/code", (2, 5, 4)),
    "in a model inside": (nested, None, None),
    "after a tensor that is read twice": (read_twice, "code", (2, 5, 4)),
    "with nothing before it": (at_once, None, None),
}


@pytest.mark.parametrize(("flavour", "suffix"), FILES)
@pytest.mark.parametrize(("build", "advice", "shape"), ADVISED.values(), ids=ADVISED)
def test_a_refusal_advises_only_what_can_be_done(
    tmp_path: Path, flavour: Flavour, suffix: str, build: Any, advice: str | None, shape: Any
) -> None:
    path = tmp_path / f"model.{suffix}"
    quietly(built(build, 1, flavour).save, path)
    with pytest.raises(InputError, match="'Lambda', which carries code") as refusal:
        grulight.load_keras(path)
    found = re.search(r"up_to='(.*?)'", str(refusal.value))
    assert (found and found[1]) == advice
    if advice is not None:
        answer = grulight.load_keras(path, up_to=advice)(torch.zeros(2, 5, 4))
        assert isinstance(answer, torch.Tensor)
        assert answer.shape == shape


@pytest.mark.parametrize(("flavour", "suffix"), FILES)
def test_a_layer_of_a_model_inside_is_named_by_its_path(
    tmp_path: Path, flavour: Flavour, suffix: str
) -> None:
    model = built(nested, 1, flavour)
    quietly(model.save, tmp_path / f"model.{suffix}")
    ported = grulight.load_keras(tmp_path / f"model.{suffix}", up_to="inner/read")
    assert ported.input_names == ("x",)
    x = RANDOM.normal(size=(2, 5, 4)).astype("float32")
    read = next(each for each in model.layers if each.name == "inner").get_layer("read")
    ours = ported(torch.from_numpy(x))
    np.testing.assert_allclose(ours.detach().numpy(), quietly(read, x), atol=1e-6)


def test_only_the_inputs_that_the_output_needs_are_asked_for(tmp_path: Path) -> None:
    def build(k: Flavour) -> Any:
        x, y = k.Input((5, 4), name="x"), k.Input((6, 3), name="y")
        ours, theirs = k.GRU(3, name="ours")(x), k.GRU(2, name="theirs")(y)
        return k.Model([x, y], k.Dense(2)(k.Concatenate(name="both")([ours, theirs])))

    model = built(build, 1)
    quietly(model.save, tmp_path / "model.keras")
    names = {"ours": ("x",), "theirs": ("y",), "both": ("x", "y")}
    for up_to, expected in names.items():
        ported = grulight.load_keras(tmp_path / "model.keras", up_to=up_to)
        assert ported.input_names == expected
    y = RANDOM.normal(size=(2, 6, 3)).astype("float32")
    ours = grulight.load_keras(tmp_path / "model.keras", up_to="theirs")(torch.from_numpy(y))
    theirs = quietly(model.get_layer("theirs"), y)
    np.testing.assert_allclose(ours.detach().numpy(), theirs, atol=1e-6)


def test_a_checkpoint_of_a_part_opens_again(tmp_path: Path, run: Callable[..., str]) -> None:
    quietly(built(in_steps, 1).save, tmp_path / "model.keras")
    path = tmp_path / "part.ckpt"
    run("port", tmp_path / "model.keras", "--up-to", "td/d", "-o", path)
    x = torch.from_numpy(RANDOM.normal(size=(2, 5, 4)).astype("float32"))
    ours = grulight.load_keras(tmp_path / "model.keras", up_to="td/d")(x)
    assert torch.equal(grulight.load_keras(path)(x), ours)


def test_a_layer_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    quietly(built(in_steps, 1).save, tmp_path / "model.keras")
    for wrong in ("tdd", "td/", "td/nothing", "dropout/d"):
        with pytest.raises(InputError, match=r"no layer of this name, but . such as '"):
            grulight.load_keras(tmp_path / "model.keras", up_to=wrong)
