"""Do quantities read with the right prefix on both sides of every boundary?"""

from __future__ import annotations

import math

import pytest

from hwsim.report.quantities import (
    format_bytes,
    format_count,
    format_energy,
    format_exact,
    format_percent,
    format_ratio,
    format_tick,
    format_time,
    format_value,
    read_number,
)

NBSP = "\u00a0"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (999, "999"),
        (999.6, "1.00 k"),
        (1000, "1.00 k"),
        (12_345, "12.3 k"),
        (999_499, "999 k"),
        (999_600, "1.00 M"),
        (24_900_000_000, "24.9 G"),
        (-1500, "-1.50 k"),
    ],
)
def test_count_has_three_digits_and_a_prefix(value: float, text: str) -> None:
    assert format_count(value) == text.replace(" ", NBSP)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (1.5, "1.50 s"), (0.0607, "60.7 ms"), (5e-9, "5.00 ns"), (0.001, "1.00 ms")],
)
def test_time_takes_small_prefixes(seconds: float, text: str) -> None:
    assert format_time(seconds) == text.replace(" ", NBSP)


def test_energy_is_given_in_picojoules() -> None:
    assert format_energy(1.0) == f"1.00{NBSP}pJ"
    assert format_energy(15.2e9) == f"15.2{NBSP}mJ"


def test_bytes_are_decimal() -> None:
    assert format_bytes(1024) == f"1.02{NBSP}kB"
    assert format_bytes(7) == f"7{NBSP}B"


def test_tiny_share_is_not_shown_as_zero() -> None:
    assert format_percent(0.0004) == f"<0.1{NBSP}%"
    assert format_percent(0.0) == f"0.0{NBSP}%"
    assert format_percent(-0.017, is_signed=True) == f"-1.7{NBSP}%"
    assert format_percent(-0.0001, is_signed=True) == f"+0.0{NBSP}%"  # no sign says nothing


@pytest.mark.parametrize("missing", [None, math.nan, math.inf])
def test_missing_and_non_finite_values_are_a_dash(missing: float | None) -> None:
    assert format_percent(missing) == format_ratio(missing) == format_time(missing) == "–"


def test_exact_keeps_every_digit() -> None:
    assert format_exact(12_146_076) == "12,146,076"


def test_tick_drops_trailing_zeros() -> None:
    assert format_tick(2_000_000) == f"2{NBSP}M"
    assert format_tick(1_250_000) == f"1.25{NBSP}M"
    assert format_tick(500) == "500"


def test_value_shows_each_kind_of_scalar() -> None:
    assert [format_value(v) for v in (None, True, 12_000, 0.25, "ws")] == [
        "–",
        "yes",
        "12,000",
        "0.25",
        "ws",
    ]


@pytest.mark.parametrize(
    ("found", "number"),
    [("544/5", 108.8), (3, 3.0), ("x", None), ("1/0", None), (True, None), (math.nan, None)],
)
def test_number_may_be_a_fraction_as_text(found: object, number: float | None) -> None:
    assert read_number(found) == number
