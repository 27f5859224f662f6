"""Loaded scratchpads serve what the closed form of their banks says."""

from __future__ import annotations

from typing import Any

import pytest

from hwsim.components.sram import SramSpec
from hwsim.components.sram_load import characterise_pad, word_limit
from hwsim.core.errors import InputError


@pytest.mark.parametrize(("banks", "stride", "expected"), [(16, 1, 16), (16, 6, 8), (12, 9, 4)])
def test_strides_meet_banks_over_their_common_divisor(
    banks: int, stride: int, expected: int
) -> None:
    spec = SramSpec(banks=banks, ports=16)
    found = characterise_pad(spec, f"stride:{stride}", steps=50, seed=0)
    assert (found.limit, found.words_per_cycle) == (expected, pytest.approx(expected, rel=0.05))
    assert found.words_per_cycle <= expected + 1e-9


@pytest.mark.parametrize(
    ("changed", "pattern", "expected", "rule"),
    [
        ({"bank_selection": "xor"}, "stride:16", 16, "ports"),
        ({"ports": 3}, "stride:2", 3, "ports"),
        ({"bank_ports": 2}, "hot", 2, "1 bank"),
        ({"read_interval_cycles": 4}, "hot", 0.25, "1 bank"),
        ({"banks": 2, "ports": 2}, "random", 1.5, "banks met at random"),
    ],
)
def test_limits_follow_from_banks_ports_and_intervals(
    changed: dict[str, Any], pattern: str, expected: float, rule: str
) -> None:
    assert word_limit(SramSpec(**changed), pattern) == (pytest.approx(expected), rule)


def test_waiting_requests_keep_random_ones_below_the_first_cycles_banks() -> None:
    found = characterise_pad(SramSpec(banks=16, ports=16), "random", steps=500, seed=1)
    # Sixteen heads of queues: between 2 - sqrt(2) and 0.6184 of the banks (Karol et al. 1987).
    assert 0.57 * 16 < found.words_per_cycle < 0.625 * 16 < found.limit
    assert 0 < found.conflict_share < 1


def test_one_hot_bank_makes_every_port_wait_for_the_others() -> None:
    found = characterise_pad(SramSpec(banks=4, ports=5), "hot", steps=40, seed=0)
    assert found.words_per_cycle == 1
    assert found.waiting == pytest.approx(4, rel=0.02)  # ports take turns; fewer at the start


@pytest.mark.parametrize("pattern", ["stride", "stride:-1", "zigzag", ""])
def test_an_unknown_pattern_is_named(pattern: str) -> None:
    with pytest.raises(InputError, match="--pattern: need stride:S, random or hot"):
        characterise_pad(SramSpec(), pattern, steps=1, seed=0)
