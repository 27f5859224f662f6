"""Offer what the passes over tensors share: registers and the end of a loop."""

from __future__ import annotations

from hwsim.cpu.isa import GENERAL, UopBuilder

__all__ = ["X", "count_down"]

X = GENERAL
"""Register x0; x1 is X + 1."""


def count_down(b: UopBuilder, counter: int) -> None:
    """Count a loop's register down and branch."""
    b.op("alu", (counter,), (counter,))
    b.op("branch", (), (counter,))
