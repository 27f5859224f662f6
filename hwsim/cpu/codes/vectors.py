"""Offer what several codes share: multiply-adds, clamping, storing, counting."""

from __future__ import annotations

from hwsim.cpu.isa import GENERAL, UopBuilder

__all__ = ["X", "clamp_and_store", "count_down", "multiply_add"]

X = GENERAL
"""Register x0; x1 is X + 1."""


def multiply_add(b: UopBuilder, total: int, factor: int, by: int) -> None:
    """Add the product of ``factor`` and ``by`` to ``total``."""
    b.op("fma_q", (total,), (total, factor, by), macs=4)


def clamp_and_store(
    b: UopBuilder, register: int, lanes: int, base: int, pointer: str, offset: int = 0
) -> None:
    """Limit a register to both clamp values and store ``lanes`` (1, 2 or 4) of its floats."""
    for limit in range(2):
        b.op("fminmax_q", (register,), (register, 31 - limit))
    name = "store_q" if lanes == 4 else "store_s"
    b.op(name, (), (base, register), pointer=pointer, offset=offset, size=4 * lanes)


def count_down(b: UopBuilder, counter: int) -> None:
    """Count a loop's register down and branch."""
    b.op("alu", (counter,), (counter,))
    b.op("branch", (), (counter,))
