"""Object code that Numba made is loaded without Numba, which only its own files in C are needed of.

What Numba would do to call a kernel is done here, in the same order: its helpers are made known to
LLVM's loader, the object file is loaded, and the function that takes Python's arguments becomes one
of Python's. That function is Numba's own: it lets go of Python's lock, and raises what a kernel
raises.
"""

import builtins
import ctypes
import sys
from collections.abc import Callable
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

from grulight.kernels.object_files import ObjectCode


def load(kernel: ObjectCode) -> Callable[..., None]:
    """Return a kernel as a function of Python.

    Raises:
        LookupError: It needs a symbol that nobody defines: LLVM would end the process.
        Exception: A part of Numba or LLVM is missing, or is not as expected.
    """
    from llvmlite import binding

    engine, ours = _engine(), _symbols()  # LLVM knows the process's own symbols once there is one
    for name in kernel.undefined():
        if name in ours:
            binding.add_symbol(name, ours[name])
        elif binding.address_of_symbol(name) is None:
            raise LookupError(f"{name} is not defined")
    engine.add_object_file(binding.ObjectFileRef.from_data(kernel.code))
    engine.finalize_object()
    entry = engine.get_function_address(kernel.entry)
    place = engine.get_global_value_address(kernel.environment)
    if not entry or not place:
        raise LookupError(f"{kernel.entry} is not in its object code")
    functions = _extension("_dynfunc")
    environment = functions.Environment(globals())
    ctypes.c_void_p.from_address(place).value = id(environment)
    held = (engine,)
    found: Callable[..., None] = functions.make_function(
        sys.modules[__name__], "kernel", kernel.entry, entry, environment, held
    )
    return found


def _engine() -> Any:
    """Return a loader of its own for each kernel: they have functions of one name in them."""
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    target = binding.Target.from_triple(binding.get_process_triple())
    return binding.create_mcjit_compiler(binding.parse_assembly(""), target.create_target_machine())


@cache
def _symbols() -> dict[str, int]:
    """Return what object code may ask for beside the C library, as Numba defines it."""
    helpers, runtime = _extension("_helperlib"), _extension("core.runtime._nrt_python")
    runtime.memsys_use_cpython_allocator()
    errors = {
        f"PyExc_{name}": id(kind)
        for name, kind in vars(builtins).items()
        if isinstance(kind, type) and issubclass(kind, BaseException)
    }
    return {
        "_Py_NoneStruct": id(None),
        **errors,
        **helpers.c_helpers,  # among them the C library's mathematics
        **_named("numba_", helpers.c_helpers),
        **_named("numba_", _extension("_dynfunc").c_helpers),
        **_named("NRT_", runtime.c_helpers),
    }


def _named(prefix: str, helpers: dict[str, int]) -> dict[str, int]:
    return {name if name[0] == "_" else prefix + name: where for name, where in helpers.items()}


@cache
def _extension(name: str) -> ModuleType:
    """Return a part of Numba in C; Numba itself will find it imported."""
    whole = f"numba.{name}"
    if whole in sys.modules:
        return sys.modules[whole]
    numba = find_spec("numba")
    folders = (numba and numba.submodule_search_locations) or []
    inside = ["/".join([folder, *name.split(".")[:-1]]) for folder in folders]
    spec = PathFinder.find_spec(whole, inside)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"{whole} is not in {inside}")
    module = sys.modules[whole] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
