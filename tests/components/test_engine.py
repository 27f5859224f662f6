"""The engine obeys its cycle contract on programs small enough to work out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hwsim.components.dram import MemoryParameters
from hwsim.components.engine import EngineRun, run_program
from hwsim.core.errors import HwsimError, InputError
from hwsim.core.program import END, INSTRUCTION, LOOP, Program, TokenChannel
from hwsim.core.result import STALL_REASONS

IDEAL = MemoryParameters(is_ideal=True)
UNITS = ["dma", "pe", "store"]
A, B = 1, 2  # bits of the two channels
CHANNELS = [TokenChannel("free", 2, "dependency"), TokenChannel("full", 0, "data_wait")]


def build(*rows: dict[str, Any], channels: list[TokenChannel] = CHANNELS, ops: int = 1) -> Program:
    instructions = np.zeros(len(rows), INSTRUCTION)
    for instruction, row in zip(instructions, rows, strict=True):
        for name, value in row.items():
            if name == "stall":
                for reason, cycles in value.items():
                    instruction["stall"][STALL_REASONS.index(reason)] = cycles
            else:
                instruction[name] = value
    names = [f"op{i}" for i in range(ops)]
    return Program("test", UNITS, ["step"], names, channels, instructions)


def work(unit: int, cycles: int, **more: Any) -> dict[str, Any]:
    return {"unit": unit, "cycles": cycles, **more}


def load(size: int, **more: Any) -> dict[str, Any]:
    return {"unit": 0, "mem_bytes": size, **more}


def run(program: Program, memory: MemoryParameters = IDEAL, depth: int = 8, **more: Any):
    result = run_program(program, memory, depth, **more)
    check_identities(result)
    return result


def check_identities(result: EngineRun) -> None:
    for unit in (*result.units.values(), result.frontend):
        assert unit.total == result.cycles
    assert (result.op_accounts >= 0).all()
    windows = result.op_accounts.sum(axis=2)
    assert (windows == result.op_cycles[:, None]).all()
    assert result.op_cycles.sum() == result.cycles
    totals = result.op_accounts.sum(axis=0)
    for row, unit in zip(totals, result.units.values(), strict=True):
        assert row.tolist() == [unit.busy, *unit.stall.values(), unit.idle]


def stalls(result: EngineRun, unit: str) -> dict[str, int]:
    return {reason: n for reason, n in result.units[unit].stall.items() if n}


def test_one_instruction_takes_its_cycles() -> None:
    result = run(build(work(1, 7)))
    assert result.cycles == 7
    assert result.units["pe"].busy == 7
    assert result.units["dma"].idle == 7


def test_units_run_in_parallel_one_dispatch_per_cycle_apart() -> None:
    assert run(build(work(0, 5), work(1, 5), work(2, 5))).cycles == 2 + 5


def test_a_unit_runs_its_instructions_one_after_the_other() -> None:
    assert run(build(work(1, 5), work(1, 6), work(1, 7))).cycles == 18


def test_frontend_limits_single_cycle_instructions_to_one_per_cycle() -> None:
    result = run(build(*(work(unit % 3, 1) for unit in range(9))))
    assert result.cycles == 9
    assert result.frontend.busy == 9


def test_token_released_at_completion_starts_the_consumer_in_that_cycle() -> None:
    result = run(build(work(0, 10, release=B), work(1, 5, wait=B)))
    assert result.cycles == 10 + 5
    assert stalls(result, "pe") == {"data_wait": 10 - 1}  # dispatched in cycle 1
    assert result.units["pe"].idle == 1


def test_initial_tokens_are_taken_before_the_consumer_waits() -> None:
    """Two tokens let two of three start; the third waits for the release at 1 + 20."""
    rows = [work(0, 3, wait=A) for _ in range(3)]
    result = run(build(*rows[:2], work(1, 20, release=A), rows[2]))
    assert result.cycles == 2 + 20 + 3
    assert stalls(result, "dma") == {"dependency": 22 - 6}


def test_waiting_for_two_channels_is_charged_to_the_lowest_empty_one() -> None:
    channels = [TokenChannel("a", 0, "dependency"), TokenChannel("b", 0, "data_wait")]
    result = run(
        build(
            work(1, 1, wait=A | B),
            work(0, 10, release=B),  # cycles 1 to 11
            work(2, 4, release=A),  # cycles 2 to 6
            channels=channels,
        )
    )
    assert result.cycles == 12
    assert stalls(result, "pe") == {"dependency": 6, "data_wait": 5}


def test_sync_instruction_of_no_cycles_completes_at_once_and_passes_tokens_on() -> None:
    channels = [TokenChannel("a", 0, "sync"), TokenChannel("b", 0, "sync")]
    result = run(
        build(
            work(2, 4, wait=B),
            work(1, 0, wait=A, release=B),
            work(0, 10, release=A),  # cycles 2 to 12
            channels=channels,
        )
    )
    assert result.cycles == 12 + 4
    assert stalls(result, "store") == {"sync": 12}
    assert stalls(result, "pe") == {"sync": 11}


@pytest.mark.parametrize(("depth", "other_start"), [(1, 10), (2, 3), (3, 3)])
def test_full_queue_blocks_the_frontend_for_all_units(depth: int, other_start: int) -> None:
    """Depth 1 holds the second of three; the third enters when the first has ended at 10."""
    program = build(work(1, 10), work(1, 10), work(1, 10), work(0, 1), ops=1)
    program.instructions["op_id"][3] = 0
    result = run(program, depth=depth, trace=True)
    starts = {int(e["unit"]): int(e["start"]) for e in result.trace.events}
    dispatch = other_start if depth > 1 else other_start + 1
    assert starts[0] == dispatch
    assert result.frontend.stall["queue_full"] == dispatch - 3


def test_stalls_inside_an_instruction_come_before_busy_in_enum_order() -> None:
    inner = {"load": 3, "fill": 2, "hazard": 1}
    program = build(
        work(1, 10, stall=inner, op_id=1), work(0, 4, op_id=0), ops=2
    )  # the window of op 0 ends at 5, inside
    result = run(program)
    assert stalls(result, "pe") == inner
    first = {k: n for k, n in result.op_unit(0, "pe").stall.items() if n}
    assert first == {"hazard": 1, "fill": 2, "load": 2}
    assert result.op_unit(1, "pe").stall["load"] == 1
    assert result.op_unit(0, "pe").busy == 0
    assert result.op_unit(1, "pe").busy == 4


def test_load_takes_bytes_over_rate_plus_latency() -> None:
    result = run(build(load(100)), MemoryParameters(num=16, den=1, latency_cycles=40))
    assert result.cycles == 7 + 40
    assert result.units["dma"].busy == 7
    assert stalls(result, "dma") == {"dram": 40}


def test_latency_is_hidden_up_to_max_outstanding() -> None:
    """One at a time pays 6 + 40 each; enough in flight pay the latency once."""
    memory = MemoryParameters(num=16, den=1, latency_cycles=40)
    program = build(*(load(96) for _ in range(8)))
    assert run(program, memory, max_outstanding=1).cycles == 8 * 46
    assert run(program, memory, max_outstanding=8).cycles == 8 * 6 + 40


def test_requests_in_flight_reach_but_do_not_pass_the_bound() -> None:
    """The third submits when the first is done at 46, and its data are there at 46 + 46."""
    memory = MemoryParameters(num=16, den=1, latency_cycles=40)
    program = build(*(load(96) for _ in range(3)))
    assert run(program, memory, max_outstanding=2).cycles == 46 + 46


def test_unit_behind_other_units_data_is_stalled_by_dram() -> None:
    memory = MemoryParameters(num=10, den=1)
    result = run(build(load(100), work(2, 0, mem_bytes=100, is_write=1)), memory)
    assert result.cycles == 20
    assert stalls(result, "store") == {"dram": 9}
    assert result.units["store"].busy == 10
    assert result.units["store"].idle == 1
    assert (result.bytes_read.tolist(), result.bytes_written.tolist()) == ([100], [100])


def test_load_waiting_for_a_free_buffer_is_charged_to_the_channel() -> None:
    channels = [TokenChannel("free", 0, "dependency"), TokenChannel("full", 0, "data_wait")]
    program = build(load(10, wait=A), work(1, 9, release=A), channels=channels)
    result = run(program, MemoryParameters(num=10, den=1, latency_cycles=2))
    assert result.cycles == 10 + 1 + 2
    assert stalls(result, "dma") == {"dependency": 10, "dram": 2}


def test_marker_on_a_memory_unit_waits_for_its_requests() -> None:
    program = build(load(10), work(0, 0, release=B), work(1, 3, wait=B))
    assert run(program, MemoryParameters(num=1, den=1, latency_cycles=5)).cycles == 15 + 3


def test_ideal_memory_costs_nothing() -> None:
    result = run(build(load(1 << 20, release=B), work(1, 3, wait=B)))
    assert result.cycles == 1 + 3
    assert result.units["dma"].busy == 0


def test_double_buffering_overlaps_loads_and_compute() -> None:
    """Load 10 and compute 10 per tile: the first load, then tiles at 10 cycles each."""
    program = build(
        {"unit": LOOP, "count": 50},
        load(100, wait=A, release=B),
        work(1, 10, wait=B, release=A, macs=7),
        {"unit": END},
    )
    result = run(program, MemoryParameters(num=10, den=1))
    assert result.cycles == 10 + 50 * 10
    assert result.units["pe"].busy == 500
    assert result.bytes_read.tolist() == [5000]
    assert result.macs.tolist() == [350]
    assert result.instructions == 100


def test_windows_close_at_the_latest_completion_so_far() -> None:
    """Op 1 ends before op 0 does, op 2 has no instruction, op 3 comes last."""
    program = build(work(1, 20, op_id=0), work(0, 5, op_id=1), work(1, 4, op_id=3), ops=4)
    result = run(program)
    assert result.op_end.tolist() == [20, 20, 20, 24]
    assert result.op_cycles.tolist() == [20, 0, 0, 4]
    assert result.op_start.tolist() == [0, 1, 20, 20]
    assert result.op_unit(0, "dma").busy == 5


def test_prefetch_for_the_next_op_counts_in_the_window_in_which_it_happens() -> None:
    program = build(work(1, 20, op_id=0), load(50, op_id=1, release=B), work(1, 5, wait=B, op_id=1),
                    ops=2)  # fmt: skip
    result = run(program, MemoryParameters(num=10, den=1))
    assert result.op_unit(0, "dma").busy == 5
    assert result.op_unit(1, "dma").idle == 5
    assert result.bytes_read.tolist() == [0, 50]


def test_program_without_instructions_takes_no_time() -> None:
    result = run(build(ops=2))
    assert result.cycles == 0
    assert result.op_end.tolist() == [0, 0]


def test_loop_around_nothing_costs_nothing() -> None:
    rows = [{"unit": LOOP, "count": 10**15}, {"unit": LOOP, "count": 9}, {"unit": END}]
    assert run(build(*rows, {"unit": END}, work(1, 3))).cycles == 3


def test_deadlock_names_unit_op_and_channel() -> None:
    with pytest.raises(HwsimError) as error:
        run_program(build(work(0, 4), work(1, 5, wait=B)), IDEAL, 8)
    assert str(error.value) == (
        "unit pe: need a token in full for step of op op0, "
        "found deadlock in cycle 4: none will come"
    )


def test_unbalanced_tokens_deadlock_behind_a_full_queue() -> None:
    with pytest.raises(HwsimError, match="unit dma: need a token in free"):
        run_program(build(*(load(8, wait=A) for _ in range(9)), work(1, 1)), IDEAL, 2)


@pytest.mark.parametrize(
    ("row", "need"),
    [
        ({"unit": 3}, "a unit below 3"),
        ({"unit": 1, "op_id": 1}, "an op_id below 1"),
        ({"unit": 1, "wait": 4}, "channels below 2"),
        ({"unit": 1, "cycles": -1}, "at least 0"),
        ({"unit": 0, "cycles": 1, "mem_bytes": 1}, "either cycles or mem_bytes"),
        ({"unit": 1, "cycles": 2, "stall": {"load": 3}}, "within cycles"),
        ({"unit": LOOP, "count": 0}, "a loop count of at least 1"),
        ({"unit": END}, "loops nested"),
    ],
)
def test_inconsistent_instruction_is_refused(row: dict[str, Any], need: str) -> None:
    with pytest.raises(InputError, match=r"program\[0\]: need ") as error:
        run_program(build(row), IDEAL, 8)
    assert need in str(error.value)


def test_open_loop_and_bad_parameters_are_refused() -> None:
    with pytest.raises(InputError, match="program: need every loop closed"):
        run_program(build({"unit": LOOP, "count": 1}), IDEAL, 8)
    with pytest.raises(InputError, match="queue_depth: need at least 1"):
        run_program(build(), IDEAL, 0)
    with pytest.raises(InputError, match="max_outstanding: need at least 1"):
        run_program(build(), IDEAL, 1, max_outstanding=0)


def test_progress_reports_ops_and_an_exception_in_it_stops_the_run() -> None:
    seen = []
    run(build(work(1, 3), work(1, 3, op_id=1), ops=2), progress=lambda *ops: seen.append(ops))
    assert seen[-1] == (2, 2)

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_program(build(work(1, 3)), IDEAL, 8, progress=interrupt)


def test_two_runs_are_identical() -> None:
    program = build({"unit": LOOP, "count": 9}, load(33), work(1, 3), work(2, 4), {"unit": END})
    memory = MemoryParameters(num=7, den=3, latency_cycles=4)
    first, second = run(program, memory), run(program, memory)
    assert first.op_accounts.tolist() == second.op_accounts.tolist()
    assert first.units == second.units


def test_identities_check_can_fail() -> None:
    result = run(build(work(1, 7)))
    result.units["pe"].busy += 1
    with pytest.raises(AssertionError):
        check_identities(result)
