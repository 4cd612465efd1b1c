"""Scores of a whole part are scikit-learn's, in any batches, and say where they have no value."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn import metrics as theirs
from torch import Tensor
from torchmetrics.regression import R2Score

from grulight.heads import ClassHead, Head, LabelHead, ValueHead
from grulight.training import ranking_scores
from grulight.training.part_scores import left_out, logged, scores_for
from grulight.training.value_scores import ValueScores
from tests.test_cli import long_csv

Run = Callable[..., str]


def scored(head: Head, answers: Tensor, targets: Tensor, each: int = 7) -> dict[str, float]:
    """Return the scores of answers that come in batches of a few."""
    scores = scores_for(head)
    for batch in zip(answers.split(each), targets.split(each), strict=True):
        scores.update(*batch)
    return {name: float(value) for name, value in logged(scores).items()}


def test_ranking_of_classes_is_scikit_learns_one_against_the_rest() -> None:
    logits, classes = torch.randn(50, 4), torch.randint(0, 4, (50,))
    found = scored(ClassHead(4), logits, classes)
    shares, one_hot = logits.softmax(1), np.eye(4)[classes]
    expected = theirs.roc_auc_score(classes, shares, multi_class="ovr")
    assert found["roc_auc"] == pytest.approx(expected, abs=1e-6)
    expected = theirs.average_precision_score(one_hot, shares)
    assert found["average_precision"] == pytest.approx(expected, abs=1e-6)


def test_of_two_classes_the_second_is_looked_for() -> None:
    logits, classes = torch.randn(50, 1).round(decimals=1), torch.randint(0, 2, (50,))
    found = scored(ClassHead(1), logits, classes)
    expected = theirs.roc_auc_score(classes, logits[:, 0])  # with ties
    assert found["roc_auc"] == pytest.approx(expected, abs=1e-6)
    expected = theirs.average_precision_score(classes, logits[:, 0])
    assert found["average_precision"] == pytest.approx(expected, abs=1e-6)


def test_labels_of_each_step_are_ranked_one_by_one() -> None:
    logits, labels = torch.randn(20, 3, 4), torch.randint(0, 2, (20, 3, 4)).float()
    found = scored(LabelHead(4, per_step=True), logits, labels)
    flat = labels.reshape(-1, 4), logits.reshape(-1, 4)
    assert found["roc_auc"] == pytest.approx(theirs.roc_auc_score(*flat), abs=1e-6)
    expected = theirs.average_precision_score(*flat)
    assert found["average_precision"] == pytest.approx(expected, abs=1e-6)


def test_classes_that_do_not_occur_are_named_and_left_out() -> None:
    logits, classes = torch.randn(30, 3), torch.randint(0, 2, (30,))
    scores = scores_for(ClassHead(3))
    scores.update(logits, classes)
    shares, one_hot = logits.softmax(1), np.eye(3)[classes]
    each = [theirs.roc_auc_score(one_hot[:, c], shares[:, c]) for c in (0, 1)]
    assert float(logged(scores)["roc_auc"]) == pytest.approx(np.mean(each), abs=1e-6)
    line = left_out(scores, ("up", "down", "still"))
    assert line is not None
    assert "average precision without still: which none" in line


@pytest.mark.parametrize("head", [ClassHead(1), ClassHead(3)], ids=["two", "three"])
def test_a_part_of_one_class_has_no_ranking(head: Head) -> None:
    scores = scores_for(head)
    scores.update(torch.randn(5, head.size), torch.zeros(5, dtype=torch.long))
    assert logged(scores) == {}
    assert left_out(scores, tuple("abc"[: head.num_classes])) is not None


def test_more_probabilities_than_fit_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking_scores, "MOST", 60)
    scores = scores_for(ClassHead(3))
    for _ in range(3):
        scores.update(torch.randn(10, 3), torch.randint(0, 3, (10,)))
    assert sum(map(len, scores.probabilities)) < 20
    assert logged(scores) == {}
    line = left_out(scores, ("up", "down", "still"))
    assert line is not None
    assert "more than" in line


@pytest.mark.parametrize(("far", "scale"), [(0, 1), (1e9, 1), (0, 1e-6), (-3, 1e-4)])
def test_errors_of_values_are_scikit_learns_wherever_they_lie(far: float, scale: float) -> None:
    true = far + scale * torch.randn(40, 2, dtype=torch.float64)
    answers = true + 0.3 * scale * torch.randn(40, 2, dtype=torch.float64)
    found = scored(ValueHead(2), answers, true)
    assert found["r2"] == pytest.approx(theirs.r2_score(true, answers), rel=1e-9)
    expected = theirs.mean_squared_error(true, answers) ** 0.5
    assert found["rmse"] == pytest.approx(expected, rel=1e-9)
    if (far, scale) == (0, 1):
        library = R2Score()(answers, true)
        assert found["r2"] == pytest.approx(float(library), rel=1e-6)


def test_values_of_several_processes_are_counted_as_those_of_one() -> None:
    true, answers = 100 + torch.randn(2, 31, 3)
    whole, halves = (
        ValueScores(ValueHead(3)),
        (ValueScores(ValueHead(3)), ValueScores(ValueHead(3))),
    )
    whole.update(answers, true)
    for scores, rank in zip(halves, range(2), strict=True):
        scores.update(answers[rank::2], true[rank::2])
        scores.update(answers[:0], true[:0])
    both = ValueScores(ValueHead(3))
    for name in ("count", "mean", "squares", "errors"):  # as torchmetrics gathers them
        setattr(both, name, torch.stack([getattr(each, name) for each in halves]))
    both._update_count = 1
    torch.testing.assert_close(both.compute(), whole.compute(), rtol=1e-10, atol=0)


def test_a_value_that_never_changes_is_named() -> None:
    true = torch.stack((torch.full((99,), 0.1), torch.randn(99)), 1).double()
    scores = scores_for(ValueHead(2))
    for batch in true.split(7):
        scores.update(batch + 0.5, batch)
    found = logged(scores)
    expected = theirs.r2_score(true[:, 1], true[:, 1] + 0.5)
    assert float(found["r2"]) == pytest.approx(expected, rel=1e-5)
    assert left_out(scores, ("a", "b")) == "r2 without a: the same all over this part"


def test_a_test_names_the_class_that_its_part_lacks(run: Run) -> None:
    labels = {f"s{i}": "xyz"[i % 3] for i in range(48)} | {f"t{i}": "xy"[i % 2] for i in range(12)}
    long_csv(Path("d.csv"), labels)
    printed = run("fit", "--data.source", "d.csv", "--trainer.max_epochs", 1)
    assert "roc auc and average precision without z" in printed
    table = {line.split()[0]: line.split()[1:] for line in printed.splitlines() if line.strip()}
    assert table["roc"][0] == "auc"
    assert "none" in printed[printed.index("class  precision") :]


def test_scaled_values_are_scored_in_their_own_units() -> None:
    true = 500 + 10 * torch.randn(60, 2).double()
    scaled = ValueHead(2, mean=(500.0, 499.0), scale=(10.0, 9.0))
    answers = scaled.scaled(true, torch.float64) + 0.1
    scores, plain = scores_for(scaled), scores_for(ValueHead(2))
    scores.update(answers, true)
    plain.update(scaled.prediction(answers), true)
    assert logged(scores) == pytest.approx(logged(plain))
    assert float(logged(scores)["rmse"]) == pytest.approx((1 / 2 + 0.81 / 2) ** 0.5)
