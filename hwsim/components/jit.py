"""Give every kernel one ``njit``: compiled once per source state, kept on disk.

Use ``from hwsim.components.jit import njit`` in place of numba's own, plain or with options.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hwsim.components.jit_cache import configure

CACHE_FOLDER = configure()

import numba  # noqa: E402 (numba reads NUMBA_CACHE_DIR when it is imported)

numba.config.CACHE_DIR = str(CACHE_FOLDER)  # somebody may have imported numba before us

__all__ = ["CACHE_FOLDER", "njit", "njit_inline", "njit_outline"]


def njit(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Compile ``function`` with ``numba.njit(cache=True)``; usable with and without options."""
    decorate = numba.njit(**{"cache": True, **options})
    return decorate if function is None else decorate(function)


def njit_inline(function: Callable[..., Any]) -> Any:
    """Compile a function that only works on arrays it is given, inlined into its callers.

    It must not allocate (array slices on both sides of an assignment do). Without reference
    counts and calls, a bundle of many arrays costs nothing to pass on: measured 13 -> 0.1 us per
    instruction in the queue-driven engine (numba 0.68).
    """
    return njit(function, _nrt=False, forceinline=True)


def njit_outline(function: Callable[..., Any]) -> Any:
    """Compile as :func:`njit_inline` does, but called: for rare paths, to compile them once."""
    return njit(function, _nrt=False)
