"""LightningCLI for grulight: what is configurable, and what every run comes with."""

import logging
import re
import sys
import warnings
from argparse import ArgumentError
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any

from jsonargparse import Namespace
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from rich.console import Console

from grulight.checkpoint import WholeCheckpointIO, load_classifier
from grulight.data.datamodule import DESCRIPTION, SequenceDataModule
from grulight.errors import InputError
from grulight.heads import Head
from grulight.keras_files.plain import naming
from grulight.keras_files.port import load_keras, rebuild
from grulight.keras_files.ported import PortedNetwork
from grulight.task import GRUClassifier
from grulight.trace.progress import TerminalProgress
from grulight.trace.recorder import TraceRecorder
from grulight.trace.terminal import TerminalTrace

_EXPECTED_WARNINGS = (
    r"`.*configure_optimizers` will be overridden",  # `--optimizer` does so on purpose
    r".*LeafSpec.*is deprecated",  # Lightning 2.6 on torch 2.13
    r".*`srun` command is available",  # a laptop where Slurm happens to be installed
    r"Experiment logs directory .* exists and is not empty",  # two loggers share it
    r"The dirpath has changed",  # a run that is continued gets a directory of its own
    r"Be aware that when using `ckpt_path`",  # it may watch another loss than before
    r"Total length of `list` across ranks is zero",  # no validation part
)


@contextmanager
def one_line_errors(*also: type[Exception]) -> Iterator[None]:
    """Turn what parsers and the Trainer say of bad settings into an :class:`InputError`."""
    errors: tuple[type[Exception], ...] = (ArgumentError, MisconfigurationException, *also)
    try:
        yield
    except InputError:
        raise
    except errors as error:
        raise InputError(re.sub(r"\s+", " ", str(error)).strip()) from error


def quieten() -> None:
    """Silence what Lightning says of settings that are meant."""
    for package in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(package).setLevel(logging.WARNING)
    for message in _EXPECTED_WARNINGS:
        warnings.filterwarnings("ignore", message)


class RunCheckpoint(ModelCheckpoint):
    """A checkpoint of ours; its own class, so that users' ModelCheckpoints keep their states."""


class RunConfig(SaveConfigCallback):
    """Save what a run was asked for, without where it continued from: the file repeats the run."""

    def __init__(self, parser: LightningArgumentParser, config: Namespace, **kwargs: Any) -> None:
        repeated = config.clone()
        repeated.pop("ckpt_path", None)
        super().__init__(parser, repeated, **kwargs)


class _CommandCLI(LightningCLI):
    """One command: its parser and its Trainer. ``run=False``: the command runs the Trainer."""

    def __init__(
        self, command: str, arguments: Sequence[str], console: Console, **kwargs: Any
    ) -> None:
        self.console = console
        self.recorder = TraceRecorder()
        # constructors check their arguments: these errors are about what the user asked for
        with one_line_errors(ValueError, ModuleNotFoundError):
            super().__init__(
                GRUClassifier,
                SequenceDataModule,
                parser_kwargs={
                    "prog": f"grulight {command}",
                    "default_config_files": [str(files("grulight") / "configs" / "default.yaml")],
                    "exit_on_error": False,
                },
                args=list(arguments),
                run=False,
                load_from_checkpoint_support=False,  # our own checkpoints hold plain values only
                **kwargs,
            )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the command's arguments; those of the process belong to the caller."""
        self.config = parser.parse_args(args)

    def expect(self, head: Head, *, positions: bool) -> None:
        """Read labels as a model answers, unless the user says how.

        Args:
            head: What the model answers.
            positions: Whether whole-number labels are positions among its classes.
        """
        data = self.config["data"]
        if data["targets"] == "auto":
            data["targets"] = "classes" if head.num_classes else "values"
        if data["per_step"] is None:
            data["per_step"] = head.per_step
        if data["num_classes"] is None and head.num_classes and positions:
            data["num_classes"] = head.num_classes

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the Trainer with our progress bar and checkpoint files."""
        chosen = self.config_init["trainer"]
        bar = self.console.is_terminal and chosen.enable_progress_bar is not False
        callbacks = [*_as_list(chosen.callbacks), *kwargs.pop("callbacks", [])]
        trainer = super().instantiate_trainer(
            enable_progress_bar=bar,
            callbacks=callbacks + ([TerminalProgress(self.console)] if bar else []),
            plugins=[WholeCheckpointIO(), *_as_list(chosen.plugins)],
            **kwargs,
        )
        if trainer.world_size > 1:
            raise InputError(
                f"--trainer.devices and num_nodes ask for {trainer.world_size} processes; grulight "
                "runs on one device so far. Set both to 1."
            )
        return trainer

    def loggers(self) -> list[Logger] | Any:
        """Return loggers that share one run directory, unless the user chose others."""
        chosen = self.config_init["trainer"]
        if chosen.logger not in (None, True):
            return chosen.logger
        # TensorBoard's own switch for its stub: otherwise a run waits for TensorFlow to be imported
        sys.modules.setdefault("tensorboard.compat.notf", ModuleType("notf"))
        root = chosen.default_root_dir or "."
        board = TensorBoardLogger(root, default_hp_metric=False)
        return [board, CSVLogger(root, version=board.version)]


class FitCLI(_CommandCLI):
    """``fit``: the model's size follows the data; every run leaves checkpoints behind."""

    def __init__(self, arguments: Sequence[str], console: Console) -> None:
        super().__init__("fit", arguments, console, save_config_callback=RunConfig)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add what is ours, and let the data decide the model's borders."""
        parser.add_argument("--ckpt_path", type=str | None, help="Checkpoint to continue from.")
        for name in DESCRIPTION:
            parser.link_arguments(f"data.{name}", f"model.{name}", apply_on="instantiate")

    def before_instantiate_classes(self) -> None:
        """Read labels as the Keras model answers, where there is one."""
        source = self.config["model"]["from_keras"]
        if source is not None:
            model = load_keras(source) if isinstance(source, str) else rebuild(source)
            with naming(Path(source) if isinstance(source, str) else Path("the ported model")):
                self.expect(PortedNetwork(model).head, positions=True)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the Trainer with the trace, the run directory and the two checkpoints."""
        if not len(self.datamodule.parts.train):
            raise InputError("there are no sequences to train on; raise --data.train_size.")
        callbacks: list[Callback] = [self.recorder, TerminalTrace(self.recorder, self.console)]
        if self.config_init["trainer"].enable_checkpointing is not False:
            monitor = "val_loss" if len(self.datamodule.parts.val) else "train_loss"
            callbacks += [
                RunCheckpoint(filename="best", monitor=monitor, enable_version_counter=False),
                RunCheckpoint(filename="last", monitor=None, enable_version_counter=False),
            ]
        logger = self.loggers()
        if not logger:
            self.save_config_callback = None  # there is no run directory to save it in
        return super().instantiate_trainer(callbacks=callbacks, logger=logger, **kwargs)

    def after_instantiate_classes(self) -> None:
        """Note how the model is optimised, for its checkpoints."""
        chosen = {name: self.config.get(name) for name in ("optimizer", "lr_scheduler")}
        self.model.optimization = {
            name: value.as_dict() if isinstance(value, Namespace) else value
            for name, value in chosen.items()
        }


class CheckpointCLI(_CommandCLI):
    """``validate``, ``test``, ``predict``: a checkpoint says what the model is."""

    def __init__(self, command: str, arguments: Sequence[str], console: Console) -> None:
        self.predicts = command == "predict"
        super().__init__(
            command,
            arguments,
            console,
            save_config_callback=None,
            auto_configure_optimizers=False,
        )

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the Trainer and the data, and let a training's config file pass."""
        parser.add_lightning_class_args(Trainer, "trainer")
        parser.add_lightning_class_args(SequenceDataModule, "data")
        for key in ("model", "optimizer", "lr_scheduler"):
            parser.add_argument(
                f"--{key}", type=Any, help="Ignored (for config files): the checkpoint decides."
            )
        parser.add_argument(
            "--ckpt_path", type=str, required=True, help="Checkpoint, such as last.ckpt of a run."
        )
        if self.predicts:
            parser.add_argument(
                "--output", type=str, default="predictions.csv", help="Table (.csv or .parquet)."
            )

    def before_instantiate_classes(self) -> None:
        """Read data as the checkpoint's model expects it."""
        self.classifier = load_classifier(self.config["ckpt_path"])
        # a model ported from Keras may know no names
        head, names = self.classifier.head, self.classifier.hparams["class_names"]
        self.config["data"]["class_names"] = list(names) if names and head.num_classes else None
        self.expect(head, positions=not names)
        if self.classifier.hparams["feature_names"] is not None:
            self.config["data"]["features"] = list(self.classifier.feature_names)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the Trainer; a prediction leaves no run directory."""
        logger = False if self.predicts else self.loggers()
        return super().instantiate_trainer(logger=logger, **kwargs)


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]
