"""The LightningCLI of ``tune``: the options of ``fit``, and what is searched among them."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from lightning.pytorch.cli import LightningArgumentParser
from optuna.storages import BaseStorage
from rich.console import Console

from grulight.commands.option_words import split_off
from grulight.commands.trial_cli import TrialCLI
from grulight.data.datamodule import SequenceDataModule
from grulight.data.splitting import Parts
from grulight.errors import InputError
from grulight.training.classifier import GRUClassifier
from grulight.tuning.algorithms import Pruner, Sampler
from grulight.tuning.finals import FINALISTS
from grulight.tuning.objective import Objective, maximizes
from grulight.tuning.question import Asked, require_sensible
from grulight.tuning.spaces import corners, named_spaces, of_keras_model, parse_spaces
from grulight.tuning.study import Study

OWN = (
    *("search", "objective", "folds", "trials", "workers", "timeout", "study", "storage"),
    *("sampler", "pruner", "finalists"),
)
_DECIDE = ("objective", "folds", "sampler", "pruner")
_NOT_SEARCHED = (*OWN, *("config", "ckpt_path", "seeds", "checkpoint", "seed_everything"))


class TuneCLI(TrialCLI):
    """``tune``: builds a training for each trial from ``fit``'s options and the trial's settings.

    Attributes:
        spaces: What is searched, by option.
        question: All that decides what the trials find.

    Args:
        arguments: What the user said.
        console: Where it is told.
        data: Arguments of the data module that a program gave; they are in place of options.
    """

    def __init__(
        self, arguments: Sequence[str], console: Console, data: Mapping[str, Any] | None = None
    ) -> None:
        self.from_program = data or {}
        super().__init__(arguments, console, "tune")

    def open_study(self, storage: BaseStorage | None = None) -> Study:
        """Open the study that is asked for, or the one that it goes on with.

        Args:
            storage: Where its trials are, if not where the options say.

        Raises:
            InputError: The directory holds another study, or the storage cannot be opened.
        """
        config = self.config
        return Study(
            Path(config["study"]),
            storage or config["storage"],
            Asked(maximizes(config["objective"]), self.question),
            self.spaces,
            config["trials"],
            self.seed,
            config["sampler"],
            config["pruner"],
            config["folds"] or config["trainer"]["max_epochs"] or 1,
        )

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
        again = "With folds: how many of the best trials are judged once more, by other folds; "
        add("--finalists", type=int | None, help=f"{again}{FINALISTS} where nothing is said.")
        add("--trials", type=int, default=50, help="Trials of the study, over all workers.")
        add("--workers", type=int | None, help="Processes; by default one per core.")
        add("--timeout", type=float | None, help="Seconds after which no new trial begins.")
        add("--study", type=str, default="study", help="Directory; a study in it is gone on with.")
        add("--storage", type=str | None, help="URL of a database, instead of a file in --study.")
        add("--sampler", type=Sampler, default="tpe", help="Who chooses settings (Optuna's).")
        add("--pruner", type=Pruner, default="median", help="Who stops trials early (Optuna's).")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Take the spaces out of the command line, and check all that can be checked."""
        searched, self.given = split_off("--search.", args)
        super().parse_arguments(parser, self.given)
        if self.config["ckpt_path"] is not None:
            raise InputError("--ckpt_path: is for fit; tune trains anew.")
        said = bool(searched or self.config["search"])
        network = self.keras_network()
        if not said:
            self._take_usual(parser, reads_ids=network is not None and network.num_ids is not None)
        spaces = parse_spaces((self.config["search"] or {}) | named_spaces(searched))
        self.spaces = spaces if network is None else of_keras_model(spaces, said=said)
        if own := next((name for name in spaces if name.split(".")[0] in _NOT_SEARCHED), None):
            raise InputError(f"--search.{own}: is asked of the whole study; say --{own} once.")
        validates = self.from_program.get("val_size", self.config["data"]["val_size"])
        require_sensible(self.config, validates)
        self.question = self._question()
        if not self.config["folds"] and not validates:
            self.given = ["--data.val_size=0.2", *self.given]

    def _take_usual(self, parser: LightningArgumentParser, *, reads_ids: bool) -> None:
        """Take what is searched where nothing is said, and the settings beside it."""
        usual = [f"--config={files('grulight') / 'configs' / 'tune.yaml'}"]
        if reads_ids:
            usual.append("--data.standardize=false")
        self.given = [*usual, *self.given]
        if not any(argument.startswith("--lr_scheduler") for argument in self.given):
            epochs = parser.parse_args(self.given)["trainer"]["max_epochs"]
            self.given.append(f"--lr_scheduler.init_args.T_max={epochs}")  # falls to the end
        self.config = parser.parse_args(self.given)

    def _question(self) -> dict[str, Any]:
        """Return all that decides what the trials find, as plain values."""
        own = {name: self.config[name] for name in _DECIDE}
        asked = {f"search.{name}": str(space) for name, space in self.spaces.items()}
        config = self.config.clone()
        for name in (*OWN, "seeds", "config", "__default_config__"):  # the seeds are of the end
            config.pop(name, None)
        own |= {name: str(value) for name, value in vars(config.as_flat()).items()}
        given = {f"data.{name}": str(value)[:200] for name, value in self.from_program.items()}
        return own | given | asked

    def check_spaces(self) -> None:
        """Build a training at the borders of every space.

        Raises:
            InputError: An option is not known, or refuses its value.
        """
        first = {name: corners(space)[0] for name, space in self.spaces.items()}
        self._try(first, "the first values of all spaces")
        for name, space in self.spaces.items():
            for value in corners(space)[1:]:
                self._try(first | {name: value}, f"--search.{name}, {value}")

    def _try(self, settings: Mapping[str, Any], what: str) -> None:
        try:
            self.take(settings)
            self.build(self.folds_of_training[0])
        except InputError as error:
            tried = " ".join(f"{name} {value}" for name, value in settings.items())
            raise InputError(f"{what}: {error} (Tried: {tried}.)") from error

    @property
    def _needs_validation(self) -> bool:
        """Whether something of the user's watches the validation part while training."""
        config = self.config
        watching = (config["lr_scheduler"] or {}).get("init_args", {}).get("monitor")
        stops = config["early_stopping"]["monitor"] or config["trainer"]["callbacks"]
        return bool(stops or watching) and not config["folds"]

    def trained(self, settings: Mapping[str, Any]) -> GRUClassifier:
        """Return a classifier that was trained with a trial's settings on the whole training part.

        What something watches while it trains keeps its validation part.

        Raises:
            InputError: The training diverged.
        """
        self.take(settings)
        parts = self.whole
        if not self._needs_validation:
            everything = SequenceDataModule(**{**self.data, "val_size": 0}).unfilled.train
            parts = Parts(everything, everything.part(0, 0), everything.part(0, 0))
        self.train(parts, [])
        model: GRUClassifier = self.model.eval()
        return model

    def settings_of_fit(self, settings: Mapping[str, Any]) -> str:
        """Return the settings of a trial as a config file of ``fit``."""
        config = self.configure(settings)
        for name in (*OWN, "config", "ckpt_path"):
            config.pop(name, None)
        if not self._needs_validation:
            config["data"]["val_size"] = 0.0  # it has served: the best settings train on all
        return str(self.parser.dump(config, skip_validation=True))
