"""Import a command with Lightning, but without what Lightning imports for a name alone.

It asks ``torch._dynamo`` for the class of compiled modules, and torch's counter of operations for
one that nobody uses: 1.3 of the 3.7 seconds that Lightning takes to import, and 220 of its 490 MB.
torchmetrics asks matplotlib for types and styles of pictures that it is not to draw: 0.5 s and
25 MB. Whatever else is asked of these modules imports them.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from types import ModuleType, SimpleNamespace
from typing import Any

from grulight.kernels.eager import left_alone, spare_compiler

_COMPILER, _COUNTER = "torch._dynamo", "torch.utils.flop_counter"


class _IfThereIsAny(type):
    """A class whose instances are those of one in a module that may not be there."""

    module: str

    def __instancecheck__(cls, instance: object) -> bool:
        module = sys.modules.get(cls.module)
        return module is not None and isinstance(instance, getattr(module, cls.__name__))


class OptimizedModule(metaclass=_IfThereIsAny):
    """In the place of the compiler's, for Lightning to ask by ``isinstance``."""

    module = f"{_COMPILER}.eval_frame"


class Axes(metaclass=_IfThereIsAny):
    """In the place of matplotlib's, for torchmetrics likewise."""

    module = "matplotlib.axes._axes"


def _disable(function: Callable[..., Any] | None = None, recursive: bool = True, **_: Any) -> Any:
    if function is None:
        return partial(_disable, recursive=recursive)
    return left_alone(function, recursive)


def _counter(*args: Any, **settings: Any) -> Any:
    return import_module(_COUNTER).FlopCounterMode(*args, **settings)


@contextmanager
def _in_style(*args: Any, **settings: Any) -> Iterator[None]:
    with import_module("matplotlib.style").context(*args, **settings):
        yield


class _StandIn(ModuleType):
    """A module that gives a few names, and is replaced by itself for any other."""

    def __init__(self, name: str, names: Mapping[str, Any]) -> None:
        super().__init__(name)
        vars(self).update(names, __path__=_Parts(name))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what Python's own import looks for
            raise AttributeError(name)
        return getattr(_itself(self.__name__), name)


class _Parts(list[str]):
    """Where the parts of a package lie: looking for one, which needs the package, imports it."""

    def __init__(self, package: str) -> None:
        super().__init__()
        self._package = package

    def __iter__(self) -> Iterator[str]:
        return iter(getattr(_itself(self._package), "__path__", ()))


def _itself(name: str) -> ModuleType:
    """Return the module that there is a stand-in for."""
    _leave(next(group for group in _STAND_INS if name in group))
    return import_module(name)


# those of a group need each other: a part of a package needs the package itself
_STAND_INS: tuple[dict[str, dict[str, Any]], ...] = (
    {_COMPILER: {"OptimizedModule": OptimizedModule, "disable": _disable}},
    {_COUNTER: {"FlopCounterMode": _counter}},
    {
        "matplotlib": {"colors": SimpleNamespace(Colormap=object)},
        "matplotlib.axes": {"Axes": Axes},
        "matplotlib.pyplot": {"Figure": object, "style": SimpleNamespace(context=_in_style)},
    },
)


def _leave(group: Iterable[str]) -> None:
    for name in group:
        if isinstance(sys.modules.get(name), _StandIn):
            del sys.modules[name]


@contextmanager
def lean_imports() -> Iterator[None]:
    """Within, Lightning is imported without what it does not need; afterwards all is as ever."""
    from torch.optim import Optimizer  # torch itself must not meet the stand-ins

    for group in _STAND_INS:
        if sys.modules.keys().isdisjoint(group):
            for name, names in group.items():
                module = sys.modules[name] = _StandIn(name, names)
                package, _, last = name.rpartition(".")
                if package in group:  # as Python's import does
                    setattr(sys.modules[package], last, module)
    try:
        yield
    finally:
        for group in _STAND_INS:
            _leave(group)
    for name in ("add_param_group", "load_state_dict", "state_dict", "zero_grad"):
        spare_compiler(getattr(Optimizer, name))
