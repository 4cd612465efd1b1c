"""Missing values of a feature that float32 cannot hold: the offset goes first, filling second."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from grulight.data.datamodule import SequenceDataModule
from grulight.data.readers import Given, ReadOptions, read
from grulight.errors import InputError
from grulight.exporting.signature import signature_of
from grulight.exporting.subject import subject_of
from grulight.runs.checkpoint import load_classifier
from grulight.runs.ensemble import Ensemble
from grulight.training.classifier import GRUClassifier

Run = Callable[..., str]
FILLS = ("last", "mean", "mask")
G = np.random.default_rng(5)
LABELS = np.arange(20) % 2
OFFSET = np.array([1e9, 0])
X = OFFSET + G.normal(size=(20, 6, 2))
X[G.random(X.shape) < 0.2] = np.nan
X[:, -1] = OFFSET + G.normal(size=(20, 2))  # a wide table would take it for the end
TRAIN = 16


def frame() -> pd.DataFrame:
    n, t = (each.ravel() for each in np.indices(X.shape[:2]))
    columns = {"sequence": n, "time": t, "label": LABELS[n]}
    return pd.DataFrame(columns | {"a": X[n, t, 0], "b": X[n, t, 1]})


def wide() -> pd.DataFrame:
    steps = {f"{name}_{t}": X[:, t, at] for at, name in enumerate("ab") for t in range(6)}
    return pd.DataFrame({"sequence": np.arange(20), "label": LABELS} | steps)


def lists() -> pd.DataFrame:
    columns = {name: [*X[:, :, at]] for at, name in enumerate("ab")}
    return pd.DataFrame({"sequence": np.arange(20), "label": LABELS} | columns)


def sources() -> dict[str, tuple[Any, dict[str, Any]]]:
    frame().to_csv("a.csv", index=False)
    frame().to_csv("b.csv.gz", index=False, sep=";", decimal=",")
    frame().to_parquet("a.parquet")
    np.savez("mapped.npz", x=X, y=LABELS)
    np.savez_compressed("packed.npz", x=X, y=LABELS)
    wide().to_csv("wide.csv", index=False)
    files = ("a.csv", "b.csv.gz", "a.parquet", "mapped.npz", "packed.npz")
    rest = {"frame": frame(), "arrays": (X, LABELS), "lists": lists()}
    layout = {"layout": "wide"}
    return {name: (name, {}) for name in files} | {
        **{name: (given, {}) for name, given in rest.items()},
        **{"wide.csv": ("wide.csv", layout), "wide frame": (wide(), layout)},
    }


def filled(kind: str, offset: Any) -> NDArray[np.float64]:
    """Fill the values less an offset (N, T, F), step by step in float64."""
    exact = X - offset
    means = np.nanmean(exact[:TRAIN], axis=(0, 1))
    found, absent, since = exact.copy(), np.isnan(exact), np.zeros_like(exact)
    for n, t, f in np.argwhere(absent):
        before = found[n, t - 1, f] if t and kind != "mean" else means[f]
        found[n, t, f] = before
        since[n, t, f] = since[n, t - 1, f] + 1 if t else 1
    return np.concatenate([found, absent, since], axis=2) if kind == "mask" else found


@pytest.mark.parametrize("kind", FILLS)
def test_every_source_is_read_less_the_offset_and_then_filled(kind: Any) -> None:
    for name, (source, more) in sources().items():
        data = SequenceDataModule(source, standardize=True, missing=kind, **more)
        assert data.offset is not None, name
        assert data.offset[1:] == [0] * (data.input_size - 1), name
        expected = filled(kind, data.offset[:2])
        parts = (data.parts.train, data.parts.test)
        held = np.concatenate([np.asarray(part.values[:, :]) for part in parts])
        np.testing.assert_allclose(held, expected, rtol=1e-6, atol=1e-6, err_msg=name)
        flat = expected[:TRAIN].reshape(-1, data.input_size)
        np.testing.assert_allclose(data.mean or [], flat.mean(axis=0), atol=1e-6, err_msg=name)
        np.testing.assert_allclose(data.scale or [], flat.std(axis=0), rtol=1e-5, err_msg=name)
        [note] = data.notes
        assert "is subtracted from feature" in note, name


@pytest.mark.parametrize("kind", FILLS[1:])
def test_a_checkpoint_subtracts_and_fills_as_its_training_did(run: Run, kind: str) -> None:
    frame().to_csv("a.csv", index=False)
    train = ("--data.standardize", "true", "--data.missing", kind, "--trainer.max_epochs", 1)
    run("fit", "--data.source", "a.csv", *train)
    last = next(Path().rglob("last.ckpt"))
    classifier = load_classifier(last)
    offset = np.array(classifier.hparams["offset"])
    values = filled(kind, offset[:2]) + offset
    expected = classifier.predict_proba(values)[:, 1]
    assert np.ptp(expected) > 1e-3
    config = last.parents[1] / "config.yaml"
    for settings in ([], ["--config", config]):
        run(
            "predict", *settings, "--ckpt_path", last, "--data.source", "a.csv", "--output", "p.csv"
        )
        np.testing.assert_allclose(pd.read_csv("p.csv")["probability_1"], expected, atol=1e-5)
    run("test", "--ckpt_path", last, "--data.source", "a.csv")
    assert "is subtracted from feature 'a'" in run("trace", last, "-o", "page.html")
    answers = classifier.predict(frame().drop(columns="label"))
    np.testing.assert_allclose(answers["probability_1"], expected, atol=1e-5)
    np.testing.assert_allclose(classifier.predict("a.csv")["probability_1"], expected, atol=1e-5)
    with_steps = classifier.predict(wide().drop(columns="label"), layout="wide")
    np.testing.assert_allclose(with_steps["probability_1"], expected, atol=1e-5)


def test_an_export_says_both_that_it_leaves_to_its_caller(run: Run) -> None:
    frame().to_csv("a.csv", index=False)
    train = ("--data.standardize", "true", "--data.missing", "mean", "--trainer.max_epochs", 1)
    run("fit", "--data.source", "a.csv", *train)
    said = signature_of(subject_of(next(Path().rglob("last.ckpt")), lengths=False), ".onnx")
    assert "subtract first" in said["standardisation"]
    assert "to be filled before, as missing='mean' does" in said["missing values"]


def test_sequences_that_a_program_gives_keep_their_offset() -> None:
    known = SequenceDataModule((X[:, -1:], LABELS), standardize=True).parts.train
    assert known.offset is not None
    assert read(Given(known)).offset == known.offset
    np.testing.assert_array_equal(np.asarray(read(Given(known)).values), np.asarray(known.values))
    other = (known.offset[0] + 1, 2.0)
    again = read(Given(known), ReadOptions(offset=other))
    assert again.offset == other
    moved = np.asarray(known.values[:, :]) - np.float32([1, 2])
    np.testing.assert_allclose(np.asarray(again.values[:, :]), moved, atol=1e-6)


@pytest.mark.parametrize("name", ["offset", "fill"])
def test_an_ensemble_reads_alike_or_is_refused(name: str) -> None:
    alike = {"offset": [1e9, 0.0], "missing": "mean", "fill": [0.5, 0.0]}
    others = alike | {name: [1.0, 2.0]}
    members = [GRUClassifier(2, 2, **each) for each in (alike, alike, others)]  # type: ignore[arg-type]
    Ensemble(members[:2], ["a", "b"])
    with pytest.raises(InputError, match=f"c: has another {name} than a"):
        Ensemble(members, ["a", "b", "c"])
