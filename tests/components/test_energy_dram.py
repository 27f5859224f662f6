"""DRAM energy is commands times energy per command, plus background power times time."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from hwsim.components.dram.devices import device_names, load_device
from hwsim.components.energy_dram import (
    DramCurrents,
    SupplyRail,
    dram_energy,
    dram_energy_class,
)
from hwsim.core.errors import InputError

NOTHING = {"activate", "read", "write", "interface", "refresh"}


def currents(**changes: object) -> DramCurrents:
    """Return a chip whose numbers are easy to follow."""
    rail = {"idd0_ma": 50, "idd2n_ma": 30, "idd3n_ma": 40, "idd4r_ma": 140, "idd4w_ma": 120}
    fields = {
        "family": "x",
        "description": "",
        "source": "assumed: round numbers",
        "rails": (SupplyRail(name="vdd", volts=2, idd5_ma=240, **rail),),
        "chips": 4,
        "rank_bytes": 2 << 30,
        "row_bytes": 1000,
        "burst_bytes": 16,
        "clock_ns": 2.0,
        "ras_clocks": 20,
        "rc_clocks": 30,
        "burst_clocks": 4,
        "rfc_clocks": 100,
        "interface_pj_per_bit": 1.5,
        "interface_source": "assumed: 1.5",
    }
    return DramCurrents.model_validate(fields | changes)


def test_commands_cost_what_their_current_draws_above_standby() -> None:
    energy = currents().energies()
    # 4 chips at 2 V: 8 mW per mA. Row cycle of 60 ns, 40 of them with the row open.
    assert energy.activate_byte.energy_pj == pytest.approx(8 * (50 * 60 - 40 * 40 - 30 * 20) / 1000)
    assert energy.read_byte.energy_pj == pytest.approx(8 * (140 - 40) * 8 / 16)
    assert energy.write_byte.energy_pj == pytest.approx(8 * (120 - 40) * 8 / 16)
    assert energy.refresh_gib.energy_pj == pytest.approx(8 * (240 - 40) * 200 / 2)
    assert energy.background_mw_per_gib == pytest.approx(8 * 40 / 2)
    assert energy.interface_byte.energy_pj == pytest.approx(12)


def test_rails_add_up() -> None:
    rail = currents().rails[0]
    second = rail.model_copy(update={"name": "vdd2", "volts": 1.0})
    both = currents(rails=(rail, second)).energies()
    assert both.read_byte.energy_pj == pytest.approx(
        currents().energies().read_byte.energy_pj * 1.5
    )


def test_ddr4_numbers_follow_from_its_currents() -> None:
    """1.2 V, eight chips: 135 - 43 mA over four clocks of 0.833 ns for 64 bytes."""
    energy = dram_energy_class("ddr4")
    assert energy.read_byte.energy_pj == pytest.approx(1.2 * 8 * (135 - 43) * 4 * 0.833 / 64)
    refresh_pj = 1.2 * 8 * (250 - 43) * 420 * 0.833
    assert energy.refresh_gib.energy_pj == pytest.approx(refresh_pj / 8)


def test_hbm2_numbers_are_the_published_ones() -> None:
    """O'Connor et al. 2017, Table 3: 909 pJ per 1 KB row, 1.51 + 1.17 + 0.80 pJ per bit."""
    energy = dram_energy_class("hbm")
    assert energy.activate_byte.energy_pj * 1024 == pytest.approx(909, rel=1e-4)
    per_bit = energy.stream_pj_per_bit() - energy.activate_byte.energy_pj / 8
    assert per_bit == pytest.approx(1.51 + 1.17 + 0.80)


@pytest.mark.parametrize("name", device_names())
def test_every_device_has_a_class_and_every_number_a_source(name: str) -> None:
    energy = dram_energy_class(load_device(name).family)
    parts = (energy.activate_byte, energy.read_byte, energy.write_byte, energy.interface_byte)
    for part in (*parts, energy.refresh_gib):
        assert part.source.startswith(
            ("assumed: ", "DRAMsim3", "DRAMPower", "O'Connor et al. 2017")
        )
    assert energy.background_source


def test_no_commands_cost_background_only_and_no_time_nothing() -> None:
    device = load_device("ddr4-2400")
    energy = dram_energy(device, {}, cycles=1_200_000, clock_hz=1_200_000_000)
    assert {name for name, pj in energy.items() if pj == 0} == NOTHING
    mw = 64 * 1.2 * 43  # 64 GiB of 8 Gb chips, IDD3N
    assert energy["background"] == pytest.approx(mw * 1e-3 * 1e-3 * 1e12)
    assert sum(dram_energy(device, {}, 0, 10**9).values()) == 0


def test_counts_scale_by_rows_bursts_and_capacity() -> None:
    device = load_device("lpddr4x-3733")
    energy = dram_energy_class("lpddr4")
    commands = {"ACT": 3, "PRE": 3, "RD": 5, "WR": 7, "REFab": 2, "REFpb": 8}
    found = dram_energy(device, commands, 0, 10**9)
    assert found["activate"] == pytest.approx(3 * 2048 * energy.activate_byte.energy_pj)
    assert found["read"] == pytest.approx(5 * 32 * energy.read_byte.energy_pj)
    assert found["write"] == pytest.approx(7 * 32 * energy.write_byte.energy_pj)
    assert found["interface"] == pytest.approx(12 * 32 * energy.interface_byte.energy_pj)
    rank_gib = device.capacity_bytes / device.controllers / (1 << 30)
    # Eight refreshes of one of eight banks make one of the rank.
    assert found["refresh"] == pytest.approx(3 * rank_gib * energy.refresh_gib.energy_pj)


def test_a_row_that_is_half_read_costs_its_activation_twice_per_bit() -> None:
    energy = dram_energy_class("hbm")
    more = energy.stream_pj_per_bit(0.5) - energy.stream_pj_per_bit()
    assert more == pytest.approx(energy.activate_byte.energy_pj / 8)


def test_bad_counts_names_and_currents_are_refused() -> None:
    device = load_device("hbm2-1800")
    with pytest.raises(InputError, match=r"energy\.dram\.RD: need a count >= 0, found -1"):
        dram_energy(device, {"RD": -1}, 1, 1)
    with pytest.raises(InputError, match="clock_hz"):
        dram_energy(device, {}, 1, 0)
    with pytest.raises(InputError, match="did you mean ddr5"):
        dram_energy_class("ddr6")
    with pytest.raises(ValidationError):
        currents(chips=0)
