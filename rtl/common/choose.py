"""Select one of several values by a number."""

from __future__ import annotations

from collections.abc import Iterable

from amaranth.hdl import Array, Value

__all__ = ["choose"]


def choose(values: Iterable[object], index: Value) -> Value:
    """Return ``values[index]``, the last one beyond the end.

    An :class:`Array` alone does so in Amaranth's simulator, but leaves the result undefined in the
    Verilog that it becomes.
    """
    found = list(values)
    return Array(found + found[-1:] * ((1 << len(index)) - len(found)))[index]
