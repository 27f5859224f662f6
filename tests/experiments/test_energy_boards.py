"""Board powers are sums of stated activity; misses are reported and not gated."""

from __future__ import annotations

import pytest

from hwsim.components.dram.devices import load_device
from hwsim.components.energy import EnergyTable
from hwsim.core.machine import make_machine
from hwsim.experiments import energy_boards
from hwsim.experiments.area import area_of
from hwsim.experiments.energy_boards import (
    claims,
    flightllm_power_w,
    piuma_power_w,
    streaming_pj_per_bit,
    tables,
    unchecked,
)
from hwsim.experiments.flightllm_runs import run


def test_u280_parts_are_those_of_a_simulated_step() -> None:
    step = run("u280", "decode", 128)
    parts, seconds = flightllm_power_w(), step.cycles / 225e6
    table = EnergyTable.named("fpga-16nm")
    slot_pj = table.action_pj("int8_mult") + table.action_pj("int32_add")
    assert parts["mpe"] == pytest.approx(step.stats.issued_macs * slot_pj * 1e-12 / seconds)
    moved = sum(step.stats.bytes["dram"].values())
    # O'Connor et al. 2017: 1.51 + 1.17 pJ per bit inside, 0.80 outside, 909 pJ per row of 1 KB.
    bytes_pj = moved * 8 * (1.51 + 1.17 + 0.80) + moved / 1024 * 909
    assert parts["hbm"] == pytest.approx(bytes_pj * 1e-12 / seconds, rel=1e-4)
    # 12.2 V and 3.3 V of a card at rest, idle HBM included: no background beside it.
    assert parts["static"] == pytest.approx(12.213 * 1.363 + 3.300 * 0.223, abs=0.005)
    assert set(parts) == {"mpe", "buffers", "hbm", "soft_logic", "clocks", "static"}
    measured = step.stats.energy_pj * 1e-12 / seconds
    assert measured == pytest.approx(45.0)  # the rest is named, and left out of the claim
    assert sum(parts.values()) < 0.75 * measured


def test_soft_logic_works_with_its_units_and_clocks_always_run() -> None:
    step, parts = run("u280", "decode", 128), flightllm_power_w()
    area = {part["unit"]: part for part in area_of(make_machine("flightllm", "u280"))["parts"]}
    table, seconds = EnergyTable.named("fpga-16nm"), step.cycles / 225e6
    registers = sum(part["cells"]["ff"] for part in area.values())
    clocks = registers * 225e6 * table.action_pj("register_cycle") * 1e-12
    assert parts["clocks"] == pytest.approx(clocks, rel=0.02)  # buffers of one kind share a name
    # A chain takes 32 slots at a time; the vector units of three cores work while MISC does.
    one = {unit: part["cells"]["lut"] / part["count"] for unit, part in area.items()}
    chains = step.stats.issued_macs / 32 * one["flightllm/csd_chain"]
    vectors = 3 * step.stats.units["misc"].busy * one["flightllm/vector_sfu"]
    filled = sum(step.stats.bytes[name]["write"] for name in ("a_buffer", "b_buffer"))
    toggled = chains + vectors + filled / 16 * one["flightllm/dequant"]
    watts = toggled * table.action_pj("lut_cycle") * 1e-12 / seconds
    assert parts["soft_logic"] == pytest.approx(watts, rel=1e-3)


def test_a_stream_of_ddr4_costs_what_its_currents_say() -> None:
    # By hand: 1.2 V, eight chips, 64-byte bursts of 4 clocks of 0.833 ns, (135 - 43) mA above
    # standby; 3.19 pJ per bit outside; 64 GiB at 43 mA per chip of 1 GiB; refresh 420 clocks of
    # (250 - 43) mA per 8 GiB every tREFI; 95.5 % of 76.8 GB/s.
    device = load_device("ddr4-2400")
    rate_bits = 8 * 76.8e9 * (1 - device.timings["RFC_AB"] / device.timings["REFI"])
    read = 8 * 1.2 * 92 * 4 * 0.833 / 512
    background = 64 * 1.2 * 43e9 / rate_bits
    refreshes = 4 * 1.2e9 / device.timings["REFI"]  # per second, of 16 GiB each
    refresh = refreshes * 2 * 8 * 1.2 * 207 * 420 * 0.833 / rate_bits
    activate = 0.0511  # (48 mA for 55 clocks, less standby) per row of 8 KiB, read whole
    assert sum(streaming_pj_per_bit("ddr4-2400").values()) == pytest.approx(
        read + 3.19 + background + refresh + activate, rel=0.001
    )


def test_piuma_parts_follow_from_the_stated_activity() -> None:
    parts, table = piuma_power_w(), EnergyTable.named("asic-7nm")
    per_instruction = table.action_pj("instruction") + table.action_pj("fp32_mult")
    assert parts["pipelines"] == pytest.approx(48e9 * per_instruction * 1e-12)
    assert parts["registers"] == pytest.approx(48e9 * 24 * 0.9375e-12)  # 7.5 pJ per 8 bytes, 7 nm
    assert parts["optics"] == pytest.approx(32 * 32e9 * 8 * 5e-12)
    assert parts["static"] == pytest.approx(8 * 9.2 * 0.020)


def test_misses_are_reported_and_only_they_are_not_gated() -> None:
    found = {claim.id: claim for claim in claims()}
    misses = {name for name, claim in found.items() if not claim.passed}
    assert misses == {"energy-piuma-cores", "energy-flightllm-u280"}
    ungated = {name for name, claim in found.items() if not claim.gated}
    assert ungated == misses | {"energy-ddr4-bit"}  # whose reference names no load
    assert all(found[name].error < 0 for name in misses), "parts are left out, none is invented"
    assert len(unchecked()) == 3


def test_the_table_adds_up_to_what_is_reported_and_names_what_is_missing() -> None:
    [table] = tables()
    wholes = {row["of"] for row in table.rows}
    assert len(wholes) == 3
    for whole in wholes:
        rows = {row["part"]: row for row in table.rows if row["of"] == whole}
        reported = rows.pop("reported")
        assert sum(row["value"] for row in rows.values()) == pytest.approx(reported["value"])
        assert rows["missing"]["value"] > 0
        assert all(row["from"] for row in rows.values())


def test_parts_above_a_whole_board_fail_the_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy_boards, "_U280_BOARD_W", 20.0)
    failed = [claim.id for claim in claims() if claim.gated and not claim.passed]
    assert failed == ["energy-parts-below-boards"]
