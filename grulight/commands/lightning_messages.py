"""What Lightning and parsers say: bad settings in one line, warnings of what is meant silenced."""

import logging
import re
import traceback
import warnings
from argparse import ArgumentError
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightning.fabric.utilities.exceptions import MisconfigurationException

from grulight.commands.option_errors import of_class_in_a_line
from grulight.errors import InputError

_EXPECTED_WARNINGS = (
    r"`.*configure_optimizers` will be overridden",  # `--optimizer` does so on purpose
    r".*LeafSpec.*is deprecated",  # Lightning 2.6 on torch 2.13
    r".*`srun` command is available",  # a laptop where Slurm happens to be installed
    r"Experiment logs directory .* exists and is not empty",  # two loggers share it
    r"Checkpoint directory .* exists and is not empty",  # that of the run that goes on
    r"`training_step` returned `None`",  # where it has taken the steps itself
    r"The dirpath has changed",  # a run that is continued gets a directory of its own
    r"Be aware that when using `ckpt_path`",  # it may watch another loss than before
    r".* is stateful in Keras",  # said in a line of the command's own
    r"Total length of `list` across ranks is zero",  # no validation part
    r"It is recommended to use `self.log\(.*sync_dist=True",  # the sums are reduced by hand
)

# whose own refusals are about settings
_CHECKERS = ("/lightning/pytorch/", "/lightning/fabric/", "/torch/optim/")


@contextmanager
def one_line_errors(*also: type[Exception]) -> Iterator[None]:
    """Turn what parsers and the Trainer say of bad settings into an :class:`InputError`."""
    errors: tuple[type[Exception], ...] = (ArgumentError, MisconfigurationException, *also)
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if not isinstance(error, errors) and not _refuses_settings(error):
            raise
        said = of_class_in_a_line(str(error))
        raise InputError(re.sub(r"\s+", " ", said).strip()) from error


def _refuses_settings(error: Exception) -> bool:
    """Return whether a Trainer or an optimizer has raised this itself: a check of what it got."""
    if not isinstance(error, ValueError | RuntimeError | TypeError):
        return False
    *_, place = traceback.extract_tb(error.__traceback__)
    return (place.line or "").startswith("raise ") and any(
        part in Path(place.filename).as_posix() for part in _CHECKERS
    )


def silence_expected_warnings() -> None:
    """Silence what Lightning says of settings that are meant."""
    for package in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(package).setLevel(logging.WARNING)
    for message in _EXPECTED_WARNINGS:
        warnings.filterwarnings("ignore", message)
