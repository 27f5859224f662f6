"""Draw small sparse matrices of whole numbers, and pairs that can be multiplied."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from scipy import sparse

__all__ = ["factors", "whole"]


def whole(rows: int, cols: int, nonzeros: int, seed: int) -> sparse.csr_array:
    """Return a matrix of at most ``nonzeros`` values from -9 to 9."""
    rng = np.random.default_rng(seed)
    dense = np.zeros((rows, cols))
    at = rng.integers(0, rows * cols, nonzeros)
    dense.reshape(-1)[at] = rng.integers(-9, 10, nonzeros)
    return sparse.csr_array(dense)


@st.composite
def factors(draw: st.DrawFn) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Draw two matrices of ragged extents, empty to full."""
    m, k, n = (draw(st.integers(1, 40)) for _ in range(3))
    first, second = (draw(st.sampled_from([0, 1, 7, 60, 400])) for _ in range(2))
    seed = draw(st.integers(0, 99))
    return whole(m, k, first, seed), whole(k, n, second, seed + 1)
