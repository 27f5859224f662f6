"""Inner functions are optimised with the entry that contains them, and not by themselves."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from numba.core.caching import NullCache
from numba.core.codegen import CPUCodeLibrary

from hwsim.components.jit import interpreted, njit, njit_inline, njit_outline


@njit_inline
def doubled(values, index):
    total = 0
    for _ in range(2):
        total += values[index]
    return total


@njit(cache=False)
def sum_of_doubles(values):
    total = 0
    for index in range(len(values)):
        total += doubled(values, index)
    return total


def test_entries_compute_what_python_does() -> None:
    values = np.arange(7, dtype=np.int64)
    assert sum_of_doubles(values) == 2 * values.sum()


def test_only_entries_are_kept_on_disk() -> None:
    def function(values):
        return values[0]

    assert isinstance(njit(function, no_cpython_wrapper=True)._cache, NullCache)
    assert not isinstance(njit(function)._cache, NullCache)


def test_only_entries_reach_the_optimiser() -> None:
    optimise = CPUCodeLibrary._optimize_final_module
    optimise(SimpleNamespace(name=interpreted(doubled).__qualname__))
    with pytest.raises(AttributeError):  # the real method asks more of a library than its name
        optimise(SimpleNamespace(name=interpreted(sum_of_doubles).__qualname__))


def test_a_name_that_an_entry_shares_is_optimised() -> None:
    def both(x):
        return x

    optimise = CPUCodeLibrary._optimize_final_module
    library = SimpleNamespace(name=both.__qualname__)
    njit_outline(both)
    optimise(library)
    njit(both)
    njit_outline(both)
    with pytest.raises(AttributeError):
        optimise(library)
