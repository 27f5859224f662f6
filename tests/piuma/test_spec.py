"""Check that a machine description is consistent or refused by name."""

from __future__ import annotations

from fractions import Fraction

import pytest

from hwsim.core.errors import SpecError
from hwsim.piuma.spec import PRESETS, PiumaSpec


def test_a_block_has_66_threads_and_a_die_528() -> None:
    assert PRESETS["block"].threads == 4 * 16 + 2 == 66
    assert PRESETS["die"].threads == 8 * 66
    assert PiumaSpec(blocks=64).threads == 4224


@pytest.mark.parametrize(
    ("setting", "field"),
    [
        ("blocks=3", "blocks"),
        ("spad.banks=12", "spad.banks"),
        ("cache.capacity_bytes=1000", "cache.capacity_bytes"),
        ("cache.ways=3", "cache.capacity_bytes"),
        ("dram.interleave_bytes=100", "dram.interleave_bytes"),
        ("smash.slots=3", "smash.slots"),
        ("smash.hash=best", "smash.hash"),
        ("mtp.threads=0", "mtp.threads"),
    ],
)
def test_what_cannot_be_built_is_refused_by_name(setting: str, field: str) -> None:
    with pytest.raises(SpecError, match=field) as caught:
        PiumaSpec().override([setting])
    assert "\n" not in str(caught.value)


def test_a_machine_without_pipelines_is_refused() -> None:
    with pytest.raises(SpecError, match="pipeline"):
        PiumaSpec().override(["mtp.pipelines=0", "stp.pipelines=0"])


@pytest.mark.parametrize(("blocks", "mesh"), [(1, (1, 1)), (2, (1, 2)), (8, (2, 4)), (64, (8, 8))])
def test_the_mesh_is_as_square_as_can_be(blocks: int, mesh: tuple[int, int]) -> None:
    assert PiumaSpec(blocks=blocks).mesh == mesh


def test_rates_are_exact_fractions() -> None:
    assert PiumaSpec().dram_bytes_per_cycle == Fraction(176, 10)
