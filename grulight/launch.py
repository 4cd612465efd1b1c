"""How many processes a launcher (torchrun, srun) started us as."""

import os
from collections.abc import Mapping

from grulight.errors import InputError

_SHELLS = ("bash", "interactive")  # names of Slurm jobs that Lightning takes for a mere shell


def launched_as(environment: Mapping[str, str] = os.environ) -> tuple[int, int] | None:
    """Return processes per node and nodes, or None where no launcher started this process.

    Raises:
        InputError: A Slurm job of several tasks was started without srun: its processes would
            wait for others that do not exist.
    """
    if "TORCHELASTIC_RUN_ID" in environment:
        here = int(environment["LOCAL_WORLD_SIZE"])
        return here, int(environment["WORLD_SIZE"]) // here
    if not under_slurm(environment):
        return None
    tasks, nodes = (int(environment.get(f"SLURM_{name}", "1")) for name in ("NTASKS", "NNODES"))
    if tasks > 1 and "SLURM_STEP_ID" not in environment:
        raise InputError(
            f"this Slurm job has {tasks} tasks, but grulight was started without srun. "
            "Put srun before the command."
        )
    if tasks > 1 and "SLURM_NTASKS_PER_NODE" not in environment:
        raise InputError(
            f"this Slurm job has --ntasks={tasks}; expected --ntasks-per-node, with as many tasks "
            "on every node."
        )
    here = int(environment.get("SLURM_NTASKS_PER_NODE", tasks))
    return min(here, tasks), nodes


def is_first_process(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether this is the process that speaks for all of a run."""
    # torchrun's, Slurm's, and that of processes which Lightning starts on one machine
    for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"):
        if name in environment:
            return environment[name] == "0"
    return True


def is_one_of_many(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether other processes work on the same run, and wait for this one."""
    if "LOCAL_RANK" in environment:  # torchrun's, and that of processes which Lightning starts
        return True
    return under_slurm(environment) and environment["SLURM_NTASKS"] != "1"


def under_slurm(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether this process belongs to a Slurm job, and not to torchrun within one."""
    if "TORCHELASTIC_RUN_ID" in environment or "SLURM_NTASKS" not in environment:
        return False
    return environment.get("SLURM_JOB_NAME") not in _SHELLS
