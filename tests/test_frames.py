"""Data frames, arrays and lists in the place of a file's name, and frames as answers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import pytest
import torch

from grulight.data.datamodule import SequenceDataModule
from grulight.data.readers import ReadOptions, read
from grulight.data.readers.given import Given
from grulight.errors import InputError
from grulight.training.classifier import GRUClassifier

G = np.random.default_rng(0)
IDS = np.repeat(np.arange(10, 30), 4)
FRAME = pd.DataFrame(
    {
        "sequence": IDS,
        "time": np.tile([3, 1, 2, 0], 20),
        "label": np.where(IDS % 2, "odd", "even"),
        "a": G.normal(size=80),
        "b": G.normal(size=80),
    }
)
X = G.normal(size=(20, 4, 2))
Y = np.arange(20) % 2


class Foreign:
    """A frame that only has the interchange protocol."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame

    def __dataframe__(self, nan_as_null: bool = False, allow_copy: bool = True) -> Any:
        return pyarrow.table(self._frame).__dataframe__(nan_as_null, allow_copy)


def polars() -> Any:
    return pytest.importorskip("polars").DataFrame(FRAME.to_dict("list"))


KINDS: dict[str, Any] = {
    "pandas": lambda: FRAME,
    "categories": lambda: FRAME.astype({"label": "category", "sequence": "category"}),
    "indexed": lambda: FRAME.set_index(["sequence", "time"]),
    "arrow": lambda: pyarrow.table(FRAME),
    "interchange": lambda: Foreign(FRAME),
    "polars": polars,
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_frame_is_what_its_csv_file_is(kind: str) -> None:
    FRAME.to_csv("a.csv", index=False)
    theirs = read("a.csv")
    ours = SequenceDataModule(KINDS[kind](), train_size=1.0).parts.train
    assert ours.feature_names == theirs.feature_names
    assert ours.ids.tolist() == theirs.ids.tolist()
    assert ours.class_names == theirs.class_names
    np.testing.assert_array_equal(ours.values, theirs.values)
    np.testing.assert_array_equal(ours.labels, theirs.labels)


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_a_frame_of_the_same_kind_and_ids(kind: str) -> None:
    frame = KINDS[kind]()
    data = SequenceDataModule(frame, standardize=True)
    classifier = GRUClassifier(**data.describe()).eval()
    answers = classifier.predict(frame)
    wanted = pd.DataFrame if kind == "interchange" else type(frame)
    assert type(answers) is wanted
    columns = answers.to_pandas() if hasattr(answers, "to_pandas") else answers
    assert columns["sequence"].tolist() == list(range(10, 30))  # numbers, as they were given
    values = read_given(frame).values
    expected = classifier.predict_proba(np.asarray(values))
    np.testing.assert_array_equal(columns["probability_odd"], expected[:, 1])


def read_given(data: Any, **options: Any) -> Any:
    return read(Given(data), ReadOptions(**options))


@pytest.mark.parametrize(
    "data",
    [
        (X, Y),
        (X.tolist(), Y.tolist()),
        (list(X), np.array(["ab"[i] for i in Y], object)),
        (torch.tensor(X), torch.tensor(Y)),
        (X.astype(np.float32), pd.Series(Y)),
    ],
    ids=["arrays", "lists", "list_of_arrays", "tensors", "series"],
)
def test_a_pair_of_arrays_is_a_source(data: Any) -> None:
    module = SequenceDataModule(data, train_size=1.0)
    np.testing.assert_array_equal(module.parts.train.values, X.astype(np.float32))
    assert module.parts.train.labels is not None
    assert module.parts.train.labels.tolist() == Y.tolist()


def test_arrays_of_unequal_lengths_are_padded() -> None:
    cases = [G.normal(size=(length, 2)) for length in (3, 1, 5)]
    found = read_given((cases, [0, 1, 0]))
    assert found.lengths.tolist() == [3, 1, 5]
    for row, case in zip(found.values, cases, strict=True):
        np.testing.assert_array_equal(row[: len(case)], case.astype(np.float32))
        assert not row[len(case) :].any()
    assert read_given(([case[:, 0] for case in cases], [0, 1, 0])).values.shape == (3, 5, 1)
    answers = GRUClassifier(2, 2).predict(cases)
    assert answers["sequence"].tolist() == ["0", "1", "2"]
    assert answers["predicted"].shape == (3,)


@pytest.mark.parametrize(
    "of_step",
    [lambda t: t % 2, lambda t: ("low", "middle")[t % 2], lambda t: t / 4, lambda t: [t / 4, 1.0]],
    ids=["classes", "texts", "values", "several values"],
)
def test_labels_of_the_steps_of_unequal_arrays_are_a_list_of_arrays(
    of_step: Callable[[int], Any],
) -> None:
    x = [np.ones((steps, 2)) for steps in (3, 5, 4)]
    y = [np.array([of_step(t) for t in range(len(case))]) for case in x]
    part = SequenceDataModule((x, y), train_size=1.0).parts.train
    assert part.per_step
    labels = np.asarray(part.labels)
    assert labels.shape[:2] == (3, 5)
    for row, case in zip(labels, y, strict=True):
        found = row[: len(case)]
        if part.class_names:
            assert [part.class_names[at] for at in found] == case.astype(str).tolist()
        else:
            assert np.array_equal(found, case.reshape(len(case), -1).astype(np.float32))
        assert not row[len(case) :].any()


def test_labels_of_other_steps_than_there_are_name_the_sequence() -> None:
    x = [np.ones((3, 2)), np.ones((4, 2))]
    data = SequenceDataModule((x, [[0, 1, 0], [1, 0]]))
    with pytest.raises(InputError, match=r"y\[1\] is of shape \(2,\), but x\[1\] has 4 steps"):
        _ = data.parts


def test_sequences_are_a_source() -> None:
    waves = read("waves")
    for part in (waves.part(0, 50), waves.part(50, 60)):
        module = SequenceDataModule(part, train_size=1.0)
        assert np.shares_memory(module.parts.train.values, part.values)
    assert module.state_dict()["source"] == "the grulight Sequences"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (5, "x is int, expected a data frame"),
        (None, "x is NoneType, expected a data frame"),
        ({"a": 1}, "x is dict, expected a data frame"),
        ([X[0], X[0, :, :1]], "x[1] is of shape (4, 1) and holds float64, expected numbers"),
        ((X, Y[:3]), "y has shape (3,), expected (20,)"),
        ((X, None), "has no labels, expected y"),
        (X, "has no labels, expected y"),
        ([], "x has no sequences"),
        ((np.full_like(X, np.nan), Y), "160 values are NaN"),
        (FRAME.drop(columns="label"), "has no label column 'label'"),
        (FRAME.assign(a="x"), "column 'a' holds"),
        (FRAME.assign(a=[object()] * 80), "cannot be held by Arrow"),
        (FRAME.assign(a=FRAME["a"].where(FRAME.index != 6)), "row 7, column 'a': empty cell"),
        (FRAME[:0], "has columns but no rows"),
        (FRAME.assign(label=FRAME["label"].where(FRAME.index != 6)), "row 7, column 'label'"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_it_is_named(data: Any, says: str) -> None:
    with pytest.raises(InputError) as caught:
        _ = SequenceDataModule(data).parts
    assert says in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_files_are_named_by_paths_as_well(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=X, y=Y)
    assert SequenceDataModule(tmp_path / "a.npz").input_size == 2


def test_a_wide_frame_is_answered() -> None:
    wide = pd.DataFrame(X[:, :, 0], columns=[f"u_{t}" for t in range(4)]).assign(label=Y)
    data = SequenceDataModule(wide, layout="wide")
    answers = GRUClassifier(**data.describe()).predict(wide.drop(columns="label"), layout="wide")
    assert answers["sequence"].tolist() == [str(i) for i in range(20)]
