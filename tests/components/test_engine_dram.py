"""The engine runs on DRAM as it does on the fixed-rate memory, with times of the DRAM's own."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

import numpy as np
import pytest

from hwsim.components import engine as engine_module
from hwsim.components import engine_kernels
from hwsim.components.dram import (
    memory_kernels,
    port,
    queue_kernels,
    scheduler_kernels,
    skip_kernels,
    timing_kernels,
    transfer_kernels,
)
from hwsim.components.dram.controller import AddressedRequest, DramMemory
from hwsim.components.dram.devices import load_device
from hwsim.components.dram.parameters import DramParameters
from hwsim.components.dram.simple import MemoryParameters
from hwsim.components.dram.state import Controller
from hwsim.components.engine import EngineRun, run_program
from hwsim.core.errors import InputError
from hwsim.core.program import END, INSTRUCTION, LOOP, Program, TokenChannel

DEVICE = load_device("ddr4-2400", 1)
T = DEVICE.timings
UNITS = ["dma_in", "pe", "dma_out"]


def memory(cycle_hz: int = 200_000_000, path_cycles: int = 0, **fields: str) -> DramParameters:
    return DramParameters(DEVICE, Controller(**fields), cycle_hz, path_cycles)


def loads(*sizes: int, unit: int = 0, is_write: int = 0) -> Program:
    rows = np.zeros(len(sizes), INSTRUCTION)
    rows["unit"], rows["mem_bytes"], rows["is_write"] = unit, sizes, is_write
    return Program("test", UNITS, ["x"], ["op"], [], rows)


def steady(count: int) -> Program:
    """Return a loop of load, compute and store with two buffers."""
    rows = np.zeros(5, INSTRUCTION)
    rows["unit"] = [LOOP, 0, 1, 2, END]
    rows["count"][0] = count
    rows["mem_bytes"][[1, 3]] = [3000, 1000]
    rows["is_write"][3] = 1
    rows["cycles"][2] = 50
    rows["wait"] = [0, 1, 2, 4, 0]
    rows["release"] = [0, 2, 1 | 4, 0, 0]
    channels = [
        TokenChannel("free", 2, "dependency"),
        TokenChannel("full", 0, "data_wait"),
        TokenChannel("out", 0, "data_wait"),
    ]
    return Program("test", UNITS, ["x"], ["op"], channels, rows)


def facts(run: EngineRun) -> dict:
    kept = {k: v for k, v in vars(run).items() if k not in ("steps", "trace")}
    return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in kept.items()}


def check_identities(run: EngineRun) -> None:
    for unit in run.units.values():
        assert unit.total == run.cycles
    assert (run.op_accounts >= 0).all()
    assert (run.op_accounts.sum(axis=2) == run.op_cycles[:, None]).all()


@pytest.mark.parametrize("cycle_hz", [200_000_000, 1_200_000_000, 2_500_000_000])
def test_one_load_takes_activate_latency_and_data(cycle_hz: int) -> None:
    """A burst: busy in the cycles that its data touch, stalled by dram before."""
    run = run_program(loads(64), memory(cycle_hz, path_cycles=3), 4)
    begin = (T["RCD_RD"] + T["CL"]) * cycle_hz / DEVICE.clock_hz
    end = ceil((T["RCD_RD"] + T["CL"] + T["BL"]) * cycle_hz / DEVICE.clock_hz)
    assert run.cycles == end + 3
    assert run.units["dma_in"].busy == end - int(begin)
    assert run.units["dma_in"].stall["dram"] == int(begin) + 3
    check_identities(run)


def test_each_unit_runs_through_its_own_region() -> None:
    """The engine's requests in order are those of consecutive bursts submitted by hand."""
    sizes = (100, 5000, 64, 1)
    parameters = memory()
    run = run_program(loads(*sizes, unit=2), parameters, 8, max_outstanding=1)
    by_hand = DramMemory(DEVICE, cycle_hz=200_000_000)
    address, t = parameters.regions(3)[2].first * 64, 0
    for size in sizes:
        by_hand.submit(AddressedRequest(0, 0, address, size), t)
        t = by_hand.advance(1 << 30)[0].cycle if size == sizes[-1] else finish(by_hand)
        address += -(-size // 64) * 64
    assert run.cycles == t
    assert run.bytes_read.tolist() == [sum(sizes)]
    assert run.dram.bytes_read == sum(-(-size // 64) * 64 for size in sizes)


def finish(dram: DramMemory) -> int:
    """Return the cycle of the one completion, not going beyond it."""
    cycle = dram.next_time(1 << 30)
    assert cycle is not None
    dram.advance(cycle)
    return cycle


def test_regions_of_units_do_not_overlap() -> None:
    regions = memory().regions(5)
    assert len(regions) == 5
    for a, b in zip(regions, regions[1:], strict=False):
        assert a.first + a.length <= b.first
    assert (regions[-1].first + regions[-1].length) * 64 <= DEVICE.capacity_bytes


def test_long_load_moves_at_most_at_the_peak_rate() -> None:
    size = 1 << 20
    run = run_program(loads(size), memory(), 4)
    peak = DEVICE.peak_bytes_per_s / 200e6
    assert size / peak <= run.cycles <= size / peak / 0.9
    assert run.units["dma_in"].busy >= size / peak


def test_identities_bytes_and_commands_in_a_double_buffered_loop() -> None:
    run = run_program(steady(300), memory(), 8)
    check_identities(run)
    assert run.bytes_read.tolist() == [300 * 3000]
    assert run.bytes_written.tolist() == [300 * 1000]
    assert run.dram.bytes_read == 300 * -(-3000 // 64) * 64
    assert run.dram.bytes_written == 300 * -(-1000 // 64) * 64
    assert run.skipped_instructions == 0
    ideal = run_program(steady(300), MemoryParameters(is_ideal=True), 8)
    assert run.cycles > ideal.cycles


def test_two_runs_and_other_slices_of_a_run_are_identical(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run_program(steady(100), memory(), 8)
    assert facts(run_program(steady(100), memory(), 8)) == facts(whole)
    monkeypatch.setattr(engine_module, "DRAM_STEPS_PER_CALL", 3)
    assert facts(run_program(steady(100), memory(), 8)) == facts(whole)


def test_tracing_does_not_change_the_run() -> None:
    traced = run_program(steady(50), memory(), 8, trace=True)
    assert facts(traced) == facts(run_program(steady(50), memory(), 8))
    assert traced.cycles == traced.trace.events["end"].max()


def test_interpreted_kernels_and_smaller_advances_agree(
    monkeypatch: pytest.MonkeyPatch, interpret: Callable[..., None]
) -> None:
    """How far DRAM is advanced at once is nobody's business."""
    compiled = run_program(steady(12), memory(), 4)
    kernels = (memory_kernels, scheduler_kernels, skip_kernels)
    kernels += (queue_kernels, timing_kernels, transfer_kernels)
    interpret(engine_kernels, port, *kernels)
    assert facts(run_program(steady(12), memory(), 4)) == facts(compiled)
    monkeypatch.setattr(port, "MAX_ADVANCE_CYCLES", 5)
    assert facts(run_program(steady(12), memory(), 4)) == facts(compiled)


def test_comparison_of_runs_can_fail() -> None:
    a = run_program(steady(100), memory(), 8)
    b = run_program(steady(100), memory(scheduler="fcfs"), 8)
    assert facts(a) != facts(b)


@pytest.mark.parametrize("fields", [{"cycle_hz": 0}, {"path_cycles": -1}])
def test_wrong_parameters_are_refused(fields: dict[str, int]) -> None:
    with pytest.raises(InputError, match=f"memory.{next(iter(fields))}"):
        DramParameters(DEVICE, **fields)
