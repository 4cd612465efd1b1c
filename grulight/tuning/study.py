"""A study: trials that workers share, in a storage of Optuna's.

Every trial has a place among those that were asked for, from 0 on. A trial that a dead worker left,
or that was interrupted, is marked failed and its place tried again with the same settings, so that
a study ends with exactly as many finished trials as were asked for.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.trial import FrozenTrial, Trial, TrialState

from grulight.errors import InputError, one_line
from grulight.tuning.algorithms import Pruner, Sampler, pruner_of, sampler_of
from grulight.tuning.question import Asked, difference
from grulight.tuning.workers import is_alive

NAME = "grulight"
PLACE, WORKER, DIVERGED = "place", "worker", "diverged"  # what a trial notes of itself
FOLDS, CONFUSION = "folds", "confusion"


class Study:
    """One worker's view of a study.

    Args:
        directory: Where the study lies.
        storage: One of Optuna's, or the URL of a database; None for a file in the directory.
        asked: What is asked.
        spaces: What is searched.
        trials: How many are asked for.
        seed: Of the sampler: a trial's draws depend on it, its place, and what finished before.
        sampler: Optuna's, by name.
        pruner: Optuna's, by name.
        max_resource: Steps that a trial reports at most, for Hyperband.

    Attributes:
        in_optuna: The study that Optuna has.
        maximizes: Whether more is better.
        suffix: Of its name among the studies of its storage.

    Raises:
        InputError: The directory holds a study that was asked something else, or the storage
            cannot be opened.
    """

    suffix = ""

    def __init__(
        self,
        directory: Path,
        storage: str | BaseStorage | None,
        asked: Asked,
        spaces: Mapping[str, BaseDistribution],
        trials: int,
        seed: int,
        sampler: Sampler,
        pruner: Pruner,
        max_resource: int,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.directory, self.spaces, self.trials = directory, dict(spaces), trials
        self._seed, self._sampler = seed, sampler
        self.storage = storage
        directory.mkdir(parents=True, exist_ok=True)
        with self.alone():
            self.in_optuna = self._opened(storage, asked, pruner_of(pruner, max_resource, place_of))
        self.maximizes = asked.maximizes

    def _opened(
        self, storage: str | BaseStorage | None, asked: Asked, pruner: optuna.pruners.BasePruner
    ) -> optuna.Study:
        where = storage or self.directory / "journal.log"
        try:
            kept: BaseStorage | str = storage or JournalStorage(JournalFileBackend(str(where)))
            study = optuna.create_study(
                storage=kept,
                study_name=(str(self.directory.resolve()) if storage else NAME) + self.suffix,
                direction="maximize" if asked.maximizes else "minimize",
                pruner=pruner,
                load_if_exists=True,
            )
        except Exception as error:  # each database has exceptions of its own
            raise InputError(f"{where}: is no storage of a study ({one_line(error)}).") from error
        question = json.dumps(asked.question, sort_keys=True, default=str)
        known = study.user_attrs.get("question")
        if known is None:
            study.set_user_attr("question", question)
        elif known != question:
            different = difference(json.loads(known), json.loads(question))
            raise InputError(
                f"{self.directory}: holds a study that was asked something else ({different}). "
                "Choose another --study, or remove the directory."
            )
        return study

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other workers, also on other machines, from opening or asking."""
        lock = JournalFileSymlinkLock(str(self.directory / "asking"))
        lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def ask(self, worker: str) -> Trial | None:
        """Return the next trial, its settings drawn; None where no place is free now."""
        with self.alone():
            self.give_up_the_dead()
            every = self.in_optuna.get_trials(deepcopy=False)
            taken = {
                trial.user_attrs.get(PLACE)
                for trial in every
                if trial.state in (TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED)
            }
            free = next((place for place in range(self.trials) if place not in taken), None)
            if free is None:
                return None
            before = [t for t in every if t.user_attrs.get(PLACE) == free and self._is_drawn(t)]
            self.in_optuna.sampler = sampler_of(self._sampler, self._seed + free)
            notes = {PLACE: free, WORKER: worker}
            settings = before[0].params if before else self.settings_of(free)
            self.in_optuna.enqueue_trial(settings, user_attrs=notes)
            trial = self.in_optuna.ask(self.spaces)
            for name, value in notes.items():  # where a waiting trial of a dead worker came first
                trial.set_user_attr(name, value)
            return trial

    def settings_of(self, place: int) -> dict[str, Any]:
        """Return the settings that are not drawn at a place."""
        return {}

    def deal_of(self, trial: Trial) -> int:
        """Return how often the folds were dealt before they are for a trial."""
        return 0

    def _is_drawn(self, trial: FrozenTrial) -> bool:
        return set(trial.params) == set(self.spaces)

    def give_up_the_dead(self) -> None:
        """Mark the trials as failed whose workers no longer run."""
        for trial in self.in_optuna.get_trials(
            deepcopy=False, states=(TrialState.RUNNING, TrialState.WAITING)
        ):
            worker = trial.user_attrs.get(WORKER)
            if worker is None or not is_alive(self.directory, worker):
                if trial.state == TrialState.WAITING:
                    self.in_optuna.ask()  # takes it
                self.in_optuna.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)

    def finish(self, trial: Trial, value: float | None) -> None:
        """Note what a trial reached; None where it was stopped early or diverged."""
        if value is None:
            self.in_optuna.tell(trial, state=TrialState.PRUNED)
        else:
            self.in_optuna.tell(trial, value)

    def give_up(self, trial: Trial) -> None:
        """Mark a trial as failed that was interrupted: its place is free again."""
        self.in_optuna.tell(trial, state=TrialState.FAIL, skip_if_finished=True)

    @property
    def finished(self) -> list[FrozenTrial]:
        """The finished trials in the order of their places."""
        states = (TrialState.COMPLETE, TrialState.PRUNED)
        found = self.in_optuna.get_trials(deepcopy=False, states=states)
        return sorted(found, key=lambda trial: trial.user_attrs[PLACE])

    @property
    def ranked(self) -> list[FrozenTrial]:
        """The trials that were trained to their end, the best first, of equal ones the first."""
        complete = [trial for trial in self.finished if trial.state == TrialState.COMPLETE]
        sign = -1 if self.maximizes else 1
        return sorted(complete, key=lambda trial: sign * (trial.value or 0.0))

    def require_best(self) -> FrozenTrial:
        """Return the best trial.

        Raises:
            InputError: None was trained to its end.
        """
        if ranked := self.ranked:
            return ranked[0]
        raise InputError(
            f"{self.directory}: none of {len(self.finished)} trials was trained to its end. "
            "Try --pruner none, a smaller --search.optimizer.lr, or more --trials."
        )


def place_of(trial: FrozenTrial) -> int:
    """Return a trial's place among those that were asked for, from 0."""
    return int(trial.user_attrs.get(PLACE, trial.number))
