"""Packages that only some users need, imported when they are."""

import importlib
from types import ModuleType

from grulight.errors import InputError


def extra(module: str, name: str, purpose: str) -> ModuleType:
    """Import a module of the optional dependencies called ``name``, needed for ``purpose``.

    Raises:
        InputError: It is not installed; the message has the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise InputError(
            f"{purpose}: needs {package} ({error}). Run: pip install 'grulight[{name}]'"
        ) from error
