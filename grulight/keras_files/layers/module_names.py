"""Names of layers as names of modules in torch."""

import re
from collections.abc import Iterable

from torch import nn


def module_names(names: Iterable[str]) -> dict[str, str]:
    """Return names that torch accepts for modules, all different."""
    keys: dict[str, str] = {}
    used = set()
    taken = nn.ModuleDict()  # what a module has by itself, such as `training`
    for at, name in enumerate(names):
        key = re.sub(r"\W", "_", name)
        while not key or key in used or hasattr(taken, key):
            key = f"{key}_{at}_"
        used.add(key)
        keys[name] = key
    return keys
