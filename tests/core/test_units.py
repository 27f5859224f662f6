"""Check the integer arithmetic that counts rely on."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from hwsim.core.units import bytes_per_cycle, ceil_div, dtype_bytes, round_up


@given(st.integers(-(10**30), 10**30), st.integers(1, 10**12))
def test_ceil_div_is_the_smallest_count_that_covers(a: int, b: int) -> None:
    count = ceil_div(a, b)
    assert count * b >= a > (count - 1) * b


@given(st.integers(0, 10**9), st.integers(1, 10**4))
def test_round_up_reaches_the_next_multiple(a: int, multiple: int) -> None:
    rounded = round_up(a, multiple)
    assert rounded % multiple == 0
    assert 0 <= rounded - a < multiple


def test_sub_byte_types_round_up_once_per_tensor() -> None:
    assert [dtype_bytes("int4", elems) for elems in (0, 1, 2, 3)] == [0, 1, 1, 2]
    assert [dtype_bytes("bool", elems) for elems in (1, 8, 9)] == [1, 1, 2]
    assert dtype_bytes("float64", 3) == 24


def test_rates_are_exact() -> None:
    # 25.6 GB/s at 200 MHz: 128 bytes per cycle; at 300 MHz a third of a byte is kept.
    assert bytes_per_cycle(25_600_000_000, 200_000_000) == 128
    assert bytes_per_cycle(25_600_000_000, 300_000_000) == Fraction(256, 3)
