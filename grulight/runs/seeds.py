"""A run of several seeds: a directory that holds a run for each, and a table of their tests."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev

from grulight.checkpoint_files.reader import read_checkpoint
from grulight.errors import InputError
from grulight.files import written_whole
from grulight.runs.run_directory import RUNS, number_of

TABLE = "seeds.csv"


def checkpoints_of(run: Path) -> list[Path]:
    """Return the checkpoint of every seed of a run that was tested.

    Raises:
        InputError: The directory is no run of several seeds.
    """
    table = run / TABLE
    rows = table.read_text().count("\n") - 1 if table.is_file() else 0
    found = sorted(Path(run, RUNS).glob("version_*"), key=number_of)
    # the one after these was interrupted
    paths = [_tested(each / "checkpoints") for each in found[:rows]]
    if not paths:
        raise InputError(
            f"{run}: is a directory, but no run of `grulight fit --seeds`. Name a checkpoint, such "
            "as its checkpoints/last.ckpt."
        )
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise InputError(f"{missing[0]}: is not there; train the seeds again.")
    return paths


def _tested(checkpoints: Path) -> Path:
    """Return the best checkpoint where the run was for it, else the last."""
    last = checkpoints / "last.ckpt"
    callbacks = read_checkpoint(last).get("callbacks", {}) if last.is_file() else {}
    best = any(
        str(key).startswith("RunCheckpoint(") and state.get("chooses")
        for key, state in callbacks.items()
    )
    return checkpoints / "best.ckpt" if best else last


def write_seeds(run: Path, metrics: Mapping[int, Mapping[str, float]]) -> None:
    """Write the test metrics of each seed, a row each."""
    names = list(next(iter(metrics.values())))
    with written_whole(run / TABLE) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["seed", *names])
        writer.writerows([seed, *each.values()] for seed, each in metrics.items())


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and the standard deviation (of a sample: n - 1) of a metric over seeds."""
    return fmean(values), stdev(values)
