import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from grulight.errors import InputError
from parity.cases import Case
from parity.check import in_onnx
from parity.controls.wrong_answers import bias_rows_swapped, gates_not_permuted
from parity.question import Arrays, Network, Question
from parity.sides.onnx_side import PACKAGES, OnnxSide, in_float32, reference

NETWORKS = {
    "default": Network(5, 3),
    "two layers, two ways": Network(4, 3, 7, num_layers=2, bidirectional=True),
    "binary without bias": Network(3, 1, 6, bias=False),
    "one unit": Network(3, 2, 1),
    "values per step, two ways": Network(
        3, 2, 5, bidirectional=True, per_step=True, answer="values"
    ),
}


@pytest.fixture(scope="module")
def sides() -> dict[Network, OnnxSide]:
    for package in PACKAGES:
        pytest.importorskip(package, reason=f"needs {package} of the extra onnx")
    return {network: OnnxSide(network) for network in NETWORKS.values()}


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_exported_network_computes_the_reference(
    network: Network, sides: dict[Network, OnnxSide]
) -> None:
    cases = Case("short", network), Case("long_and_other_batch", network, batch=3, time=67)
    found = in_onnx(sides[network], [case.question() for case in cases])
    assert found.same, found
    assert 0 < found.relative <= 1e-6
    assert found.floor is not None
    assert found.tensor in ("logits", "summary")


@pytest.mark.parametrize("mistake", [gates_not_permuted, bias_rows_swapped])
def test_wrong_weights_are_noticed(
    mistake: Callable[[str, Arrays], np.ndarray], sides: dict[Network, OnnxSide]
) -> None:
    side = sides[NETWORKS["default"]]

    class Wrong(OnnxSide):
        def __init__(self) -> None:
            vars(self).update(vars(side))

        def __call__(self, question: Question) -> Arrays:
            gru = [name for name in question.weights if name.startswith("gru.")]
            wrong = {name: mistake(name, question.weights) for name in gru}
            return super().__call__(replace(question, weights={**question.weights, **wrong}))

    found = in_onnx(Wrong(), [Case("random", side.network).question()])
    assert not found.same
    assert found.relative >= 1000 * found.bound


def test_reference_starts_from_the_same_float32_numbers(sides: dict[Network, OnnxSide]) -> None:
    asked = in_float32(Case("random", NETWORKS["default"]).question())
    assert asked.inputs.keys() == {"values", "labels"}
    assert asked.dtype == "float32"
    assert {array.dtype for array in reference(asked).values()} == {np.dtype("float64")}


def test_what_an_exported_network_cannot_take_is_refused(sides: dict[Network, OnnxSide]) -> None:
    question = Case("random", NETWORKS["default"]).question().as_dtype("float32")
    with pytest.raises(ValueError, match="full lengths and no initial state"):
        sides[question.network](question)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_missing_package_is_named_with_the_way_to_get_it(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=r"check --onnx: needs \w+ .*'grulight\[onnx\]'"):
        OnnxSide(NETWORKS["default"])
