"""The LightningCLI of ``tune``: the options of ``fit``, and what is searched among them."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.resources import files
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.utilities.types import LRSchedulerTypeTuple
from rich.console import Console
from torch.optim import Optimizer

from grulight.commands.command_cli import as_list
from grulight.commands.fit_cli import FitCLI, split_off
from grulight.commands.lightning_messages import one_line_errors
from grulight.data.datamodule import SequenceDataModule
from grulight.data.folds import folds
from grulight.data.splitting import Parts
from grulight.errors import InputError
from grulight.training.classifier import GRUClassifier
from grulight.tuning.objective import Objective, ObjectiveReporter
from grulight.tuning.spaces import as_options, corners, parse_spaces
from grulight.tuning.study import Pruner, Sampler

OWN = ("search", "objective", "folds", "trials", "workers", "timeout", "study", "storage")
OWN += ("sampler", "pruner")
_MADE_ANEW = ("trainer", "optimizer", "lr_scheduler")  # for each training
_ONLY_IN_FIT = ("ckpt_path", "seeds")


class TuneCLI(FitCLI):
    """``tune``: builds a training for each trial from ``fit``'s options and the trial's settings.

    Attributes:
        spaces: What is searched, by option.
        question: All that decides what the trials find.
        arguments: What the user said of ``fit``'s options.
    """

    def __init__(self, arguments: Sequence[str], console: Console) -> None:
        super().__init__(arguments, console, "tune")

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add what a study is asked beside ``fit``'s options."""
        super().add_arguments_to_parser(parser)
        add = parser.add_argument
        add(
            "--search",
            type=dict | None,
            help="What is searched: --search.model.hidden_size 'int(8, 128, log)', "
            "--search.optimizer.lr 'float(1e-4, 1e-1, log)', "
            "--search.model.bidirectional 'choice(true, false)'; any option of fit.",
        )
        add("--objective", type=Objective, default="val_loss", help="What a trial is judged by.")
        add(
            "--folds",
            type=int,
            default=0,
            help="Cross-validate in so many folds of the training part; 0: --data.val_size of it "
            "(0.2 where nothing is said) validates.",
        )
        add("--trials", type=int, default=50, help="Trials of the study, over all workers.")
        add("--workers", type=int | None, help="Processes; by default one per core.")
        add("--timeout", type=float | None, help="Seconds after which no new trial begins.")
        add("--study", type=str, default="study", help="Directory; a study in it is gone on with.")
        add("--storage", type=str | None, help="URL of a database, instead of a file in --study.")
        add("--sampler", type=Sampler, default="tpe", help="Who chooses settings (Optuna's).")
        add("--pruner", type=Pruner, default="median", help="Who stops trials early (Optuna's).")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Take the spaces out of the command line, and check all that can be checked."""
        searched, self.arguments = split_off("--search.", args)
        super().parse_arguments(parser, self.arguments)
        if not searched and not self.config["search"]:
            usual = str(files("grulight") / "configs" / "tune.yaml")
            self.arguments = [f"--config={usual}", *self.arguments]
            self.config = parser.parse_args(self.arguments)
        config = self.config
        for name in _ONLY_IN_FIT:
            if config.get(name):
                raise InputError(f"--{name}: is for fit; tune trains anew.")
        spaces = parse_spaces((config["search"] or {}) | _named(searched))
        self.spaces = spaces
        for name, least in (("trials", 1), ("workers", 1)):
            if config[name] is not None and config[name] < least:
                raise InputError(f"--{name} {config[name]}: expected at least {least}.")
        if config["folds"] and config["data"]["val_size"]:
            raise InputError("--folds: every fold validates once; leave out --data.val_size.")
        self.question = self._question()
        self._given = self.arguments
        if not config["folds"] and not config["data"]["val_size"]:
            self._given = ["--data.val_size=0.2", *self.arguments]

    def _question(self) -> dict[str, Any]:
        """Return all that decides what the trials find, as plain values."""
        own = {name: self.config[name] for name in ("objective", "folds", "sampler", "pruner")}
        asked = {f"search.{name}": str(space) for name, space in self.spaces.items()}
        config = self.config.clone()
        for name in (*OWN, "config", "__default_config__"):
            config.pop(name, None)
        return own | asked | {name: str(value) for name, value in vars(config.as_flat()).items()}

    def before_instantiate_classes(self) -> None:
        """Nothing is built before a trial."""

    def instantiate_classes(self) -> None:
        """Likewise."""

    def after_instantiate_classes(self) -> None:
        """Likewise."""

    def configure(self, settings: Mapping[str, Any]) -> Namespace:
        """Return the configuration of a training with a trial's settings.

        Raises:
            InputError: An option is not known, or refuses its value.
        """
        options, others = split_off("--optimizer.", [*self._given, *as_options(settings)])
        with one_line_errors():
            config = self.parser.parse_args(others)
            if options and not config.get("optimizer"):
                options = ["--optimizer=KerasAdam", *options]
            return self.parser.parse_args([*others, *options]) if options else config

    def check_spaces(self) -> None:
        """Build a training at the borders of every space.

        Raises:
            InputError: An option is not known, or refuses its value.
        """
        first = {name: corners(space)[0] for name, space in self.spaces.items()}
        tried = [first] + [
            first | {name: value}
            for name, space in self.spaces.items()
            for value in corners(space)[1:]
        ]
        for settings in tried:
            self.take(settings)
            self._build(self.folds_of_training[0])

    def take(self, settings: Mapping[str, Any]) -> None:
        """Take the settings of a trial over."""
        self.config = self.configure(settings)
        data = self.config["data"]
        if self.config["trainer"]["devices"] != 1 or self.config["trainer"]["num_nodes"] != 1:
            raise InputError("--trainer.devices: a trial trains in one process; use --workers.")
        key = {k: v for k, v in data.items() if k not in ("batch_size", "standardize", "seed")}
        if repr(key) != self._read_as:
            super().before_instantiate_classes()
            self._whole, self._read_as = SequenceDataModule(**data).parts, repr(key)
            self.__dict__.pop("folds_of_training", None)

    _read_as = ""

    @cached_property
    def folds_of_training(self) -> list[Parts]:
        count = self.config["folds"]
        if count:
            return list(folds(self._whole.train, count, self.config["seed_everything"] or 0))
        return [self._whole._replace(test=self._whole.test.part(0, 0))]

    @property
    def fit_arguments(self) -> list[str]:
        """What the user said of ``fit``'s options, without what only ``tune`` has."""
        found = list(self._given)
        for name in OWN:
            _, found = split_off(f"--{name}", found)
        return found

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes of the training part that was read last."""
        return self._whole.train.class_names

    def train(self, parts: Parts, reporter: ObjectiveReporter) -> None:
        """Train once.

        Raises:
            InputError: The settings do not fit the data, or the training diverged.
        """
        self._build(parts)
        with one_line_errors():
            trainer = self._trainer_for(reporter)
            trainer.fit(self.model, datamodule=self.datamodule)

    @property
    def needs_validation(self) -> bool:
        """Whether something of the user's watches the validation part while training."""
        config = self.config
        watching = (config["lr_scheduler"] or {}).get("init_args", {}).get("monitor")
        return bool(config["trainer"]["callbacks"] or watching) and not config["folds"]

    def settings_of_fit(self, settings: Mapping[str, Any]) -> str:
        """Return the settings of a trial as a config file of ``fit``."""
        config = self.configure(settings)
        for name in (*OWN, "config", "ckpt_path"):
            config.pop(name, None)
        return self.parser.dump(config, skip_validation=True, skip_link_targets=False)

    def _build(self, parts: Parts) -> None:
        """Build the data module and the model."""
        config = self.config
        if isinstance(config["seed_everything"], int):
            seed_everything(config["seed_everything"], workers=True, verbose=False)
        with one_line_errors(ValueError, TypeError):
            self.datamodule = SequenceDataModule(**config["data"])
            self.datamodule.parts = parts
            self.model = GRUClassifier(**config["model"], **self.datamodule.describe())
            chosen = {name: config[name] for name in _MADE_ANEW}
            self.config_init = self._trainer_parser.instantiate_classes(Namespace(**chosen))
            self._add_configure_optimizers_method_to_model(None)

    @cached_property
    def _trainer_parser(self) -> LightningArgumentParser:
        """Makes all of a training but what reads the data."""
        parser = LightningArgumentParser()
        parser.add_lightning_class_args(Trainer, "trainer")
        parser.add_optimizer_args((Optimizer,))
        parser.add_lr_scheduler_args(LRSchedulerTypeTuple)
        return parser

    def _trainer_for(self, reporter: ObjectiveReporter) -> Trainer:
        chosen = {**self.config_init["trainer"]}
        chosen["callbacks"] = [*as_list(chosen["callbacks"]), reporter]
        quiet: dict[str, Any] = dict.fromkeys(
            ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
        )
        return Trainer(**(chosen | quiet))


def _named(arguments: Sequence[str]) -> dict[str, Any]:
    """Return ``--search.NAME SPACE`` and ``--search.NAME=SPACE`` by name."""
    found: dict[str, Any] = {}
    rest = iter(arguments)
    for argument in rest:
        name, equals, space = argument.removeprefix("--search.").partition("=")
        found[name] = space if equals else next(rest, "")
    return found
