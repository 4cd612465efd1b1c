"""The end of a study, which one worker does: training with the best settings."""

from grulight.tuning.study import Study
from grulight.tuning.workers import is_alive

_FILE = "conclusion"  # who trains with the best settings, or that it is done


def take_conclusion(study: Study, worker: str) -> bool:
    """Return whether this worker is the one that trains with the best settings at the end."""
    with study.alone():
        path = study.directory / _FILE
        owner = path.read_text() if path.is_file() else ""
        if owner == _done(study) or (owner and is_alive(study.directory, owner)):
            return False
        path.write_text(worker)
        return True


def conclude(study: Study) -> None:
    """Note that the end of so many trials is done."""
    (study.directory / _FILE).write_text(_done(study))


def _done(study: Study) -> str:
    return f"{study.trials} trials"
