"""The page of every kind of answer: its numbers are Keras' own."""

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grulight.cli import main
from grulight.data.datamodule import SequenceDataModule
from grulight.trace.inference import ask
from grulight.trace.page import write_page
from grulight.trace.past_run import load_run
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


@pytest.mark.parametrize("kind", ["classes", "labels", "values"])
def test_a_gru_of_both_directions_shows_its_answer_to_each_step(kind: str) -> None:
    rng = np.random.default_rng(0)
    x, lengths = rng.normal(size=(20, 7, 2)), rng.integers(3, 8, 20)
    y = {
        "classes": rng.integers(0, 3, (20, 7)),
        "labels": rng.integers(0, 2, (20, 7, 3)),
        "values": rng.normal(size=(20, 7)),
    }[kind]
    np.savez("a.npz", x=x, y=y, lengths=lengths)
    data = SequenceDataModule("a.npz", targets=kind)
    classifier = GRUClassifier(**data.describe(), bidirectional=True, num_layers=2)
    write_page("page.html", classifier, data.parts)
    trace = drawn(Path("page.html"))
    assert trace["asked"] == "step"
    assert len(trace["layers"]) == 4
    part, shown = data.parts.test, trace["sequences"][0]
    [at] = [n for n, name in enumerate(part.ids) if shown["title"].endswith(f" {name}")]
    every = classifier.predict_proba(np.asarray(part.values), part.lengths)
    theirs = every[at, : part.lengths[at]]
    np.testing.assert_allclose(unpacked(shown["answers"]), theirs, atol=1e-4)


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
