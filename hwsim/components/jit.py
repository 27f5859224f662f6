"""Give every kernel one ``njit``: compiled once per source state, kept on disk.

Use ``from hwsim.components.jit import njit`` in place of numba's own, plain or with options.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hwsim.components.jit_cache import configure

CACHE_FOLDER = configure()

import numba  # noqa: E402 (numba reads NUMBA_CACHE_DIR when it is imported)
from numba.extending import register_jitable  # noqa: E402

numba.config.CACHE_DIR = str(CACHE_FOLDER)  # somebody may have imported numba before us

__all__ = [
    "CACHE_FOLDER",
    "as_index",
    "interpreted",
    "njit",
    "njit_apart",
    "njit_entry",
    "njit_inline",
    "njit_outline",
]


_IS_INNER: dict[str, bool] = {}
"""Qualified name of compiled functions -> whether only compiled callers use all that are so named.

Numba names what it compiles by these alone. Functions that share one are all treated as entries if
one of them is; that costs time to compile, no result.
"""


def _note(function: Callable[..., Any], *, is_inner: bool) -> None:
    """Remember whether ``function`` has callers in Python."""
    name = function.__qualname__
    _IS_INNER[name] = is_inner and _IS_INNER.get(name, True)


def _leave_inner_to_callers() -> None:
    """Let LLVM optimise and translate inner functions once, inside the entry that contains them.

    Numba optimises every function together with all it calls, the innermost ones once per level of
    the call tree: 34 s of CPU for the core's pipeline, 21 s without (numba 0.68). It also turns
    each into machine code that nobody calls: 6 of 26 s for the machine of threads. A numba without
    these methods compiles as it always did.
    """
    from numba import _dynfunc
    from numba.core.codegen import CPUCodeLibrary
    from numba.core.cpu import CPUContext

    names = ("_optimize_final_module", "_finalize_final_module", "_finalize_dynamic_globals")
    if not all(hasattr(CPUCodeLibrary, name) for name in names):
        return
    optimize, translate, note_globals = (getattr(CPUCodeLibrary, name) for name in names)
    make_executable = CPUContext.get_executable

    def optimize_entries(library: Any) -> None:
        if not _IS_INNER.get(library.name, False):
            optimize(library)

    def translate_entries(library: Any) -> None:
        if not _IS_INNER.get(library.name, False):
            translate(library)
            return
        note_globals(library)
        library._finalized = True

    def executable_entries(context: Any, library: Any, fndesc: Any, env: Any) -> Any:
        if not _IS_INNER.get(library.name, False):
            return make_executable(context, library, fndesc, env)
        # Numba's own object for a function without a wrapper for Python, its address 0.
        name = fndesc.qualname.split(".")[-1]
        return _dynfunc.make_function(fndesc.lookup_module(), name, "", 0, env, (library,))

    CPUCodeLibrary._optimize_final_module = optimize_entries
    CPUCodeLibrary._finalize_final_module = translate_entries
    CPUContext.get_executable = executable_entries


_leave_inner_to_callers()


def njit(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Compile ``function`` with ``numba.njit(cache=True)``; usable with and without options.

    With ``NUMBA_OPT=0`` nothing is cached: references to callees, addresses of this process, then
    remain in the code, and numba would warn of each function that it cannot cache.
    """
    is_inner = options.get("no_cpython_wrapper", False)
    # What only compiled code calls has no machine code of its own to keep.
    decorate = numba.njit(**{"cache": numba.config.OPT > 0 and not is_inner, **options})

    def compiled(python: Callable[..., Any]) -> Any:
        _note(python, is_inner=is_inner)
        return decorate(python)

    return compiled if function is None else compiled(function)


def njit_entry(function: Callable[..., Any]) -> Any:
    """Compile a function that Python calls and that only works on arrays it is given.

    It must not allocate (array slices on both sides of an assignment do). Without reference
    counts, a bundle of arrays costs nothing to pass on: measured 13 -> 0.1 us per instruction in
    the queue-driven engine (numba 0.68).
    """
    return njit(function, _nrt=False, no_cfunc_wrapper=True)


# What only Python needs, the wrappers, costs a quarter of the compile time. Only entries are
# cached: they contain the machine code of what they call.
_INNER: dict[str, Any] = {
    "_nrt": False,
    "cache": False,
    "error_model": "numpy",  # no exception to raise for a division by zero
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}


def njit_inline(function: Callable[..., Any]) -> Any:
    """Compile as :func:`njit_entry` does, inlined into compiled callers and for these only.

    A call from Python crashes the process: call :func:`interpreted` of it there. A divisor must
    not be zero.
    """
    return njit(function, forceinline=True, **_INNER)


def njit_outline(function: Callable[..., Any]) -> Any:
    """Compile as :func:`njit_inline` does, but called: for rare paths, to compile them once."""
    return njit(function, **_INNER)


@register_jitable(forceinline=True)
def as_index(value: Any) -> Any:
    """Return ``value``, at least 0 and below 2^31, so that LLVM can see that it is not negative.

    An access by a variable index then loses numba's test whether the index counts from the end:
    these tests took a fifth of the time of DRAM's kernels.
    """
    return value & 0x7FFFFFFF


def njit_apart(function: Callable[..., Any]) -> Any:
    """Compile as :func:`njit_outline` does, called from inlined functions too.

    Without the option numba hands ``forceinline`` down to all that an inlined function calls.
    """
    return njit(function, forceinline=False, **_INNER)


def interpreted(function: Any) -> Callable[..., Any]:
    """Return the Python function behind a compiled one, itself under ``NUMBA_DISABLE_JIT``."""
    python: Callable[..., Any] = getattr(function, "py_func", function)
    return python
