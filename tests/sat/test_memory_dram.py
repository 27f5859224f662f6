"""SAT runs on DRAM: the bytes stay, the bounds hold, wrong devices are named."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest

from hwsim.components.dram.devices import load_device
from hwsim.components.dram.parameters import DramParameters
from hwsim.components.energy_dram import dram_energy
from hwsim.core.errors import InputError
from hwsim.sat.sim import memory_parameters
from hwsim.sat.spec import SatSpec

DRAM = ("memory.model=dram",)


def test_parameters_name_device_clock_and_path() -> None:
    spec = SatSpec().override((*DRAM, "memory.channels=2", "memory.latency_cycles=7"))
    found = memory_parameters(spec)
    assert isinstance(found, DramParameters)
    assert (found.device.name, found.device.channels) == ("ddr4-2400", 2)
    assert (found.cycle_hz, found.path_cycles) == (spec.clock_hz, 7)


def test_rate_is_the_devices_peak_without_efficiency() -> None:
    spec = SatSpec().override((*DRAM, "memory.device=ddr4-3200", "memory.efficiency_percent=10"))
    assert spec.memory_bytes_per_cycle == Fraction(25_600_000_000, spec.clock_hz)


@pytest.mark.parametrize("channels", [1, 4])
def test_bounds_hold_and_bytes_stay(
    linear: Callable[..., Any], lower_plan: Callable[..., Any], channels: int
) -> None:
    settings = (*DRAM, f"memory.channels={channels}")
    machine, program = lower_plan(linear(256, 512, 320), (64, 96, 128), settings)
    simple, same = lower_plan(linear(256, 512, 320), (64, 96, 128))
    result, other = machine.run(program), simple.run(same)
    bounds = machine.bounds(program)
    assert bounds.min_cycles <= result.cycles <= bounds.max_cycles
    assert result.stats.bytes == other.stats.bytes
    assert result.cycles != other.cycles
    commands, moved = result.extra["dram_commands"], result.stats.bytes["dram"]
    assert commands["RD"] * 64 >= moved["read"]  # whole bursts
    assert commands["WR"] * 64 >= moved["write"]
    assert sum(result.extra["dram_rows"].values()) == commands["RD"] + commands["WR"]
    device = load_device("ddr4-2400", channels)
    parts = dram_energy(device, commands, result.cycles, machine.clock_hz)
    energy = result.stats.energy_by_component_pj
    assert (
        energy["dram"]
        == pytest.approx(sum(parts.values()))
        != pytest.approx(other.stats.energy_by_component_pj["dram"])
    )
    assert "dram_commands" not in other.extra


def test_small_scattered_requests_stay_below_the_upper_bound(
    linear: Callable[..., Any], lower_plan: Callable[..., Any]
) -> None:
    machine, program = lower_plan(linear(64, 64, 64), (8, 16, 32), DRAM)
    bounds = machine.bounds(program)
    assert bounds.min_cycles <= machine.run(program).cycles <= bounds.max_cycles


def test_more_channels_are_faster_in_a_memory_bound_product(
    linear: Callable[..., Any], lower_plan: Callable[..., Any]
) -> None:
    cycles = []
    for channels in (1, 2, 4):
        settings = (*DRAM, f"memory.channels={channels}", "array.rows=128", "array.cols=128")
        machine, program = lower_plan(linear(64, 2048, 2048), (64, 512, 512), settings)
        cycles.append(machine.run(program).cycles)
    assert cycles == sorted(cycles, reverse=True)
    assert cycles[0] > cycles[-1]


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("memory.device=ddr9", "memory.device: need one of"),
        ("memory.channels=0", "channels"),
        ("memory.channels=3", "channels"),
    ],
)
def test_wrong_device_is_refused(setting: str, named: str) -> None:
    with pytest.raises(InputError, match=named):
        SatSpec().override((*DRAM, setting))
