"""Check how windows share a scratchpad: nothing overlaps, one row may fill a table further."""

from __future__ import annotations

import pytest

from hwsim.piuma.smash_layout import COUNTS, smash_layout
from hwsim.piuma.spec import PiumaSpec

SETTINGS = [(), ("smash.slots=64",), ("spad.capacity_bytes=131072", "smash.window_rows=16")]


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("settings", SETTINGS)
def test_nothing_overlaps(version: int, settings: tuple[str, ...]) -> None:
    spec = PiumaSpec().override(settings)
    layout = smash_layout(spec, version, 5000)
    assert layout.counts == COUNTS
    assert layout.table >= layout.counts + 8 * layout.rows * (2 if version == 3 else 1)
    if version < 3:
        assert layout.table + 16 * layout.slots <= spec.spad.capacity_bytes
        return
    most = max(layout.budget, layout.range_columns)
    assert layout.values >= layout.table + 16 * layout.slots
    assert layout.columns >= layout.values + 8 * most
    end = layout.columns + 4 * most
    assert end <= COUNTS + layout.half_bytes
    assert end + layout.half_bytes <= spec.spad.capacity_bytes


def test_one_row_fills_more_of_a_table_than_rows_together() -> None:
    layouts = {v: smash_layout(PiumaSpec(), v, 1 << 20) for v in (1, 2, 3)}
    for layout in layouts.values():
        assert layout.budget == layout.slots * 12 // 100
    assert layouts[1].range_columns == layouts[1].budget  # high bits would crowd them
    assert layouts[2].range_columns == layouts[2].slots * 75 // 100
    # V3: what 12 bytes per entry leave of a half beside 16 bytes per slot, at most three quarters.
    assert layouts[3].slots == 1 << 16
    assert layouts[3].range_columns == 49_152 == layouts[3].slots * 75 // 100


@pytest.mark.parametrize(("hash_name", "version"), [("high", 2), ("high", 3), ("auto", 1)])
def test_high_bits_keep_the_budget(hash_name: str, version: int) -> None:
    layout = smash_layout(PiumaSpec().override([f"smash.hash={hash_name}"]), version, 1 << 20)
    assert layout.range_columns == layout.budget
