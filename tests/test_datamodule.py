from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lightning.pytorch import Trainer

from grulight.data.datamodule import SequenceDataModule
from grulight.errors import InputError
from grulight.training.classifier import GRUClassifier


def saved(name: str = "data.npz", count: int = 10, **arrays: object) -> str:
    generator = np.random.default_rng(0)
    np.savez(
        name, **{"x": generator.normal(5, 3, (count, 4, 2)), "y": np.arange(count) % 2} | arrays
    )
    return name


def test_waves_split_as_the_original_does() -> None:
    parts = SequenceDataModule().parts
    assert [len(part) for part in parts] == [800, 0, 200]
    whole = SequenceDataModule(train_size=1.0).parts.train
    np.testing.assert_array_equal(parts.train.values, whole.values[:800])
    np.testing.assert_array_equal(parts.test.labels, whole.labels[800:])


@pytest.mark.parametrize(
    ("train_size", "val_size", "expected"),
    [
        (0.8, 0.0, [8, 0, 2]),
        (8, 2, [6, 2, 2]),
        (0.8, 0.25, [6, 2, 2]),
        (1.0, 0.0, [10, 0, 0]),
        (0.29, 0, [3, 0, 7]),
    ],
)
def test_split_takes_shares_and_numbers(
    train_size: float, val_size: float, expected: list[int]
) -> None:
    data = SequenceDataModule(saved(), train_size=train_size, val_size=val_size)
    assert [len(part) for part in data.parts] == expected
    assert np.concatenate([part.ids for part in data.parts]).tolist() == [str(i) for i in range(10)]


def test_a_test_source_leaves_the_source_to_training() -> None:
    data = SequenceDataModule(saved(), test_source=saved("test.npz", 4))
    assert [len(part) for part in data.parts] == [10, 0, 4]


def test_a_test_source_with_its_own_test_part_gives_that_one() -> None:
    data = SequenceDataModule("aeon:JapaneseVowels", test_source="aeon:JapaneseVowels")
    assert [len(part) for part in data.parts] == [270, 0, 370]


def test_the_files_beside_a_source_do_not_label_the_test_source() -> None:
    for name in ("x", "t"):
        np.save(f"{name}.npy", np.zeros((4, 2, 2)))
    np.save("y.npy", [0, 1, 0, 1])
    data = SequenceDataModule("x.npy", test_source="t.npy", labels_file="y.npy")
    with pytest.raises(InputError, match=r"t\.npy"):
        _ = data.parts


def test_names_that_a_source_gives_are_not_overwritten() -> None:
    source = saved(feature_names=np.array(["b", "a"]))
    with pytest.raises(InputError, match="has the features b, a, expected a, b"):
        _ = SequenceDataModule(source, features=["a", "b"]).parts


def test_predicted_ids_stay_apart() -> None:
    data = SequenceDataModule("aeon:JapaneseVowels")
    ids = np.concatenate([part.ids for part in data.unlabelled])
    assert len(set(ids)) == 640


@pytest.mark.filterwarnings("ignore:The 'predict_dataloader'", "ignore:.*does not have many")
def test_trainer_predicts_from_python_over_all_parts() -> None:
    data = SequenceDataModule(saved())
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
    answers = trainer.predict(GRUClassifier(**data.describe()), datamodule=data)
    assert sum(len(batch) for part in answers for batch in part) == 10


def test_statistics_are_those_of_the_training_part_alone() -> None:
    data = SequenceDataModule(saved(), standardize=True, val_size=2)
    train = data.parts.train.values
    assert len(train) == 6
    np.testing.assert_allclose(data.mean, train.mean(axis=(0, 1)))
    np.testing.assert_allclose(data.scale, train.std(axis=(0, 1)))
    assert SequenceDataModule(saved()).mean is None


def test_classes_of_the_training_part_decide() -> None:
    data = SequenceDataModule(saved(y=np.array(["b", "a"] * 4 + ["a", "c"])))
    with pytest.raises(InputError, match="class 'c' is not among the classes trained on"):
        _ = data.parts
    given = SequenceDataModule(saved(y=np.array(["b", "a"] * 5)), class_names=["b", "a"])
    assert given.parts.train.labels.tolist() == [0, 1] * 4
    assert given.class_names == ["b", "a"]


def test_archive_parts_are_kept() -> None:
    data = SequenceDataModule("aeon:JapaneseVowels", train_size=0.5)
    assert [len(part) for part in data.parts] == [270, 0, 370]
    assert data.input_size == 12
    assert data.class_names == list("123456789")


def test_prediction_covers_every_sequence_and_needs_no_labels() -> None:
    np.savez("bare.npz", x=np.zeros((10, 4, 2)))
    data = SequenceDataModule("bare.npz")
    assert sum(map(len, data.unlabelled)) == 10
    with pytest.raises(InputError, match=r"bare\.npz"):
        _ = data.parts


def test_mapped_values_stay_in_their_file() -> None:
    data = SequenceDataModule(saved(), standardize=True)
    assert data.scale is not None
    base = data.parts.train.values
    while base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)


def test_description_makes_a_model_that_trains_from_python() -> None:
    data = SequenceDataModule(saved(), standardize=True)
    model = GRUClassifier(**data.describe(), hidden_size=3)
    batch = next(iter(data.train_dataloader()))
    assert model(batch.values, batch.lengths).shape == (8, 1)
    assert model.class_names == ("0", "1")


def test_shuffling_follows_seed_and_epoch() -> None:
    def first_labels(seed: int) -> list[int]:
        batch = next(iter(SequenceDataModule(seed=seed).train_dataloader()))
        assert batch.labels is not None
        return batch.labels.tolist()

    assert first_labels(1) == first_labels(1)
    assert first_labels(1) != first_labels(2)


def test_a_run_that_goes_on_shuffles_as_before() -> None:
    first, again = SequenceDataModule(saved(), seed=5), SequenceDataModule(saved())
    again.load_state_dict(first.state_dict())
    assert again.seed == 5
    orders = [
        [batch.labels.tolist() for batch in data.train_dataloader()] for data in (first, again)
    ]
    assert orders[0] == orders[1]


def test_it_prints_before_and_after_it_was_read() -> None:
    data = SequenceDataModule("waves")
    assert str(data) == "SequenceDataModule('waves')"
    assert data.num_classes == 3
    assert str(data) == "SequenceDataModule('waves')"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            {"split": "grup"},
            "split='grup': expected one of positional, shuffled",
        ),
        ({"missing": "lats"}, r"expected one of error, last, mean, mask\. Did you mean last\?"),
        ({"targets": "value"}, "Did you mean values"),
        ({"layout": "wid"}, "Did you mean wide"),
        ({"decimal": ";"}, r"decimal=';': expected one of \., ,\."),
    ],
)
def test_what_is_no_choice_is_refused_in_python_too(given: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        SequenceDataModule(**given)


def test_one_feature_may_be_named_without_a_list() -> None:
    Path("a.csv").write_text("sequence,label,up,u,p\n" + "a,x,1,2,3\nb,y,4,5,6\n")
    data = SequenceDataModule("a.csv", features="up", train_size=1.0)  # type: ignore[arg-type]
    assert data.parts.train.feature_names == ("up",)


def test_a_class_weight_that_is_no_choice_is_refused_in_python_too() -> None:
    with pytest.raises(InputError, match="class_weight='even': expected balanced, or a mapping"):
        GRUClassifier(2, 3, class_weight="even")  # type: ignore[arg-type]
