"""``grulight tune``: every trial counted once, the same study twice, and no line lost."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import yaml
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import Trial, TrialState

from grulight.cli import main
from grulight.commands import trials, tune
from grulight.commands.tune_from_python import tune as grulight_tune
from grulight.data.folds import folds
from grulight.data.waves import waves
from grulight.errors import InputError
from grulight.tuning.conclusion import conclude, take_conclusion
from grulight.tuning.finals import Finals, different, finals_of, winner
from grulight.tuning.objective import Objective
from grulight.tuning.question import Asked
from grulight.tuning.spaces import parse_space, parse_spaces
from grulight.tuning.study import PLACE, Study, place_of
from grulight.tuning.workers import is_alive, registered

SEARCH = (
    *("--search.model.hidden_size", "int(2, 6, log)"),
    *("--search.optimizer.lr", "float(1e-3, 1e-1, log)"),
)
COPIED = {"a": 4, "b": "x"}
TUNE = ("tune", *SEARCH, "--trainer.max_epochs", "2", "--workers", "1", "--data.train_size", "80")


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def study_in(directory: Path, trials: int = 3, seed: int = 0, question: Any = None) -> Study:
    spaces = {"a": IntDistribution(1, 100), "b": CategoricalDistribution(["x", "y"])}
    asked = Asked(False, question or {"what": "this"})
    return Study(directory, None, asked, spaces, trials, seed, "random", "none", 1)


def settings_of(study: Study) -> list[dict[str, Any]]:
    return [dict(trial.params) for trial in study.finished]


@pytest.mark.parametrize(
    ("text", "space"),
    [
        ("int(8, 128, log)", IntDistribution(8, 128, log=True)),
        (" int( 8,16,step=4 ) ", IntDistribution(8, 16, step=4)),
        ("float(1e-4, 1e-1, log)", FloatDistribution(1e-4, 1e-1, log=True)),
        ("float(0, 0.5)", FloatDistribution(0, 0.5)),
        ("choice(true, false)", CategoricalDistribution(["true", "false"])),
    ],
)
def test_a_space_is_read_as_optuna_has_it(text: str, space: Any) -> None:
    assert parse_space("model.dropout", text) == space


@pytest.mark.parametrize(
    "text",
    ["", "int", "int(8)", "int(9, 8)", "int(a, b)", "float(0, 1, log)", "float(0, inf)",
     "float(0, 1, half)", "choice()", "choice(a, a)", "uniform(0, 1)", 7],
)  # fmt: skip
def test_what_is_no_space_is_named_with_its_option(text: Any) -> None:
    with pytest.raises(InputError, match=r"^search\.model\.dropout") as refusal:
        parse_space("model.dropout", text)
    assert len(str(refusal.value)) <= 480


def test_spaces_may_be_nested_as_yaml_has_them() -> None:
    nested = {"model": {"hidden_size": "int(1, 2)"}, "optimizer.lr": "float(1, 2)"}
    assert list(parse_spaces(nested)) == ["model.hidden_size", "optimizer.lr"]


def test_the_same_study_gives_the_same_bytes(tmp_path: Path, run: Callable[..., str]) -> None:
    tables = []
    for name in ("one", "two"):
        run(*TUNE, "--trials", 4, "--study", tmp_path / name)
        tables.append((tmp_path / name / "trials.csv").read_bytes())
    assert tables[0] == tables[1]
    rows = list(csv.DictReader(tables[0].decode().splitlines()))
    assert [row["trial"] for row in rows] == ["1", "2", "3", "4"]
    assert min(float(row["objective"]) for row in rows) > 0
    best = min(rows, key=lambda row: float(row["objective"]))
    chosen = yaml.safe_load((tmp_path / "one" / "best.yaml").read_text())
    assert chosen["model"]["hidden_size"] == int(best["model.hidden_size"])
    assert chosen["optimizer"]["init_args"]["lr"] == float(best["optimizer.lr"])
    trained = yaml.safe_load((tmp_path / "one/lightning_logs/version_0/config.yaml").read_text())
    assert trained["model"].items() >= chosen["model"].items()
    assert trained["data"]["val_size"] == 0  # the best settings train on all
    page = (tmp_path / "one" / "study.html").read_text()
    assert f"{float(best['objective']):.4f}" in page
    assert "http" not in page.replace("http-equiv", "")


def test_folds_judge_a_trial_by_their_mean(tmp_path: Path, run: Callable[..., str]) -> None:
    objective = ("--objective", "val_balanced_accuracy")
    run(*TUNE, "--trials", 2, "--folds", 3, "--study", tmp_path / "s", *objective)
    [first, _] = rows_of(tmp_path / "s" / "trials.csv")
    values = [float(first[f"fold_{n}"]) for n in (1, 2, 3)]
    assert float(first["objective"]) == pytest.approx(np.mean(values), abs=1e-15)
    assert "Confusion matrix" in (tmp_path / "s" / "study.html").read_text()


def test_finalists_are_judged_by_other_folds_and_seeds(
    tmp_path: Path, run: Callable[..., str]
) -> None:
    folds = (*TUNE, "--folds", 2, "--sampler", "random", "--pruner", "none")
    search = (*folds, "--trials", 3, "--finalists", 2)
    printed = run(*search, "--study", tmp_path / "s")
    rows = rows_of(tmp_path / "s" / "trials.csv")
    ranked = sorted(rows, key=lambda row: float(row["objective"]))
    assert [bool(row["other_folds"]) for row in ranked] == [True, True, False]
    same = [f"--search.{name}=choice({ranked[1][name]})" for name in ranked[1] if "." in name]
    found = []
    for seed in (9, 10, 11):  # the study's is 8
        run(*folds, *same, "--trials", 1, "--seed_everything", seed, "--study", str(seed))
        found.append(float(rows_of(Path(str(seed), "trials.csv"))[0]["objective"]))
    assert float(ranked[1]["other_folds"]) == pytest.approx(np.mean(found), abs=1e-15)
    best = min(ranked[:2], key=lambda row: float(row["other_folds"]))
    assert f"best: {best['trial']:>4}" in printed
    chosen = yaml.safe_load((tmp_path / "s" / "best.yaml").read_text())
    assert chosen["optimizer"]["init_args"]["lr"] == float(best["optimizer.lr"])
    page = (tmp_path / "s" / "study.html").read_text()
    assert f"{float(best['other_folds']):.4f} on folds dealt anew" in page
    assert "trained already" in run(*search, "--study", tmp_path / "s")


def test_finalists_differ_and_more_trials_may_bring_others(tmp_path: Path) -> None:
    asked = {"folds": 2, "finalists": 2}
    values = iter([0.1, 0.1, 0.3, 0.2, 0.0, 0.4])  # of two copies and four others

    def finals(trials: int) -> list[int]:
        study = study_in(tmp_path, trials=trials)
        copies = mock.patch.object(study, "settings_of", lambda n: COPIED if n < 2 else {})
        with registered(tmp_path) as worker, copies:
            while (trial := study.ask(worker)) is not None:
                study.finish(trial, next(values))
        found = finals_of(study, asked)
        assert found is not None
        return [place_of(each) for each in found.finalists]

    assert [finals(trials) for trials in (4, 6, 4)] == [[0, 3], [4, 0], [4, 0]]


def test_a_validation_loss_that_is_not_finite_ends_a_trial(
    tmp_path: Path, run: Callable[..., str]
) -> None:
    large = ("--optimizer", "SGD", "--search.optimizer.lr", "choice(1e38, 0.1)", "--trials", 4)
    run(*TUNE, *large, "--sampler", "random", "--study", tmp_path / "s")
    outcomes = {row["optimizer.lr"]: row["outcome"] for row in rows_of(tmp_path / "s/trials.csv")}
    assert outcomes == {"1e38": "diverged", "0.1": "finished"}


def test_what_a_dead_worker_left_of_the_finals_is_tried_again(tmp_path: Path) -> None:
    study, config = study_in(tmp_path, trials=4), {"folds": 2, "finalists": 3}
    with registered(tmp_path) as worker:
        assert finals_of(study, config) is None  # before all trials are finished
        while (trial := study.ask(worker)) is not None:
            study.finish(trial, float(trial.params["a"]))
        left = Finals(study, different(study)[:3])
        assert left.ask("nobody-1-0") is not None
        finals = finals_of(study_in(tmp_path, trials=4), config)
        assert finals is not None
        while (trial := finals.ask(worker)) is not None:
            deal = finals.deal_of(trial)
            finals.finish(trial, None if trial.params == study.ranked[1].params else float(deal))
    assert len(finals.finished) == 9
    assert [trial.state for trial in finals.in_optuna.trials].count(TrialState.FAIL) == 1
    ranked = study.ranked
    assert [(trial.params, value) for trial, value in finals.results] == [
        (ranked[0].params, 2),
        (ranked[2].params, 2),
    ]
    assert winner(study, finals).params == ranked[0].params
    assert len(study.finished) == 4


def test_a_trial_of_folds_is_stopped_between_them_by_their_mean(
    tmp_path: Path, run: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, float]] = []
    monkeypatch.setattr(Trial, "report", lambda _, value, step: told.append((step, value)))
    monkeypatch.setattr(Trial, "should_prune", lambda _: len(told) == 4)
    run(*TUNE, "--trials", 2, "--folds", 3, "--study", tmp_path, "--pruner", "median")
    first, second = rows_of(tmp_path / "trials.csv")
    values = [float(first[f"fold_{n}"]) for n in (1, 2, 3)]
    assert told[:2] == [(0, values[0]), (1, pytest.approx(sum(values[:2]) / 2))]
    assert len(told) == 4
    assert "stopped early" in second.values()


def test_every_sequence_is_held_out_once_with_its_class_in_each_fold() -> None:
    train = waves().part(0, 100)
    held_out = [parts.val for parts in folds(train, 5, 0)]
    assert sorted(np.concatenate([part.ids for part in held_out])) == sorted(train.ids)
    counts = np.array([np.bincount(part.labels, minlength=3) for part in held_out])
    assert np.ptp(counts, axis=0).max() <= 1


def test_a_study_goes_on_where_it_ended(tmp_path: Path, run: Callable[..., str]) -> None:
    at_once, later = tmp_path / "at_once", tmp_path / "later"
    run(*TUNE, "--trials", 3, "--study", at_once)
    run(*TUNE, "--trials", 2, "--study", later)
    run(*TUNE, "--trials", 3, "--study", later)
    assert (at_once / "trials.csv").read_bytes() == (later / "trials.csv").read_bytes()


def test_what_usually_matters_is_searched_where_nothing_is_said(
    tmp_path: Path, run: Callable[..., str]
) -> None:
    short = ("--trainer.max_epochs", 1, "--data.train_size", 60, "--data.batch_size", 30)
    run("tune", *short, "--trials", 1, "--workers", 1, "--seeds", 2, "--study", tmp_path)
    [trial] = rows_of(tmp_path / "trials.csv")
    assert {"model.hidden_size", "model.bidirectional", "optimizer.lr"} <= set(trial)
    best = yaml.safe_load((tmp_path / "best.yaml").read_text())
    assert best["lr_scheduler"]["init_args"]["T_max"] == 1  # falls to the end of the training
    together = tmp_path / "lightning_logs" / "version_0"
    assert [row["seed"] for row in rows_of(together / "seeds.csv")] == ["8", "9"]


def test_a_database_named_by_its_url_takes_the_trials(
    tmp_path: Path, run: Callable[..., str]
) -> None:
    url = f"sqlite:///{tmp_path / 'trials.db'}"
    run(*TUNE, "--trials", 2, "--study", tmp_path / "one", "--storage", url)
    assert not (tmp_path / "one" / "journal.log").exists()
    run(*TUNE, "--trials", 2, "--study", tmp_path / "two")
    tables = [(tmp_path / name / "trials.csv").read_bytes() for name in ("one", "two")]
    assert tables[0] == tables[1]


@pytest.mark.parametrize("objective", ["val_loss", "val_mae", "val_rmse", "val_r2"])
def test_values_are_judged_by_their_own_scores(objective: Objective) -> None:
    part = waves(60)
    values = part.values.sum((1, 2))
    space = {"optimizer.lr": "choice(0.001, 0.02, 0.000001)"}
    study, best = grulight_tune(
        (part.values, values), space, trials=3, objective=objective, sampler="random",
        settings={"trainer.max_epochs": 2},
    )  # fmt: skip
    found = [trial.value for trial in study.trials if trial.value is not None]
    assert study.best_value == (max if objective == "val_r2" else min)(found)
    assert best.head.num_classes == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--search.model.hidden_sise", "int(1, 2)"), "hidden_sise"),
        (("--search.model.hidden_size", "int(0, 4)"), "hidden_size 0"),
        (("--search.model.dropout", "float(0, 3)"), "dropout"),
        (
            ("--search.data.batch_size", "int(1, 4, step=1)", "--search.data.seed", "int(-1, 3)"),
            "seed -1",
        ),
        (("--objective", "val_mae"), "--objective val_mae"),
        (("--folds", "90"), "--folds 90"),
        (("--trials", "0"), "--trials 0"),
        (("--timeout", "-1"), "--timeout -1"),
        (("--folds", "-2"), "--folds -2"),
        (("--folds", "2", "--finalists", "-1"), "--finalists -1"),
        (("--finalists", "3"), "--finalists: other folds judge them"),
        (("--search.trials", "int(1, 2)"), "--search.trials"),
        (("--search.folds", "int(2, 3)"), "--search.folds"),
        (("--search.seed_everything", "int(1, 2)"), "--search.seed_everything"),
        (("--search.model.num_layers=",), "--search.model.num_layers"),
        (("--trainer.devices", "2"), "--workers"),
        (("--storage", "nowhere://x"), "nowhere"),
        (("--ckpt_path", "auto"), "--ckpt_path"),
    ],
)
def test_what_cannot_be_tried_is_one_line_before_any_trial(
    arguments: tuple[str, ...], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*TUNE, "--trials", "2", "--study", str(tmp_path / "s"), *arguments]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert not (tmp_path / "s" / "trials.csv").exists()


def test_another_question_needs_another_directory(tmp_path: Path) -> None:
    study_in(tmp_path)
    with pytest.raises(InputError, match=r"what: this, now that"):
        study_in(tmp_path, question={"what": "that"})


def test_what_a_dead_worker_left_is_tried_again_with_the_same_settings(tmp_path: Path) -> None:
    def finished(study: Study, worker: str) -> None:
        while (trial := study.ask(worker)) is not None:
            study.finish(trial, float(trial.params["a"]))

    undisturbed = study_in(tmp_path / "undisturbed")
    with registered(tmp_path / "undisturbed") as worker:
        finished(undisturbed, worker)
    left = study_in(tmp_path / "left")
    assert left.ask("nobody-1-0") is not None
    with registered(tmp_path / "left") as worker:
        given_up = left.ask(worker)
        assert given_up is not None
        assert given_up.user_attrs[PLACE] == 0
        left.give_up(given_up)
        finished(study_in(tmp_path / "left"), worker)
    assert settings_of(left) == settings_of(undisturbed)
    states = [trial.state for trial in left.in_optuna.trials]
    assert states.count(TrialState.FAIL) == 2
    assert len(left.finished) == 3


def test_the_end_is_done_once_and_again_for_more_trials(tmp_path: Path) -> None:
    study = study_in(tmp_path, trials=2)
    with registered(tmp_path) as one, registered(tmp_path) as other:
        assert take_conclusion(study, one)
        assert not take_conclusion(study, other)
    with registered(tmp_path) as third:
        assert take_conclusion(study, third)  # the one that had begun is dead
        conclude(study)
        assert not take_conclusion(study, third)
        assert take_conclusion(study, third, best=1)  # among other finalists
        conclude(study)
        assert take_conclusion(study_in(tmp_path, trials=3), third)


def test_a_place_is_asked_once_while_its_worker_lives(tmp_path: Path) -> None:
    study = study_in(tmp_path, trials=2)
    with registered(tmp_path) as one, registered(tmp_path) as other:
        first, second = study.ask(one), study_in(tmp_path, trials=2).ask(other)
        assert first is not None
        assert second is not None
        assert (first.user_attrs[PLACE], second.user_attrs[PLACE]) == (0, 1)
        assert study.ask(one) is None
        assert is_alive(tmp_path, one)
    assert not is_alive(tmp_path, one)


def test_seeds_are_compared_and_predict_averages_them(
    tmp_path: Path, run: Callable[..., str]
) -> None:
    short = ("--trainer.max_epochs", 1, "--trainer.default_root_dir", tmp_path)
    printed = run("fit", "--seeds", 2, *short)
    assert "test, 2 seeds" in printed
    together = tmp_path / "lightning_logs" / "version_0"
    rows = rows_of(together / "seeds.csv")
    assert [row["seed"] for row in rows] == ["8", "9"]
    run("predict", "--ckpt_path", together, "--data.source", "waves", "--output", "all.csv")
    found = rows_of(Path("all.csv"))
    each = []
    for version in (0, 1):
        path = together / "lightning_logs" / f"version_{version}" / "checkpoints" / "last.ckpt"
        run("predict", "--ckpt_path", path, "--data.source", "waves", "--output", "one.csv")
        each.append([float(row["probability_up"]) for row in rows_of(Path("one.csv"))])
    np.testing.assert_allclose(
        [float(row["probability_up"]) for row in found], np.mean(each, axis=0), rtol=1e-6
    )
    assert max(float(row["disagreement"]) for row in found) > 0


def test_models_of_values_disagree_in_the_unit_of_each_value(
    tmp_path: Path, run: Callable[..., str]
) -> None:
    x = np.random.default_rng(0).normal(size=(30, 4, 2))
    np.savez("a.npz", x=x, y=np.stack([1e4 * x[:, 0, 0], x[:, 1, 0] / 1e4], 1))
    read = ("--data.source", "a.npz")
    short = ("--trainer.max_epochs", 1, "--trainer.default_root_dir", tmp_path)
    run("fit", "--seeds", 2, *read, *short)
    together = tmp_path / "lightning_logs" / "version_0"
    run("predict", "--ckpt_path", together, *read, "--output", "all.csv")
    found = rows_of(Path("all.csv"))
    each = []
    for version in (0, 1):
        path = together / "lightning_logs" / f"version_{version}" / "checkpoints" / "last.ckpt"
        run("predict", "--ckpt_path", path, *read, "--output", "one.csv")
        each.append(rows_of(Path("one.csv")))
    for name in ("0", "1"):
        theirs = [[float(row[f"value_{name}"]) for row in rows] for rows in each]
        ours = [float(row[f"disagreement_{name}"]) for row in found]
        scale = np.abs(theirs).max()
        np.testing.assert_allclose(ours, np.std(theirs, axis=0), atol=1e-6 * scale)
        assert max(ours) > 1e-3 * scale
    assert "disagreement" not in found[0]


def test_who_is_asked_to_stop_while_others_work_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = mock.Mock(**{"poll.return_value": None, "wait.return_value": 75})
    monkeypatch.setattr(tune.subprocess, "Popen", lambda *_, **__: worker)
    monkeypatch.setattr(tune, "asked", lambda: True)
    monkeypatch.setattr(trials, "asked", lambda: True)
    with pytest.raises(SystemExit) as stop:
        tune._employ([], 2, study_in(tmp_path), mock.Mock())
    assert stop.value.code == 75
    assert worker.terminate.call_count == worker.wait.call_count == 2
    waiting = mock.Mock(finished=[], trials=1, **{"ask.return_value": None})
    with pytest.raises(SystemExit) as stop:
        trials.work(mock.Mock(config={"timeout": None}), waiting, "worker")
    assert stop.value.code == 75


def test_hyperband_stops_trials_early(run: Callable[..., str]) -> None:
    run(*TUNE, "--trainer.max_epochs", 9, "--pruner", "hyperband", "--trials", 8)
    outcomes = [row["outcome"] for row in rows_of(Path("study/trials.csv"))]
    assert len(outcomes) == 8
    assert 0 < outcomes.count("stopped early") < 8
