"""Import a command with Lightning, but without what Lightning imports for a name alone.

It asks ``torch._dynamo`` for the class of compiled modules, and torch's counter of operations for
one that nobody uses: 1.3 of the 3.7 seconds that Lightning takes to import, and 220 of its 490 MB.
torch's own optimisers ask the former again, at each step, where a graph is to be broken.
torchmetrics asks matplotlib for types and styles of pictures that it is not to draw, 0.5 s and
25 MB, and mends SciPy's ``signal``, where there is one, for metrics of sound: 1.6 s and 60 MB.
Whatever else is asked of these modules imports them.
"""

import gc
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial, wraps
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


_Group = Mapping[str, Mapping[str, Any]]
# those of a group need each other: a part of a package needs the package itself
_STAND_INS: tuple[_Group, ...] = (
    {_COMPILER: {"OptimizedModule": OptimizedModule, "disable": _disable}},
    {_COUNTER: {"FlopCounterMode": _counter}},
    {"scipy.signal": {"hamming": None}},  # torchmetrics adds it where it is missing
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
def _standing_in(*groups: _Group) -> Iterator[None]:
    """Within, groups of modules of which nobody has imported any are stood in for."""
    used = [group for group in groups if sys.modules.keys().isdisjoint(group)]
    for group in used:
        for name, names in group.items():
            module = sys.modules[name] = _StandIn(name, names)
            package, _, last = name.rpartition(".")
            if package in group:  # as Python's import does
                setattr(sys.modules[package], last, module)
    try:
        yield
    finally:
        for group in used:
            _leave(group)


def _nothing() -> None:
    """Do what ``torch._dynamo.graph_break`` does where nothing is compiled."""


def _without_compiler(step: Callable[..., Any]) -> Callable[..., Any]:
    """Return an optimiser's step that does not import the compiler to tell it where to stop."""

    @wraps(step)
    def called(*args: Any, **settings: Any) -> Any:
        if _COMPILER in sys.modules:
            return step(*args, **settings)
        with _standing_in({_COMPILER: {"graph_break": _nothing}}):
            return step(*args, **settings)

    return called


@cache  # once
def _spare_steps() -> None:
    from torch import optim

    kinds: list[Any] = [each for each in vars(optim).values() if isinstance(each, type)]
    for kind in kinds:
        if hasattr(vars(kind).get("step"), "__wrapped__"):
            kind.step = _without_compiler(vars(kind)["step"])


@contextmanager
def _uncollected() -> Iterator[None]:
    """Let nobody look for garbage among modules: it takes long, and there is next to none."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


@contextmanager
def lean_imports() -> Iterator[None]:
    """Within, Lightning is imported without what it does not need; afterwards all is as ever."""
    from torch.optim import Optimizer  # torch itself must not meet the stand-ins

    with _standing_in(*_STAND_INS), _uncollected():
        yield
    for name in ("add_param_group", "load_state_dict", "state_dict", "zero_grad"):
        spare_compiler(getattr(Optimizer, name))
    _spare_steps()
