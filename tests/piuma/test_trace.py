"""Check what a trace shows: whole tracks, prevailing states, waits where they were spent."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from hwsim.components.trace_file import PerfettoFile
from hwsim.core.errors import HwsimError
from hwsim.core.machine import make_machine
from hwsim.core.result import STALL_REASONS, Result
from hwsim.piuma.isa import ZERO, Assembler
from hwsim.piuma.play import play
from hwsim.piuma.spec import PiumaSpec
from hwsim.piuma.state import Launch, chip_state
from hwsim.piuma.trace import INTERVAL_CYCLES, prevailing_states
from mappers.greedy import map_graph
from models.sparse.build import product_graph
from models.sparse.generators import generate

DRAM = 1 + STALL_REASONS.index("dram")
IDLE = 1 + len(STALL_REASONS)


def traced(source: str = "stencil9:12", **options: object) -> Result:
    machine = make_machine("piuma", settings=("mtp.pipelines=1",))
    graph = product_graph(source, "smash-v3", generate(source))
    program = machine.lower(graph, map_graph(graph, machine))
    return machine.run(program, **{"trace": True, **options})


def charge(*intervals: dict[int, int]) -> np.ndarray:
    """Return the charges of one unit, a table of column to cycles per interval."""
    charged = np.zeros((len(intervals), 1, IDLE), np.int64)
    for interval, columns in enumerate(intervals):
        for column, cycles in columns.items():
            charged[interval, 0, column] = cycles
    return charged


@pytest.mark.parametrize(
    ("intervals", "states"),
    [
        ([{0: 6, DRAM: 4}], [0]),
        ([{0: 4, DRAM: 6}], [DRAM]),
        ([{0: 4}], [IDLE]),  # 6 cycles charged to nothing
        ([{0: 9}, {}, {}], [0, IDLE, IDLE]),
        # A wait of 25 cycles, charged when it ends, fills the intervals before.
        ([{0: 9}, {}, {}, {DRAM: 25, 0: 3}], [0, DRAM, DRAM, DRAM]),
        ([{}, {DRAM: 12, 0: 6}, {0: 10}], [DRAM, DRAM, 0]),
    ],
)
def test_an_interval_has_the_state_of_most_of_its_cycles(
    intervals: list[dict[int, int]], states: list[int]
) -> None:
    lengths = np.full(len(intervals), 10)
    assert prevailing_states(charge(*intervals), lengths)[:, 0].tolist() == states


def test_tracks_are_whole_and_change_state_at_every_border() -> None:
    result = traced()
    trace = result.trace
    assert trace is not None
    assert result.cycles > 3 * INTERVAL_CYCLES
    assert trace.units == ["b0.mtp0", "b0.stp0", "b0.stp1", "b0.dma", "op"]
    for unit in range(len(trace.units)):
        events = trace.events[trace.events["unit"] == unit]
        assert events["start"][0] == 0
        assert events["end"][-1] == result.cycles
        for before, after in pairwise(events):
            assert before["end"] == after["start"]
            assert before["opcode"] != after["opcode"]
            assert after["start"] % INTERVAL_CYCLES == 0


def test_counters_move_every_byte_and_show_waiting_threads() -> None:
    result = traced()
    assert result.trace is not None
    counters = result.trace.counters
    for name, direction in (("read", "read"), ("written", "write")):
        times, values = counters[f"memory {name} (bytes/cycle)"]
        moved = (values[:-1] * np.diff(times)).sum()
        assert moved == pytest.approx(result.stats.bytes["dram"][direction], rel=1e-9)
    waiting = counters["b0.mtp0 requests in flight"][1]
    assert 1 <= waiting.max() <= 16  # threads of a pipeline


def test_tracing_changes_no_cycle() -> None:
    assert traced().stats == traced(trace=False).stats
    assert traced(trace=False).trace is None
    assert traced(detail="estimate").trace is None


def test_a_sink_takes_the_same_slices(tmp_path: Path) -> None:
    path = tmp_path / "run.pftrace"
    with PerfettoFile(path, 10**9) as sink:
        assert traced(trace=sink).trace is None
    kept = traced().trace
    assert kept is not None
    assert sink.events == len(kept.events)
    assert path.stat().st_size > 0


@pytest.mark.parametrize(("is_plain", "chunk_cycles"), [(False, 100), (True, 1 << 20)])
def test_threads_that_wait_for_each_other_are_found_in_short_chunks_too(
    is_plain: bool, chunk_cycles: int
) -> None:
    a = Assembler()
    a.emit("qpop", a.registers(1)[0], ZERO)
    a.emit("halt")
    chip = chip_state(PiumaSpec(), a.array(), np.zeros(64, np.int64), Launch(0))
    with pytest.raises(HwsimError, match="can go on"):
        play(chip, is_plain=is_plain, chunk_cycles=chunk_cycles)
