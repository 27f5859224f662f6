"""Reduce values by a balanced tree of operators."""

from __future__ import annotations

from amaranth.hdl import Mux, Value

__all__ = ["tree_max", "tree_sum"]


def tree_sum(values: list[Value]) -> Value:
    """Return the sum of ``values``, as wide as it can get."""
    while len(values) > 1:
        pairs = [values[k : k + 2] for k in range(0, len(values), 2)]
        values = [pair[0] if len(pair) == 1 else pair[0] + pair[1] for pair in pairs]
    return values[0]


def tree_max(values: list[Value]) -> Value:
    """Return the largest of ``values``."""
    while len(values) > 1:
        pairs = [values[k : k + 2] for k in range(0, len(values), 2)]
        values = [p[0] if len(p) == 1 else Mux(p[0] > p[1], p[0], p[1]) for p in pairs]
    return values[0]
