"""The estimators read aeon's collections, and are estimators of aeon's."""

from typing import Any

import numpy as np
import pytest
from aeon.datasets import load_basic_motions, load_japanese_vowels

from grulight import SequenceClassifier
from grulight.estimators.for_aeon import AeonClassifier, AeonRegressor

QUICK: dict[str, Any] = {"max_epochs": 20, "lr": 0.01, "random_state": 0, "accelerator": "cpu"}


@pytest.mark.slow  # imports TensorFlow
@pytest.mark.filterwarnings("ignore")  # of aeon's own, on data of its own
@pytest.mark.parametrize("kind", [AeonClassifier, AeonRegressor])
def test_aeons_own_checks_hold(kind: Any) -> None:
    from aeon.testing.estimator_checking import check_estimator

    found = check_estimator(kind)
    assert len(found) >= 20
    assert {name: result for name, result in found.items() if result != "PASSED"} == {}


def test_a_list_of_unequal_channels_is_read_by_its_lengths() -> None:
    x, y = load_japanese_vowels(split="train")
    trained = SequenceClassifier(**QUICK).fit(x, y)
    assert trained.channels_first_
    assert trained.n_features_in_ == 12
    assert trained.score(x, y) > 0.9
    assert trained.classes_.tolist() == np.unique(y).tolist()


def test_aeons_interface_is_the_same_training() -> None:
    x, y = load_basic_motions(split="train")
    ours = SequenceClassifier(**QUICK, channels_first=True).fit(x, y)
    theirs = AeonClassifier(SequenceClassifier(**QUICK)).fit(x, y)
    assert (ours.predict_proba(x) == theirs.predict_proba(x)).all()
