"""Convert between counts, clocks and bytes without losing an integer."""

from __future__ import annotations

from fractions import Fraction

__all__ = ["DTYPE_BYTES", "bytes_per_cycle", "ceil_div", "dtype_bytes", "round_up"]

DTYPE_BYTES: dict[str, Fraction] = {
    "float64": Fraction(8),
    "float32": Fraction(4),
    "float16": Fraction(2),
    "bfloat16": Fraction(2),
    "int64": Fraction(8),
    "int32": Fraction(4),
    "int16": Fraction(2),
    "int8": Fraction(1),
    "uint8": Fraction(1),
    "int4": Fraction(1, 2),
    "bool": Fraction(1, 8),
}
"""Storage per element in bytes; sub-byte types are packed."""


def ceil_div(a: int, b: int) -> int:
    """Return ⌈a / b⌉ for integers, b > 0."""
    return -(-a // b)


def round_up(a: int, multiple: int) -> int:
    """Return the smallest multiple of ``multiple`` that is at least ``a``."""
    return ceil_div(a, multiple) * multiple


def dtype_bytes(dtype: str, elems: int) -> int:
    """Return the bytes that ``elems`` packed elements of ``dtype`` occupy (rounded up)."""
    size = DTYPE_BYTES[dtype] * elems
    return ceil_div(size.numerator, size.denominator)


def bytes_per_cycle(bandwidth_bytes_per_s: int, clock_hz: int) -> Fraction:
    """Return the exact bytes moved in one clock cycle."""
    return Fraction(bandwidth_bytes_per_s, clock_hz)
