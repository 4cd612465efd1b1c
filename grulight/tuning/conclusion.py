"""The end of a study, which one worker does: training with the best settings."""

from grulight.tuning.study import Study
from grulight.tuning.workers import is_alive

_FILE = "conclusion"  # who trains with the best settings, or that it is done


def take_conclusion(study: Study, worker: str, best: int = 0) -> bool:
    """Return whether this worker is the one that trains with the best settings at the end.

    Args:
        study: All of whose trials are finished.
        worker: Who asks.
        best: Place of the best trial; other finalists may have another.
    """
    with study.alone():
        path = study.directory / _FILE
        owner = path.read_text() if path.is_file() else ""
        if owner == _done(study, best) or (owner and is_alive(study.directory, owner)):
            return False
        path.write_text(worker)
        return True


def conclude(study: Study, best: int = 0) -> None:
    """Note that the end of so many trials, of which this is the best, is done."""
    (study.directory / _FILE).write_text(_done(study, best))


def _done(study: Study, best: int) -> str:
    return f"{study.trials} trials, the best {best + 1}"
