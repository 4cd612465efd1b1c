"""Batches of a split source for Lightning."""

from collections.abc import Callable
from functools import cached_property, partial

import torch

from grulight.data.batches import Batches, Order
from grulight.data.blocks import Blocks
from grulight.data.on_device import OneByOne
from grulight.data.remembered import RememberedDataModule
from grulight.data.sequences import Sequences
from grulight.data.shuffling import shuffled_sequences
from grulight.data.splitting import Parts, Split
from grulight.data.windowing import last_value_error
from grulight.data.windows import Windows


class ServingDataModule(RememberedDataModule):
    """Serve the parts of a source in batches.

    Attributes:
        batch_size: Sequences per batch.
        val_batch_size: Of the validation part, if another: it changes no more than rounding.
        whole: Whether batches keep all padding of their part; see :class:`Batches`.
    """

    batch_size: int
    val_batch_size: int | None = None
    whole: bool = False

    _split: Split

    def __str__(self) -> str:
        # Lightning's asks the parts for what only its own kinds of batches have
        return f"{type(self).__name__}({self.source!r})"

    @property
    def notes(self) -> list[str]:
        """What the user should know of what was read so far, a line each."""
        return list(self._split.sources.notes)

    @property
    def windows(self) -> Windows | None:
        """How series are cut; None where they are not."""
        return self._split.windows

    @cached_property
    def unfilled(self) -> Parts:
        """The parts as they were read, where values may be missing still."""
        return self._split.labelled()

    @cached_property
    def parts(self) -> Parts:
        """The three parts with labels over the same classes, read on first use.

        Raises:
            InputError: The source cannot be read or split, or its parts do not fit each other.
        """
        return Parts(*map(self._filled, self.unfilled))

    @cached_property
    def unlabelled(self) -> list[Sequences]:
        """Every sequence of the source without its label, for prediction."""
        return list(map(self._filled, self._split.unlabelled()))

    @property
    def last_value_error(self) -> float | None:
        """Mean absolute error of the last value of each window as a forecast, on the test part.

        None where the data are no windows, or hold no past of what is forecast.
        """
        windows = self.windows
        return None if windows is None else last_value_error(windows, self.parts.test)

    def batches(
        self,
        part: Sequences,
        order: Callable[[int], Order] | None = None,
        size: int | None = None,
    ) -> Batches:
        """Return batches of a part, in its own order and of the usual size unless said."""
        size = size or self.batch_size
        if self.trainer is None:
            return Batches(part, size, order, whole=self.whole)
        rank, world = self.trainer.global_rank, self.trainer.world_size
        return Batches(part, size, order, self._epoch, rank, world, self.whole)

    def train_dataloader(self) -> Batches | Blocks | OneByOne:
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
        served = self._together(self.batches(self.parts.train, None if fixed else order), "steps")
        module = self.trainer and self.trainer.lightning_module
        placed = getattr(module, "placed", None)
        return served if placed is None else placed(served)

    def _together(self, batches: Batches, what: str) -> Batches | Blocks:
        """Return batches in blocks of as many as the module takes together."""
        module = self.trainer and self.trainer.lightning_module
        together = getattr(module, f"{what}_together", None)
        count = 1 if together is None else together(len(batches))
        return batches if count == 1 else Blocks(batches, count)

    def _epoch(self) -> int:
        return self.trainer.current_epoch if self.trainer else 0

    def val_dataloader(self) -> Batches | Blocks | list[Batches]:
        """Return the validation batches; an empty list where there is no validation part."""
        if not len(self.parts.val):
            return []
        batches = self.batches(self.parts.val, size=self.val_batch_size)
        return self._together(batches, "validated")

    def test_dataloader(self) -> Batches:
        """Return the test batches."""
        return self.batches(self.parts.test)

    def predict_dataloader(self) -> list[Batches]:
        """Return batches of every sequence of the source; labels, if there are any, are ignored."""
        return [self.batches(part) for part in self.unlabelled]
