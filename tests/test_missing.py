"""Missing values are refused, or filled by what the training part says."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from grulight.cli import main
from grulight.commands.lightning_messages import silence_expected_warnings
from grulight.commands.tune_cli import TuneCLI
from grulight.data.batches import Batches
from grulight.data.datamodule import SequenceDataModule
from grulight.data.missing import Filling, fitted
from grulight.data.sequences import Sequences
from grulight.errors import InputError
from grulight.runs.checkpoint import load_classifier

Run = Callable[..., str]
NAN = np.nan
X = np.array(
    [
        [[1, NAN], [NAN, NAN], [NAN, 4], [3, NAN]],
        [[NAN, 2], [5, 2], [0, 0], [0, 0]],
        [[NAN, NAN], [NAN, 100], [7, 100], [100, 100]],
    ]
)
LENGTHS = np.array([4, 2, 4])
# of the first two sequences
MEANS = [3.0, 8 / 3]
LAST = [
    [[1, 8 / 3], [1, 8 / 3], [1, 4], [3, 4]],
    [[3, 2], [5, 2], [0, 0], [0, 0]],
    [[3, 8 / 3], [3, 100], [7, 100], [100, 100]],
]
MEAN = [
    [[1, 8 / 3], [3, 8 / 3], [3, 4], [3, 8 / 3]],
    [[3, 2], [5, 2], [0, 0], [0, 0]],
    [[3, 8 / 3], [3, 100], [7, 100], [100, 100]],
]
ABSENT = [
    [[0, 1], [1, 1], [1, 0], [0, 1]],
    [[1, 0], [0, 0], [0, 0], [0, 0]],
    [[1, 1], [1, 0], [0, 0], [0, 0]],
]
SINCE = [
    [[0, 1], [1, 2], [2, 0], [0, 1]],
    [[1, 0], [0, 0], [0, 0], [0, 0]],
    [[1, 1], [2, 0], [0, 0], [0, 0]],
]
EXPECTED = {"last": LAST, "mean": MEAN, "mask": np.concatenate([LAST, ABSENT, SINCE], axis=2)}


def module(source: Any, **options: Any) -> SequenceDataModule:
    return SequenceDataModule(source, train_size=2, **options)


def test_each_fold_is_filled_by_its_own_training_part() -> None:
    x = np.where(np.arange(24) % 5, np.arange(24), NAN).reshape(12, 2, 1)
    np.savez("a.npz", x=x, y=np.arange(12) % 2)
    filled = {float(parts.fill[0]) for parts in trained_in_folds()}
    whole = SequenceDataModule("a.npz", train_size=1.0, missing="mean")
    assert len(filled) == 3
    assert np.mean([*filled]) == pytest.approx(whole.fill[0], abs=1)
    assert float(whole.fill[0]) not in filled


def trained_in_folds() -> list[SequenceDataModule]:
    """Return the data modules that `tune --folds 3` trains with."""
    arguments = ("--data.source=a.npz", "--data.train_size=1.0", "--data.missing=mean")
    cli = TuneCLI([*arguments, "--folds=3"], Console(quiet=True))
    cli.take({})
    silence_expected_warnings()
    modules = []
    for parts in cli.folds_of_training:
        cli.build(parts)
        assert np.isfinite(cli.datamodule.parts.train.values).all()
        modules.append(cli.datamodule)
    return modules


def frame() -> pd.DataFrame:
    rows = [
        (f"s{i}", t, "xyx"[i], *X[i, t]) for i, length in enumerate(LENGTHS) for t in range(length)
    ]
    return pd.DataFrame(rows, columns=["sequence", "time", "label", "a", "b"])


def sources() -> list[Any]:
    frame().to_csv("empty.csv", index=False)
    frame().to_csv("words.csv", index=False, na_rep="NaN")
    frame().fillna("?").to_csv("marks.csv", index=False, sep=";", decimal=",")
    frame().to_parquet("a.parquet")
    np.savez("a.npz", x=X, y=[0, 1, 0], lengths=LENGTHS)
    np.savez_compressed("b.npz", x=X, y=[0, 1, 0], lengths=LENGTHS)
    lists = [case[:length] for case, length in zip(X, LENGTHS, strict=True)]
    files = ["empty.csv", "words.csv", "marks.csv", "a.parquet", "a.npz", "b.npz"]
    return [*files, frame(), (lists, [0, 1, 0])]


@pytest.mark.parametrize("kind", EXPECTED)
def test_missing_values_of_every_source_are_filled_alike(kind: Any) -> None:
    for source in sources():
        data = module(source, missing=kind)
        np.testing.assert_allclose(data.fill or [], MEANS)
        values = [np.asarray(part.values) for part in (data.parts.train, data.parts.test)]
        np.testing.assert_allclose(np.concatenate(values), EXPECTED[kind], rtol=1e-6)
        assert data.input_size == len(data.feature_names) == (6 if kind == "mask" else 2)
        both = np.concatenate([np.asarray(part.values) for part in data.unlabelled])
        np.testing.assert_allclose(both, EXPECTED[kind], rtol=1e-6)


def test_without_the_option_they_are_refused_and_it_is_named() -> None:
    for source in sources():
        with pytest.raises(InputError, match="missing='mean', last or mask"):
            _ = module(source).parts


def test_infinite_values_are_no_missing_ones() -> None:
    x = X.copy()
    x[0, 0, 0] = np.inf
    for source in ((x, [0, 1, 0]), frame().assign(a=np.inf)):
        with pytest.raises(InputError, match="infinite"):
            _ = module(source, missing="last").parts


def test_a_feature_without_values_is_refused() -> None:
    with pytest.raises(InputError, match="feature 'a' has no value in the training part"):
        _ = module(frame().assign(a=NAN), missing="mean").parts


@pytest.mark.parametrize("kind", EXPECTED)
def test_mapped_values_are_filled_batch_by_batch(kind: Any) -> None:
    np.savez("a.npz", x=X, y=[0, 1, 0], lengths=LENGTHS)
    part = module("a.npz", missing=kind).parts.train
    assert not isinstance(part.values, np.ndarray)
    for size in (1, 2):
        batches = [batch.values.numpy() for batch in Batches(part, size)]
        for batch, row in zip(batches, range(0, 2, size), strict=True):
            expected = np.float32(EXPECTED[kind])[row : row + size, : batch.shape[1]]
            np.testing.assert_array_equal(batch, expected)


def test_filling_is_the_same_in_any_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    values = generator.normal(size=(50, 9, 3)).astype(np.float32)
    values[generator.random(values.shape) < 0.3] = NAN
    lengths = generator.integers(1, 10, 50)
    whole = Sequences(values, lengths, None, (), tuple("abc"), np.arange(50).astype(str), "it")
    for kind in ("last", "mean", "mask"):
        once: Filling = fitted(kind, whole)
        filled = once(whole).values
        monkeypatch.setattr("grulight.data.missing._CHUNK", 60)
        np.testing.assert_allclose(fitted(kind, whole).means, once.means)
        np.testing.assert_array_equal(once(whole).values, filled)
        assert np.isfinite(filled).all()


@pytest.mark.parametrize("kind", EXPECTED)
def test_a_checkpoint_fills_as_its_training_did(run: Run, kind: str) -> None:
    rows = pd.concat(
        [frame().assign(sequence=lambda f, i=i: f["sequence"] + str(i)) for i in range(4)]
    )
    rows.to_csv("a.csv", index=False)
    train = ("--data.source", "a.csv", "--data.standardize", "true", "--trainer.max_epochs", 1)
    run("fit", *train, "--data.missing", kind, "--data.train_size", "2")
    last = next(Path().rglob("last.ckpt"))
    rows[rows["sequence"].str.startswith("s2")].drop(columns="label").to_csv("new.csv", index=False)
    run("predict", "--ckpt_path", last, "--data.source", "new.csv")
    run("test", "--ckpt_path", last, "--data.source", "a.csv")
    run("trace", last)
    classifier = load_classifier(last)
    answers = classifier.predict(pd.read_csv("new.csv"))
    table = pd.read_csv("predictions.csv")
    assert (
        answers["sequence"].tolist() == table["sequence"].tolist() == [f"s2{i}" for i in range(4)]
    )
    np.testing.assert_allclose(answers["probability_x"], table["probability_x"], atol=1e-6)
    expected = classifier.predict_proba(np.float32(EXPECTED[kind])[2:], np.array([4]))
    np.testing.assert_allclose(answers["probability_x"], np.repeat(expected[:, 0], 4), atol=1e-6)


def test_other_numbers_than_the_checkpoint_has_are_not_made_up(
    run: Run, capsys: pytest.CaptureFixture[str], last_checkpoint: Path
) -> None:
    assert main(["predict", "--ckpt_path", str(last_checkpoint), "--data.missing", "last"]) == 2
    assert "the checkpoint was trained with error" in capsys.readouterr().err


def test_missing_values_are_packed_and_filled_as_from_the_source(run: Run) -> None:
    frame().to_csv("a.csv", index=False)
    np.savez("a.npz", x=X, y=[0, 1, 0], lengths=LENGTHS)
    for source in ("a.csv", "a.npz"):
        run("pack", source, "-o", f"{source}.packed", "--missing")
        assert json.loads(Path(f"{source}.packed", "index.json").read_text())["missing"] is True
        with pytest.raises(InputError, match=r"was packed with missing values\. missing='mean'"):
            _ = module(f"{source}.packed").parts
        for kind in EXPECTED:
            ours, theirs = (
                module(each, missing=kind).parts for each in (f"{source}.packed", source)
            )
            for mine, yours in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(mine.values, np.asarray(yours.values))
    assert main(["pack", "a.csv", "-o", "refused"]) == 2
    assert not Path("refused").exists()
