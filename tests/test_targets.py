"""What `y` means in every source: classes or values, for sequences or for steps."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from grulight.data.batches import Batches
from grulight.data.datamodule import SequenceDataModule
from grulight.data.readers import ReadOptions, read
from grulight.data.readers.targets import Kind, Wish
from grulight.data.sequences import Sequences
from grulight.errors import InputError

X = np.random.default_rng(0).normal(size=(4, 3, 2)).astype(np.float32)
LENGTHS = [3, 1, 2, 3]
STEPS = np.array([[5, 7, 5], [7, -1, -1], [5, 5, -1], [7, 7, 7]])  # -1 is padding
TABLE = "sequence,label,a\n" + "x,1,0\nx,2,0\ny,5,0\ny,2,0\n"


def got(folder: Path, y: Any, wish: Wish = Wish(), **more: Any) -> Sequences:  # noqa: B008  # frozen
    np.savez(folder / "data.npz", x=X, y=y, **more)
    return read(str(folder / "data.npz"), ReadOptions(targets=wish))


@pytest.mark.parametrize("y", [STEPS, STEPS[:, :, None], STEPS.astype(float), STEPS.astype(str)])
def test_classes_per_step_leave_out_the_padding(tmp_path: Path, y: NDArray[Any]) -> None:
    found = got(tmp_path, y, lengths=LENGTHS)
    assert found.class_names == ("5", "7")
    assert found.labels is not None
    assert found.labels.tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 1]]
    assert found.present_classes() == ("5", "7")
    assert found.part(2, 3).with_classes(["5"]).labels is not None
    with pytest.raises(InputError, match=r"class '7' is not among .* these 5 steps"):
        found.with_classes(["5"])


def test_one_hot_arrays_are_classes_unless_values_are_asked_for(tmp_path: Path) -> None:
    y = np.eye(5)[[4, 0, 0, 2]]
    found = got(tmp_path, y)
    assert found.class_names == tuple("01234")
    assert found.labels is not None
    assert found.labels.tolist() == [4, 0, 0, 2]
    assert got(tmp_path, y, Wish("values")).num_values == 5
    named = got(tmp_path, y, class_names=list("abcde"))
    assert named.present_classes() == ("a", "c", "e")


@pytest.mark.parametrize(
    ("y", "kind", "per_step", "shape"),
    [
        (np.full(4, 0.5), "auto", None, (4, 1)),
        (np.arange(4), "values", None, (4, 1)),
        (np.full((4, 5), 0.5), "auto", None, (4, 5)),
        (np.ones((4, 5)), "auto", None, (4, 5)),  # several labels, none one-hot
        (np.full((4, 3), 0.5), "auto", None, (4, 3, 1)),  # as many as steps
        (np.full((4, 3), 0.5), "auto", False, (4, 3)),
        (np.full((4, 3, 2), 0.5), "auto", None, (4, 3, 2)),
        (np.full((4, 7, 2), 0.5), "auto", None, (4, 7, 2)),  # steps of its own
    ],
)
def test_numbers_that_are_no_classes_are_values(
    tmp_path: Path, y: NDArray[Any], kind: Kind, per_step: bool | None, shape: tuple[int, ...]
) -> None:
    found = got(tmp_path, y, Wish(kind, per_step))
    assert found.labels is not None
    assert (found.labels.shape, found.labels.dtype) == (shape, np.float32)
    assert (found.class_names, found.per_step) == ((), len(shape) == 3)


@pytest.mark.parametrize(
    ("y", "wish", "says"),
    [
        ([1, 2, 2.5, 3.5], Wish("classes"), "y: the label of sequence '2' is 2.5 (2 such)"),
        (np.full((4, 3), 0.5), Wish("classes"), "y: the label of sequence '0' is 0.5"),
        (np.ones((4, 5)), Wish("classes"), "y: is of shape (4, 5) and not one-hot"),
        (list("abca"), Wish("values"), "y: holds <U1, expected numbers"),
        ([1, 2, 3, np.inf], Wish("values"), "y: 1 values are NaN, infinite"),
        ([1, 2, 3, 4], Wish("auto", True), "y: has shape (4,), expected (sequences, steps)"),
        (np.ones((4, 3, 2)), Wish("auto", False), "y: has shape (4, 3, 2), expected (sequences,)"),
    ],
)
def test_other_targets_are_refused(tmp_path: Path, y: Any, wish: Wish, says: str) -> None:
    with pytest.raises(InputError) as refused:
        got(tmp_path, y, wish)
    assert says in str(refused.value)


def test_tables_have_values_and_labels_per_step_when_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text(TABLE)
    with pytest.raises(InputError, match=r"expected one label per sequence .*per_step=True"):
        read(str(path))
    steps = read(str(path), ReadOptions(targets=Wish(per_step=True)))
    assert steps.labels is not None
    assert steps.class_names == ("1", "2", "5")
    assert steps.labels.tolist() == [[0, 1], [2, 1]]
    both = read(str(path), ReadOptions(targets=Wish("values", True)))
    assert both.labels is not None
    assert both.labels.tolist() == [[[1], [2]], [[5], [2]]]
    path.write_text("sequence,label,a\nx,1.5,0\nx,1.5,0\ny,2,0\n")
    once = read(str(path), ReadOptions(targets=Wish("values")))
    assert once.labels is not None
    assert once.labels.tolist() == [[1.5], [2.0]]
    path.write_text("sequence,label,a\nx,1.5,0\ny,up,0\n")
    with pytest.raises(InputError, match="line 3, column 'label': 'up' is not a finite number"):
        read(str(path), ReadOptions(targets=Wish("values")))


def test_ts_regression_targets_are_values_also_where_whole(tmp_path: Path) -> None:
    head = "@problemName r\n@timeStamps false\n@missing false\n@univariate true\n"
    path = tmp_path / "data.ts"
    path.write_text(head + "@equalLength true\n@seriesLength 2\n@targetlabel true\n@data\n1,2:3\n")
    found = read(str(path))
    assert found.labels is not None
    assert (found.labels.tolist(), found.has_values) == ([[3.0]], True)


def test_batches_cut_labels_with_their_steps(tmp_path: Path) -> None:
    found = got(tmp_path, STEPS, lengths=LENGTHS)
    second = next(iter(Batches(found.part(1, 3), 2)))
    assert second.values.shape[1] == 2
    assert second.labels is not None
    assert second.labels.tolist() == [[1, 0], [0, 0]]
    own = got(tmp_path, np.full((4, 7, 2), 0.5), lengths=LENGTHS)
    [batch] = Batches(own.part(1, 3), 2)
    assert batch.labels is not None
    assert batch.labels.shape == (2, 7, 2)


@pytest.mark.parametrize(
    ("y", "names"),
    [
        ([0, 2, 0, 2], ("0", "1", "2", "3")),  # positions among the model's outputs
        (["a", "b", "c", "d"], ("a", "b", "c", "d")),
        ([1, 2, 3, 4], ("1", "2", "3", "4")),
    ],
)
def test_a_model_with_four_classes_says_what_whole_numbers_mean(y: Any, names: Any) -> None:
    np.savez("four.npz", x=X, y=y)
    data = SequenceDataModule("four.npz", train_size=1, num_classes=4)
    assert tuple(data.class_names) == names


def test_classes_that_a_model_cannot_have_are_refused() -> None:
    np.savez("four.npz", x=X, y=[1, 2, 3, 4])
    with pytest.raises(InputError, match="has the classes 1, 2, 3, 4, but the model tells 3 apart"):
        _ = SequenceDataModule("four.npz", num_classes=3).parts
