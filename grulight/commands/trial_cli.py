"""The LightningCLI that trains again and again: with other settings, on other folds."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from jsonargparse import Namespace
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.utilities.types import LRSchedulerTypeTuple
from torch.optim import Optimizer

from grulight.commands.command_cli import as_list
from grulight.commands.fit_cli import FitCLI
from grulight.commands.lightning_messages import one_line_errors
from grulight.commands.option_words import names_optimizer, split_off, with_default_optimizer
from grulight.data.datamodule import SequenceDataModule
from grulight.data.folds import folds
from grulight.data.splitting import Parts
from grulight.errors import InputError
from grulight.runs.early_stopping import StopEarly
from grulight.runs.launchers import under_slurm
from grulight.training.classifier import GRUClassifier
from grulight.training.unprofiled import spare_profiler
from grulight.tuning.spaces import as_options

_MADE_ANEW = ("trainer", "optimizer", "lr_scheduler")  # for each training
_VALIDATED = 256  # sequences at once: small batches take longer than the trainings of a trial
_SILENT = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
# settings by which it is decided whether there is a default optimizer
_DECIDE = frozenset({"optimizer", "lr_scheduler", "model.from_keras"})
_READ_ALIKE = ("batch_size", "standardize", "seed")  # options that leave what is read as it is


class TrialCLI(FitCLI):
    """Parses ``fit``'s options once, and builds a training for each trial's settings.

    Attributes:
        given: What the user said of ``fit``'s options.
        from_program: Arguments of the data module that a program gave in their place.
        data: Those of the trial whose settings were taken last.
        whole: The parts that they say.
        deal: Of the folds; each trains from a seed of its own.
    """

    given: Sequence[str]
    from_program: Mapping[str, Any]
    deal = 0
    _read_as = ""  # how the data were read last

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
        options, others = split_off("--optimizer.", [*self.given, *as_options(settings)])
        with one_line_errors():
            if names_optimizer(others):  # which may need those options
                return self.parser.parse_args([*others, *options])
            if (default := self._default_optimizer(settings)) is None:
                config = self.parser.parse_args(others)
                chosen = with_default_optimizer(options, config)
                default = chosen[: len(chosen) - len(options)]
                self._defaults[frozenset(settings)] = default
            return self.parser.parse_args([*others, *default, *options])

    @cached_property
    def _defaults(self) -> dict[frozenset[str], list[str]]:
        """What named the default optimizer, by the names of the settings."""
        return {}

    def _default_optimizer(self, settings: Mapping[str, Any]) -> list[str] | None:
        """Return what names the default optimizer, where settings of these names had it before.

        To parse takes a third of a trial's cost, and twice is needed once.
        """
        if not _DECIDE.isdisjoint(settings):
            return None
        return self._defaults.get(frozenset(settings))

    def take(self, settings: Mapping[str, Any], deal: int = 0) -> None:
        """Take the settings of a trial over, and how often the folds were dealt before."""
        self.config = self.configure(settings)
        if self.config["trainer"]["devices"] != 1 or self.config["trainer"]["num_nodes"] != 1:
            raise InputError("--trainer.devices: a trial trains in one process; use --workers.")
        super().before_instantiate_classes()  # a Keras model says how labels are read
        searched = {name.removeprefix("data.") for name in settings}
        known = {name: each for name, each in self.from_program.items() if name not in searched}
        self.data = {**self.config["data"], **known}
        key = repr({name: self.data[name] for name in set(self.data) - {*_READ_ALIKE, *known}})
        if (key, deal) != (self._read_as, self.deal):
            self.__dict__.pop("folds_of_training", None)
        if key != self._read_as:
            self.whole, self._read_as = SequenceDataModule(**self.data).unfilled, key
        self.deal = deal

    @cached_property
    def folds_of_training(self) -> list[Parts]:
        """What each fold trains on and validates with; without folds there is one."""
        if count := self.config["folds"]:
            return list(folds(self.whole.train, count, self.seed + self.deal))
        return [self.whole._replace(test=self.whole.test.part(0, 0))]

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes of the training part that was read last."""
        return self.whole.train.class_names

    def train(self, parts: Parts, callbacks: Sequence[Callback]) -> None:
        """Train once.

        Args:
            parts: What trains and validates.
            callbacks: Who watches.

        Raises:
            InputError: The settings do not fit the data, or the training diverged.
        """
        self.build(parts)
        with one_line_errors():
            trainer = self._trainer_for(callbacks)
            trainer.fit(self.model, datamodule=self.datamodule)

    def build(self, parts: Parts) -> None:
        """Build the data module, the model and the optimiser.

        Raises:
            InputError: An option does not fit the data.
        """
        config = self.config
        seed_everything(self.seed + self.deal, workers=True, verbose=False)
        with one_line_errors(ValueError, TypeError):
            self.datamodule = SequenceDataModule(**self.data)
            self.datamodule.unfilled = parts  # missing values are filled by this training part
            self.datamodule.val_batch_size = max(_VALIDATED, self.datamodule.batch_size)
            self.model = GRUClassifier(**config["model"], **self.datamodule.describe())
            chosen = config.clone()
            for name in set(vars(config)) - set(_MADE_ANEW):
                chosen.pop(name)
            self.config_init = self._trainer_parser.instantiate_classes(chosen)
            self._add_configure_optimizers_method_to_model(None)

    @cached_property
    def _trainer_parser(self) -> LightningArgumentParser:
        """Makes all of a training but what reads the data."""
        parser = LightningArgumentParser()
        parser.add_lightning_class_args(Trainer, "trainer")
        parser.add_optimizer_args((Optimizer,))
        parser.add_lr_scheduler_args(LRSchedulerTypeTuple)
        return parser

    def _trainer_for(self, callbacks: Sequence[Callback]) -> Trainer:
        chosen = {**self.config_init["trainer"]}
        stop = filter(None, [StopEarly(**self.config["early_stopping"]).callback()])
        chosen["callbacks"] = [*as_list(chosen["callbacks"]), *callbacks, *stop]
        if under_slurm():  # a worker that is asked to stop is requeued by its script
            plugins = [*as_list(chosen["plugins"]), SLURMEnvironment(auto_requeue=False)]
            chosen["plugins"] = plugins
        trainer = Trainer(**(chosen | dict.fromkeys(_SILENT, False)))
        spare_profiler(trainer)
        return trainer

    @property
    def seed(self) -> int:
        """The seed of the trainings, the folds and the sampler."""
        chosen = self.config["seed_everything"]
        return int(chosen) if isinstance(chosen, int) and not isinstance(chosen, bool) else 0
