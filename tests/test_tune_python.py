"""``grulight.tune``: a study of what a program has in memory, and the classifier it ends with."""

from pathlib import Path

import numpy as np
import optuna
import pytest

import grulight
from grulight import InputError, SequenceDataModule, tune
from grulight.data.waves import waves

SEARCH = {"model.hidden_size": "int(2, 6, log)", "data.batch_size": "choice(16, 32)"}
SHORT = {"trainer.max_epochs": 2}
Arrays = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def arrays() -> Arrays:
    part = waves(120)
    assert part.labels is not None
    return np.array(part.values), np.array(part.class_names)[part.labels]


def test_arrays_give_a_study_and_the_best_classifier(arrays: Arrays) -> None:
    x, y = arrays
    studies = []
    for _ in range(2):
        study, best = tune((x, y), SEARCH, trials=3, settings=SHORT)
        studies.append([(trial.params, trial.value) for trial in study.trials])
        assert best.hparams["hidden_size"] == study.best_params["model.hidden_size"]
        assert best.class_names == ("down", "still", "up")
        assert best.predict_proba(x[:4]).shape == (4, 3)
        assert not best.training
    assert studies[0] == studies[1]
    assert len(studies[0]) == 3


def test_the_data_module_says_how_data_are_read_and_split(arrays: Arrays) -> None:
    x, y = arrays
    data = SequenceDataModule((x, y), train_size=60, val_size=20, standardize=True)
    study, best = tune(data, {"optimizer.lr": "choice(0.001)"}, trials=1, settings=SHORT)
    np.testing.assert_allclose(best.mean, x[:60].mean((0, 1)), atol=1e-5)  # also what validated
    assert study.best_value == study.trials[0].value


def test_a_study_in_a_directory_goes_on(arrays: Arrays, tmp_path: Path) -> None:
    given = (arrays, SEARCH)
    at_once, _ = tune(*given, trials=3, settings=SHORT)
    tune(*given, trials=2, settings=SHORT, study=tmp_path / "s")
    later, _ = tune(*given, trials=3, settings=SHORT, study=tmp_path / "s")
    assert [t.value for t in later.trials] == [t.value for t in at_once.trials]


def test_the_classifier_is_that_of_the_best_finalist(arrays: Arrays) -> None:
    search = {"model.hidden_size": "int(2, 20)"}
    for finalists, many in ((0, 0), (3, 9)):
        study, best = tune(
            arrays, search, trials=3, folds=2, finalists=finalists, settings=SHORT, pruner="none"
        )
        assert best.hparams["hidden_size"] == study.user_attrs["best"]["model.hidden_size"]
        names = [name for name in optuna.get_all_study_names(study._storage) if ", [" in name]
        finals = [optuna.load_study(study_name=name, storage=study._storage) for name in names]
        assert sum(len(each.trials) for each in finals) == many
    means: dict[int, list[float]] = {}
    for trial in finals[0].trials:
        means.setdefault(trial.params["model.hidden_size"], []).append(trial.value or 0)
    assert best.hparams["hidden_size"] == min(means, key=lambda size: np.mean(means[size]))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"search": {"model.hidden_sise": "int(1, 2)"}}, "hidden_sise"),
        ({"search": {"model.hidden_size": "2 to 6"}}, "is no space"),
        ({"settings": {"model.dropout": 3}}, "dropout"),
        ({"objective": "val_mae"}, "val_mae"),
        ({"folds": 500}, "folds=500"),
        ({"trials": 0}, "trials=0"),
        ({"finalists": 2}, "finalists: other folds judge them; add folds=5"),
        ({"sampler": "tpee"}, "sampler='tpee': expected one of tpe, random, gp. Did you mean tpe?"),
        ({"objective": "val_los"}, "objective='val_los': expected one of"),
        ({"search": {"model.hidden_size": "8"}}, "search.model.hidden_size '8': is no space"),
    ],
)  # fmt: skip
def test_what_cannot_be_tried_is_an_input_error(
    arrays: Arrays, arguments: dict[str, object], words: str
) -> None:
    settings = SHORT | arguments.pop("settings", {})  # type: ignore[operator]
    with pytest.raises(InputError, match=words):
        tune(arrays, **({"search": SEARCH, "settings": settings} | arguments))


def test_it_is_found_on_first_use_only() -> None:
    assert "tune" in dir(grulight)
    assert "tune" not in grulight.__all__  # needs an extra
