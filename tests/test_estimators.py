"""SequenceClassifier is a classifier of scikit-learn's, on sequences."""

import _thread
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

import grulight
from grulight import SequenceClassifier, SequenceDataModule, SequenceRegressor
from grulight.data.waves import waves
from grulight.errors import InputError
from grulight.training import steps

WAVES = waves().part(0, 300)
X, Y = np.asarray(WAVES.values), np.array(WAVES.class_names)[WAVES.labels]
LISTED = [case[: 5 + n % 6] for n, case in enumerate(X)]


def fitted(given: Any = X, y: Any = Y, **settings: Any) -> SequenceClassifier:
    return SequenceClassifier(
        **{"max_epochs": 2, "random_state": 0, "accelerator": "cpu"} | settings
    ).fit(given, y)


FRAME = (
    "a data frame may have a row per step or per sequence; it is refused with a line that says "
    "where each goes"
)


FRAMES = ("classifier_data_not_an_array", "regressor_data_not_an_array")
FAILED = {
    **{f"check_{name}": FRAME for name in (*FRAMES, "sample_weights_pandas_series")},
    "check_sample_weight_equivalence_on_dense_data": (
        "batches are drawn of the sequences that there are: one of weight 2 is not two of them"
    ),
}


@parametrize_with_checks(
    [SequenceClassifier(max_epochs=10, lr=0.03), SequenceRegressor(max_epochs=30, lr=0.03)],
    expected_failed_checks=lambda _: FAILED,
)
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")  # by scikit-learn of y
def test_scikit_learns_own_checks_hold(estimator: Any, check: Any) -> None:
    check(estimator)


def test_sequences_are_learned_and_named_as_y_had_them() -> None:
    trained = fitted(max_epochs=40)
    assert trained.classes_.tolist() == ["down", "still", "up"]
    assert trained.score(X, Y) > 0.9
    assert set(trained.predict(X)) == {"down", "still", "up"}
    probabilities = trained.predict_proba(X)
    assert probabilities.shape == (300, 3)
    assert (trained.classes_[probabilities.argmax(axis=1)] == trained.predict(X)).all()


@pytest.mark.parametrize("labels", [[-3, 5], [False, True], [2.0, 7.0], ["", "nan"]], ids=repr)
def test_labels_of_any_type_come_back(labels: list[Any]) -> None:
    y = np.array(labels)[np.arange(300) % 2]
    predicted = fitted(y=y).predict(X[:5])
    assert predicted.dtype == y.dtype
    assert set(predicted.tolist()) <= set(labels)


def test_it_is_the_training_of_the_other_interface() -> None:
    from lightning.pytorch import Trainer

    from grulight import GRUClassifier

    ours = fitted(standardize=False, lr=1e-3)
    seed = np.random.RandomState(0).randint(np.iinfo(np.int32).max)
    torch.manual_seed(seed)
    data = SequenceDataModule((X, Y), train_size=1.0, seed=seed)
    theirs = GRUClassifier(**data.describe())
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Trainer(max_epochs=2, accelerator="cpu", **quiet).fit(theirs, data)
    assert (ours.predict_proba(X) == theirs.predict_proba(X)).all()


@pytest.mark.parametrize("kind", [SequenceClassifier, SequenceRegressor])
def test_the_default_training_takes_its_steps_in_compiled_calls(
    kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    compiled = steps.take_compiled

    def counted(*arguments: Any) -> None:
        calls.append(next(each for each in arguments if type(each) is int))
        compiled(*arguments)

    monkeypatch.setattr(steps, "take_compiled", counted)
    kind(max_epochs=2, accelerator="cpu").fit(X, Y if kind is SequenceClassifier else SLOPE)
    assert calls == [10, 10]  # two epochs of 300 sequences


@pytest.mark.parametrize("settings", [{}, {"num_layers": 2, "dropout": 0.3}], ids=str)
def test_a_seed_gives_the_same_bits_and_no_generator_moves(settings: dict[str, Any]) -> None:
    torch.manual_seed(5)
    state, drawn = torch.get_rng_state(), np.random.get_state()[1]
    first = fitted(**settings).predict_proba(X)
    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state()[1] == drawn).all()
    assert (fitted(**settings).predict_proba(X) == first).all()
    assert (fitted(**settings, random_state=1).predict_proba(X) != first).any()


def test_nothing_is_printed_or_written(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    fitted(early_stopping=True).score(X, Y)
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list
    assert not os.listdir(tmp_path)


def test_every_epoch_is_printed_where_asked(capsys: pytest.CaptureFixture[str]) -> None:
    trained = fitted(verbose=True)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"epoch 1  train_loss {trained.loss_curve_[0]:.4f}  train_accuracy 0.")
    assert second.startswith("epoch 2")


def test_lists_of_unequal_arrays_are_cut_to_nothing_but_their_steps() -> None:
    trained = fitted(LISTED)
    assert trained.n_features_in_ == 5
    together = trained.predict_proba(LISTED)
    alone = [trained.predict_proba([case])[0] for case in LISTED[:9]]
    assert (together[:9] == alone).all()
    in_an_array = np.empty(300, dtype=object)
    in_an_array[:] = LISTED
    assert (trained.predict_proba(in_an_array) == together).all()


def test_channels_first_is_the_same_data() -> None:
    theirs = fitted().predict_proba(X)
    turned = X.transpose(0, 2, 1)
    assert (fitted(turned, channels_first=True).predict_proba(turned) == theirs).all()
    listed = fitted(LISTED).predict_proba(LISTED)
    cases = [case.T for case in LISTED]  # whose lengths show it
    trained = fitted(cases)
    assert trained.channels_first_
    assert (trained.predict_proba(cases) == listed).all()
    # also where those that are asked about do not show it
    assert (trained.predict_proba(cases[:1]) == listed[:1]).all()


def test_more_features_than_steps_are_asked_about() -> None:
    wide = np.tile(X, (1, 1, 3))
    with pytest.warns(UserWarning, match="read as 10 steps of 15 features.*channels_first=True"):
        fitted(wide)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fitted(wide, channels_first=False).n_features_in_ == 15


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (pd.DataFrame(X[:, :, 0]), r"^X is a pandas DataFrame, expected an array"),
        (X[..., None], r"^X has shape \(300, 10, 5, 1\), expected"),
        ([X[0], X[1, :, :3], *X[2:]], r"^X\[0\] has shape \(10, 5\) and X\[1\] \(10, 3\), read as"),
        ([X[0, 0], *X[1:]], r"^X\[0\] has shape \(5,\), expected \(steps, features\)"),
        (np.where(X > 3, np.nan, X), r"NaN.* missing='mean', last or mask fills what is missing"),
        (X[:299], "inconsistent numbers of samples"),
    ],
)
def test_what_x_is_not_is_said(given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fitted(given, channels_first=False)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_epochs": 0}, "^max_epochs=0: expected a whole number of at least 1"),
        ({"hidden_size": 2.5}, "^hidden_size=2.5: expected a whole number of at least 1"),
        ({"missing": "drop"}, "^missing='drop': expected error, last, mean or mask"),
        ({"kernel": "triton", "accelerator": "cpu"}, "kernel='triton'"),
        ({"lr": float("inf")}, "learning rate|lr"),
    ],
    ids=str,
)
def test_a_wrong_parameter_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fitted(**settings)


def test_one_class_and_values_are_refused() -> None:
    with pytest.raises(InputError, match="only one class"):
        fitted(y=np.zeros(300))
    with pytest.raises(ValueError, match="continuous"):
        fitted(y=np.linspace(0, 1, 300))


def test_other_features_than_in_training_are_refused() -> None:
    trained = fitted()
    with pytest.raises(InputError, match="has 4 features per time step, expected 5"):
        trained.predict(X[:, :, :4])
    trained = fitted(X[:, :, 0])
    with pytest.raises(InputError, match=r"X has 9 features.*\(sequences, steps, 1\)"):
        trained.predict(X[:, :9, 0])
    assert trained.predict_proba(X[:, :9, :1]).shape == (300, 3)


def test_missing_values_are_filled_where_asked() -> None:
    holes = np.where(X > 3, np.nan, X)
    trained = fitted(holes, missing="mask")
    assert trained.n_features_in_ == 5
    assert np.isfinite(trained.predict_proba(holes)).all()
    assert trained.__sklearn_tags__().input_tags.allow_nan


def test_what_was_not_fitted_says_so() -> None:
    with pytest.raises(NotFittedError):
        SequenceClassifier().predict(X)


LEVEL, SLOPE = X[:, :, 0].mean(axis=1) * 50 + 1000, X[:, -1, 1]


def regressed(y: Any, given: Any = X, **settings: Any) -> SequenceRegressor:
    known = {"max_epochs": 60, "lr": 0.01, "random_state": 0, "accelerator": "cpu"}
    return SequenceRegressor(**known | settings).fit(given, y)


def test_values_are_learned_in_their_own_units() -> None:
    trained = regressed(LEVEL)
    assert trained.score(X, LEVEL) > 0.9
    predicted = trained.predict(X)
    assert predicted.shape == (300,)
    assert abs(predicted.mean() - 1000) < 10


def test_values_that_float32_cannot_tell_apart_are_learned() -> None:
    far = LEVEL.astype(np.float64) + 1e11
    assert regressed(far).score(X, far) > 0.9


def test_several_values_are_learned_at_once() -> None:
    y = np.stack([LEVEL, SLOPE], axis=1)
    trained = regressed(y)
    assert trained.predict(X).shape == (300, 2)
    assert trained.score(X, y) > 0.8
    assert regressed(LEVEL[:, None], max_epochs=1).predict(X).shape == (300, 1)


def test_whole_numbers_are_values_to_a_regressor() -> None:
    counts = np.round(LEVEL).astype(int)
    assert regressed(counts).score(X, counts) > 0.9


def test_a_regressor_goes_through_cross_validation_and_early_stopping() -> None:
    model = SequenceRegressor(max_epochs=30, lr=0.03, early_stopping=True, random_state=0)
    assert (cross_val_score(model, LISTED, SLOPE, cv=2) > 0.2).all()


@pytest.mark.parametrize("module", [pickle, joblib])
def test_a_trained_one_is_kept_without_its_data(module: Any, tmp_path: Path) -> None:
    trained = fitted()
    file = tmp_path / "kept"
    if module is pickle:
        file.write_bytes(pickle.dumps(trained))
        again = pickle.loads(file.read_bytes())
    else:
        joblib.dump(trained, file)
        again = joblib.load(file)
    assert file.stat().st_size < X.nbytes
    assert (again.predict_proba(X) == trained.predict_proba(X)).all()


def test_a_clone_has_the_settings_and_nothing_else() -> None:
    copy = clone(fitted(hidden_size=7))
    assert (
        copy.get_params()
        == SequenceClassifier(7, max_epochs=2, random_state=0, accelerator="cpu").get_params()
    )
    assert not hasattr(copy, "model_")


class Halved(TransformerMixin, BaseEstimator):
    """Leave out every second step."""

    def fit(self, X: Any, y: Any = None) -> "Halved":
        return self

    def transform(self, X: Any) -> Any:
        return X[:, ::2]

    def __sklearn_is_fitted__(self) -> bool:
        return True


def test_it_goes_through_cross_validation_grids_and_pipelines() -> None:
    model = SequenceClassifier(max_epochs=3, lr=0.03, random_state=0)
    assert (cross_val_score(model, X, Y, cv=3) > 0.5).all()
    assert (cross_val_score(model, LISTED, Y, cv=2) > 0.4).all()
    piped = make_pipeline(Halved(), model)
    search = GridSearchCV(piped, {"sequenceclassifier__hidden_size": [2, 8]}, cv=2).fit(X, Y)
    best = search.best_estimator_
    assert (
        best[-1].model_.hparams.hidden_size
        == search.best_params_["sequenceclassifier__hidden_size"]
    )
    assert best[-1].n_features_in_ == 5
    assert search.predict_proba(X).shape == (300, 3)


def test_parameters_may_be_numpys() -> None:
    grid = {"hidden_size": np.arange(2, 4), "lr": np.geomspace(0.01, 0.1, 2)}
    search = GridSearchCV(SequenceClassifier(max_epochs=1), grid, cv=2, error_score="raise")
    assert search.fit(X, Y).best_estimator_.model_.hparams.hidden_size in (2, 3)


def test_early_stopping_goes_back_to_the_best_weights() -> None:
    trained = fitted(
        max_epochs=200, lr=0.1, early_stopping=True, n_iter_no_change=3, validation_fraction=0.3
    )
    assert trained.n_iter_ < 200
    assert len(trained.loss_curve_) == trained.n_iter_
    assert trained.score(X, Y) > 0.9
    best = fitted(
        max_epochs=trained.n_iter_ - 3, lr=0.1, early_stopping=True, validation_fraction=0.3
    )
    assert (best.predict_proba(X) == trained.predict_proba(X)).all()


@pytest.mark.parametrize("launcher", [["SLURM_NTASKS", "SLURM_PROCID"], ["WORLD_SIZE", "RANK"]])
def test_a_job_of_several_processes_is_not_waited_for(
    launcher: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = fitted().predict_proba(X)
    for name in (*launcher, "LOCAL_RANK", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_JOB_ID"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv(launcher[0], "2")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    assert (fitted().predict_proba(X) == alone).all()


def wait(seconds: float) -> None:
    for _ in range(100):
        time.sleep(seconds / 100)


def test_an_interruption_is_one() -> None:
    # a shell's background process ignores it
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Timer(1.0, _thread.interrupt_main).start()
    with pytest.raises(KeyboardInterrupt):
        fitted(max_epochs=1_000_000)
    threading.Timer(0.1, _thread.interrupt_main).start()
    with pytest.raises(KeyboardInterrupt):  # the next is not ignored
        wait(2)
    signal.signal(signal.SIGINT, before)


def test_fits_in_threads_give_the_bits_of_one_after_the_other() -> None:
    seeds = [0, 1, 2, 3]
    alone = [fitted(random_state=seed).predict_proba(X[:5]) for seed in seeds]
    jobs = (joblib.delayed(fitted)(random_state=seed) for seed in seeds)
    together = joblib.Parallel(n_jobs=2, backend="threading")(jobs)
    for ours, theirs in zip(together, alone, strict=True):
        assert (ours.predict_proba(X[:5]) == theirs).all()


def test_without_scikit_learn_its_extra_is_named() -> None:
    script = """
import sys
sys.modules["sklearn"] = None
import grulight
try:
    grulight.SequenceClassifier
except grulight.InputError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "SequenceClassifier and SequenceRegressor: needs sklearn" in done.stdout
    assert "pip install 'grulight[sklearn]'" in done.stdout
    assert "SequenceClassifier" not in grulight.__all__  # else `import *` would need it


@pytest.mark.parametrize("early", [False, True])
def test_weights_of_sequences_count_against_each_other(early: bool) -> None:
    kinds = np.unique(Y)
    contrary = np.where(kinds[0] == Y, kinds[1], kinds[0])
    mixed = np.concatenate([Y, contrary])
    weights = np.concatenate([np.ones(len(Y)), np.zeros(len(Y))])
    settings = {"max_epochs": 30, "random_state": 0, "accelerator": "cpu", "early_stopping": early}
    found = [
        SequenceClassifier(**settings).fit(np.concatenate([X, X]), mixed, given)
        for given in (weights, 1e3 * weights, weights[::-1])
    ]
    ours, times, contraries = (each.predict(X) for each in found)
    assert (ours == Y).mean() > 0.9 > 0.5 > (contraries == Y).mean()
    np.testing.assert_array_equal(ours, times)


@pytest.mark.parametrize("weights", [np.ones(3), -np.ones(len(Y)), np.full(len(Y), np.nan)])
def test_weights_that_do_not_fit_are_refused(weights: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"sample_weight|inconsistent numbers"):
        SequenceRegressor().fit(X, np.arange(len(Y), dtype=float), weights)
