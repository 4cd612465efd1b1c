"""Hyperband stops the same trials wherever a study lies, and whatever was given up in it."""

from pathlib import Path

import pytest
from optuna.distributions import IntDistribution
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import TrialState

from grulight.tuning.question import Asked
from grulight.tuning.study import Study
from grulight.tuning.workers import registered

STEPS, TRIALS = 9, 20


def stopped(directory: Path, storage: BaseStorage | str | None, given_up: int = 0) -> list[bool]:
    """Return which trials Hyperband stops, of those whose value only falls with ``a``."""
    spaces = {"a": IntDistribution(1, 1000)}
    asked = Asked(False, {"what": "this"})
    study = Study(directory, storage, asked, spaces, TRIALS, 0, "random", "hyperband", STEPS)
    with registered(directory) as worker:
        while (trial := study.ask(worker)) is not None:
            is_given_up, given_up = given_up > 0, given_up - 1
            for step in range(STEPS):
                trial.report(trial.params["a"] / (step + 1), step)
                if trial.should_prune() or (is_given_up and step == STEPS - 1):
                    break
            if is_given_up:
                study.give_up(trial)
            else:
                study.finish(trial, None if step < STEPS - 1 else float(trial.params["a"]))
    return [trial.state == TrialState.PRUNED for trial in study.finished]


@pytest.mark.parametrize("storage", ["file", "memory", "database"])
def test_the_same_trials_are_stopped_in_any_directory_and_storage(
    storage: str, tmp_path: Path
) -> None:
    kept = {"file": None, "memory": InMemoryStorage(), "database": f"sqlite:///{tmp_path}/a.db"}
    found = [stopped(tmp_path / name, kept[storage]) for name in ("one", "another")]
    assert found[0] == found[1] == stopped(tmp_path / "compared", None)
    assert 0 < sum(found[0]) < TRIALS


def test_trials_that_were_given_up_compete_with_none(tmp_path: Path) -> None:
    undisturbed = stopped(tmp_path / "undisturbed", InMemoryStorage())
    assert stopped(tmp_path / "disturbed", InMemoryStorage(), given_up=3) == undisturbed
