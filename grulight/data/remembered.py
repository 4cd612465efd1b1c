"""What a checkpoint remembers of the data: where and how they were read, and how split."""

from typing import Any

from grulight.data.description import DescribedDataModule
from grulight.data.splitting import Split
from grulight.errors import InputError, option

OF_TABLES = (
    "layout",
    "separator",
    "decimal",
    "steps",
    "group",
    "weight",
)  # options that only they have
SPLIT_OPTIONS = ("split", "train_size", "val_size", "seed")
COLUMNS = ("sequence", "time", "label")
# what a checkpoint remembers of how data were read: options, and the seed of the split
READING = (
    *(*OF_TABLES, "targets", "per_step", "window", "horizon"),
    *("split", "train_size", "val_size", "split_seed"),
)
_LASTING = ("split", "split_seed", "group", "weight", "window", "horizon")  # while a run goes on


class RememberedDataModule(DescribedDataModule):
    """Keep in checkpoints how the data were read, and go on as they were.

    Attributes:
        source: Where they were read.
        seed: Of the shuffling.
    """

    source: str
    seed: int | None

    _split: Split

    def state_dict(self) -> dict[str, Any]:
        """Return the seed of the shuffling, and what was read and split how, for checkpoints."""
        columns = {name: getattr(self.options, name) for name in COLUMNS}
        reading = {name: self._read_how[name] for name in READING}
        return {"seed": self.seed, "source": self.source, "columns": columns, "reading": reading}

    @property
    def _read_how(self) -> dict[str, Any]:
        options, split, cut = self.options, self._split, self._split.windows
        return vars(options) | {
            "targets": options.targets.kind,
            "per_step": options.targets.per_step,
            "window": None if cut is None else cut.length,
            "horizon": 1 if cut is None else cut.horizon,
            "split": split.by,
            "train_size": split.train_size,
            "val_size": split.val_size,
            "split_seed": 0 if split.by == "positional" else split.seed,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the shuffling of the run that is resumed.

        Raises:
            InputError: Another seed or split was asked for.
        """
        was, now = state_dict.get("reading", {}), self._read_how
        for name in _LASTING:
            if was.get(name, now[name]) != now[name]:
                said = "seed" if name == "split_seed" else name
                raise InputError(
                    f"{option(f'data.{said}', now[name])}: the run that goes on was trained with "
                    f"{was[name]}. Split and read the data as then."
                )
        if self.seed not in (None, state_dict["seed"]):
            raise InputError(
                f"{option('data.seed', self.seed)}: the run that goes on shuffles with "
                f"{state_dict['seed']}. Leave it out."
            )
        self.seed = state_dict["seed"]
