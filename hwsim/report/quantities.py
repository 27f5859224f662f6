"""Write counts, times, bytes, energies and ratios as a reader expects them, unit included."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

__all__ = [
    "format_bytes",
    "format_count",
    "format_energy",
    "format_exact",
    "format_percent",
    "format_ratio",
    "format_tick",
    "format_time",
    "format_value",
    "read_number",
]

NONE = "–"
"""Shown where a document has no value."""

_LARGE = ("", "k", "M", "G", "T", "P", "E")
_SMALL = ("", "m", "µ", "n", "p", "f")


def _three_digits(value: float) -> str:
    """Return ``value`` (below 1000) with three significant digits, at most three decimals."""
    if value == 0:
        return "0"
    # Rounding first: 0.9996 has to become 1.00, not 1.000.
    decimals = max(0, 2 - math.floor(math.log10(abs(float(f"{value:.2e}")))))
    return f"{value:.{min(decimals, 3)}f}"


def _scaled(value: float, unit: str) -> str:
    if not math.isfinite(value):
        return NONE
    size = abs(value)
    step = 0
    if size >= 999.5:
        step = min(int(math.log10(size / 0.9995)) // 3, len(_LARGE) - 1)
        text, prefix = _three_digits(value / 1000**step), _LARGE[step]
    elif unit in ("s", "J") and 0 < size < 0.9995:
        step = min(math.ceil(-math.log10(size / 0.9995) / 3), len(_SMALL) - 1)
        text, prefix = _three_digits(value * 1000**step), _SMALL[step]
    else:
        text = f"{value:.0f}" if value == int(value) else _three_digits(value)
        prefix = ""
    gap = "\u00a0" if prefix or unit else ""
    return f"{text}{gap}{prefix}{unit}"


def format_exact(value: float | None) -> str:
    """Return an integer with thousands separated by commas."""
    return NONE if value is None else f"{value:,.0f}"


def format_count(value: float | None) -> str:
    """Return a count with three significant digits and k, M, G, …"""
    return NONE if value is None else _scaled(float(value), "")


def format_tick(value: float) -> str:
    """Return a count as the label of an axis, without trailing zeros."""
    number, gap, prefix = format_count(value).partition("\u00a0")
    short = number.rstrip("0").rstrip(".") if "." in number else number
    return f"{short}{gap}{prefix}"


def format_bytes(value: float | None) -> str:
    """Return bytes with decimal prefixes (1 kB = 1000 B)."""
    return NONE if value is None else _scaled(float(value), "B")


def format_time(seconds: float | None) -> str:
    """Return a time given in seconds."""
    return NONE if seconds is None else _scaled(float(seconds), "s")


def format_energy(picojoules: float | None) -> str:
    """Return an energy given in picojoules."""
    return NONE if picojoules is None else _scaled(float(picojoules) * 1e-12, "J")


def format_percent(share: float | None, *, is_signed: bool = False) -> str:
    """Return a share (0 to 1) in percent; tiny non-zero shares read as ``<0.1 %``."""
    if share is None or not math.isfinite(share):
        return NONE
    if 0 < abs(share) < 0.0005 and not is_signed:
        return "<0.1\u00a0%"
    return f"{share * 100:{'+' if is_signed else ''}z.1f}\u00a0%"


def format_ratio(ratio: float | None) -> str:
    """Return a ratio such as a speed-up, for example ``1.92×``."""
    return NONE if ratio is None or not math.isfinite(ratio) else f"{ratio:.2f}×"


def format_value(value: Any) -> str:
    """Return any scalar of a document: integers exact, floats with five digits, others as text."""
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return format_exact(value)
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def read_number(value: Any) -> float | None:
    """Return a number, or a fraction written as text (``"64/5"``), as a float; else None."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(Fraction(value)) if isinstance(value, str) else float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return number if math.isfinite(number) else None
