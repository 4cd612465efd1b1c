"""The page of every kind of answer: its numbers are Keras' own."""

import base64
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grulight.cli import main
from grulight.data.datamodule import SequenceDataModule
from grulight.data.readers.targets import Kind
from grulight.data.waves import waves
from grulight.trace.answers import Answers
from grulight.trace.class_answers import ClassAnswers
from grulight.trace.commentary import headline, insight, questions
from grulight.trace.inference import ask
from grulight.trace.label_answers import LabelAnswers
from grulight.trace.page import write_page
from grulight.trace.past_run import load_run
from grulight.trace.recorder import Epoch
from grulight.trace.stages import record_stages
from grulight.trace.value_answers import ValueAnswers
from grulight.training.classifier import GRUClassifier
from tests.keras_files.test_keras_heads import CASES, saved

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SHOWN = {
    "class": ("tells 0, 1 and 2 apart", "Confusion matrix", "beginning"),
    "sentiment": ("tells 0 and 1 apart", "Confusion matrix", "whole"),
    "tags, padding masked by the model": ("apart at every step", "Steps of each class", "step"),
    "switch per step, lengths given": ("apart at every step", "Confusion matrix", "step"),
    "several labels": ("says which of label 0, label 1", "Each label", "beginning"),
    "forecast": ("predicts a value<", "Errors of each value", "beginning"),
    "value per step": ("predicts a value at every step", "Errors of each value", "step"),
    "values at other steps": ("predicts value 0 and value 1", "Errors of each value", "own"),
}
LAST = Path("lightning_logs/version_0/checkpoints/last.ckpt")


def drawn(path: Path) -> dict[str, Any]:
    found = re.search(r'id="data">(.*?)</script>', path.read_text(), re.S)
    assert found
    trace: dict[str, Any] = json.loads(found[1])["trace"]
    return trace


def unpacked(packed: dict[str, Any]) -> np.ndarray:
    whole = np.frombuffer(base64.b64decode(packed["data"]), "<u2").reshape(-1, packed["rows"])
    return packed["low"] + whole * (packed["high"] - packed["low"]) / 65535


@pytest.mark.parametrize("name", SHOWN)
def test_page_shows_what_keras_answers_and_what_is_true(run: Callable[..., str], name: str) -> None:
    case, (title, section, asked) = CASES[name], SHOWN[name]
    model, data = saved(case)
    run("port", "model.h5", "-o", "model.ckpt")
    run("trace", "model.ckpt", "--data", data[1], "--sequence", "3", "-o", "page.html")
    page = Path("page.html").read_text()
    assert title in page
    assert section in page
    trace = drawn(Path("page.html"))
    assert trace["asked"] == asked
    shown = trace["sequences"][0]
    theirs = model.predict(case.x[3:4], verbose=0)[0]
    true = np.asarray(case.y[3])
    if theirs.ndim == 2:
        theirs, true = (each[np.array(shown["answered"]) - 1] for each in (theirs, true))
    else:
        theirs, true = theirs[None], true[None]
    if trace["kind"] == "classes":
        true = np.eye(len(trace["names"]))[true.reshape(len(true)).astype(int)]
        theirs = np.hstack([1 - theirs, theirs]) if theirs.shape[1] == 1 else theirs
    ours = unpacked(shown["answers"])
    np.testing.assert_allclose(ours[-len(theirs) :], theirs, atol=1e-4)
    np.testing.assert_allclose(unpacked(shown["truth"]), true.reshape(len(theirs), -1), atol=1e-4)


@pytest.mark.parametrize("name", ["several labels", "value per step"])
def test_a_run_leaves_its_page_with_its_own_metric(run: Callable[..., str], name: str) -> None:
    _, data = saved(CASES[name])
    printed = run("fit", "--model.from_keras", "model.h5", *data, "--data.val_size", 4,
                  "--trainer.max_epochs", 2)  # fmt: skip
    assert "trace.html  (" in printed
    metric = CASES[name].metric[1]
    found = load_run(LAST)
    page = (LAST.parent.parent / "trace.html").read_text()
    for epoch in found.epochs:
        for stage in ("train", "val"):
            assert f">{epoch.metrics[f'{stage}_{metric}']:.4f}</td>" in page
    scores = dict(re.findall(r"^(loss|mae|accuracy) +([\d.]+)", printed, re.M))
    answers = ask(found.classifier, found.parts)
    assert answers.score == pytest.approx(float(scores[metric]), abs=6e-5)


def stepwise(kind: Kind) -> SequenceDataModule:
    rng = np.random.default_rng(0)
    x, lengths = rng.normal(size=(20, 7, 2)), rng.integers(3, 7, 20)
    y = {
        "classes": rng.integers(0, 3, (20, 7)),
        "labels": rng.integers(0, 2, (20, 7, 3)),
        "values": rng.normal(size=(20, 7)),
    }[kind]
    np.savez("a.npz", x=x, y=y, lengths=lengths)
    return SequenceDataModule("a.npz", targets=kind)


@pytest.mark.parametrize("kind", ["classes", "labels", "values"])
@pytest.mark.parametrize("both", [False, True])
def test_a_gru_shows_its_answer_to_each_step(kind: Kind, both: bool) -> None:
    data = stepwise(kind)
    classifier = GRUClassifier(**data.describe(), bidirectional=both, num_layers=2)
    write_page("page.html", classifier, data.parts)
    trace = drawn(Path("page.html"))
    assert trace["asked"] == "step"
    assert trace["per_step"]
    assert len(trace["layers"]) == 2 * (1 + both)
    part, shown = data.parts.test, trace["sequences"][0]
    [at] = [n for n, name in enumerate(part.ids) if shown["title"].endswith(f" {name}")]
    every = classifier.predict_proba(np.asarray(part.values), part.lengths)
    theirs = every[at, : part.lengths[at]]
    np.testing.assert_allclose(unpacked(shown["answers"]), theirs, atol=1e-4)


@pytest.mark.parametrize("both", [False, True])
def test_what_is_said_of_a_gru_that_answers_each_step_holds_of_each_step(both: bool) -> None:
    data = stepwise("values")
    classifier = GRUClassifier(**data.describe(), bidirectional=both)
    size = 16 * (1 + both)
    layers = record_stages(classifier, data.parts)[2:]
    # all sequences are shorter than their padding, the first too
    assert [stage.shape for stage in layers] == [f"16 × 7 × {size}", "16 × 7 × 1"]
    answers = ask(classifier, data.parts)
    about, _ = questions(classifier, answers, [], 16)
    assert f"16 × 7 × {size} represent" in about.text
    assert "One summary per time step" in about.answer
    assert "The time axis stays" in about.answer
    assert insight(classifier, answers).startswith("At each step the GRU turns what ")


def test_what_is_said_of_a_gru_that_answers_once_holds_of_the_sequence() -> None:
    data = SequenceDataModule()
    classifier = GRUClassifier(**data.describe())
    assert [each.shape for each in record_stages(classifier, data.parts)[2:]] == [
        "800 × 16",
        "800 × 3",
    ]
    answers = ask(classifier, data.parts)
    assert "The time axis is gone" in questions(classifier, answers, [], 800)[0].answer
    assert "into a summary of 16" in insight(classifier, answers)


def test_errors_of_values_in_units_of_their_own_are_compared_by_deviations() -> None:
    targets = np.array([[1000, 1], [3000, 3]] * 3, np.float32)  # deviations 1000 and 1
    predicted = targets + np.float32([500, 2])
    part = replace(waves(6), labels=targets, class_names=())
    found = ValueAnswers("test", part, np.arange(6), targets, predicted, 0.0, ("one", "two"),
                         np.arange(6))  # fmt: skip
    assert found.score == 251  # the metric stays Keras' own
    assert "1.25 deviations off on average" in found.result
    assert "the mean would be 1 deviations off" in found.without
    assert found.idle
    worse_in_thousands = targets + np.float32([990, 0])
    assert not replace(found, predicted=worse_in_thousands).idle
    assert "for two, 2 of its standard deviations" in found.doubt[1]
    said = found.tells(predicted[:1], targets[:1], np.array([5]))
    assert said == "It is 1.25 deviations off on average, most for two: 3 where the truth is 1."


def half_known(kind: type[Answers], share: float) -> Answers:
    """Answer right for a share of 80 sequences of 5 steps, for others as who reads nothing."""
    known = (np.arange(80) < 80 * share).repeat(5)
    truth = (np.arange(80) % 2).repeat(5)
    targets, names = truth[:, None].astype(np.float32), ("it",)
    predicted = np.where(known, truth, 0.5 if kind is ValueAnswers else 0.0)[:, None]
    if kind is ClassAnswers:
        targets, names = truth, ("no", "yes")
        predicted = np.hstack([1 - predicted, predicted])
    places, owners = np.arange(80), np.arange(80).repeat(5)
    return kind("test", waves(80), places, targets, predicted, 0.0, names, owners, True)


@pytest.mark.parametrize("kind", [ClassAnswers, LabelAnswers, ValueAnswers])
@pytest.mark.parametrize(
    ("share", "says"),
    [(0.0, "that answers no better than"), (0.03, "that answers hardly better than"), (0.5, "")],
)
def test_what_another_draw_of_sequences_may_turn_round_is_not_praised(
    kind: type[Answers], share: float, says: str
) -> None:
    answers = half_known(kind, share)
    said = headline(answers, [Epoch(1, {}, "")])
    assert said.startswith(says)
    assert (said == answers.does) == (says == "")


@pytest.mark.parametrize("kind", ["labels", "values", "steps"])
def test_commands_tell_from_the_checkpoint_what_labels_are(
    run: Callable[..., str], capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 5, 2))
    held, values = rng.integers(0, 2, (40, 3)), rng.normal(size=(40, 2)) * [100, 1]
    y = {"labels": held, "values": values, "steps": rng.integers(0, 2, (40, 5, 2))}[kind]
    np.savez("a.npz", x=x, y=y)
    np.savez("x.npz", x=x)
    wrong = y + 0.5 if kind == "labels" else y[..., :1] + 0.5
    np.savez("wrong.npz", x=x, y=wrong)
    targets = "values" if kind == "values" else "labels"
    run("fit", "--data.source", "a.npz", "--data.targets", targets, "--trainer.max_epochs", 1)
    run("pack", "a.npz", "-o", "packed", "--targets", targets)
    for source in ([], ["--data", "a.npz"], ["--data", "packed"]):
        run("trace", LAST, *source, "-o", "page.html")
        assert drawn(Path("page.html"))["kind"] == targets
    for source in ("a.npz", "packed"):
        options = ("--ckpt_path", LAST, "--data.source", source)
        assert "loss" in run("validate", *options, "--data.val_size", 8)
    expected = "has 2 features and 1 value" if kind == "values" else "expected 1 where a label hold"
    for source, problem in (("wrong.npz", expected), ("x.npz", "has no labels")):
        assert main(["trace", str(LAST), "--data", source]) == 2
        assert f"grulight trace: {source}: " in (said := capsys.readouterr().err)
        assert problem in said


def test_per_step_scores_leave_padding_out(run: Callable[..., str]) -> None:
    case = CASES["value per step"]
    _, data = saved(case)
    run("port", "model.h5", "-o", "model.ckpt")
    found = load_run(Path("model.ckpt"), data[1])
    answers = ask(found.classifier, found.parts)
    assert case.lengths is not None
    assert len(answers.targets) == found.parts.test.lengths.sum() < answers.part.labels[..., 0].size
    write_page("page.html", found.classifier, found.parts)
    assert f"the {len(answers.targets)} steps of all" in Path("page.html").read_text()


def test_data_of_another_kind_are_refused(
    run: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    _, data = saved(CASES["forecast"])
    run("port", "model.h5", "-o", "model.ckpt")
    _, data = saved(CASES["forecast of as many values as steps"])
    assert main(["trace", "model.ckpt", "--data", data[1]]) == 2
    message = capsys.readouterr().err
    assert "has 3 features and 6 values per sequence" in message
    assert "answers with 1 value per sequence" in message
