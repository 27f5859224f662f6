"""Energy is counts times table, plus static power times time, and nothing else."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from hwsim.components.energy import (
    STATIC,
    TECHNOLOGIES,
    ActionEnergy,
    EnergyTable,
    energy_by_component,
)
from hwsim.core.errors import InputError

ASIC = EnergyTable.named("asic-45nm")

HOROWITZ_PJ = {  # Horowitz, ISSCC 2014, 45 nm at 0.9 V; memories per 64-bit access
    "int8_add": 0.03,
    "int32_add": 0.1,
    "int8_mult": 0.2,
    "int32_mult": 3.1,
    "fp16_add": 0.4,
    "fp32_add": 0.9,
    "fp16_mult": 1.1,
    "fp32_mult": 3.7,
    "sram_8kb_byte": 10 / 8,
    "sram_32kb_byte": 20 / 8,
    "sram_1mb_byte": 100 / 8,
    "dram_byte": (1300 + 2600) / 2 / 8,
}


@pytest.mark.parametrize(("action", "energy_pj"), HOROWITZ_PJ.items())
def test_table_holds_the_published_number(action: str, energy_pj: float) -> None:
    assert ASIC.action_pj(action) == pytest.approx(energy_pj, rel=1e-12)


@pytest.mark.parametrize("name", TECHNOLOGIES)
def test_every_number_has_a_source_or_is_called_assumed(name: str) -> None:
    table = EnergyTable.named(name)
    for action in table.actions.values():
        assert action.source.startswith(("Horowitz 2014", "assumed: "))
    assert table.static_source.startswith("assumed: ")


def test_energy_is_counts_times_energy_and_power_times_time() -> None:
    counts = {"array": {"fp16_mult": 1000, "fp32_add": 500}, "dram": {"dram_byte": 64}}
    energy = energy_by_component(ASIC, counts, cycles=400, clock_hz=200_000_000)
    assert energy["array"] == pytest.approx(1000 * 1.1 + 500 * 0.9)
    assert energy["dram"] == pytest.approx(64 * 243.75)
    assert energy[STATIC] == pytest.approx(50e-3 * 400 / 200e6 * 1e12)  # W x s in pJ
    assert set(energy) == {"array", "dram", STATIC}


def test_zero_work_costs_static_energy_only() -> None:
    energy = energy_by_component(ASIC, {"array": {"fp16_mult": 0}, "sore": {}}, 100, 10**9)
    assert (energy["array"], energy["sore"]) == (0.0, 0.0)
    assert energy[STATIC] > 0
    assert energy_by_component(ASIC, {}, 0, 10**9) == {STATIC: 0.0}


def test_fpga_scales_logic_by_process_and_overhead_memory_by_process() -> None:
    fpga = EnergyTable.named("fpga-16nm")
    process = 16 / 45 * (0.85 / 0.9) ** 2
    assert fpga.action_pj("fp16_mult") == pytest.approx(1.1 * process * 14)
    assert fpga.action_pj("sram_32kb_byte") == pytest.approx(2.5 * process)
    assert fpga.action_pj("dram_byte") == pytest.approx(1300 / 8)


def test_unknown_names_and_negative_counts_are_refused_naming_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean asic-45nm"):
        EnergyTable.named("asic-45")
    with pytest.raises(InputError, match="energy.asic-45nm: .*did you mean.*fp16_mult"):
        energy_by_component(ASIC, {"array": {"fp16_mul": 1}}, 1, 1)
    with pytest.raises(InputError, match="energy.array.fp16_mult: need a count >= 0, found -1"):
        energy_by_component(ASIC, {"array": {"fp16_mult": -1}}, 1, 1)
    with pytest.raises(InputError, match="clock_hz"):
        energy_by_component(ASIC, {}, 1, 0)
    with pytest.raises(InputError, match="components other than 'static'"):
        energy_by_component(ASIC, {STATIC: {}}, 1, 1)


def test_table_is_frozen_and_refuses_nonsense() -> None:
    with pytest.raises(ValidationError):
        ASIC.name = "x"
    with pytest.raises(ValidationError):
        ActionEnergy(energy_pj=-1, source="assumed: nothing")
    with pytest.raises(ValidationError, match="at least one action"):
        EnergyTable(name="x", description="", static_mw=0, static_source="assumed: 0", actions={})
