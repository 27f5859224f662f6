"""Energy is counts times table, plus static power times time, and nothing else."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from hwsim.components.energy import (
    FPGA_ACTIONS,
    STATIC,
    TECHNOLOGIES,
    ActionEnergy,
    EnergyTable,
    average_power_w,
    energy_by_component,
    static_energy_pj,
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
    "instruction": 70,
}

JOUPPI_PJ = {  # Jouppi et al., ISCA 2021, Table 2, 7 nm; memories per 64-bit access
    "int8_add": 0.007,
    "int32_add": 0.03,
    "bf16_add": 0.11,
    "fp16_add": 0.16,
    "fp32_add": 0.38,
    "int8_mult": 0.07,
    "int32_mult": 1.48,
    "bf16_mult": 0.21,
    "fp16_mult": 0.34,
    "fp32_mult": 1.31,
    "sram_8kb_byte": 7.5 / 8,
    "sram_32kb_byte": 8.5 / 8,
    "sram_1mb_byte": 14 / 8,
    "dram_byte": (250 + 450) / 2 / 8,
}

LITERATURE = ("Horowitz 2014", "Jouppi et al. 2021, Table 2", "Keckler et al. 2011")


@pytest.mark.parametrize(
    ("table", "action", "energy_pj"),
    [("asic-45nm", *item) for item in HOROWITZ_PJ.items()]
    + [("asic-7nm", *item) for item in JOUPPI_PJ.items()],
)
def test_table_holds_the_published_number(table: str, action: str, energy_pj: float) -> None:
    assert EnergyTable.named(table).action_pj(action) == pytest.approx(energy_pj, rel=1e-12)


def test_tables_know_the_same_actions() -> None:
    """A machine can be moved to any technology."""
    tables = {name: set(EnergyTable.named(name).actions) for name in TECHNOLOGIES}
    assert tables["fpga-16nm"] > set(FPGA_ACTIONS)
    tables["fpga-16nm"] -= set(FPGA_ACTIONS)
    assert len({frozenset(actions) for actions in tables.values()}) == 1


def test_cells_of_an_fpga_cost_their_share_of_the_estimated_design() -> None:
    fpga = EnergyTable.named("fpga-16nm")
    # 1.894 W of logic and 3.132 W of signals over 475,034 + 8,613 + 4,421 LUTs, 2.464 W of clocks
    # over 665,852 registers, at 180 MHz.
    luts = 475_034 + 8_613 + 4_421
    assert fpga.action_pj("lut_cycle") == pytest.approx((1.894 + 3.132) / (luts * 180e6) * 1e12)
    assert fpga.action_pj("register_cycle") == pytest.approx(2.464 / (665_852 * 180e6) * 1e12)


def test_7nm_is_below_45nm_in_every_operation() -> None:
    newer = EnergyTable.named("asic-7nm")
    ratios = [
        ASIC.action_pj(name) / newer.action_pj(name)
        for name in ASIC.actions
        if name not in ("optical_byte", "dram_byte")
    ]
    assert min(ratios) > 1


@pytest.mark.parametrize("name", TECHNOLOGIES)
def test_every_number_has_a_source_or_is_called_assumed(name: str) -> None:
    table = EnergyTable.named(name)
    for action in table.actions.values():
        assert action.source.startswith((*LITERATURE, "assumed: "))
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


def test_mobile_chip_differs_from_7nm_in_instructions_memory_and_leakage_only() -> None:
    mobile, asic = EnergyTable.named("mobile-7nm"), EnergyTable.named("asic-7nm")
    differing = {name for name in asic.actions if mobile.actions[name] != asic.actions[name]}
    assert differing == {"instruction", "dram_byte"}
    assert mobile.action_pj("instruction") == pytest.approx(1e12 / (2.6e9 * 1.5), rel=0.01)
    assert mobile.static_mw < asic.static_mw


def test_components_sum_to_the_total_and_the_total_to_the_power() -> None:
    counts = {"array": {"fp16_mult": 7, "fp32_add": 11}, "noc": {"router_byte": 13}}
    energy = energy_by_component(ASIC, counts, 1000, 10**9)
    total = sum(energy.values())
    by_hand = 7 * 1.1 + 11 * 0.9 + 13 * 2.5 + 0.05 * 1e-6 * 1e12
    assert total == pytest.approx(by_hand, rel=1e-9)
    assert average_power_w(total, 1000, 10**9) == pytest.approx(by_hand * 1e-12 / 1e-6)
    assert average_power_w(total, 0, 10**9) == 0


def test_a_machine_may_bring_its_own_static_power() -> None:
    energy = energy_by_component(ASIC, {}, 500, 10**9, static_mw=2000)
    assert energy == {STATIC: static_energy_pj(2000, 500, 10**9)}
    assert energy[STATIC] == pytest.approx(2 * 500e-9 * 1e12)
    with pytest.raises(InputError, match="energy.static_mw: need a power >= 0, found -1"):
        energy_by_component(ASIC, {}, 1, 1, static_mw=-1)


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
