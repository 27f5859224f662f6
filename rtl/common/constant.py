"""Compare with a constant."""

from __future__ import annotations

from amaranth.hdl import Value

__all__ = ["is_number"]


def is_number(value: Value, number: int) -> Value:
    """Return whether ``value`` is ``number``.

    Yosys writes ``value == 0`` as a logical negation, which Verilator warns of for vectors.
    """
    return value == number if number else ~value.any()
