"""Run a program on in-order units fed by queues: the queue-driven kind of execution.

Cycle contract
--------------
- The frontend walks the program, at most one instruction per cycle, the first in cycle 0, into
  the in-order queue of the instruction's unit. It blocks while that queue holds ``queue_depth``
  instructions. Loops cost it nothing (assumed: counters beside the fetch).
- A unit starts its head instruction as soon as it is free and every channel that the instruction
  waits for holds a token. The tokens are taken and the queue slot is left at the start; released
  tokens are there at completion.
- A compute instruction occupies its unit for ``cycles``; one of 0 cycles completes at once.
- An instruction with ``mem_bytes`` submits a request to the memory at its start and completes
  with it. A unit has up to ``max_outstanding`` requests in flight. Anything else on the same unit
  waits until those are done, so that a unit's instructions complete in order.

Accounts
--------
Each unit's cycles are busy, stalled by one reason, or idle, and add up to the makespan:

- running: the instruction's own ``stall`` vector first, in the order of STALL_REASONS, then busy;
- requests in flight: busy in cycles in which the unit's data moves, else stalled by ``dram``
  (behind other units' data or in latency), whatever its head instruction waits for;
- else head instruction waiting: the reason of the lowest-numbered empty channel it waits for;
- else, its queue being empty: idle.

The window of op i ends at the latest completion of any instruction of ops 0..i and begins where
the window of op i - 1 ended; a later op's prefetch counts in the window in which it happens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwsim.components import engine_kernels as kernels
from hwsim.components.dram.controller import Counts, count_events
from hwsim.components.dram.layout import Dram
from hwsim.components.dram.parameters import DramParameters
from hwsim.components.dram.simple import MemoryParameters, memory_state
from hwsim.components.engine_trace import MAX_TRACE_EVENTS, TraceBuilder
from hwsim.core.errors import HwsimError, InputError
from hwsim.core.program import END, LOOP, MAX_LOOP_DEPTH, Program
from hwsim.core.result import STALL_REASONS, Trace, UnitStats
from hwsim.core.trace import TraceSink

__all__ = ["EngineRun", "Progress", "run_program"]

STEPS_PER_CALL = 1_000_000
"""Time steps between two looks at Ctrl-C and two progress reports, about 0.2 s."""

DRAM_STEPS_PER_CALL = 64
"""The same with DRAM, where one step may serve some thousand bursts."""

CHUNK_EVENTS = 1 << 16
"""Events that are handed to a sink at once."""

CHUNK_SAMPLES = 1 << 12
FIRST_SAMPLE_CYCLES = 1024
"""Cycles between two samples of the counters, before they are taken more rarely."""

Progress = Callable[[int, int], None]
"""Called with the number of completed ops and of all ops."""

# Columns of the tally.
_COMPLETIONS, _READ_BYTES, _WRITE_BYTES, _MACS = range(4)
_QUEUE_FULL = STALL_REASONS.index("queue_full")


@dataclass
class EngineRun:
    """What a run took. Arrays are indexed by op id and unit index.

    Attributes
    ----------
    cycles : int
        Makespan: the cycle in which the last instruction completed.
    units : dict of str to UnitStats
        Account of each unit over the makespan.
    frontend : UnitStats
        Busy while dispatching, ``queue_full`` while blocked, idle after the last dispatch.
    op_start, op_end : int64[op]
        First start of an instruction that takes time (the window's end if it has none); end of the
        window.
    op_accounts : int64[op, unit, 2 + reasons]
        Busy, stalled by each of STALL_REASONS, idle: inside the op's window, adding up to it.
    bytes_read, bytes_written, macs : int64[op]
        Off-chip traffic and multiply-accumulate slots.
    instructions : int
        Dynamic instructions executed, skipped ones included.
    skipped_instructions : int
        Those that fast-forward did not have to step.
    steps : int
        Cycles in which something happened and that were stepped.
    trace : Trace or None
        Events, if asked for.
    dram : Counts or None
        Commands and row hits of a DRAM memory.
    """

    cycles: int
    units: dict[str, UnitStats]
    frontend: UnitStats
    op_start: NDArray[np.int64]
    op_end: NDArray[np.int64]
    op_accounts: NDArray[np.int64]
    bytes_read: NDArray[np.int64]
    bytes_written: NDArray[np.int64]
    macs: NDArray[np.int64]
    instructions: int
    skipped_instructions: int
    steps: int
    trace: Trace | None = None
    dram: Counts | None = None

    @property
    def op_cycles(self) -> NDArray[np.int64]:
        """Return the length of each op's window; they add up to ``cycles``."""
        return np.diff(self.op_end, prepend=0)

    def op_unit(self, op: int, unit: str) -> UnitStats:
        """Return the account of ``unit`` inside the window of ``op``."""
        return UnitStats.from_account(self.op_accounts[op, list(self.units).index(unit)])


def run_program(
    program: Program,
    memory: MemoryParameters | DramParameters,
    queue_depth: int,
    *,
    max_outstanding: int = 4,
    fast_forward: bool = True,
    trace: bool | TraceSink = False,
    max_events: int = MAX_TRACE_EVENTS,
    progress: Progress | None = None,
) -> EngineRun:
    """Run ``program`` to completion under the cycle contract of this module.

    Parameters
    ----------
    program : Program
        Instructions, units, channels and ops.
    memory : MemoryParameters or DramParameters
        The off-chip memory shared by all units: one FIFO server, or DRAM command by command.
    queue_depth : int
        Instructions that wait in front of each unit.
    max_outstanding : int
        Memory requests in flight per unit.
    fast_forward : bool
        Whether to skip recurring loop periods; the result is the same. Off with ``trace``, and
        with DRAM, whose addresses do not recur.
    trace : bool or TraceSink
        Whether to record events; a sink is handed them while the run streams, in bounded memory.
    max_events : int
        Events before a trace without a sink is truncated.
    progress : callable, optional
        Called now and then with completed and total ops.

    Raises
    ------
    InputError
        If the program or a parameter is inconsistent.
    HwsimError
        If the program deadlocks; the message names unit, op and channel.
    KeyboardInterrupt
        At the latest about 0.2 s after Ctrl-C.
    """
    for name, value in (("queue_depth", queue_depth), ("max_outstanding", max_outstanding)):
        if value < 1:
            raise InputError(name, "at least 1", str(value))
    code = _pack_code(program)
    tally = _tally(code, len(program.op_names))
    may_skip = fast_forward and not trace and isinstance(memory, MemoryParameters)
    fixed = [max_outstanding, may_skip, bool(trace), CHUNK_EVENTS]
    engine = _new_engine(program, code, tally, memory, queue_depth, fixed)
    sink = TraceBuilder(program, max_events) if trace is True else trace or None
    _run(program, engine, progress, sink)
    run = _collect(program, engine, tally)
    if isinstance(sink, TraceBuilder):
        run.trace = sink.build(run.cycles)
    return run


def _pack_code(program: Program) -> NDArray[np.int64]:
    """Return the instructions as int64[n, LOST_TO + reasons]."""
    rows = program.instructions
    _check(program)
    code = np.zeros((len(rows), kernels.LOST_TO + kernels.REASONS), np.int64)
    names = ("unit", "cycles", "mem_bytes", "wait", "release", "op_id", "count")
    for column, name in enumerate(names):
        code[:, column] = rows[name]
    code[:, kernels.LOST_TO :] = rows["stall"]
    code[:, kernels.LOST] = code[:, kernels.LOST_TO :].sum(axis=1)
    code[:, kernels.IS_WRITE] = rows["is_write"]
    code[:, kernels.MACS] = rows["macs"]
    _close_loops(code)
    return code


def _close_loops(code: NDArray[np.int64]) -> None:
    """Copy each loop's count to its END; a loop around no instruction runs once."""
    heads: list[int] = []
    instructions = (code[:, kernels.UNIT] >= 0).cumsum()
    for position in np.flatnonzero(code[:, kernels.UNIT] < 0).tolist():
        if code[position, kernels.UNIT] == LOOP:
            heads.append(position)
            continue
        head = heads.pop()
        if instructions[position] == instructions[head]:
            code[head, kernels.COUNT] = 1
        code[position, kernels.COUNT] = code[head, kernels.COUNT]


def _tally(code: NDArray[np.int64], ops: int) -> NDArray[np.int64]:
    """Return per op, over all repetitions: completions, bytes read, bytes written, macs."""
    repeats = np.ones(len(code), np.int64)
    factor, begin = 1, 0
    for position in np.flatnonzero(code[:, kernels.UNIT] < 0).tolist():
        repeats[begin:position] = factor
        begin = position + 1
        count = int(code[position, kernels.COUNT])
        factor = factor * count if code[position, kernels.UNIT] == LOOP else factor // count
    is_plain = code[:, kernels.UNIT] >= 0
    plain, repeats = code[is_plain], repeats[is_plain]
    is_write = plain[:, kernels.IS_WRITE] != 0
    moved = repeats * plain[:, kernels.BYTES]
    tally = np.zeros((ops, 4), np.int64)
    added = (repeats, moved * ~is_write, moved * is_write, repeats * plain[:, kernels.MACS])
    for column, values in enumerate(added):
        np.add.at(tally[:, column], plain[:, kernels.OP], values)
    return tally


def _check(program: Program) -> None:
    """Raise :class:`InputError` at the first inconsistent instruction (whole columns at once)."""
    rows = program.instructions
    unit = rows["unit"]
    depth = np.cumsum(np.where(unit == LOOP, 1, np.where(unit == END, -1, 0)))
    channels = (1 << len(program.channels)) - 1
    is_plain = unit >= 0
    own_stall = rows["stall"]
    size = rows["mem_bytes"]
    bad = {
        f"a unit below {len(program.units)}, LOOP or END": (unit >= len(program.units))
        | (unit < END),
        f"loops nested 0 to {MAX_LOOP_DEPTH} deep": (depth < 0) | (depth > MAX_LOOP_DEPTH),
        "a loop count of at least 1": (unit == LOOP) & (rows["count"] < 1),
        f"an op_id below {len(program.op_names)}": is_plain
        & ((rows["op_id"] < 0) | (rows["op_id"] >= len(program.op_names))),
        f"channels below {len(program.channels)}": (rows["wait"] & ~channels != 0)
        | (rows["release"] & ~channels != 0),
        "cycles and mem_bytes of at least 0": (rows["cycles"] < 0) | (size < 0),
        "mem_bytes below 2^31": size >= 1 << 31,
        "either cycles or mem_bytes": (rows["cycles"] > 0) & (size > 0),
        "stalls of at least 0 within cycles": (own_stall < 0).any(axis=1)
        | (is_plain & (own_stall.sum(axis=1) > rows["cycles"])),
    }
    for need, mask in bad.items():
        if mask.any():
            index = int(mask.argmax())
            raise InputError(f"program[{index}]", need, _describe(program, index))
    if len(depth) and depth[-1] != 0:
        raise InputError("program", "every loop closed", f"{depth[-1]} open")


def _describe(program: Program, index: int) -> str:
    row = program.instructions[index]
    names = ("unit", "op_id", "count", "wait", "release", "cycles", "mem_bytes")
    return ", ".join(f"{name}={int(row[name])}" for name in names)


def _new_engine(
    program: Program,
    code: NDArray[np.int64],
    tally: NDArray[np.int64],
    memory: MemoryParameters | DramParameters,
    queue_depth: int,
    fixed: list[int],
) -> kernels.Engine:
    """Return the state before cycle 0."""
    n_units = len(program.units)
    tokens = [channel.initial for channel in program.channels]
    now = np.zeros(kernels.MAX_OUTSTANDING + len(fixed), np.int64)
    now[kernels.MAX_OUTSTANDING :] = fixed
    now[kernels.AVAILABLE] = sum(1 << i for i, count in enumerate(tokens) if count > 0)
    units = np.zeros((n_units, kernels.QUEUE + queue_depth), np.int64)
    units[:, kernels.STATUS] = kernels.IDLE
    units[:, kernels.HEAD] = kernels.QUEUE
    channels = np.zeros((len(tokens), 2), np.int64)
    channels[:, kernels.TOKENS] = tokens
    channels[:, kernels.REASON] = [STALL_REASONS.index(c.reason) for c in program.channels]
    accounts = n_units * kernels.ACCOUNTS
    ops = np.zeros((len(program.op_names), kernels.OP_ACCOUNT + accounts), np.int64)
    ops[:, kernels.REMAINING] = tally[:, _COMPLETIONS]
    ops[:, kernels.OP_START] = -1
    in_flight = n_units * int(now[kernels.MAX_OUTSTANDING])
    capacity = max(in_flight, 1)
    simple, dram = MemoryParameters(), None
    if isinstance(memory, DramParameters):
        dram = memory.state(n_units, capacity)
    else:
        simple = memory
    longest = accounts + 1 + n_units * (4 + queue_depth) + len(tokens) + 3 + 5 * in_flight
    return kernels.Engine(
        code=code,
        units=units,
        channels=channels,
        ops=ops,
        loops=np.zeros((MAX_LOOP_DEPTH + 1, kernels.SAVED_STATE + longest), np.int64),
        memory=memory_state(simple, capacity),
        dram=None if dram is None else dram.words,
        now=now,
        **_records(now, n_units, queue_depth, len(tokens)),
    )


def _records(
    now: NDArray[np.int64], units: int, queue_depth: int, channels: int
) -> dict[str, NDArray[np.int64]]:
    """Return what a traced run writes to: next to nothing if it is not traced."""
    is_traced = bool(now[kernels.HAS_TRACE])
    in_flight = units * int(now[kernels.MAX_OUTSTANDING])
    # All that may start in one cycle, requests that are done at once counted twice.
    in_one_cycle = 2 * (units * queue_depth + 1) + in_flight + units
    columns = kernels.SAMPLE_LEVELS + 2 + 2 * units + channels
    probe = np.zeros(7, np.int64)
    probe[kernels.SAMPLE_CYCLES] = FIRST_SAMPLE_CYCLES
    return {
        "trace": np.zeros(((CHUNK_EVENTS + in_one_cycle) * is_traced, 4), np.int64),
        "lanes": np.zeros((units, in_flight // max(units, 1)), np.int64),
        "probe": probe,
        "samples": np.zeros((CHUNK_SAMPLES * is_traced, columns), np.int64),
    }


def _run(
    program: Program,
    engine: kernels.Engine,
    progress: Progress | None,
    sink: TraceSink | None,
) -> None:
    """Step in bounded calls until all is done; hand what was recorded to the sink."""
    total = len(program.op_names)
    steps = STEPS_PER_CALL if engine.dram is None else DRAM_STEPS_PER_CALL
    if sink is not None:
        sink.begin(program, engine.lanes.shape[1])
    while True:
        status = kernels.run_steps(engine, steps)
        if progress is not None:
            progress(int(engine.now[kernels.DONE_OPS]), total)
        if sink is not None and (status != kernels.CONTINUE or _is_nearly_full(engine)):
            events, samples = engine.now[[kernels.EVENTS, kernels.SAMPLES]].tolist()
            sink.take(engine.trace[:events], engine.samples[:samples])
            engine.now[[kernels.EVENTS, kernels.SAMPLES]] = 0
        if status == kernels.FINISHED:
            return
        if status == kernels.DEADLOCK:
            raise _deadlock(program, engine)


def _is_nearly_full(engine: kernels.Engine) -> bool:
    """Return whether the engine may have stopped for its records to be emptied."""
    now = engine.now
    return bool(now[kernels.EVENTS] >= CHUNK_EVENTS // 2 or now[kernels.SAMPLES] > 0)


def _deadlock(program: Program, engine: kernels.Engine) -> HwsimError:
    """Return the error for the first unit whose head instruction can never start."""
    cycle = int(engine.now[kernels.NOW])
    for index, unit in enumerate(program.units):
        if engine.units[index, kernels.LENGTH] == 0:
            continue
        row = engine.units[index, engine.units[index, kernels.HEAD]]
        missing = engine.code[row, kernels.WAIT] & ~engine.now[kernels.AVAILABLE]
        names = [c.name for i, c in enumerate(program.channels) if missing >> i & 1]
        op = program.op_names[int(engine.code[row, kernels.OP])]
        opcode = program.opcodes[int(program.instructions[row]["opcode"])]
        need = f"a token in {', '.join(names)} for {opcode} of op {op}"
        return HwsimError(f"unit {unit}", need, f"deadlock in cycle {cycle}: none will come")
    raise AssertionError("a deadlock without a waiting unit")  # the frontend blocks on full queues


def _collect(program: Program, engine: kernels.Engine, tally: NDArray[np.int64]) -> EngineRun:
    """Return the finished run's accounts."""
    op_start, op_end = engine.ops[:, kernels.OP_START], engine.ops[:, kernels.OP_END].copy()
    op_accounts = engine.ops[:, kernels.OP_ACCOUNT :].copy()
    cycles = int(op_end[-1]) if len(op_end) else 0
    instructions = int(tally[:, _COMPLETIONS].sum())
    last_dispatch = int(engine.now[kernels.NEXT_DISPATCH])
    frontend = np.zeros(kernels.ACCOUNTS, np.int64)
    frontend[0] = min(instructions, cycles)
    frontend[1 + _QUEUE_FULL] = min(last_dispatch, cycles) - frontend[0]
    frontend[-1] = cycles - frontend.sum()
    return EngineRun(
        cycles=cycles,
        units={
            name: UnitStats.from_account(row[kernels.WINDOW : kernels.QUEUE])
            for name, row in zip(program.units, engine.units, strict=True)
        },
        frontend=UnitStats.from_account(frontend),
        op_start=np.where(op_start < 0, op_end, op_start),
        op_end=op_end,
        op_accounts=op_accounts.reshape(len(op_end), len(program.units), kernels.ACCOUNTS),
        bytes_read=tally[:, _READ_BYTES].copy(),
        bytes_written=tally[:, _WRITE_BYTES].copy(),
        macs=tally[:, _MACS].copy(),
        instructions=instructions,
        skipped_instructions=int(engine.now[kernels.SKIPPED]),
        steps=int(engine.now[kernels.STEPS]),
        dram=None if engine.dram is None else count_events(Dram(engine.dram)),
    )
