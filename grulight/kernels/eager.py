"""torch's compiler, which takes over a second and 150 MB to import, waits until somebody compiles.

torch imports it at the first call of an optimiser or of an operator of ours, to say that it is not
to compile these: as long as there is no compiler, nobody need say so.
"""

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any


def left_alone(function: Callable[..., Any], recursive: bool = True) -> Callable[..., Any]:
    """Return a function as ``torch.compiler.disable`` does, without importing the compiler.

    Args:
        function: What is not to be compiled.
        recursive: Whether what it calls is not, either.
    """
    disabled: list[Callable[..., Any]] = []  # one, since there is a compiler

    @wraps(function)
    def called(*args: Any, **settings: Any) -> Any:
        if not disabled:
            if "torch._dynamo.eval_frame" not in sys.modules:
                return function(*args, **settings)
            disabled.append(sys.modules["torch._dynamo"].disable(function, recursive))
        return disabled[0](*args, **settings)

    return called


def spare_compiler(function: Callable[..., Any]) -> None:
    """Let a function that torch leaves alone not import the compiler for that.

    Args:
        function: What ``torch._disable_dynamo`` returned. If it does no longer keep what it calls
            where it is put here, the compiler is imported as before.
    """
    inner = getattr(function, "__wrapped__", None)
    if inner is not None and not hasattr(inner, "__dynamo_disable"):
        setattr(inner, "__dynamo_disable", left_alone(inner))
