"""Sequences for Lightning: which part trains, validates and tests, in what batches."""

from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

import torch

from grulight.data.batches import Batches, Order
from grulight.data.blocks import Blocks
from grulight.data.description import DescribedDataModule
from grulight.data.readers import ReadOptions
from grulight.data.readers.targets import Kind, Wish
from grulight.data.sequences import Sequences
from grulight.data.shuffling import shuffled_sequences
from grulight.data.splitting import Parts, Split
from grulight.errors import InputError

_MOST_CLASSES = 1 << 20  # each has a name


class SequenceDataModule(DescribedDataModule):
    """Serve labelled sequences from a built-in set, a file or an archive.

    The split is by position, as in the original pipeline: the first ``train_size`` sequences
    train and the rest test. Sources with a test part of their own keep it.

    Args:
        source: ``waves`` (built in), a file (.npz, .npy, .csv, .parquet, .ts) or ``aeon:NAME``.
        test_source: Where the test part comes from, if not from ``source``.
        train_size: Share (0.8) or number (800) of the sequences that train.
        val_size: Share or number taken from the end of the training part for validation.
        batch_size: Sequences per batch.
        standardize: Scale every feature to mean 0 and deviation 1 over the training part.
        label: Name of the label column in tables.
        sequence: Name of the column that says which sequence a row belongs to.
        time: Name of the column that orders the rows of a sequence, where there is one.
        features: The columns of a table that are features (by default all others), or names for
            the features of another source.
        labels_file: Labels (.npy) of a ``.npy`` source.
        lengths_file: Sequence lengths (.npy) of a ``.npy`` source.
        class_names: The classes in the order of the model's outputs; by default those of the
            training part, sorted.
        targets: Whether labels are ``classes`` or ``values``. With ``auto`` integers, booleans,
            texts and whole floats are classes, and so an array whose last axis is one-hot; other
            numbers are values. A ported Keras model asks for what its output is.
        per_step: Whether there is a label for each time step. By default where a label array has
            three axes, or two of which the second is as long as the sequences; never in a table.
        num_classes: How many classes a ported model tells apart: whole-number labels then are
            positions among its outputs, also where some classes occur in no sequence.
        offset: What to subtract from each feature before it is rounded to float32. By default
            what ``standardize`` needs where float32 could not tell a feature's values apart.
        seed: Seed of the shuffling; by default torch's initial seed. Kept in checkpoints.
    """

    def __init__(
        self,
        source: str = "waves",
        test_source: str | None = None,
        train_size: float = 0.8,
        val_size: float = 0.0,
        batch_size: int = 32,
        standardize: bool = False,
        label: str = "label",
        sequence: str = "sequence",
        time: str = "time",
        features: list[str] | None = None,
        labels_file: str | None = None,
        lengths_file: str | None = None,
        class_names: list[str] | None = None,
        targets: Kind = "auto",
        per_step: bool | None = None,
        num_classes: int | None = None,
        offset: list[float] | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise InputError(f"--data.batch_size {batch_size}: expected at least 1.")
        if seed is not None and seed < 0:
            raise InputError(f"--data.seed {seed}: expected at least 0.")
        if num_classes is not None and not 1 <= num_classes <= _MOST_CLASSES:
            raise InputError(f"--data.num_classes {num_classes}: expected 1 to {_MOST_CLASSES}.")
        self.source, self.test_source = source, test_source
        self.train_size, self.val_size = train_size, val_size
        self.batch_size, self.standardize, self.seed = batch_size, standardize, seed
        self.options = ReadOptions(
            label=label,
            sequence=sequence,
            time=time,
            labels_file=labels_file,
            lengths_file=lengths_file,
            targets=Wish(targets, per_step),
            offset=None if offset is None else tuple(offset),
        )
        self._features = tuple(features) if features else None
        self._class_names = tuple(class_names) if class_names else None
        self._num_classes = num_classes
        self._notes: dict[str, None] = {}  # in order, each once

    @property
    def notes(self) -> list[str]:
        """What the user should know of what was read so far, a line each."""
        return list(self._notes)

    @property
    def _split(self) -> Split:
        return Split(
            self.source,
            self.test_source,
            self.train_size,
            self.val_size,
            self.options,
            self._features,
            self._class_names,
            self._num_classes,
            self.standardize,
            self._notes,
        )

    @cached_property
    def parts(self) -> Parts:
        """The three parts with labels over the same classes, read on first use.

        Raises:
            InputError: The source cannot be read or split, or its parts do not fit each other.
        """
        return self._split.labelled()

    @cached_property
    def unlabelled(self) -> list[Sequences]:
        """Every sequence of the source without its label, for prediction."""
        return self._split.unlabelled()

    def batches(self, part: Sequences, order: Callable[[int], Order] | None = None) -> Batches:
        """Return batches of a part, in its own order unless ``order`` gives another."""
        if self.trainer is None:
            return Batches(part, self.batch_size, order)
        rank, world = self.trainer.global_rank, self.trainer.world_size
        return Batches(part, self.batch_size, order, self._epoch, rank, world)

    def train_dataloader(self) -> Batches | Blocks:
        """Return the training batches, reshuffled every epoch.

        With ``overfit_batches`` they are the same ones each time, in the source's order.
        """
        if self.seed is None:
            self.seed = torch.initial_seed()
        if self.trainer is not None:
            # processes that nobody seeded have seeds of their own
            self.seed = int(self.trainer.strategy.broadcast(self.seed))
        order = partial(shuffled_sequences, self.parts.train, self.seed)
        fixed = getattr(self.trainer, "overfit_batches", 0) > 0  # set where mypy cannot see
        batches = self.batches(self.parts.train, None if fixed else order)
        module = self.trainer and self.trainer.lightning_module
        together = getattr(module, "steps_together", None)
        steps = 1 if together is None else together(len(batches))
        return batches if steps == 1 else Blocks(batches, steps)

    def _epoch(self) -> int:
        return self.trainer.current_epoch if self.trainer else 0

    def state_dict(self) -> dict[str, Any]:
        """Return the seed of the shuffling, and what was read how, for checkpoints."""
        options = self.options
        columns = {"sequence": options.sequence, "time": options.time, "label": options.label}
        return {"seed": self.seed, "source": self.source, "columns": columns}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the shuffling of the run that is resumed.

        Raises:
            InputError: Another seed was asked for.
        """
        if self.seed not in (None, state_dict["seed"]):
            raise InputError(
                f"--data.seed {self.seed}: the run that goes on shuffles with "
                f"{state_dict['seed']}. Leave it out."
            )
        self.seed = state_dict["seed"]

    def val_dataloader(self) -> Batches | list[Batches]:
        """Return the validation batches; an empty list where there is no validation part."""
        return self.batches(self.parts.val) if len(self.parts.val) else []

    def test_dataloader(self) -> Batches:
        """Return the test batches."""
        return self.batches(self.parts.test)

    def predict_dataloader(self) -> list[Batches]:
        """Return batches of every sequence of the source; labels, if there are any, are ignored."""
        return [self.batches(part) for part in self.unlabelled]
