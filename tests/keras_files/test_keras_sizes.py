"""Sizes that no array backs are refused before anything of that size is made."""

from pathlib import Path
from typing import Any

import configurations as c
import kerasbytes as kb
import numpy as np
import pytest
import torch

from grulight.errors import InputError
from grulight.keras_files.layers.registry import KINDS
from grulight.keras_files.port import load_keras
from grulight.keras_files.ported_model import PortedModel

HUGE = (1 << 31) - 1
TOO_LARGE = {
    "repeated vector": c.sequential(c.GRU, c.layer("RepeatVector", n=HUGE)),
    "padding": c.sequential(c.layer("ZeroPadding1D", padding=[0, HUGE])),
    "padding of open sequences": c.sequential(
        c.layer("ZeroPadding1D", padding=HUGE), shape=(None, 5)
    ),
    "more cropped than there is": c.sequential(c.layer("Cropping1D", cropping=[6, 6])),
    "repeated steps": c.sequential(*[c.layer("UpSampling1D", size=1 << 10)] * 3),
    "window of a convolution": c.sequential(
        c.layer("DepthwiseConv1D", kernel_size=2, dilation_rate=HUGE, padding="causal")
    ),
    "window of a pooling": c.sequential(
        c.layer("MaxPooling1D", pool_size=HUGE, strides=1, padding="same")
    ),
    "window of more steps than there are": c.sequential(
        c.layer("AveragePooling1D", pool_size=11, padding="valid")
    ),
    "tiles": c.functional((c.operation("Tile", repeats=[1, 1 << 20, 1 << 20]), [c.tensor("i")])),
    "repeats": c.functional((c.operation("Repeat", repeats=HUGE, axis=1), [c.tensor("i")])),
    "parts": c.functional(
        (c.operation("Repeat", repeats=1 << 20, axis=2), [c.tensor("i")]),
        (c.operation("Unstack", axis=2), [c.tensor("a")]),
    ),
    "scores of an attention": c.sequential(
        c.GRU,
        c.layer("RepeatVector", n=1 << 20),
        c.functional((c.layer("AdditiveAttention", use_scale=False), [[c.tensor("i")] * 2])),
    ),
    "many large tensors": c.sequential(
        c.layer("UpSampling1D", size=1 << 20), *[c.layer("Activation", activation="relu")] * 100
    ),
}


def opened(config: Any, folder: Path) -> PortedModel:
    """Open a file without arrays."""
    content = kb.native_hdf5({}, change=lambda file: file.require_group("layers"))
    return load_keras(kb.saved(folder, content), config=config)


@pytest.mark.parametrize("name", TOO_LARGE)
def test_size_that_no_array_backs_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected"):
        opened(TOO_LARGE[name], tmp_path)


@pytest.mark.parametrize("steps", [2, 3])
def test_what_sequences_would_grow_to_is_refused_before_they_do(steps: int, tmp_path: Path) -> None:
    growing = [c.layer("UpSampling1D", size=1 << 12)] * 2
    model = opened(c.sequential(*growing, shape=(None, 4)), tmp_path)
    with pytest.raises(InputError, match=r"UpSampling1D.*at most \d+ numbers"):
        model(torch.ones(2, steps, 4))


def test_batches_and_long_sequences_are_no_growth(tmp_path: Path) -> None:
    model = opened(c.sequential(c.layer("UpSampling1D", size=3), shape=(None, 1)), tmp_path)
    assert model(torch.ones(5000, 7, 1)).shape == (5000, 21, 1)
    assert model(torch.ones(1, 1 << 20, 1)).shape == (1, 3 << 20, 1)


@pytest.mark.parametrize(
    "names",
    [
        *(["training"], ["_modules"], ["forward"], ["T_destination"], ["my layer"], ["a.b/c"]),
        *(["a b", "a-b", "a_b"], ["a b_1_", "x-y", "a_b", "a b"], ["a_b_1_", "a b", "a_b"], [" "]),
    ],
)
def test_layers_may_have_any_names(names: list[str], tmp_path: Path) -> None:
    doubled = [c.layer("Rescaling", name=name, scale=2.0 + at) for at, name in enumerate(names)]
    model = opened(c.sequential(*doubled), tmp_path)
    x = torch.rand(2, 10, 5)
    expected = x * float(np.prod([2.0 + at for at in range(len(names))]))
    torch.testing.assert_close(model(x), expected)
    assert [row.name for row in model.table][1:] == names


def test_every_layer_is_in_the_configurations_that_are_changed() -> None:
    text = str(c.CONFIGURATIONS)
    without = {"ActivityRegularization", "GaussianDropout", "ThresholdedReLU", "Functional"}
    layers = {kind for kind in KINDS if " " not in kind} - without
    merging = {"Average", "Maximum", "Minimum", "Subtract"}  # as Add
    assert not [kind for kind in layers - merging if f"'{kind}'" not in text]
