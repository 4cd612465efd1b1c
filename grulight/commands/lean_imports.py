"""Import a command with Lightning, but without what Lightning imports for a name alone.

It asks ``torch._dynamo`` for the class of compiled modules, and torch's counter of operations for
one that nobody uses: 1.3 of the 3.7 seconds that Lightning takes to import, and 220 of its 490 MB.
torch's own optimisers ask the former again, at each step, where a graph is to be broken. Where
SciPy is installed, torchmetrics mends its ``signal`` for metrics of sound: 1.6 seconds, 60 MB.
Whatever else is asked of these modules imports them.
"""

import gc
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial, wraps
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from grulight.kernels.eager import left_alone, spare_compiler

_COMPILER, _COUNTER = "torch._dynamo", "torch.utils.flop_counter"
_SIGNAL = "scipy.signal"


class _IfThereIsAny(type):
    """A class whose instances are those of the compiler's, which may not be there."""

    def __instancecheck__(cls, instance: object) -> bool:
        compiler = sys.modules.get(f"{_COMPILER}.eval_frame")
        return compiler is not None and isinstance(instance, compiler.OptimizedModule)


class _CompiledModule(metaclass=_IfThereIsAny):
    """In the place of ``torch._dynamo.OptimizedModule``, for Lightning to ask by ``isinstance``."""


def _disable(function: Callable[..., Any] | None = None, recursive: bool = True, **_: Any) -> Any:
    if function is None:
        return partial(_disable, recursive=recursive)
    return left_alone(function, recursive)


def _counter(*args: Any, **settings: Any) -> Any:
    return import_module(_COUNTER).FlopCounterMode(*args, **settings)


@cache
def _places(module: str) -> list[str] | None:
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:  # its package
        return None
    return None if spec is None else spec.submodule_search_locations


class _StandIn(ModuleType):
    """A module that gives a few names, and is replaced by itself for any other."""

    def __init__(self, name: str, names: Mapping[str, Any]) -> None:
        super().__init__(name)
        vars(self).update(names)
        if (places := _places(name)) is not None:  # what is below it is found where it is
            self.__path__ = places

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what Python's own import looks for
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)


_STAND_INS: dict[str, dict[str, Any]] = {
    _COMPILER: {"OptimizedModule": _CompiledModule, "disable": _disable},
    _COUNTER: {"FlopCounterMode": _counter},
    _SIGNAL: {"hamming": None},  # torchmetrics looks for it, and adds it where it is missing
}


@contextmanager
def _standing_in(wanted: Mapping[str, Mapping[str, Any]]) -> Iterator[None]:
    """Within, those of the modules that nobody has imported are stood in for."""
    missing = [(name, names) for name, names in wanted.items() if name not in sys.modules]
    stand_ins = {name: _StandIn(name, names) for name, names in missing}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name, stand_in in stand_ins.items():
            if sys.modules.get(name) is stand_in:
                del sys.modules[name]


def _nothing() -> None:
    """Do what ``torch._dynamo.graph_break`` does where nothing is compiled."""


def _without_compiler(step: Callable[..., Any]) -> Callable[..., Any]:
    """Return an optimiser's step that does not import the compiler to tell it where to stop."""

    @wraps(step)
    def called(*args: Any, **settings: Any) -> Any:
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
    """Let nobody look for garbage among modules: it takes seconds, and there is next to none."""
    collecting, first = gc.isenabled(), "lightning" not in sys.modules
    gc.disable()
    try:
        yield
    finally:
        if first:
            gc.freeze()
        if collecting:
            gc.enable()


@contextmanager
def lean_imports() -> Iterator[None]:
    """Within, Lightning is imported without what it does not need; afterwards all is as ever."""
    from torch.optim import Optimizer  # torch itself must not meet the stand-ins

    with _standing_in(_STAND_INS), _uncollected():
        yield
    for name in ("add_param_group", "load_state_dict", "state_dict", "zero_grad"):
        spare_compiler(getattr(Optimizer, name))
    _spare_steps()
