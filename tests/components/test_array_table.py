"""Does compiled code see a table's arrays as Python sees the bundle they came from?"""

from __future__ import annotations

import numpy as np
import pytest
from numba.core import types

from hwsim.components.array_table import bundle_reader, table_of
from hwsim.components.jit import njit_apart, njit_entry, njit_inline

_bundle_of = bundle_reader(
    "Test", {"words": (types.int64, 2), "reals": (types.float64, 1), "halves": (types.int32, 3)}
)


@njit_apart
def _add(m, row, amount):
    m.words[row, 1] += amount
    return m.words[row, 1]


@njit_inline
def _extents(m):
    return m.words.shape[0] + 10 * m.words.shape[1] + 100 * m.halves.shape[2]


@njit_entry
def _work(table, amount):
    m = _bundle_of(table)
    m.reals[1] = _add(m, 2, amount) + m.words[2, 1]
    m.halves[1, 0, 3] = m.halves[0, 1, 2] - 1
    return _extents(m)


def test_compiled_code_reads_and_writes_the_arrays_of_a_table() -> None:
    words = np.arange(12, dtype=np.int64).reshape(4, 3)
    reals, halves = np.zeros(2), np.arange(16, dtype=np.int32).reshape(2, 2, 4)
    table = table_of([words, reals, halves])
    assert _work(table, 30) == 4 + 10 * 3 + 100 * 4
    assert words[2].tolist() == [6, 7 + 30, 8]
    assert reals.tolist() == [0, 2 * 37]  # what the called function wrote is read again
    assert halves[1, 0, 3] == 6 - 1


def test_an_array_with_gaps_has_no_place() -> None:
    with pytest.raises(ValueError, match="without gaps"):
        table_of([np.zeros((4, 4), np.int64)[:, :2]])
