"""Blocks of training batches on a device: of data that are held there, or copied ahead."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any, NamedTuple

import torch

from grulight.data.batches import Batch, Batches
from grulight.data.blocks import Block, Blocks
from grulight.data.held import SHARE, Held, HeldBlock, bytes_of, held
from grulight.data.sequences import Sequences
from grulight.kernels.threads import ahead

SHARE_OF_BLOCK = 1 / 16  # of free memory that a block may take which is copied, three times over


def free_bytes(device: torch.device) -> int | None:
    """Return a device's free memory; None where data need not be moved."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None


def most_together(data: Sequences, batch_size: int, device: torch.device, most: int) -> int:
    """Return how many batches blocks may have, for which there is to be room if data do not fit.

    Args:
        data: The training part.
        batch_size: Sequences of a batch.
        device: Where they are served.
        most: How many there are at most in any case.
    """
    free = free_bytes(device)
    needed = bytes_of(data, torch.float32)
    if free is None or needed <= SHARE * free:
        return most
    of_batch = needed * batch_size / len(data)
    return max(2, min(most, int(SHARE_OF_BLOCK * free / of_batch)))


def _megabytes(count: float) -> str:
    return f"{count / 1e6:,.0f} MB" if count >= 1e7 else f"{count / 1e6:.2g} MB"


def placed(
    served: Batches | Blocks, device: torch.device, dtype: torch.dtype
) -> "Batches | Blocks | OneByOne":
    """Return what serves batches or blocks on a device: held where they fit, else copied ahead.

    Args:
        served: The training part.
        device: Where to.
        dtype: What the network computes in.
    """
    free = free_bytes(device)
    if free is None:
        return served
    blocks = served if isinstance(served, Blocks) else Blocks(served, 1)
    kind = HeldBlocks if bytes_of(blocks.batches.sequences, dtype) <= SHARE * free else CopiedBlocks
    found = kind(blocks, device, dtype, free)
    return found if blocks is served else OneByOne(found)


class OnDevice(Blocks):
    """Serve blocks on a device.

    Args:
        blocks: What is served.
        device: Where.
        dtype: What the network computes in.
        free: Bytes that were free there.
    """

    _fate: str  # what becomes of the data, in words

    def __init__(self, blocks: Blocks, device: torch.device, dtype: torch.dtype, free: int) -> None:
        super().__init__(blocks.batches, blocks.steps_per_execution)
        self.device, self.dtype = device, dtype
        self._free = free

    def release(self) -> None:
        """Let go of the device's memory; the next pass takes it anew."""

    @property
    def line(self) -> str:
        """A line that says where the data are while they train."""
        needed, bound = bytes_of(self.batches.sequences, self.dtype), SHARE * self._free
        sizes = f"{_megabytes(needed)}; at most {_megabytes(bound)} are kept, half of what is free"
        return f"data: {self._fate.format(self.device)} ({sizes})"


class HeldBlocks(OnDevice):
    """Serve blocks of data that stay on a device, where they are moved by the first pass."""

    _fate = "kept on {}"
    _held: Held | None = None

    def release(self) -> None:
        """Let go of the device's memory; the next pass takes it anew."""
        self._held = None

    def __iter__(self) -> Iterator[HeldBlock]:  # type: ignore[override]  # stands for a block
        """Yield the blocks of one pass; see :meth:`Batches.parts`."""
        if self._held is None:
            self._held = held(self.batches, self.device, self.dtype)
        for parts in self.batches.parts(self.steps_per_execution):
            yield HeldBlock(self._held, *self.columns(parts))


class CopiedBlocks(OnDevice):
    """Serve blocks that are made, pinned and copied while the steps of the one before run."""

    _fate = "blocks are copied to {} ahead of their steps"

    def __iter__(self) -> Iterator[Block]:
        """Yield the blocks of one pass; see :meth:`Batches.parts`."""
        plans, positions = [], []
        for parts in self.batches.parts(self.steps_per_execution):
            plans.append((parts,))
            positions.append(self.batches.state_dict())
        copier = Copier(self.device)
        with closing(ahead(lambda parts: copier.sent(self.block(parts)), plans)) as sent:
            for each, position in zip(sent, positions, strict=True):
                # not of the block that is made ahead: a checkpoint may be written now
                self.batches.stand_at(position)
                yield copier.received(each)


class OneByOne:
    """Serve the batches of blocks that have one each.

    Args:
        blocks: The blocks.
    """

    def __init__(self, blocks: OnDevice) -> None:
        self.blocks = blocks

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self.blocks)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of one pass; see :meth:`Batches.parts`."""
        for block in self.blocks:
            yield from block.split()

    def state_dict(self) -> dict[str, int]:
        """Return how many batches of which epoch were served."""
        return self.blocks.state_dict()

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Let the next pass start where the saved one was, if it is of the same epoch."""
        self.blocks.load_state_dict(state_dict)


class Sent(NamedTuple):
    """A block whose copy may be under way."""

    block: Block
    arrived: torch.cuda.Event | None


class Copier:
    """Copy blocks to a device beside what it computes."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def sent(self, block: Block) -> Sent:
        """Begin to copy a block."""
        if self._stream is None:
            return Sent(block, None)
        with torch.cuda.stream(self._stream):
            columns: dict[str, Any] = {
                name: column.pin_memory().to(self._device, non_blocking=True)
                for name, column in block.whole._asdict().items()
                if isinstance(column, torch.Tensor)
            }
            arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
            arrived.record(self._stream)
        return Sent(block._replace(whole=block.whole._replace(**columns)), arrived)

    def received(self, sent: Sent) -> Block:
        """Let what is computed from now on wait for a block's copy; return it."""
        if sent.arrived is not None:
            stream = torch.cuda.current_stream(self._device)
            stream.wait_event(sent.arrived)
            for column in sent.block.whole:
                if isinstance(column, torch.Tensor):
                    column.record_stream(stream)  # its memory was the other stream's
        return sent.block
