"""``grulight.tune``: what the command of that name does, for what a program has in memory."""

import inspect
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from typing import Any, get_args

import optuna
import yaml
from optuna.storages import InMemoryStorage
from rich.console import Console

from grulight.commands.lightning_messages import silence_expected_warnings
from grulight.commands.trials import work
from grulight.commands.tune_cli import TuneCLI
from grulight.data.datamodule import SequenceDataModule
from grulight.errors import require_choice
from grulight.training.classifier import GRUClassifier
from grulight.tuning.algorithms import Pruner, Sampler
from grulight.tuning.finals import finals_of, winner
from grulight.tuning.objective import Objective
from grulight.tuning.workers import registered


def tune(
    data: Any,
    search: Mapping[str, str] | None = None,
    trials: int = 50,
    *,
    objective: Objective = "val_loss",
    folds: int = 0,
    finalists: int | None = None,
    settings: Mapping[str, Any] | None = None,
    timeout: float | None = None,
    sampler: Sampler = "tpe",
    pruner: Pruner = "median",
    seed: int = 0,
    study: str | PathLike[str] | None = None,
    verbose: bool = False,
) -> tuple[optuna.Study, GRUClassifier]:
    """Search settings, and train with the best on all of the training part.

    The trials are those of ``grulight tune``, one after the other in this process.

    Args:
        data: A :class:`SequenceDataModule`, or what it takes for a source. Its test part is not
            looked at.
        search: What is searched: names of options of ``grulight fit`` to spaces, such as
            ``{"model.hidden_size": "int(8, 128, log)"}``; by default what usually matters.
        trials: How many, with those that a study in a directory has already.
        objective: What a trial is judged by.
        folds: Cross-validate in so many; 0: a validation part of the training part, that of the
            data module or 0.2.
        finalists: With folds: so many of the best trials are cross-validated again before one is
            best; 5 where nothing is said.
        settings: Options that all trials have, such as ``{"trainer.max_epochs": 30}``.
        timeout: Seconds after which no new trial begins.
        sampler: Who chooses settings, by Optuna's name.
        pruner: Who stops trials early, by Optuna's name.
        seed: Of everything: the same data and seed give the same study.
        study: Directory of a study that is kept, and gone on with; None for one in memory.
        verbose: Whether to print a line for each trial.

    Returns:
        The study, which has ``trials`` and ``best_params``; the classifier, trained with its
        ``user_attrs["best"]``, which are those of the best finalist where there are folds.

    Raises:
        InputError: A setting or a space is wrong, does not fit the data, or no trial was trained
            to its end.
    """
    silence_expected_warnings()
    require_choice("objective", objective, get_args(Objective))
    require_choice("sampler", sampler, get_args(Sampler))
    require_choice("pruner", pruner, get_args(Pruner))
    given = dict(data.given) if isinstance(data, SequenceDataModule) else {"source": data}
    usual = {n: p.default for n, p in inspect.signature(SequenceDataModule).parameters.items()}
    said = {name: each for name, each in given.items() if each is not usual[name]}
    own: dict[str, Any] = {
        "objective": objective,
        "folds": folds,
        "finalists": finalists,
        "trials": trials,
        "timeout": timeout,
    }
    own |= {"sampler": sampler, "pruner": pruner, "seed_everything": seed}
    options = [f"--{name}={_words(each)}" for name, each in {**(settings or {}), **own}.items()]
    options += [f"--search.{name}={space}" for name, space in (search or {}).items()]
    with ExitStack() as stack:
        directory = study or stack.enter_context(tempfile.TemporaryDirectory())
        cli = TuneCLI([*options, f"--study={directory}"], Console(quiet=not verbose), said)
        cli.check_spaces()
        opened = cli.open_study(None if study else InMemoryStorage())
        name = stack.enter_context(registered(Path(directory)))
        work(cli, opened, name)
        if (finals := finals_of(opened, cli.config)) is not None:
            work(cli, finals, name)
        best = winner(opened, finals).params
        opened.in_optuna.set_user_attr("best", best)
        return opened.in_optuna, cli.trained(best)


def _words(value: Any) -> str:
    """Return a setting as a command line has it."""
    return str(yaml.safe_dump(value, default_flow_style=True)).removesuffix("\n...\n").strip()
