"""Random programs: the engine equals a cycle-by-cycle model, and skipping equals stepping."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from math import ceil
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from hwsim.components import engine as engine_module
from hwsim.components import engine_kernels
from hwsim.components.dram import MemoryParameters, port
from hwsim.components.engine import EngineRun, run_program
from hwsim.core.program import END, INSTRUCTION, LOOP, Program, TokenChannel
from hwsim.core.result import STALL_REASONS

UNITS = 4
OPS = 3
PAIRS = 3  # pair j: channel 2j counts free slots, channel 2j + 1 counts full ones


class CycleModel:
    """Step every unit in every cycle, with sets, lists and fractions: slow and independent."""

    def __init__(self, program: Program, memory: MemoryParameters, depth: int, flying: int) -> None:
        names = ("unit", "op_id", "wait", "release", "cycles", "mem_bytes", "stall")
        chunks = [chunk[list(names)].tolist() for chunk in program.chunks()]
        self.code = [dict(zip(names, row, strict=True)) for chunk in chunks for row in chunk]
        self.program, self.memory, self.depth, self.flying = program, memory, depth, flying
        self.tokens = [c.initial for c in program.channels]
        self.queues: list[list[int]] = [[] for _ in program.units]
        self.running: dict[int, tuple[int, int]] = {}  # unit: instruction, start
        self.requests: list[tuple[int, int, Fraction, Fraction, int]] = []
        self.free = Fraction(0)
        self.next = 0
        self.end = [-1] * len(self.code)
        self.charged: list[list[int]] = []  # per cycle and unit: account column

    def run(self) -> None:
        t = 0
        while min(self.end, default=0) < 0:
            self.settle(t)
            self.charged.append([self.charge(unit, t) for unit in range(UNITS)])
            t += 1
            assert t < 100_000

    def complete(self, index: int, t: int) -> None:
        self.end[index] = t
        for channel in range(len(self.tokens)):
            self.tokens[channel] += self.code[index]["release"] >> channel & 1

    def settle(self, t: int) -> None:
        for unit, (index, start) in sorted(self.running.items()):
            if start + self.code[index]["cycles"] == t:
                del self.running[unit]
                self.complete(index, t)
        may_dispatch, changed = True, True
        while changed:
            changed = False
            for request in [r for r in self.requests if r[4] <= t]:
                self.requests.remove(request)
                self.complete(request[1], t)
                changed = True
            for unit in range(UNITS):
                while self.can_start(unit):
                    self.start(unit, t)
                    changed = True
            if may_dispatch and self.next < len(self.code):
                unit = self.code[self.next]["unit"]
                if len(self.queues[unit]) < self.depth:
                    self.queues[unit].append(self.next)
                    self.next += 1
                    may_dispatch, changed = False, True

    def missing(self, index: int) -> list[int]:
        wait = self.code[index]["wait"]
        return [c for c in range(len(self.tokens)) if wait >> c & 1 and not self.tokens[c]]

    def can_start(self, unit: int) -> bool:
        if unit in self.running or not self.queues[unit]:
            return False
        index = self.queues[unit][0]
        flying = sum(r[0] == unit for r in self.requests)
        limit = self.flying if self.code[index]["mem_bytes"] > 0 else 1
        return flying < limit and not self.missing(index)

    def start(self, unit: int, t: int) -> None:
        index = self.queues[unit].pop(0)
        row = self.code[index]
        for channel in range(len(self.tokens)):
            self.tokens[channel] -= row["wait"] >> channel & 1
        size = row["mem_bytes"]
        if size > 0:
            begin = max(self.free, Fraction(t))
            stop = begin + Fraction(size * self.memory.den, self.memory.num)
            done = ceil(stop) + self.memory.latency_cycles
            if self.memory.is_ideal:
                begin, stop, done = Fraction(t), Fraction(t), t
            else:
                self.free = stop
            self.requests.append((unit, index, begin, stop, done))
        elif row["cycles"] == 0:
            self.complete(index, t)
        else:
            self.running[unit] = (index, t)

    def charge(self, unit: int, t: int) -> int:
        if unit in self.running:
            index, start = self.running[unit]
            for reason, last in enumerate(np.cumsum(self.code[index]["stall"]).tolist()):
                if t - start < last:
                    return 1 + reason
            return 0
        own = [r for r in self.requests if r[0] == unit]
        if any(r[2] < t + 1 and r[3] > t for r in own):
            return 0
        if own:
            return 1 + STALL_REASONS.index("dram")
        if self.queues[unit]:
            lowest = self.missing(self.queues[unit][0])[0]
            return 1 + STALL_REASONS.index(self.program.channels[lowest].reason)
        return 1 + len(STALL_REASONS)

    def op_end(self) -> list[int]:
        ends = [0] * OPS
        for row, end in zip(self.code, self.end, strict=True):
            ends[row["op_id"]] = max(ends[row["op_id"]], end)
        return np.maximum.accumulate(ends).tolist()

    def op_accounts(self) -> np.ndarray:
        accounts = np.zeros((OPS, UNITS, 2 + len(STALL_REASONS)), np.int64)
        windows = self.op_end()
        for op, (begin, end) in enumerate(zip([0, *windows], windows, strict=False)):
            for columns in self.charged[begin:end]:
                accounts[op, range(UNITS), columns] += 1
        return accounts


@st.composite
def programs(draw: st.DrawFn, max_count: int) -> Program:
    """Draw loops around producer-consumer pairs; each channel has one taker, so none deadlocks."""
    ends = [draw(st.permutations(range(UNITS)))[:2] for _ in range(PAIRS)]
    reasons = st.sampled_from(["dependency", "data_wait", "sync"])
    channels = []
    for pair in range(PAIRS):
        channels.append(TokenChannel(f"free{pair}", draw(st.integers(1, 3)), draw(reasons)))
        channels.append(TokenChannel(f"full{pair}", 0, draw(reasons)))
    rows: list[dict[str, Any]] = []
    _draw_body(draw, rows, ends, max_count, depth=0)
    op = 0
    instructions = np.zeros(len(rows), INSTRUCTION)
    for instruction, row in zip(instructions, rows, strict=True):
        op = min(op + draw(st.sampled_from([0, 0, 0, 0, 1])), OPS - 1)
        instruction["op_id"] = op
        for name, value in row.items():
            instruction[name] = value
    units = [f"u{i}" for i in range(UNITS)]
    names = [f"op{i}" for i in range(OPS)]
    return Program("test", units, ["x"], names, channels, instructions)


def _draw_body(draw: st.DrawFn, rows: list, ends: list, max_count: int, depth: int) -> None:
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["loop", "pair", "pair", "alone"] if depth < 3 else ["pair"]))
        if kind == "loop":
            limit = max_count if depth == 0 else 6
            rows.append({"unit": LOOP, "count": draw(st.integers(1, limit))})
            _draw_body(draw, rows, ends, max_count, depth + 1)
            rows.append({"unit": END})
        elif kind == "pair":
            pair = draw(st.integers(0, PAIRS - 1))
            free, full = 1 << 2 * pair, 2 << 2 * pair
            rows.append(_draw_work(draw, ends[pair][0]) | {"wait": free, "release": full})
            if draw(st.booleans()):
                rows.append(_draw_work(draw, draw(st.integers(0, UNITS - 1))))
            rows.append(_draw_work(draw, ends[pair][1]) | {"wait": full, "release": free})
        else:
            rows.append(_draw_work(draw, draw(st.integers(0, UNITS - 1))))


def _draw_work(draw: st.DrawFn, unit: int) -> dict[str, Any]:
    if draw(st.booleans()):
        return {"unit": unit, "mem_bytes": draw(st.integers(1, 300)), "is_write": unit % 2}
    cycles = draw(st.integers(0, 12))
    stall = np.zeros(len(STALL_REASONS), np.int64)
    for _ in range(draw(st.integers(0, 2))):
        lost = draw(st.integers(0, cycles - int(stall.sum())))
        stall[draw(st.integers(0, len(stall) - 1))] += lost
    return {"unit": unit, "cycles": cycles, "stall": stall, "macs": cycles}


memories = st.one_of(
    st.just(MemoryParameters(is_ideal=True)),
    st.builds(
        MemoryParameters,
        num=st.sampled_from([1, 16, 7, 97, 544, 99_991]),
        den=st.sampled_from([1, 2, 5, 13, 997]),
        latency_cycles=st.integers(0, 30),
    ),
)


def accounts_of(run: EngineRun) -> dict[str, Any]:
    """Return everything that must not depend on how the run was stepped."""
    fields = {k: v for k, v in vars(run).items() if k not in ("steps", "skipped_instructions")}
    fields.pop("trace")
    return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in fields.items()}


@given(programs(max_count=6), memories, st.integers(1, 4), st.integers(1, 4))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
def test_engine_equals_the_cycle_by_cycle_model(
    program: Program, memory: MemoryParameters, depth: int, flying: int
) -> None:
    moved = sum(int(chunk["mem_bytes"].sum()) for chunk in program.chunks())
    assume(len(program) < 400 and moved * memory.den < 2000 * memory.num)  # else slow to step
    model = CycleModel(program, memory, depth, flying)
    model.run()
    run = run_program(program, memory, depth, max_outstanding=flying)
    assert run.op_end.tolist() == model.op_end()
    assert run.cycles == max(model.end)
    assert run.op_accounts.tolist() == model.op_accounts().tolist()


@given(programs(max_count=3000), memories, st.integers(1, 4), st.integers(1, 4))
@settings(max_examples=150, deadline=None)
def test_fast_forward_equals_plain_stepping(
    program: Program, memory: MemoryParameters, depth: int, flying: int
) -> None:
    plain = run_program(program, memory, depth, max_outstanding=flying, fast_forward=False)
    quick = run_program(program, memory, depth, max_outstanding=flying)
    assert accounts_of(quick) == accounts_of(plain)
    assert plain.skipped_instructions == 0
    assert quick.steps <= plain.steps


def steady(count: int, sizes: tuple[int, int] = (1000, 300)) -> Program:
    """Return a loop of load, compute, store with enough buffers to hide the latency."""
    rows = np.zeros(5, INSTRUCTION)
    rows["unit"] = [LOOP, 0, 1, 2, END]
    rows["count"][0] = count
    rows["mem_bytes"][[1, 3]] = sizes
    rows["is_write"][3] = 1
    rows["cycles"][2] = 9
    rows["wait"] = [0, 1, 2, 4, 0]
    rows["release"] = [0, 2, 1 | 4, 0, 0]
    channels = [
        TokenChannel("free", 16, "dependency"),
        TokenChannel("full", 0, "data_wait"),
        TokenChannel("out", 0, "data_wait"),
    ]
    units = [f"u{i}" for i in range(UNITS)]
    return Program("test", units, ["x"], ["op"], channels, rows)


def test_long_loop_costs_few_steps_and_its_time_is_the_closed_form() -> None:
    """A saturated memory moves all bytes at its rate; only the first fill and drain add."""
    memory = MemoryParameters(num=544, den=5, latency_cycles=40)
    count = 10**9
    run = run_program(steady(count), memory, 8, max_outstanding=16)
    transfer = ceil(Fraction(1300 * 5 * count, 544))
    assert transfer <= run.cycles <= transfer + 2 * 40 + 9 + 3
    assert run.steps < 10_000
    assert run.instructions == 3 * count
    assert run.bytes_read.tolist() == [1000 * count]


def test_period_of_the_fraction_is_found() -> None:
    """6500 / 544 cycles per iteration: the fraction recurs after 136 iterations."""
    memory = MemoryParameters(num=544, den=5)
    quick = run_program(steady(5000), memory, 8)
    plain = run_program(steady(5000), memory, 8, fast_forward=False)
    assert quick.skipped_instructions > 3 * 4000
    assert quick.skipped_instructions % (3 * 136) == 0
    assert accounts_of(quick) == accounts_of(plain)


def test_more_bandwidth_never_costs_cycles_in_a_steady_loop() -> None:
    cycles = [
        run_program(steady(200), MemoryParameters(num=num, den=7, latency_cycles=9), 8).cycles
        for num in (50, 99, 300, 1000, 9999)
    ]
    assert cycles == sorted(cycles, reverse=True)


def test_comparison_of_runs_can_fail() -> None:
    memory = MemoryParameters(num=544, den=5)
    a = run_program(steady(100), memory, 8)
    b = run_program(steady(100, sizes=(1000, 301)), memory, 8)
    assert accounts_of(a) != accounts_of(b)


def test_bounded_calls_give_the_same_run(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = MemoryParameters(num=7, den=3, latency_cycles=4)
    whole = run_program(steady(50), memory, 4, fast_forward=False)
    monkeypatch.setattr(engine_module, "STEPS_PER_CALL", 7)
    calls: list[int] = []
    parts = run_program(
        steady(50), memory, 4, fast_forward=False, progress=lambda done, _: calls.append(done)
    )
    assert len(calls) > 10
    assert accounts_of(parts) == accounts_of(whole)


def test_interpreted_kernels_give_the_same_run(interpret: Callable[..., None]) -> None:
    memory = MemoryParameters(num=104, den=5, latency_cycles=4)  # recurs every 2 iterations
    program = steady(40)
    program.instructions["stall"][2, 3] = 4
    compiled = run_program(program, memory, 4)
    compiled_trace = run_program(program, memory, 4, trace=True, max_events=50)
    interpret(engine_kernels, port)
    interpreted = run_program(program, memory, 4)
    trace = run_program(program, memory, 4, trace=True, max_events=50)
    assert vars(interpreted).keys() == vars(compiled).keys()
    assert accounts_of(interpreted) == accounts_of(compiled)
    assert interpreted.skipped_instructions == compiled.skipped_instructions > 0
    assert trace.trace.events.tolist() == compiled_trace.trace.events.tolist()


def test_no_kernel_is_compiled_twice() -> None:
    """Each specialisation adds 0.1 to 1 s to the first run, for instance by a literal argument."""
    run_program(steady(40), MemoryParameters(), 4)
    run_program(steady(40), MemoryParameters(), 4, trace=True)
    kernels = [k for k in vars(engine_kernels).values() if hasattr(k, "signatures")]
    signatures = engine_kernels.run_steps.signatures
    at = engine_kernels.Engine._fields.index("dram")
    memories = len({str(engine.types[at]) for engine, _ in signatures})
    assert len(signatures) == memories <= 2  # without DRAM's commands and, if asked before, with
    assert [k.__name__ for k in kernels if len(k.signatures) > memories] == []


def test_max_outstanding_of_a_copy_of_the_parameters_is_used() -> None:
    memory = MemoryParameters(num=97, den=5, latency_cycles=50)
    same = run_program(steady(40), replace(memory), 4, max_outstanding=1)
    assert same.cycles > run_program(steady(40), memory, 4, max_outstanding=4).cycles
