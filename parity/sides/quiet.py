"""Keep libraries from printing: their warnings, and what TensorFlow writes as it starts."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_warnings() -> Iterator[None]:
    """Silence libraries' advice, which is on speed and on their own deprecated parts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def silent_start() -> Iterator[None]:
    """Drop what TensorFlow's C++ start prints, before any log level holds, and its warnings."""
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
