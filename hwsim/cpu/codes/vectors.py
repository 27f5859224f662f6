"""Offer what all kernels share: strips of pixels in vectors, clamping, storing, counting."""

from __future__ import annotations

from hwsim.core.units import ceil_div
from hwsim.cpu.isa import GENERAL, UopBuilder

__all__ = ["X", "clamp_and_store", "count_down", "load_strip", "multiply_add", "vectors_of"]

X = GENERAL
"""Register x0; x1 is X + 1."""


def vectors_of(width: int) -> int:
    """Return how many 4-lane registers hold ``width`` floats."""
    return ceil_div(width, 4)


def load_strip(
    b: UopBuilder, first: int, width: int, base: int, pointer: str, offset: int = 0
) -> None:
    """Load ``width`` floats into registers from ``first`` on, in pairs where there are two."""
    count = vectors_of(width)
    if width < 4:
        b.op("load_s", (first,), (base,), pointer=pointer, offset=offset, size=4 * width)
        return
    for i in range(0, count - 1, 2):
        at = offset + 16 * i
        registers = (first + i, first + i + 1)
        b.op("load_pair_q", registers, (base,), pointer=pointer, offset=at, size=32)
    if count % 2:
        at = offset + 16 * (count - 1)
        b.op("load_q", (first + count - 1,), (base,), pointer=pointer, offset=at, size=16)


def multiply_add(b: UopBuilder, total: int, factor: int, by: int, width: int) -> None:
    """Add the product of ``factor`` and ``by`` to ``total``, on ``width`` lanes of a register."""
    name = "fma_q" if width >= 4 else "fma_s"
    b.op(name, (total,), (total, factor, by), macs=min(width, 4))


def clamp_and_store(
    b: UopBuilder, first: int, width: int, base: int, pointer: str, offset: int = 0
) -> None:
    """Limit registers from ``first`` on to both clamp values and store ``width`` floats."""
    count = vectors_of(width)
    for limit in range(2):
        for i in range(count):
            b.op("fminmax_q", (first + i,), (first + i, 31 - limit))
    if width < 4:
        b.op("store_s", (), (base, first), pointer=pointer, offset=offset, size=4 * width)
        return
    for i in range(0, count - 1, 2):
        at = offset + 16 * i
        read = (base, first + i, first + i + 1)
        b.op("store_pair_q", (), read, pointer=pointer, offset=at, size=32)
    if count % 2:
        at = offset + 16 * (count - 1)
        b.op("store_q", (), (base, first + count - 1), pointer=pointer, offset=at, size=16)


def count_down(b: UopBuilder, counter: int) -> None:
    """Count a loop's register down and branch."""
    b.op("alu", (counter,), (counter,))
    b.op("branch", (), (counter,))
