"""Long series are cut into windows, each labelled by a later value of a feature."""

import csv
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from lightning.pytorch import Trainer

from grulight.cli import main
from grulight.commands.console import open_console
from grulight.commands.pack import packed
from grulight.data.batches import Batches
from grulight.data.datamodule import SequenceDataModule
from grulight.data.folds import folds
from grulight.data.lazy_values import StoredValues
from grulight.data.readers import ReadOptions
from grulight.data.sequences import Sequences
from grulight.errors import InputError
from grulight.runs.checkpoint import load_classifier
from grulight.training.classifier import GRUClassifier

Run = Callable[..., str]
LENGTHS = {"a": 60, "b": 40, "c": 7}
WINDOW, HORIZON = 6, 3


def frame(**lengths: int) -> pd.DataFrame:
    """Return series whose temperature is the step, and 1000 more for each series."""
    rows = [
        (name, t, 1000 * at + t, -float(t))
        for at, (name, count) in enumerate((lengths or LENGTHS).items())
        for t in range(count)
    ]
    return pd.DataFrame(rows, columns=["sequence", "time", "temperature", "pressure"])


def module(source: Any, **options: Any) -> SequenceDataModule:
    wanted = {"label": "temperature", "window": WINDOW, "horizon": HORIZON}
    return SequenceDataModule(source, **wanted | options)


def steps_of(part: Sequences) -> list[tuple[int, int, int]]:
    """Return the first and the last step of each window, and the one that is forecast."""
    values = np.asarray(part.values)[..., 0]
    assert (np.diff(values, axis=1) == 1).all()
    labels = np.full(len(part), -1) if part.labels is None else part.labels[:, 0]
    return [tuple(map(int, each)) for each in zip(values[:, 0], values[:, -1], labels, strict=True)]


def array_of(source: pd.DataFrame) -> np.ndarray:
    series = [
        group[["temperature", "pressure"]].to_numpy() for _, group in source.groupby("sequence")
    ]
    x = np.zeros((len(series), max(map(len, series)), 2))
    for row, each in zip(x, series, strict=True):
        row[: len(each)] = each
    return x


def sources() -> dict[str, Any]:
    """Return the same series in every form that can be cut."""
    table = frame()
    table.to_csv("a.csv", index=False)
    mixed = table.sample(frac=1, random_state=0).sort_values("sequence", kind="stable")
    mixed.to_parquet("a.parquet", index=False)
    table.assign(label="x").to_csv("labelled.csv", index=False)
    features = ("temperature", "pressure")
    packed("labelled.csv", "packed", ReadOptions(features=features), open_console())
    names = {"feature_names": np.array(features), "lengths": np.array([*LENGTHS.values()])}
    np.savez("a.npz", x=array_of(table), ids=np.array([*LENGTHS]), **names)
    np.savez_compressed("z.npz", x=array_of(table), ids=np.array([*LENGTHS]), **names)
    forms = {name: name for name in ("a.csv", "a.parquet", "packed", "a.npz", "z.npz")}
    return forms | {"frame": table}


@pytest.mark.parametrize("form", ["a.csv", "a.parquet", "packed", "a.npz", "z.npz", "frame"])
def test_a_window_is_labelled_by_what_comes_so_many_steps_after_it(form: str) -> None:
    data = module(sources()[form], val_size=0.25)
    assert data.feature_names == ["temperature", "pressure"]
    assert (data.num_values, data.num_classes, data.per_step) == (1, 0, False)
    found = [steps_of(part) for part in data.parts]
    # 48 and 32 steps train, a quarter of which validates; c is too short
    assert found[0] == [
        *((t, t + 5, t + 8) for t in range(36 - 8)),
        *((1000 + t, 1005 + t, 1008 + t) for t in range(24 - 8)),
    ]
    assert found[1] == [(36 + t, 41 + t, 44 + t) for t in range(4)]
    assert found[2] == [(48 + t, 53 + t, 56 + t) for t in range(4)]
    assert data.parts.train.ids[[0, -1]].tolist() == ["a@8", "b@23"]
    assert len(data.notes) == 3
    assert "2 of 3 series have too few steps in the test part" in data.notes[2]


def test_no_part_sees_a_step_of_another() -> None:
    for train_size, val_size in ((0.8, 0.25), (30, 12), (0.5, 0.5)):
        data = module(frame(), train_size=train_size, val_size=val_size)
        seen: set[int] = set()
        for part in data.parts:
            steps = {t for first, last, y in steps_of(part) for t in (*range(first, last + 1), y)}
            assert not seen & steps
            seen |= steps


def test_every_window_is_predicted_also_those_whose_target_is_not_known() -> None:
    [part] = module(frame()).unlabelled
    assert part.labels is None
    assert len(part) == 55 + 35 + 2
    ends = [int(each.split("@")[1]) for each in part.ids]
    np.testing.assert_array_equal(ends, np.array([s[1] % 1000 for s in steps_of(part)]) + HORIZON)
    assert part.ids[-1] == "c@9"  # of steps 0 to 6


def test_a_table_without_a_sequence_column_is_one_series() -> None:
    one = frame(a=60).drop(columns="sequence")
    data = module(one)
    assert steps_of(data.parts.train) == [(t, t + 5, t + 8) for t in range(40)]
    assert data.parts.train.ids[0] == "0@8"
    with pytest.raises(InputError, match="no sequence column"):
        _ = SequenceDataModule(one, label="temperature", targets="values").parts


def test_the_only_feature_needs_no_name_and_others_may_be_left_out() -> None:
    x = np.arange(60, dtype=np.float32).reshape(1, 60)
    data = SequenceDataModule(x, window=6)
    assert data.parts.train.labels[0] == 6
    without = module(frame(a=60), features=["pressure"])
    assert without.feature_names == ["pressure"]
    assert without.parts.train.labels[0] == 8
    assert without.parts.train.values.shape == (40, 6, 1)
    assert without.unlabelled[0].feature_names == ("pressure",)


def test_a_test_source_is_cut_as_a_whole() -> None:
    data = module(frame(a=30), test_source=frame(d=20), val_size=10)
    assert [len(part) for part in data.parts] == [12, 2, 12]


def test_standardising_counts_each_step_of_the_training_part_once() -> None:
    source = frame(a=60, b=45)
    source["pressure"] = np.random.default_rng(0).normal(5, 2, len(source)) ** 3
    train = [group.iloc[: round(0.8 * len(group))] for _, group in source.groupby("sequence")]
    expected = pd.concat(train)[["temperature", "pressure"]]
    data = module(source, standardize=True)
    np.testing.assert_allclose(data.mean, expected.mean())
    np.testing.assert_allclose(data.scale, expected.std(ddof=0))


def test_an_offset_is_no_part_of_the_label() -> None:
    source = frame(a=60)
    source["temperature"] += 1e9
    for given in (source, np.asarray(source[["temperature", "pressure"]])[None]):
        label = "temperature" if given is source else "feature_0"
        data = module(given, standardize=True, label=label)
        assert data.offset[0] == pytest.approx(1e9, abs=100)
        np.testing.assert_allclose(data.parts.train.labels[:, 0], 1e9, rtol=1e-6)
        assert np.ptp(np.asarray(data.parts.train.values)[..., 0]) == 44


def test_missing_values_are_filled_and_missing_targets_left_out() -> None:
    source = frame(a=60)
    source.loc[[10, 20], "temperature"] = np.nan
    source.loc[30:33, "pressure"] = np.nan
    data = module(source, missing="last")
    train = data.parts.train
    assert not {"a@10", "a@20"} & set(train.ids)
    assert len(train) == 38
    assert "2 windows of the training part are left out" in data.notes[0]
    values = np.asarray(train.values)
    assert np.isfinite(values).all()
    assert values[train.ids == "a@15"][0, :, 0].tolist() == [7, 8, 9, 9, 11, 12]
    known = source.iloc[:48][["temperature", "pressure"]]
    np.testing.assert_allclose(data.fill, known.mean())
    masked = module(source, missing="mask", standardize=True)
    assert masked.input_size == 6
    assert np.isfinite(masked.scale).all()
    assert len(masked.unlabelled[0]) == 55


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"label": "humidity"}, "no feature 'humidity' to forecast"),
        ({"window": 0}, "window=0: expected"),
        ({"horizon": 0}, "horizon=0: expected"),
        ({"window": None}, "horizon=3: is for windows"),
        ({"window": 100}, "the longest has 48 of 60"),
        ({"window": 2**31, "horizon": 2**31}, "the longest has 48 of 60"),
        ({"split": "shuffled"}, "split='shuffled': is not for windows"),
        ({"targets": "classes"}, "targets='classes'"),
        ({"per_step": True}, "per_step=True"),
        ({"class_names": ["x", "y"]}, "class_names="),
        ({"train_size": 70}, "whole number of steps up to 60"),
        ({"train_size": 0.1}, "no series has enough steps"),
    ],
)
def test_what_cannot_be_cut_is_one_line(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as refusal:
        _ = module(frame(), **options).parts
    assert len(str(refusal.value)) <= 500


def test_folds_and_predictions_of_windows_that_cannot_be_are_one_line() -> None:
    with pytest.raises(InputError, match=r"^folds: the windows of a series are split by time"):
        list(folds(module(frame()).parts.train, 3, 0))
    with pytest.raises(InputError, match="no series has the 100 steps of a window"):
        _ = module(frame(), window=100).unlabelled


def test_a_million_steps_are_cut_without_copies() -> None:
    def peak() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10

    np.save("x.npy", np.zeros((1, 1_000_000, 2), np.float32))
    before = peak()
    data = SequenceDataModule("x.npy", label="feature_1", window=100, standardize=True)
    train = data.parts.train
    assert data.mean == [0, 0]
    assert len(train) == 799_900
    assert isinstance(train.values, StoredValues)
    batch = next(iter(Batches(train, 32, lambda epoch: np.arange(len(train))[::-1])))
    assert batch.values.shape == (32, 100, 2)
    assert peak() - before < 250  # MiB; the windows' values would be 610


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_a_forecast_is_trained_tested_and_predicted_by_its_checkpoint(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.keras_files.test_keras_heads import CASES, saved

    case = CASES["forecast"]
    saved(case)
    steps, width = case.x.shape[1:]
    names = [f"u{i}" for i in range(width)]
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(90, width)), columns=names)
    table.to_csv("a.csv", index=False)
    printed = run(
        *("fit", "--model.from_keras", "model.h5", "--trainer.max_epochs", 1),
        *("--data.source", "a.csv", "--data.label", "u0", "--data.window", steps),
        *("--data.horizon", 2, "--data.train_size", 0.7),
    )
    [checkpoint] = Path().rglob("last.ckpt")
    again = run("test", "--ckpt_path", checkpoint, "--data.source", "a.csv")
    loss = [line for line in again.splitlines() if line.startswith("loss")]
    assert loss
    assert loss[0] in printed
    run("predict", "--ckpt_path", checkpoint, "--data.source", "a.csv")
    with open("predictions.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 90 - steps + 1
    assert [rows[0]["sequence"], rows[-1]["sequence"]] == [f"0@{steps + 1}", "0@91"]
    moved = checkpoint.rename("moved.ckpt")
    run("trace", moved, "--data", "a.csv", "--sequence", "0@89", "-o", "page.html")
    np.savez("b.npz", x=table.to_numpy()[None], feature_names=np.array(names))
    theirs = Path("predictions.csv").read_text()
    run("predict", "--ckpt_path", moved, "--data.source", "b.npz")
    assert Path("predictions.csv").read_text() == theirs
    assert run("test", "--ckpt_path", moved, "--data.source", "b.npz").count(loss[0]) == 1
    assert main(["tune", "--folds", "3", "--data.source", "a.csv", "--data.window", "5",
                 "--data.label", "u0", "--trials", "1", "--workers", "1"]) == 2  # fmt: skip


def test_the_test_of_a_forecast_says_how_far_the_last_value_is_off(run: Run) -> None:
    table = frame(a=60, b=40)
    table.to_csv("a.csv", index=False)
    wanted = ("--data.label", "temperature", "--data.window", 6, "--data.horizon", 3)
    found = ("fit", "--data.source", "a.csv", "--trainer.max_epochs", 1, *wanted)
    assert "mae of the last value  3.0000" in run(*found)  # a step a value
    assert "last value" not in run(*found, "--data.features", '["pressure"]')
    # not 1 batch: within one process jsonargparse may take 1 for a 1.0 that it saw before
    assert "last value" not in run(
        *found, "--trainer.limit_test_batches", 2, "--data.batch_size", 1
    )


def test_the_last_value_is_the_target_s_own_offset_or_missing() -> None:
    table = frame(a=60)
    table["temperature"] = 1e9 + table["temperature"] ** 2
    data = module(table, standardize=True, window=50, train_size=0.0, horizon=1)
    assert data.parts.test.offset is not None
    assert data.last_value_error == pytest.approx(np.mean(2 * np.arange(50, 60) - 1), abs=32)
    table = frame(a=60)
    table.loc[49, "temperature"] = np.nan  # filled by the one before
    data = module(table, window=50, missing="mask", fill=[0.0, 0.0], train_size=0.0, horizon=1)
    assert data.last_value_error == pytest.approx((2 + 9) / 10)
    assert module(np.arange(60.0).reshape(1, 60, 1), train_size=0.0).last_value_error == HORIZON
    assert SequenceDataModule().last_value_error is None


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--data.features", '["pressure"]'),
        ("--data.missing", "mask", "--data.standardize", "true"),
    ],
    ids=["as it is", "one feature", "filled"],
)
def test_python_forecasts_after_each_window_as_the_command_does(
    run: Run, options: tuple[str, ...]
) -> None:
    table = frame()
    table["pressure"] += 1e9
    table.loc[3, "pressure"] = np.nan if "mask" in options else 1.0
    table.to_csv("a.csv", index=False)
    wanted = ("--data.label", "temperature", "--data.window", 6, "--data.horizon", 3)
    run("fit", "--data.source", "a.csv", "--trainer.max_epochs", 1, *wanted, *options)
    checkpoint = "lightning_logs/version_0/checkpoints/last.ckpt"
    run("predict", "--ckpt_path", checkpoint, "--data.source", "a.csv")
    theirs = pd.read_csv("predictions.csv")
    ours = load_classifier(checkpoint).predict(table)
    assert list(ours["sequence"]) == list(theirs["sequence"])
    assert len(ours) == 55 + 35 + 2
    np.testing.assert_allclose(ours.iloc[:, 1], theirs.iloc[:, 1], rtol=1e-5)


def test_what_was_trained_in_this_process_forecasts_too() -> None:
    source = frame().replace({"sequence": {"a": 1, "b": 2, "c": 3}})
    data = module(source, val_size=10)
    classifier = GRUClassifier(2, 0, num_values=1, feature_names=data.feature_names)
    Trainer(max_epochs=1, logger=False, enable_checkpointing=False).fit(classifier, data)
    answers = classifier.predict(source)
    assert list(answers["sequence"][-2:]) == ["3@8", "3@9"]
    assert list(classifier.predict(frame(d=7))["sequence"]) == ["d@8", "d@9"]
    with pytest.raises(InputError, match="no series has the 6 steps of a window"):
        classifier.predict(frame(d=5))
