"""Name what a case is: what is played against a unit and the cycles predicted for it."""

from __future__ import annotations

from rtl.cosim.vectors import Schedule, Vectors

__all__ = ["Case"]

Case = tuple[Vectors, Schedule | None]
"""Inputs with their golden outputs; predicted accept and emit cycles, if there is a prediction."""
