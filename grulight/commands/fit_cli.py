"""The LightningCLI of ``fit``."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.cli import LightningArgumentParser, SaveConfigCallback
from rich.console import Console

from grulight.checkpoint_files.reader import Checkpoint, read_checkpoint
from grulight.commands.command_cli import CommandCLI, as_list
from grulight.commands.config_files import require_undescribed
from grulight.commands.option_words import (
    names_optimizer,
    split_off,
    with_default_optimizer,
    with_named_metric,
)
from grulight.commands.trainer_checks import check_callbacks, check_how_often
from grulight.data.description import DESCRIPTION
from grulight.errors import InputError
from grulight.keras_files.model_description import rebuild
from grulight.keras_files.port import load_keras
from grulight.keras_files.ported_network import PortedNetwork
from grulight.keras_files.reader.untrusted_text import naming
from grulight.runs.early_stopping import StopEarly
from grulight.runs.launchers import is_first_process
from grulight.runs.resuming import newest_checkpoint, require_continuable, require_epochs_left
from grulight.runs.run_directory import RUNS, locked, number_of
from grulight.runs.saving import RunCheckpoint, RunSaver
from grulight.trace.recorder import TraceRecorder
from grulight.trace.terminal import TerminalTrace
from grulight.trace.timing import Timing
from grulight.training.starting_weights import starting_weights


class RunConfig(SaveConfigCallback):
    """Save what a run was asked for, without where it continued from: the file repeats the run."""

    def __init__(self, parser: LightningArgumentParser, config: Namespace, **kwargs: Any) -> None:
        repeated = config.clone()
        repeated.pop("ckpt_path", None)
        super().__init__(parser, repeated, **kwargs)


class FitCLI(CommandCLI):
    """``fit``: the model's size follows the data; every run leaves checkpoints behind."""

    def __init__(self, arguments: Sequence[str], console: Console, command: str = "fit") -> None:
        self.recorder = TraceRecorder()
        words = list(with_named_metric(arguments))
        super().__init__(command, words, console, save_config_callback=RunConfig)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add what is ours, and let the data decide the model's borders."""
        parser.add_argument(
            "--ckpt_path",
            type=str | None,
            help="Checkpoint that a new run starts from; `auto`: go on with the newest run under "
            "--trainer.default_root_dir, in its directory, or start afresh where there is none.",
        )
        parser.add_argument(
            "--seeds",
            type=int,
            default=1,
            help="Train so many models, from as many seeds on from --seed_everything; their tests "
            "are compared, and test, validate and predict --ckpt_path take the run of all.",
        )
        parser.add_class_arguments(StopEarly, "early_stopping")
        parser.add_class_arguments(RunSaver, "checkpoint")
        for name in DESCRIPTION:
            parser.link_arguments(f"data.{name}", f"model.{name}", apply_on="instantiate")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Let options of an optimizer, or a schedule, without one be those of the default's."""
        require_undescribed(args)
        options, others = split_off("--optimizer.", args)
        named = names_optimizer(others)  # which may need those options
        super().parse_arguments(parser, [*others, *options] if named else others)
        if not named and (options := with_default_optimizer(options, self.config)):
            self.config = parser.parse_args([*others, *options])

    def before_instantiate_classes(self) -> None:
        """Read labels as the Keras model answers, where there is one."""
        model = self.config["model"]
        self._weights = model["weights"]
        if self._weights is not None and (path := self._goes_on_from()) is not None:
            model["weights"] = str(path)  # which has them already; the other may be gone
        if (network := self.keras_network()) is not None:
            self.set_label_options(network.head, positions=True)

    def keras_network(self) -> PortedNetwork | None:
        """Return the Keras model that is trained further; None where there is none.

        Raises:
            InputError: It cannot be trained here.
        """
        model = self.config["model"]
        source = model["from_keras"]
        if source is None and model["weights"] is not None:
            source = starting_weights(model["weights"]).from_keras
        if source is None:
            return None
        ported = load_keras(source) if isinstance(source, str) else rebuild(source)
        with naming(Path(source) if isinstance(source, str) else Path("the ported model")):
            network = PortedNetwork(ported)
            network.require_trainable()
        return network

    def _goes_on_from(self) -> Path | None:
        path = self.config["ckpt_path"]
        if path != "auto":
            return None if path is None else Path(path)
        root = self.config["trainer"]["default_root_dir"] or "."
        return newest_checkpoint(root, lambda _: None)  # which are passed over is said later

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the Trainer with the trace, the run directory and the two checkpoints."""
        self.config["model"]["weights"] = self._weights  # the run's config.yaml repeats it
        if not len(self.datamodule.parts.train):
            raise InputError("there are no sequences to train on; raise --data.train_size.")
        chosen = self.config_init["trainer"]
        validates = len(self.datamodule.parts.val) > 0 and chosen.limit_val_batches != 0
        stop = self.config_init["early_stopping"]
        watched = {"--early_stopping": stop.monitor}
        watched["--lr_scheduler"] = (self.config.get("lr_scheduler") or {}).get("init_args.monitor")
        check_callbacks(as_list(chosen.callbacks), watched, self.model.head, validates=validates)
        check_how_often(watched, chosen.check_val_every_n_epoch, chosen.max_epochs)
        callbacks: list[Callback] = [self.recorder, TerminalTrace(self.recorder, self.console)]
        callbacks += filter(None, [stop.callback()])
        callbacks.append(Timing(None if self.shows_progress_bar else self.console))
        if chosen.enable_checkpointing is not False and not chosen.fast_dev_run:
            # before anything is printed: who reads that may send a signal
            callbacks.insert(1, self.config_init["checkpoint"])
            metric = stop.monitor or ("val_loss" if validates else "train_loss")
            chooses = validates or stop.monitor is not None
            callbacks.append(RunCheckpoint(metric, stop.maximizes, chooses))
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

    @contextmanager
    def run_directory(self) -> Iterator[None]:
        """Make the run's directory, or take up the one that is resumed, and keep others out."""
        with ExitStack() as stack:
            if self.config["ckpt_path"] == "auto" and is_first_process():
                runs = Path(self.root, RUNS)
                runs.mkdir(parents=True, exist_ok=True)
                stack.enter_context(locked(runs, self.console.print))
            step = None if self.resumed is None else self.resumed.get("global_step", 0)
            directory = self.make_run_directory(self.resumed_version, step)
            if directory is not None:
                stack.enter_context(locked(directory, self.console.print))
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
