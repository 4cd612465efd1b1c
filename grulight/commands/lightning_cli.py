"""LightningCLI for grulight: what is configurable, and what every run comes with."""

import logging
import re
import sys
import warnings
from argparse import ArgumentError
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from jsonargparse import Namespace
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import LearningRateFinder
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from rich.console import Console

from grulight.checkpoint_files.reader import Checkpoint, read_checkpoint
from grulight.data.datamodule import DESCRIPTION, SequenceDataModule
from grulight.errors import InputError
from grulight.heads import Head
from grulight.keras_files.port import load_keras, rebuild
from grulight.keras_files.ported_network import PortedNetwork
from grulight.keras_files.reader.untrusted_text import naming
from grulight.runs.checkpoint import WholeCheckpointIO, load_classifier
from grulight.runs.launchers import is_first_process, launched_as, under_slurm
from grulight.runs.metrics_csv import MetricsFile
from grulight.runs.resuming import newest_checkpoint, require_continuable, require_epochs_left
from grulight.runs.run_directory import RUNS, directory_of, held, made, number_of
from grulight.runs.saving import RunCheckpoint, RunSaver
from grulight.trace.progress import TerminalProgress
from grulight.trace.recorder import TraceRecorder
from grulight.trace.terminal import TerminalTrace
from grulight.trace.timing import Timing
from grulight.training.classifier import GRUClassifier

_EXPECTED_WARNINGS = (
    r"`.*configure_optimizers` will be overridden",  # `--optimizer` does so on purpose
    r".*LeafSpec.*is deprecated",  # Lightning 2.6 on torch 2.13
    r".*`srun` command is available",  # a laptop where Slurm happens to be installed
    r"Experiment logs directory .* exists and is not empty",  # two loggers share it
    r"Checkpoint directory .* exists and is not empty",  # that of the run that goes on
    r"`training_step` returned `None`",  # where it has taken the steps itself
    r"The dirpath has changed",  # a run that is continued gets a directory of its own
    r"Be aware that when using `ckpt_path`",  # it may watch another loss than before
    r"Total length of `list` across ranks is zero",  # no validation part
    r"It is recommended to use `self.log\(.*sync_dist=True",  # the sums are reduced by hand
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
        console.quiet = not is_first_process()
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
                args=_with_shipped_configs(arguments),
                run=False,
                load_from_checkpoint_support=False,  # our own checkpoints hold plain values only
                **kwargs,
            )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the command's arguments; those of the process belong to the caller."""
        parser.add_argument(
            "--tf32", type=bool, default=False, help="Let CUDA round float32 products to TF32."
        )
        self.config = parser.parse_args(args)
        # cuDNN does so unless told not to, and the GRU would be another function than on a CPU
        torch.backends.cudnn.allow_tf32 = self.config["tf32"]
        torch.backends.cuda.matmul.allow_tf32 = self.config["tf32"]

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
        callbacks = [*_as_list(chosen.callbacks), *kwargs.pop("callbacks", [])]
        plugins = [WholeCheckpointIO(), *_as_list(chosen.plugins)]
        launched = launched_as()  # before Lightning looks: it says why a job cannot run
        if under_slurm():  # Lightning's own requeueing deadlocks: issue 21406 there
            plugins.append(SLURMEnvironment(auto_requeue=False))
        if launched is not None and (chosen.devices, chosen.num_nodes) == (1, 1):
            kwargs["devices"], kwargs["num_nodes"] = launched
        trainer = super().instantiate_trainer(
            enable_progress_bar=self.bar,
            callbacks=callbacks + ([TerminalProgress(self.console)] if self.bar else []),
            plugins=plugins,
            **kwargs,
        )
        if trainer.world_size > self.datamodule.batch_size:
            raise InputError(
                f"--data.batch_size {self.datamodule.batch_size}: is the size over all processes, "
                f"and {trainer.world_size} of them cannot share it. Raise it or use fewer."
            )
        return trainer

    @property
    def bar(self) -> bool:
        """Whether a progress bar can be shown."""
        wanted: bool = self.config_init["trainer"].enable_progress_bar is not False
        return wanted and self.console.is_terminal

    @property
    def root(self) -> str:
        """The directory that holds the run directories."""
        return self.config_init["trainer"].default_root_dir or "."

    def loggers(self, version: int | None = None, step: int | None = None) -> list[Logger] | Any:
        """Return loggers that share one run directory, unless the user chose others.

        Args:
            version: Number of the run that is resumed; by default a new one.
            step: Where it is resumed.
        """
        chosen = self.config_init["trainer"]
        if chosen.logger not in (None, True):
            return chosen.logger
        # TensorBoard's own switch for its stub: otherwise a run waits for TensorFlow to be imported
        sys.modules.setdefault("tensorboard.compat.notf", ModuleType("notf"))
        board = TensorBoardLogger(
            self.root, RUNS, version, default_hp_metric=False, purge_step=step
        )
        return [board, MetricsFile(Path(board.log_dir) / "metrics.csv")]

    def make_run_directory(
        self, version: int | None = None, step: int | None = None
    ) -> Path | None:
        """Make the directory that grulight's own loggers write to, for this run alone.

        The first process does so; Lightning tells its name to the others.

        Args:
            version: Number of the run that is resumed, whose directory is there.
            step: Where it is resumed.

        Returns:
            The directory; None in other processes, and where there are no such loggers.
        """
        if not any(isinstance(each, MetricsFile) for each in self.trainer.loggers):
            return None
        if not is_first_process():
            return None
        version = made(self.root) if version is None else version
        self.trainer.loggers = self.loggers(version, step)
        return directory_of(self.root, version)


class FitCLI(_CommandCLI):
    """``fit``: the model's size follows the data; every run leaves checkpoints behind."""

    def __init__(self, arguments: Sequence[str], console: Console) -> None:
        super().__init__("fit", arguments, console, save_config_callback=RunConfig)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add what is ours, and let the data decide the model's borders."""
        parser.add_argument(
            "--ckpt_path",
            type=str | None,
            help="Checkpoint that a new run starts from; `auto`: go on with the newest run under "
            "--trainer.default_root_dir, in its directory, or start afresh where there is none.",
        )
        parser.add_class_arguments(RunSaver, "checkpoint")
        for name in DESCRIPTION:
            parser.link_arguments(f"data.{name}", f"model.{name}", apply_on="instantiate")

    def before_instantiate_classes(self) -> None:
        """Read labels as the Keras model answers, where there is one."""
        source = self.config["model"]["from_keras"]
        if source is not None:
            model = load_keras(source) if isinstance(source, str) else rebuild(source)
            with naming(Path(source) if isinstance(source, str) else Path("the ported model")):
                network = PortedNetwork(model)
                network.require_trainable()
                self.expect(network.head, positions=True)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the Trainer with the trace, the run directory and the two checkpoints."""
        if not len(self.datamodule.parts.train):
            raise InputError("there are no sequences to train on; raise --data.train_size.")
        self._require_known_metrics()
        callbacks: list[Callback] = [self.recorder, TerminalTrace(self.recorder, self.console)]
        callbacks.append(Timing(None if self.bar else self.console))
        chosen = self.config_init["trainer"]
        if chosen.enable_checkpointing is not False and not chosen.fast_dev_run:
            # before anything is printed: who reads that may send a signal
            callbacks.insert(1, self.config_init["checkpoint"])
            callbacks.append(
                RunCheckpoint("val_loss" if len(self.datamodule.parts.val) else "train_loss")
            )
        path = self.config["ckpt_path"]
        self.ckpt_path = path
        self.resumed: Checkpoint | None = None  # whose run goes on in its own directory
        self.resumed_version: int | None = None  # that directory's number
        if path == "auto":
            if self.config_init["trainer"].logger not in (None, True):
                raise InputError(
                    "--ckpt_path auto: goes on in the run directory of grulight's own loggers. "
                    "Leave out --trainer.logger, or name the checkpoint."
                )
            self.ckpt_path = newest_checkpoint(self.root, self.console.print)
            if self.ckpt_path is not None:
                self.resumed_version = number_of(self.ckpt_path.parent.parent)
                self.resumed = read_checkpoint(self.ckpt_path)
                self.save_config_kwargs = {"overwrite": True}
        logger = self.loggers(self.resumed_version)
        if not logger:
            self.save_config_callback = None  # there is no run directory to save it in
        trainer = super().instantiate_trainer(callbacks=callbacks, logger=logger, **kwargs)
        if trainer.world_size > len(self.datamodule.parts.train):
            raise InputError(
                f"{self.datamodule.source}: has {len(self.datamodule.parts.train)} training "
                f"sequences for {trainer.world_size} processes. Use fewer."
            )
        return trainer

    def _require_known_metrics(self) -> None:
        """Refuse callbacks and schedulers that watch or set what this training does not have."""
        validates = len(self.datamodule.parts.val) > 0
        own = _as_list(self.config_init["trainer"].callbacks)
        watching = {type(each).__name__: getattr(each, "monitor", None) for each in own}
        scheduler = self.config.get("lr_scheduler")
        watching["--lr_scheduler"] = scheduler and scheduler.get("init_args.monitor")
        for name, metric in watching.items():
            if not validates and str(metric).startswith("val_"):
                raise InputError(
                    f"{name} watches {metric}, but there is no validation part. Set "
                    "--data.val_size, such as 0.1, or watch train_loss."
                )
        if any(isinstance(each, LearningRateFinder) for each in own):
            raise InputError(
                "LearningRateFinder sets an attribute of the model, which has none: the learning "
                "rate is the optimizer's. Leave it out and set --optimizer.lr."
            )

    @contextmanager
    def run_directory(self) -> Iterator[None]:
        """Make the run's directory, or take up the one that is resumed, and keep others out."""
        with ExitStack() as stack:
            if self.config["ckpt_path"] == "auto" and is_first_process():
                runs = Path(self.root, RUNS)
                runs.mkdir(parents=True, exist_ok=True)
                stack.enter_context(held(runs, self.console.print))
            step = None if self.resumed is None else self.resumed.get("global_step", 0)
            directory = self.make_run_directory(self.resumed_version, step)
            if directory is not None:
                stack.enter_context(held(directory, self.console.print))
            yield

    def after_instantiate_classes(self) -> None:
        """Note how the model is optimised, for its checkpoints, and check where it goes on from."""
        chosen = {name: self.config.get(name) for name in ("optimizer", "lr_scheduler")}
        self.model.optimization = {
            name: value.as_dict() if isinstance(value, Namespace) else value
            for name, value in chosen.items()
        }
        if self.ckpt_path is not None:
            checkpoint = require_continuable(
                self.ckpt_path, self.model, -1 if self.resumed is None else self.trainer.max_steps
            )
            if self.resumed is None:
                require_epochs_left(self.ckpt_path, checkpoint, self.trainer)


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
        for key in ("model", "optimizer", "lr_scheduler", "checkpoint"):
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
            parser.add_argument(
                "--spreadsheet_safe",
                type=bool,
                default=False,
                help="Write ' before texts in a .csv that a spreadsheet would run as a formula: "
                "those that begin with = + - @, a tab or a line break.",
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
        trainer = super().instantiate_trainer(logger=logger, **kwargs)
        if self.predicts and trainer.world_size > 1:
            raise InputError("predict runs in one process; start it without torchrun or srun.")
        return trainer


def _with_shipped_configs(arguments: Sequence[str]) -> list[str]:
    """Let ``--config`` take the name of a file in ``grulight/configs`` as well."""
    found, after_config = [], False
    for argument in arguments:
        option, equals, value = argument.partition("=")
        name = argument if after_config else value if option == "--config" and equals else None
        after_config = argument == "--config"
        if name is not None and not Path(name).exists():
            shipped = files("grulight") / "configs" / f"{name}.yaml"
            argument = argument.removesuffix(name) + (str(shipped) if shipped.is_file() else name)
        found.append(argument)
    return found


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]
