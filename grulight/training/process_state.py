"""What each process of a run has of its own, kept in checkpoints to go on to the bit."""

from typing import Any

import torch
from torch import Tensor, distributed

ProcessState = dict[str, Tensor]


def gather_process_states(sums: Tensor, device: torch.device) -> list[ProcessState]:
    """Return the epoch's sums and the random generators' states of every process; all call this.

    Args:
        sums: The running sums of the epoch's means (4,).
        device: Where this process trains.
    """
    own = {"sums": sums.cpu(), "rng": torch.get_rng_state()}
    if device.type == "cuda":
        own["cuda_rng"] = torch.cuda.get_rng_state(device)
    if not distributed.is_initialized():
        return [own]
    everyones: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(everyones, own)
    return everyones


def restore_process_state(
    states: list[ProcessState] | None, rank: int, world: int, device: torch.device
) -> Tensor | None:
    """Set the random generators as a checkpoint has them; return the epoch's sums to go on from.

    Where as many processes go on as were saved, each takes its own. Where their number changed,
    the first takes all sums, and the others draw random numbers of their own.

    Args:
        states: Those of a checkpoint; None where the run starts afresh.
        rank: This process.
        world: How many processes there are.
        device: Where this process trains.

    Returns:
        (4,), or None to start from zero.
    """
    if states is not None and len(states) == world:
        own = states[rank]
        torch.set_rng_state(own["rng"])
        if "cuda_rng" in own and device.type == "cuda":
            torch.cuda.set_rng_state(own["cuda_rng"], device)
        return own["sums"]
    if rank:
        # its sequences are others: they need a dropout of their own
        torch.manual_seed(torch.initial_seed() + rank)
    elif states is not None:
        return torch.stack([own["sums"] for own in states]).sum(0)
    return None
