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

__all__ = ["CACHE_FOLDER", "njit"]


def njit(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Compile ``function`` with ``numba.njit(cache=True)``; usable with and without options."""
    decorate = numba.njit(**{"cache": True, **options})
    return decorate if function is None else decorate(function)
