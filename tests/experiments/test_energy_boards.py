"""Board powers are sums of stated activity; misses are reported and not gated."""

from __future__ import annotations

import pytest

from hwsim.components.energy import EnergyTable
from hwsim.experiments import energy_boards
from hwsim.experiments.energy_boards import claims, flightllm_power_w, piuma_power_w, unchecked


def test_u280_parts_follow_from_the_stated_activity() -> None:
    parts = flightllm_power_w()
    table, seconds = EnergyTable.named("fpga-16nm"), 3_937_100 / 225e6
    mac_pj = table.action_pj("int8_mult") + table.action_pj("int32_add")
    assert parts["mpe"] == pytest.approx(12288 * 225e6 * mac_pj * 1e-12)
    moved_bytes = 3.43e9 + 128 * 262_144
    inside_pj, interface_pj = 2.68 * 8, 0.8 * 8
    assert parts["hbm_read"] == pytest.approx(moved_bytes * inside_pj * 1e-12 / seconds, rel=1e-6)
    assert parts["hbm_interface"] == pytest.approx(
        moved_bytes * interface_pj * 1e-12 / seconds, rel=1e-6
    )
    assert "hbm_background" not in parts  # counted with the idle card
    assert parts["static"] == pytest.approx(16.646 + 0.736, abs=0.001)  # 12.2 V, 3.3 V
    assert (parts["hbm_write"], parts["hbm_refresh"]) == (0.0, 0.0)


def test_piuma_parts_follow_from_the_stated_activity() -> None:
    parts, table = piuma_power_w(), EnergyTable.named("asic-7nm")
    per_instruction = table.action_pj("instruction") + table.action_pj("fp32_mult")
    assert parts["pipelines"] == pytest.approx(48e9 * per_instruction * 1e-12)
    assert parts["optics"] == pytest.approx(32 * 32e9 * 8 * 5e-12)
    assert parts["static"] == pytest.approx(8 * 9.2 * 0.020)


def test_misses_are_reported_and_only_they_are_not_gated() -> None:
    found = {claim.id: claim for claim in claims()}
    misses = {name for name, claim in found.items() if not claim.passed}
    assert misses == {name for name, claim in found.items() if not claim.gated}
    assert misses == {"energy-piuma-cores", "energy-flightllm-u280", "energy-ddr4-bit"}
    assert all(found[name].error < 0 for name in misses), "parts are left out, none is invented"
    assert len(unchecked()) == 2


def test_parts_above_a_whole_board_fail_the_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy_boards, "_U280_BOARD_W", 20.0)
    failed = [claim.id for claim in claims() if claim.gated and not claim.passed]
    assert failed == ["energy-parts-below-boards"]
