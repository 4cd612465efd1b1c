"""What the LightningCLI of each command has: its parser, its Trainer and its run directory."""

import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import Logger
from rich.console import Console

from grulight.commands import COMMANDS
from grulight.commands.config_files import with_shipped_configs
from grulight.commands.help import CommandParser, HelpAll
from grulight.commands.lightning_messages import one_line_errors
from grulight.commands.trainer_checks import let_profiler_write, with_directory
from grulight.data.datamodule import SequenceDataModule
from grulight.errors import InputError
from grulight.heads import Head
from grulight.runs.checkpoint import WholeCheckpointIO
from grulight.runs.launchers import is_first_process, launched_as, under_slurm
from grulight.runs.metrics_csv import MetricsFile
from grulight.runs.run_directory import RUNS, directory_of, make_run_directory
from grulight.runs.tensorboard_events import TensorBoardEvents
from grulight.trace.progress import TerminalProgress
from grulight.training.classifier import GRUClassifier
from grulight.training.unprofiled import spare_profiler

# by what Lightning would divide
_DIVISORS = {
    "accumulate_grad_batches": "at least 1",
    "check_val_every_n_epoch": "at least 1",
    "val_check_interval": "more than 0",
}
_PARSERS: dict[tuple[type, str], LightningArgumentParser] = {}


class CommandCLI(LightningCLI):
    """One command: its parser and its Trainer. ``run=False``: the command runs the Trainer."""

    def __init__(
        self, command: str, arguments: Sequence[str], console: Console, **kwargs: Any
    ) -> None:
        self.console, self.command = console, command
        console.quiet = console.quiet or not is_first_process()
        # constructors check their arguments: these errors are about what the user asked for
        with one_line_errors(ValueError, ModuleNotFoundError):
            super().__init__(
                GRUClassifier,
                SequenceDataModule,
                parser_class=CommandParser,
                parser_kwargs={
                    "prog": f"grulight {command}",
                    "default_config_files": [str(files("grulight") / "configs" / "default.yaml")],
                    "exit_on_error": False,
                },
                args=with_shipped_configs(arguments),
                run=False,
                load_from_checkpoint_support=False,  # our own checkpoints hold plain values only
                **kwargs,
            )

    def setup_parser(self, *args: Any) -> None:
        """Take the command's parser of this process: building one takes a fifth of a short run."""
        key = type(self), self.command
        if key not in _PARSERS:
            super().setup_parser(*args)
            assert isinstance(self.parser, CommandParser)
            self.parser.says = COMMANDS[self.command]
            self.parser.add_argument("--help.all", action=HelpAll)
            self.parser.add_argument(
                "--tf32", type=bool, default=False, help="Let CUDA round float32 products to TF32."
            )
            _PARSERS[key] = self.parser
        self.parser = _PARSERS[key]

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the command's arguments; those of the process belong to the caller."""
        self.config = parser.parse_args(args)
        # cuDNN does so unless told not to, and the GRU would be another function than on a CPU
        torch.backends.cudnn.allow_tf32 = self.config["tf32"]
        torch.backends.cuda.matmul.allow_tf32 = self.config["tf32"]

    def set_label_options(self, head: Head, *, positions: bool) -> None:
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
        for name, least in _DIVISORS.items():
            value = getattr(chosen, name)
            if isinstance(value, int | float) and not value > 0:
                raise InputError(f"--trainer.{name} {value}: expected {least}.")
        callbacks = [*as_list(chosen.callbacks), *kwargs.pop("callbacks", [])]
        plugins = [WholeCheckpointIO(), *as_list(chosen.plugins)]
        launched = launched_as()  # before Lightning looks: it says why a job cannot run
        if under_slurm():  # Lightning's own requeueing deadlocks: issue 21406 there
            plugins.append(SLURMEnvironment(auto_requeue=False))
        if launched is not None and (chosen.devices, chosen.num_nodes) == (1, 1):
            kwargs["devices"], kwargs["num_nodes"] = launched
        trainer = super().instantiate_trainer(
            enable_progress_bar=self.shows_progress_bar,
            callbacks=callbacks
            + ([TerminalProgress(self.console)] if self.shows_progress_bar else []),
            plugins=plugins,
            **kwargs,
        )
        let_profiler_write(trainer)
        spare_profiler(trainer)
        if trainer.world_size > self.datamodule.batch_size:
            raise InputError(
                f"--data.batch_size {self.datamodule.batch_size}: is the size over all processes, "
                f"and {trainer.world_size} of them cannot share it. Raise it or use fewer."
            )
        return trainer

    @property
    def shows_progress_bar(self) -> bool:
        """Whether a progress bar can be shown."""
        wanted: bool = self.config_init["trainer"].enable_progress_bar is not False
        return wanted and self.console.is_terminal

    @property
    def root(self) -> str:
        """The directory that holds the run directories."""
        return self.config_init["trainer"].default_root_dir or "."

    def loggers(self, version: int | None = None, step: int | None = None) -> list[Logger] | Any:
        """Return loggers that share one run directory; those that the user chose, if he did.

        Args:
            version: Number of the run that is resumed; by default a new one.
            step: Where it is resumed.
        """
        chosen = self.config_init["trainer"]
        # TensorBoard's own switch for its stub: otherwise a run waits for TensorFlow to be imported
        sys.modules.setdefault("tensorboard.compat.notf", ModuleType("notf"))
        board = TensorBoardEvents(
            self.root, RUNS, version, default_hp_metric=False, purge_step=step
        )
        own = [board, MetricsFile(Path(board.log_dir) / "metrics.csv")]
        return own if chosen.logger in (None, True) else with_directory(chosen.logger, own)

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
        version = make_run_directory(self.root) if version is None else version
        self.trainer.loggers = self.loggers(version, step)
        return directory_of(self.root, version)


def as_list(value: Any) -> list[Any]:
    """Return what a setting holds as a list: nothing, one thing or several."""
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]
