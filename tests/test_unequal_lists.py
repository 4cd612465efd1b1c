"""A list of arrays of unequal lengths is predicted as the padded array with its lengths is."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from grulight import GRUClassifier, InputError, load_classifier

LENGTHS = np.array([3, 1, 7, 4, 7])
LISTED = [np.random.default_rng(i).normal(size=(n, 2)).astype("f4") for i, n in enumerate(LENGTHS)]
PADDED = np.zeros((5, 7, 2), np.float32)
for row, case in zip(PADDED, LISTED, strict=True):
    row[: len(case)] = case
MODELS: dict[str, dict[str, Any]] = {
    "compiled": {},
    "offset": {"offset": [3.0, -1.0]},
    "torch": {"kernel": "torch"},
    "both_directions": {"bidirectional": True},
}


def of_objects() -> np.ndarray[Any, Any]:
    cases = np.empty(len(LISTED), object)
    cases[:] = LISTED
    return cases


@pytest.mark.parametrize("settings", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("of_a_checkpoint", [False, True])
def test_the_answers_have_the_bits_of_the_padded_array(
    settings: dict[str, Any], of_a_checkpoint: bool
) -> None:
    model = GRUClassifier(2, 3, **settings)
    if of_a_checkpoint:
        held = {"hyper_parameters": dict(model.hparams), "state_dict": model.state_dict()}
        torch.save({"grulight_format": 1, **held}, "model.ckpt")
        model = load_classifier(Path("model.ckpt"))
    expected = model.predict_proba(PADDED, LENGTHS)
    for given in (LISTED, tuple(LISTED), of_objects(), [torch.tensor(case) for case in LISTED]):
        np.testing.assert_array_equal(model.predict_proba(given), expected)
    equal = [LISTED[2], LISTED[4]]
    np.testing.assert_array_equal(model.predict_proba(equal), model.predict_proba(PADDED[[2, 4]]))


@pytest.mark.parametrize("which", [[0, 1, 2, 3, 4], [2, 4], [3]], ids=["unequal", "equal", "one"])
def test_one_feature_needs_no_axis(which: list[int]) -> None:
    model = GRUClassifier(1, 2)
    expected = model.predict_proba(PADDED[which, : max(LENGTHS[which]), :1], LENGTHS[which])
    given = [LISTED[at][:, 0] for at in which]
    np.testing.assert_array_equal(model.predict_proba(given), expected)


@pytest.mark.parametrize(
    ("given", "lengths", "says"),
    [
        (LISTED, LENGTHS, "lengths: sequences of a list have their own"),
        ([LISTED[0], LISTED[1][:, :1]], None, r"values\[1\] is of shape \(1, 1\)"),
        ([LISTED[0], np.array([["a", "b"]])], None, r"values\[1\] .* holds <U1, expected numbers"),
        ([LISTED[0], LISTED[1][:0]], None, "length"),
        ([LISTED[0], []], None, r"values\[1\] has the length 0, expected at least one step"),
        ([np.zeros((0, 2))] * 2, None, r"values\[0\] has the length 0"),
        ([np.float32(1), LISTED[0]], None, r"values\[0\] is of shape \(\) and holds float32"),
        ([np.ma.array(LISTED[0])], None, "masked array; fill it first"),
        ([LISTED[2], np.ma.array(LISTED[4])], LENGTHS[[2, 4]], "masked array; fill it first"),
        ([LISTED[0], np.ma.array(LISTED[1])], None, "masked array; fill it first"),
        ([], None, "expected"),
        ([LISTED[0], None], None, "expected numbers"),
    ],
)
def test_a_list_that_holds_something_else_is_refused(given: Any, lengths: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        GRUClassifier(2, 3).predict_proba(given, lengths)
