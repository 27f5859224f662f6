"""Draw layers whose sums are exact, so that a kernel's output must equal golden bit by bit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

__all__ = ["Layer", "layers", "make_layer"]


@dataclass(frozen=True)
class Layer:
    """Weights [co, ci] with zeros, bias [co] and input [ci, pixels]; all small integers."""

    weights: np.ndarray
    bias: np.ndarray
    x: np.ndarray


def make_layer(co: int, ci: int, pixels: int, density: float, seed: int) -> Layer:
    """Return a layer of integers; any order of summation is exact in float32."""
    rng = np.random.default_rng(seed)
    values = rng.integers(1, 6, (co, ci)) * rng.choice([-1, 1], (co, ci))
    weights = np.where(rng.random((co, ci)) < density, values, 0)
    bias, x = rng.integers(-9, 10, co), rng.integers(-7, 8, (ci, pixels))
    return Layer(*(array.astype(np.float32) for array in (weights, bias, x)))


def layers() -> st.SearchStrategy[Layer]:
    """Return layers of ragged sizes: empty rows, all zero, one nonzero, all dense."""
    density = st.sampled_from([0.0, 0.02, 0.2, 0.6, 1.0])
    sizes = (st.integers(1, 21), st.integers(1, 13), st.integers(1, 70))
    return st.builds(make_layer, *sizes, density, st.integers(0, 2**31))
