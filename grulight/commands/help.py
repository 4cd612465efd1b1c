"""Help on one screen: what people need first, the names of the rest, and all of it on demand."""

import re
import sys
import textwrap
from argparse import SUPPRESS, Action
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser

from grulight.commands.option_errors import in_a_line
from grulight.errors import one_line

WIDTH = 100
_NAME = 31  # characters of the column of options
# what is explained on the screen, by section
_FIRST = {
    "data": "source test_source train_size val_size batch_size standardize label sequence time "
    "features targets per_step missing layout",
    "model": "hidden_size num_layers bidirectional dropout from_keras weights freeze",
    "optimizer": "optimizer lr_scheduler early_stopping early_stopping.patience",
    "trainer": "max_epochs devices accelerator precision callbacks default_root_dir",
    "run": "ckpt_path output seeds seed_everything config help.all objective folds "
    "trials workers search study",
}
# where the first sentence of a docstring does not fit a line, or is another package's
_SAYS = {
    "ckpt_path": "Checkpoint of the model; fit goes on from it, auto: from the newest",
    "config": "YAML file of options, or the name of one in grulight/configs",
    "data.features": "Columns that are features; by default all others",
    "data.layout": "A table has a row per time step (long) or per sequence (wide)",
    "data.missing": "What fills missing values: error, last, mean, mask",
    "data.sequence": "Column that says which sequence a row belongs to",
    "data.source": "A file, a directory, aeon:NAME or the built-in waves",
    "data.standardize": "Scale each feature to mean 0 and deviation 1 in training",
    "data.time": "Column that orders the rows of a sequence, if there is one",
    "data.val_size": "Share or number of the training part, its end, that validates",
    "early_stopping": "Stop where this metric, such as val_loss, no longer gets better",
    "lr_scheduler": "Class of torch.optim.lr_scheduler; then --lr_scheduler.OPTION",
    "folds": "Cross-validate in so many folds of the training part",
    "model.dropout": "Probability of zeroing between layers and before the head",
    "model.freeze": "Weights that stay as they are, by name, such as 'gru.*'",
    "model.from_keras": "A Keras model file, whose model is trained further",
    "optimizer": "KerasAdam (default) or another class; then --optimizer.lr 0.01",
    "output": "Table (.csv or .parquet)",
    "search": "Such as --search.model.hidden_size 'int(8, 128, log)'",
    "seed_everything": "Seed of weights, order and dropout; true for any",
    "seeds": "Train so many models, whose tests are averaged",
    "trainer.accelerator": "cpu, gpu, mps or auto",
    "trainer.callbacks": "Class of lightning.pytorch.callbacks; += adds another",
    "trainer.default_root_dir": "Where lightning_logs with the run directories is",
    "trainer.devices": "How many devices train",
    "trainer.max_epochs": "Epochs to train",
    "trainer.precision": "32-true, 64-true, bf16-mixed or 16-mixed",
}
_HIDDEN = {
    *("data", "model", "trainer", "checkpoint", "help", "print_shtab", "early_stopping.monitor"),
}
_MARKUP = (
    (r":[\w:]+:`~?\.?([^`<]*?)\s*(?:<[^>]*>)?`", r"\1"),
    (r"``([^`]*)``", r"\1"),
    (r"`([^`<]*?)\s*<[^>]*>`__?", r"\1"),
    (r"\*\*([^*\n]+)\*\*", r"\1"),
)


class CommandParser(LightningArgumentParser):
    """Prints one screen for ``--help`` and everything for ``--help.all``, without markup.

    Attributes:
        says: What the command does; None for the parsers that show single classes.
    """

    says: str | None = None

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Refuse arguments in a line; those of a class are told by what has chosen it."""
        super().error(message if self.says is None else in_a_line(message, self._actions), ex)

    def print_help(self, file: Any = None) -> None:
        """Print one screen; of a class of the user's all its options."""
        text = self.format_help() if self.says is None else "\n".join(self._screen())
        print(text, file=file or sys.stdout)

    def format_help(self, *args: Any, **kwargs: Any) -> str:
        """Return everything: what is ours first."""
        order = [*_FIRST]
        groups: list[Any] = [*self._action_groups]
        self._action_groups = sorted(groups, key=lambda each: order.index(_section_of(each)))
        return without_markup(super().format_help(*args, **kwargs))

    def _screen(self) -> Iterator[str]:
        yield f"usage: {self.prog} [--OPTION VALUE]…"
        yield ""
        says = str(self.says)
        yield f"{says[:1].upper()}{says[1:]}."
        defaults = self.get_defaults(skip_validation=True)
        options = (each for each in self._actions if each.option_strings)
        # "-->" is in those that the data decide
        known = {_name(each): each for each in options if "-->" not in each.option_strings[0]}
        for section, first in _FIRST.items():
            mine = {name: each for name, each in known.items() if _is_shown(name, each, section)}
            own = f"{section}." if section in ("data", "model", "trainer") else ""
            named = [f"{own}{name}" for name in first.split() if f"{own}{name}" in mine]
            if not named:
                continue
            yield f"\n{section}:"
            for name in named:
                yield _line(name, known[name], defaults.get(name))
            yield from _rest([name for name in mine if name not in named], section)


class HelpAll(Action):
    """Print everything, and leave."""

    def __init__(self, option_strings: Sequence[str], **_: Any) -> None:
        super().__init__(
            option_strings, SUPPRESS, nargs=0, default=SUPPRESS, help="Every option, with its type"
        )

    def __call__(self, parser: Any, *_: Any) -> None:
        """Print everything, and leave."""
        print(parser.format_help())
        parser.exit()


def without_markup(text: str) -> str:
    """Return a text of docstrings without reStructuredText's marks."""
    for pattern, plain in _MARKUP:
        text = re.sub(pattern, plain, text)
    return text


def _name(action: Action) -> str:
    """Return what an option is called, not its form that adds to a list."""
    named = (each for each in action.option_strings if each.startswith("--"))
    return next(each for each in named if not each.endswith("+")).removeprefix("--")


def _section_of(group: Any) -> str:
    return _section(next((str(action.dest) for action in group._group_actions), ""))


def _section(name: str) -> str:
    first = name.split(".")[0]
    if first in ("lr_scheduler", "early_stopping"):
        return "optimizer"
    return first if first in _FIRST else "run"


def _is_shown(name: str, action: Action, section: str) -> bool:
    said = str(action.help)
    hidden = said.startswith("Ignored") or name in _HIDDEN
    return _section(name) == section and not hidden and not name.endswith(".help")


def _line(name: str, action: Action, default: Any) -> str:
    said = _SAYS.get(name) or without_markup(" ".join(str(action.help).split()))
    sentence = re.split(r"(?<=[^.])\.(?:\s|$)", said)[0]
    left = f"  --{name}".ljust(_NAME)
    ends = (
        "" if default is None or isinstance(default, Namespace) else f" [{one_line(default, 20)}]"
    )
    room = WIDTH - max(_NAME, len(left)) - len(ends)
    return f"{left}{textwrap.shorten(sentence, room, placeholder=' …')}{ends}"


def _rest(names: Sequence[str], section: str) -> Iterator[str]:
    if section == "trainer":
        yield "  and the other options of Lightning's Trainer: --help.all"
    elif names:
        yield textwrap.fill(
            " ".join(f"--{name}" for name in names),
            WIDTH,
            initial_indent="  also ",
            subsequent_indent="  ",
            break_on_hyphens=False,
        )
