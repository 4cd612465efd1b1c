"""Sequences are split at random, by class or by group, and a checkpoint knows how."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from grulight.cli import main
from grulight.commands.console import open_console
from grulight.commands.pack import packed
from grulight.data.datamodule import SequenceDataModule
from grulight.data.folds import folds
from grulight.data.lazy_values import StoredValues
from grulight.data.partition import SplitBy
from grulight.data.readers import ReadOptions, read
from grulight.data.splitting import Parts
from grulight.errors import InputError

Run = Callable[..., str]
SORTED = np.repeat(np.arange(5), [100, 50, 30, 15, 5])
GROUPS = np.random.default_rng(0).integers(0, 23, 200)


def saved(name: str = "data.npz", **arrays: object) -> str:
    count = len(SORTED)
    x = np.arange(count, dtype=np.float32).repeat(6).reshape(count, 3, 2)
    np.savez(name, **{"x": x, "y": SORTED, "groups": GROUPS.astype(str)} | arrays)
    return name


def parts_of(split: SplitBy, seed: int | None = None, **arguments: object) -> Parts:
    return SequenceDataModule(saved(), split=split, seed=seed, **arguments).parts


def counts(parts: Parts) -> np.ndarray:
    return np.array([np.bincount(part.labels, minlength=5) for part in parts])


@pytest.mark.parametrize("split", ["shuffled", "stratified", "group"])
def test_a_split_gives_each_sequence_to_one_part_by_its_seed(split: SplitBy) -> None:
    parts = parts_of(split, val_size=0.25)
    ids = [part.ids.astype(int) for part in parts]
    assert sorted(np.concatenate(ids)) == list(range(200))
    assert all((np.diff(each) > 0).all() for each in ids)  # in the order of the source
    for part in parts:  # what belongs together stays together
        np.testing.assert_array_equal(np.asarray(part.values)[:, 0, 0], part.ids.astype(float))
        np.testing.assert_array_equal(part.labels, SORTED[part.ids.astype(int)])
    if split != "group":
        assert [*map(len, parts)] == [120, 40, 40]
    again, other = parts_of(split, 0, val_size=0.25), parts_of(split, 1, val_size=0.25)
    for at in range(3):
        np.testing.assert_array_equal(again[at].ids, ids[at].astype(str))
        assert set(other[at].ids) != set(again[at].ids)


@pytest.mark.parametrize("seed", range(5))
def test_stratified_parts_have_their_share_of_each_class(seed: int) -> None:
    found = counts(parts_of("stratified", seed, val_size=0.25))
    np.testing.assert_array_less(np.abs(found - np.outer([0.6, 0.2, 0.2], np.bincount(SORTED))), 2)
    assert (found > 0).all()


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_kept_whole_with_about_their_share_of_each_class(seed: int) -> None:
    parts = parts_of("group", seed, val_size=0.25)
    groups = [set(part.groups) for part in parts]
    assert sum(map(len, groups)) == len(set(GROUPS))
    assert all(groups)
    np.testing.assert_allclose([*map(len, parts)], [120, 40, 40], atol=15)
    shares = counts(parts)[:, :3] / np.bincount(SORTED)[:3]
    np.testing.assert_allclose(shares, np.repeat([[0.6], [0.2], [0.2]], 3, axis=1), atol=0.15)


def test_two_groups_make_two_parts() -> None:
    groups = np.where(np.arange(200) < 190, "a", "b")
    parts = SequenceDataModule(
        saved(groups=groups, y=np.arange(200) % 2), split="group", train_size=0.5
    ).parts
    assert sorted(map(len, parts)) == [0, 10, 190]


def table(name: str, group: Callable[[int, int], object], count: int = 20) -> str:
    generator = np.random.default_rng(0)
    with open(name, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["sequence", "patient", "label", "a"])
        for at in range(count):
            rows = [[at, group(at, t), "xy"[at % 2], at % 2 + generator.normal()] for t in range(3)]
            writer.writerows(rows)
    return name


def test_the_group_column_of_a_table_is_no_feature() -> None:
    data = SequenceDataModule(
        table("a.csv", lambda at, t: f"p{at // 4}"), split="group", group="patient"
    )
    assert data.feature_names == ["a"]
    train, _, test = data.parts
    assert len(train) == 16
    assert not set(train.groups) & set(test.groups)
    assert {*train.groups, *test.groups} == {f"p{i}" for i in range(5)}
    wide = SequenceDataModule(wide_table("wide.csv"), layout="wide", group="who", label="kind")
    assert wide.parts.train.groups.tolist() == ["p0", "p0", "p1", "p1", "p2", "p2", "p3", "p3"]
    assert wide.feature_names == ["u"]


def wide_table(name: str) -> str:
    rows = [[f"s{i}", f"p{i // 2}", i % 2, i, i + 1, i % 3] for i in range(10)]
    lines = [["sequence", "who", "kind", "u_0", "u_1", "u_2"], *rows]
    Path(name).write_text("\n".join(";".join(map(str, line)) for line in lines) + "\n")
    return name


def test_groups_on_both_sides_of_a_split_are_said() -> None:
    data = SequenceDataModule(saved(), split="stratified")
    assert len(data.parts.test)
    [note] = data.notes
    assert "shares" in note
    assert "split='group'" in note


@pytest.mark.parametrize(
    ("arrays", "arguments", "words"),
    [
        ({"y": np.linspace(0, 1, 200)}, {"split": "stratified"}, "one class per sequence"),
        ({"groups": np.repeat("a", 200)}, {"split": "group"}, "has 1 groups"),
        ({"groups": np.repeat("a", 3)}, {"split": "group"}, "groups has shape"),
        ({}, {"group": "patient"}, "only for a table"),
        ({}, {"source": "waves", "split": "group"}, r"names no groups.*column by group"),
    ],
)
def test_what_cannot_be_split_so_is_one_line(
    arrays: dict[str, object], arguments: dict[str, object], words: str
) -> None:
    with pytest.raises(InputError, match=words) as refusal:
        _ = SequenceDataModule(**{"source": saved(**arrays)} | arguments).parts
    assert len(str(refusal.value)) <= 500


@pytest.mark.parametrize(
    ("group", "words"),
    [(lambda at, t: t, "expected one group per sequence"), (lambda at, t: "", "expected a group")],
)
def test_a_table_gives_each_sequence_one_group(group: Callable[..., object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        _ = SequenceDataModule(table("a.csv", group), group="patient").parts


def test_a_file_that_is_sorted_by_class_says_what_to_do() -> None:
    for arguments in ({"train_size": 0.5}, {"train_size": 0.8}):
        with pytest.raises(InputError, match=r"sorted by class.*split='stratified'"):
            _ = SequenceDataModule(saved(), **arguments).parts
    data = SequenceDataModule(saved(y=SORTED[::-1] % 2), val_size=0.5)
    assert data.num_classes == 2
    halves = SequenceDataModule(saved(y=np.arange(200) > 98), train_size=0.99, val_size=0.5)
    assert len(halves.parts.train) == 99
    said = [note for note in halves.notes if "groups" not in note]
    for part, note in zip(("training", "validation", "test"), said, strict=True):
        assert f"the {part} part has no sequence of 1 of the 2 classes" in note
        assert "sorted by class: split='stratified'" in note
    assert parts_of("stratified").train.class_names == tuple("01234")


def test_values_on_disk_stay_there_when_they_are_split() -> None:
    packed(saved(), "packed", ReadOptions(), open_console())
    for source in ("packed", saved()):
        data = SequenceDataModule(source, split="stratified", val_size=0.5)
        assert all(isinstance(part.values, StoredValues) for part in data.parts)
        for part, theirs in zip(data.parts, parts_of("stratified", val_size=0.5), strict=True):
            np.testing.assert_array_equal(part.values, np.asarray(theirs.values))
            np.testing.assert_array_equal(part.ids, theirs.ids)
            np.testing.assert_array_equal(part.part(1, 3).values, theirs.values[1:3, :])
    with pytest.raises(InputError, match="names no groups"):
        _ = SequenceDataModule("packed", split="group").parts


def test_large_arrays_are_not_copied_when_they_are_split(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = np.arange(2000, dtype=np.float32).reshape(100, 5, 4), np.arange(100) % 2
    small = SequenceDataModule((x, y), split="shuffled").parts
    assert all(isinstance(part.values, np.ndarray) for part in small)
    monkeypatch.setattr("grulight.data.lazy_values._COPIED", x.nbytes - 1)
    for part, theirs in zip(SequenceDataModule((x, y), split="shuffled").parts, small, strict=True):
        assert isinstance(part.values, StoredValues) or not len(part)
        np.testing.assert_array_equal(np.asarray(part.values), theirs.values)


def test_folds_keep_groups_whole_and_classes_even() -> None:
    whole = read(saved())
    found = list(folds(whole, 5, 0))
    assert sorted(np.concatenate([parts.val.ids for parts in found]), key=int) == [*whole.ids]
    for parts in found:
        assert not set(parts.train.groups) & set(parts.val.groups)
        assert len(parts.train) + len(parts.val) == 200
        assert abs(len(parts.val) - 40) <= 15
    with pytest.raises(InputError, match=r"has 4 groups .* at least 5"):
        list(folds(read(saved(groups=GROUPS % 4)), 5, 0))


def scores(printed: str) -> list[str]:
    after = printed.partition("test (")[2]
    return [line for line in after.splitlines() if line.startswith(("loss", "accuracy"))]


def test_a_checkpoint_alone_splits_as_its_training_did(run: Run) -> None:
    source = table("a.csv", lambda at, t: f"p{at // 2}")
    printed = run(
        *("fit", "--data.source", source, "--data.split", "group", "--data.group", "patient"),
        *("--data.seed", 7, "--data.train_size", 0.6, "--data.val_size", 0.5),
        *("--trainer.max_epochs", 1),
    )
    [checkpoint] = Path().rglob("last.ckpt")
    assert len(scores(printed)) == 2
    again = run("test", "--ckpt_path", checkpoint, "--data.source", source)
    assert scores(again) == scores(printed)
    validated = run("validate", "--ckpt_path", checkpoint, "--data.source", source)
    moved = checkpoint.rename("moved.ckpt")  # away from its config.yaml
    run("trace", moved, "--data", source, "-o", "page.html")
    assert "accuracy" in validated  # the part is as long as the training's
    other = run("test", "--ckpt_path", moved, "--data.source", source, "--data.seed", 8)
    assert scores(other) != scores(printed)
    run("predict", "--ckpt_path", moved, "--data.source", source)
    with open("predictions.csv") as file:
        assert [row["sequence"] for row in csv.DictReader(file)] == [*map(str, range(20))]


def test_a_checkpoint_alone_reads_a_table_as_its_training_did(run: Run) -> None:
    said = ("--data.layout", "wide", "--data.separator=;", "--data.group", "who")
    run("fit", "--data.source", wide_table("a.csv"), "--data.label=kind", *said,
        "--trainer.max_epochs", 1)  # fmt: skip
    [checkpoint] = Path().rglob("last.ckpt")
    run("predict", "--ckpt_path", checkpoint, "--data.source", "a.csv")
    assert Path("predictions.csv").read_text().count("\n") == 11
    run("test", "--ckpt_path", checkpoint, "--data.source", "a.csv")
    np.savez("b.npz", x=np.zeros((10, 3, 1)), y=np.arange(10) % 2)
    run("test", "--ckpt_path", checkpoint, "--data.source", "b.npz")


def test_a_run_does_not_go_on_with_another_split(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    fit = ("fit", "--data.source", saved(), "--data.split", "stratified")
    run(*fit, "--trainer.max_epochs", 1)
    going_on = [*fit, "--ckpt_path", "auto", "--trainer.max_epochs", "2"]
    capsys.readouterr()
    assert main([*going_on, "--data.split", "shuffled"]) == 2
    assert "--data.split shuffled: the run that goes on was trained with stratified" in (
        capsys.readouterr().err
    )
    assert main([*going_on, "--data.seed", "1"]) == 2
    assert "--data.seed 1" in capsys.readouterr().err
    assert main(going_on) == 0
