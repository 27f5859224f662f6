"""DRAM commands behind the caches: same results and counts, other times; laws of its counters."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from hwsim.components.energy_dram import dram_energy
from hwsim.core.errors import HwsimError
from hwsim.core.machine import make_machine
from hwsim.core.result import Result
from hwsim.core.sparsity import Unstructured
from hwsim.cpu.spec import PRESETS, CpuSpec
from mappers.greedy import map_graph
from tests.cpu.test_machine import pointwise_net

DRAM = "memory.model=dram"


def run(*settings: str, detail: str = "fast") -> tuple[Result, Any]:
    machine = make_machine("cpu", settings=list(settings))
    graph = machine.adapt(pointwise_net(16, 16, (6, 6), Unstructured(keep=0.1), batch=2))
    program = machine.lower(graph, map_graph(graph, machine))
    return machine.run(program, detail=detail), machine.bounds(program)


@cache
def played() -> Result:
    result, bounds = run(DRAM)
    assert bounds.min_cycles <= result.cycles <= bounds.max_cycles
    return result


def test_the_memory_changes_times_and_no_count() -> None:
    simple, ideal = run()[0], run("memory.model=ideal")[0]
    assert played().cycles != simple.cycles
    assert played().cycles > ideal.cycles
    for other in (simple, ideal):
        assert other.stats.bytes["l1"] == played().stats.bytes["l1"]
        assert other.stats.issued_macs == played().stats.issued_macs


def test_every_line_that_moves_is_two_bursts_of_lpddr4x() -> None:
    moved, commands = played().stats.bytes["dram"], played().extra["dram_commands"]
    assert commands["RD"] * 32 == moved["read"] > 0
    assert commands["WR"] * 32 == moved["write"]
    rows = played().extra["dram_rows"]
    assert sum(rows.values()) == commands["RD"] + commands["WR"]
    assert rows["misses"] + rows["conflicts"] == commands["ACT"]


def test_energy_of_memory_is_that_of_its_commands() -> None:
    spec = make_machine("cpu", settings=[DRAM]).spec
    assert isinstance(spec, CpuSpec)
    commands = played().extra["dram_commands"]
    parts = dram_energy(spec.memory.dram_device(), commands, played().cycles, spec.clock_hz)
    assert played().stats.energy_by_component_pj["dram"] == pytest.approx(sum(parts.values()))


def test_stepping_every_instruction_gives_the_same() -> None:
    stepped = run(DRAM, detail="tile")[0]
    assert stepped.cycles == played().cycles
    assert stepped.extra["dram_commands"] == played().extra["dram_commands"]
    np.testing.assert_equal(stepped.extra["cache_events"], played().extra["cache_events"])


@pytest.mark.parametrize("preset", PRESETS)
def test_a_lone_access_takes_the_latency_of_the_simple_memory(preset: str) -> None:
    spec = make_machine("cpu", preset, settings=[DRAM]).spec
    assert isinstance(spec, CpuSpec)
    device = spec.memory.dram_device()
    clocks = sum(device.timings[name] for name in ("RCD_RD", "CL", "BL"))
    beyond = spec.memory_latency_cycles - clocks * spec.clock_hz / device.clock_hz
    assert 0 < beyond - 1 < spec.memory_path_cycles <= beyond


@pytest.mark.parametrize(
    ("setting", "field"),
    [
        ("memory.device=ddr9", "memory.device"),
        ("memory.channels=0", "memory.channels"),
        ("memory.channels=3", "dram.lpddr4x-3733.channels"),
        ("memory.model=dream", "memory.model"),
    ],
)
def test_a_wrong_memory_is_named(setting: str, field: str) -> None:
    with pytest.raises(HwsimError) as caught:
        make_machine("cpu", settings=[DRAM, setting])
    assert str(caught.value).startswith(f"{field}: ")
