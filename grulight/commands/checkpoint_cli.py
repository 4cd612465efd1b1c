"""The LightningCLI of ``validate``, ``test`` and ``predict``."""

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser
from rich.console import Console

from grulight.checkpoint_files.reader import read_checkpoint
from grulight.commands.command_cli import CommandCLI
from grulight.commands.running import say_padding_is_read, show_lines
from grulight.data.datamodule import SequenceDataModule
from grulight.data.remembered import SPLIT_OPTIONS
from grulight.data.sequences import Sequences
from grulight.errors import InputError, listed
from grulight.runs.checkpoint import kind_of_targets, load_classifier, offset_settings
from grulight.runs.ensemble import Ensemble
from grulight.runs.seeds import checkpoints_of
from grulight.runs.trained_on import TrainedOn, trained_on


class CheckpointCLI(CommandCLI):
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
        for key in ("model", "optimizer", "lr_scheduler", "early_stopping", "checkpoint", "seeds"):
            parser.add_argument(
                f"--{key}", type=Any, help="Ignored (for config files): the checkpoint decides."
            )
        parser.add_argument(
            "--ckpt_path",
            type=str,
            required=True,
            help="Checkpoint, such as last.ckpt of a run; or the directory of a run of "
            "`fit --seeds`, whose models answer together: with the mean of their predictions.",
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

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Read and split as for the training where the user does not say how."""
        super().parse_arguments(parser, args)
        path = Path(self.config["ckpt_path"])
        # os.path, as pathlib's may refuse to answer
        self.checkpoints = checkpoints_of(path) if os.path.isdir(path) else [path]
        known = self._trained_on()
        data = self.config["data"]
        as_then = known.settings_for(data["source"], data["test_source"])
        if self.predicts:  # for every sequence
            as_then = {name: each for name, each in as_then.items() if name not in SPLIT_OPTIONS}
        # what the user says comes later and counts
        self.config = parser.parse_args([f"--data={json.dumps({'source': ''} | as_then)}", *args])
        if not self.config["data"]["source"]:
            known.require_named("--data.source")
            self.config["data"]["source"] = "waves"

    def _trained_on(self) -> TrainedOn:
        """Return what the checkpoints remember of their data.

        Raises:
            InputError: They are to be measured together, and one trained on another part.
        """
        first, *others = (trained_on(read_checkpoint(path)) for path in self.checkpoints)
        for path, other in zip(self.checkpoints[1:], others, strict=True):
            if other != first and not self.predicts:
                raise InputError(
                    f"{path}: was trained on other data than {self.checkpoints[0]}, or split "
                    "otherwise: what tests one may have trained the other. Train the seeds again."
                )
        return first

    def before_instantiate_classes(self) -> None:
        """Read data as the checkpoint's model expects it."""
        members = [load_classifier(path) for path in self.checkpoints]
        self.classifier = members[0]
        together = len(members) > 1
        self.measured = Ensemble(members, self.checkpoints) if together else members[0]
        head, names = self.classifier.head, self.classifier.hparams["class_names"]
        # a model ported from Keras may know no names
        if not head.num_classes or names:
            self._decide("class_names", names if head.num_classes else None)
        if self.config["data"]["targets"] == "auto":
            self.config["data"]["targets"] = kind_of_targets(self.classifier)
        self.set_label_options(head, positions=not names)
        self._fill_as_in_training()
        if self.classifier.hparams["feature_names"] is not None:
            self._decide("features", self.classifier.feature_names)
        settings = offset_settings(self.classifier)
        self._decide("offset", settings["offset"])
        self.config["data"]["standardize"] = settings["standardize"]

    def _decide(self, option: str, known: Sequence[Any] | None) -> None:
        """Read data as the checkpoint says.

        Raises:
            InputError: The user says something else.
        """
        data, ours = self.config["data"], None if known is None else list(known)
        if data[option] is not None and list(data[option]) != ours:
            said, expected = (
                listed([*map(str, each or ["none"])]) for each in (data[option], ours)
            )
            raise InputError(
                f"--data.{option} {said}: this checkpoint was trained with {expected}. Leave it "
                "out."
            )
        data[option] = ours

    def _fill_as_in_training(self) -> None:
        """Let missing values be filled by what the checkpoint holds.

        Raises:
            InputError: The user asks for what the model was not trained with.
        """
        known, data = self.classifier.hparams, self.config["data"]
        kind = known["missing"] or "error"
        if data["missing"] not in ("error", kind):
            raise InputError(
                f"--data.missing {data['missing']}: the checkpoint was trained with {kind}, and "
                "knows no other numbers to fill by. Leave it out, or train again."
            )
        data["missing"], data["fill"] = kind, known["fill"]

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the Trainer; a prediction leaves no run directory."""
        logger = False if self.predicts else self.loggers()
        trainer = super().instantiate_trainer(logger=logger, **kwargs)
        if self.predicts and trainer.world_size > 1:
            raise InputError("predict runs in one process; start it without torchrun or srun.")
        return trainer

    def show_notes(self, parts: Iterable[Sequences]) -> None:
        """Print what the user should know of the data, of these parts, and of who answers."""
        show_lines(self.datamodule.notes, self.console)
        say_padding_is_read(self.classifier, parts, self.console)
        if (count := len(self.checkpoints)) > 1:
            line = f"{count} models answer together, with the mean of their predictions"
            show_lines([f"{self.config['ckpt_path']}: {line}"], self.console)

    def require_features(self, sequences: Sequences) -> None:
        """Refuse sequences of another width than the model reads, where no names tell.

        Raises:
            InputError: They have more or fewer features.
        """
        ours, theirs = self.classifier.hparams["input_size"], len(sequences.feature_names)
        if ours != theirs:
            raise InputError(
                f"{sequences.source}: has {theirs} features per time step, expected {ours}."
            )
