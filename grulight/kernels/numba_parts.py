"""Compile what only other kernels call as a part of them, and not to be called on its own.

Numba makes machine code and a wrapper for Python of each function at each level. Nobody calls them:
it is half of the time that the first training of an installation waits for its kernels.
"""

import ctypes
from typing import Any

from numba import _dynfunc
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.typed_passes import NativeLowering

# Numba wants a function of each, to tell one from another. Called with an object and its arguments
# as a tuple, this one raises a TypeError.
_NOT_FOR_PYTHON = ctypes.cast(ctypes.pythonapi.PyObject_GetAttr, ctypes.c_void_p).value


class _Part(JITCodeLibrary):  # type: ignore[misc]  # Numba comes without types
    """What a kernel links and optimises, and makes machine code of."""

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True


@register_pass(mutates_CFG=True, analysis_only=False)
class _PartLowering(NativeLowering):  # type: ignore[misc]
    """Numba's own, up to where it asks for an address to call."""

    _name = "part_lowering"

    def run_pass(self, state: Any) -> bool:
        state.library = _Part(state.targetctx.codegen(), state.func_id.func_qualname)
        state.flags.no_compile = True
        super().run_pass(state)
        lowered = state["cr"]
        state.library.finalize()
        function = _dynfunc.make_function(
            lowered.fndesc.lookup_module(),
            state.func_id.func_name,
            "a part of kernels",
            _NOT_FOR_PYTHON,
            lowered.env,
            (state.library,),
        )
        state.targetctx.insert_user_function(function, lowered.fndesc, [state.library])
        state["cr"] = lowered._replace(cfunc=function)
        return True


class PartCompiler(CompilerBase):  # type: ignore[misc]
    """Numba's compiler for ``njit(pipeline_class=...)``, of a function that kernels call."""

    def define_pipelines(self) -> list[Any]:
        """Return Numba's own passes, with the lowering replaced."""
        manager = DefaultPassBuilder.define_nopython_pipeline(self.state)
        manager.passes = [
            (_PartLowering, name) if kind is NativeLowering else (kind, name)
            for kind, name in manager.passes
        ]
        manager._finalized = False
        manager.finalize()
        return [manager]
