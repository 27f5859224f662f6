"""Hand the events of a run to a trace: every instruction, and a track with the layers' names.

Equal layers share their code, so an instruction is named after its layer's kind and extents; which
op it belongs to is told by the track of layers above it. Steps of a request follow each other.

Counters are sampled every SAMPLE_CYCLES of a layer: bytes that loads and stores have moved, evenly
over their time; tokens between units (filled and free buffers); loads and stores at work.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from hwsim.components.engine_trace import TraceBuilder
from hwsim.core.program import INSTRUCTION, Program, TokenChannel
from hwsim.core.result import Trace
from hwsim.core.trace import TraceSink
from hwsim.core.units import ceil_div
from hwsim.flightllm.body import pieces
from hwsim.flightllm.isa import LD, MISC, MISC_OPS, ST, SYS, UNITS
from hwsim.flightllm.lower import FlightProgram, Run
from hwsim.flightllm.plan import Layer, phase_of
from hwsim.flightllm.timing import BodyTimes, play_times

__all__ = ["record_trace", "write_events"]

_OPCODES = [unit.upper() for unit in UNITS] + [op.upper() for op in MISC_OPS] + ["LAYER"]
_LAYER_UNIT = len(UNITS)
SAMPLE_CYCLES = 1024
_BURSTS = 2
"""Columns of a sample that stay 0: bursts queued in DRAM."""
_BUSY_AT = 5 + _BURSTS + _LAYER_UNIT + 1
_TOKENS_AT = _BUSY_AT + _LAYER_UNIT + 1
_COLUMNS = _TOKENS_AT + len(UNITS) ** 2


def record_trace(program: FlightProgram, speed: Fraction, max_events: int) -> Trace:
    """Return the first ``max_events`` events of ``program``."""
    table = _table(program)
    builder = TraceBuilder(table, max_events)
    builder.begin(table, 1)
    end = _play(program, table, speed, builder, max_events)
    return builder.build(end)


def write_events(program: FlightProgram, speed: Fraction, sink: TraceSink) -> None:
    """Hand all events of ``program`` to ``sink``."""
    table = _table(program)
    sink.begin(table, 1)
    _play(program, table, speed, sink, None)


def _play(
    program: FlightProgram, table: Program, speed: Fraction, sink: TraceSink, max_events: int | None
) -> int:
    """Hand over events layer by layer until there are more than enough; return the last cycle."""
    times = [play_times(body) for body in program.bodies]
    first = np.cumsum([0, *(len(body.code) for body in program.bodies)])
    sampled: dict[int, NDArray[np.int64]] = {}
    now, taken, end = Fraction(0), 0, 0
    for index, run in _in_time(program):
        body = run.body
        events = _events(times[body], now, speed)
        if body not in sampled:
            alone = _events(times[body], Fraction(0), speed)
            code = table.instructions[first[body] : first[body + 1]]
            sampled[body] = _samples(alone, code, int(times[body].cycles / speed))
        events[:, 1] += first[body]
        now += times[body].cycles / speed
        begin, end = end, ceil_div(now.numerator, now.denominator)
        whole = np.array([[begin, int(first[-1]) + index, end, 0]], np.int64)
        events = np.concatenate([whole, events])
        samples = sampled[body].copy()
        samples[:, [0, 1, 4]] += begin
        samples[-1:, 1] = end
        sink.take(events[np.argsort(events[:, 0], kind="stable")], samples)
        taken += len(events)
        if max_events is not None and taken > max_events:
            break
    return end


def _samples(events: NDArray[np.int64], code: NDArray[np.void], cycles: int) -> NDArray[np.int64]:
    """Return what a layer's counters are from its begin on, as :class:`TraceSink` takes them.

    ``events`` are those of :func:`_events`, ``code`` the rows of the layer's instructions. A layer
    of less than a cycle has no sample.
    """
    edges = np.append(np.arange(0, cycles, SAMPLE_CYCLES), cycles)
    samples = np.zeros((len(edges) - 1, _COLUMNS), np.int64)
    start, end, rows = events[:, 0], events[:, 2], code[events[:, 1]]
    lasting = np.maximum(end - start, 1)
    samples[:, 0], samples[:, 1], samples[:, 4] = edges[:-1], edges[1:], edges[:-1]
    for unit, column in ((LD, 2), (ST, 3)):
        mine = rows["unit"] == unit
        done = (edges[:, None] - start[mine]) / lasting[mine]
        # All has moved at the last edge, whatever was cut to whole cycles.
        done[-1] = 1
        moved = (rows["mem_bytes"][mine] * done.clip(0, 1)).sum(axis=1).astype(np.int64)
        samples[:, column] = np.diff(moved)
        is_at_work = (start[mine] <= edges[:-1, None]) & (edges[:-1, None] < end[mine])
        samples[:, _BUSY_AT + unit] = is_at_work.sum(axis=1)
    for channel in range(len(UNITS) ** 2):
        given = np.sort(end[rows["release"] >> channel & 1 == 1])
        taken = np.sort(start[rows["wait"] >> channel & 1 == 1])
        held = [np.searchsorted(times, edges[:-1], "right") for times in (given, taken)]
        samples[:, _TOKENS_AT + channel] = np.maximum(held[0] - held[1], 0)
    return samples


def _in_time(program: FlightProgram) -> Iterator[tuple[int, Run]]:
    """Yield the layers with their numbers as they run: all layers of a step, then the next step."""
    numbered = enumerate(program.runs)
    for _, group in groupby(numbered, key=lambda pair: phase_of(pair[1].op)):
        phase = list(group)
        for _ in range(phase[0][1].steps):
            yield from phase


def _events(times: BodyTimes, now: Fraction, speed: Fraction) -> NDArray[np.int64]:
    """Return start, index, end and lane of a layer's instructions, in order of start, from now."""
    unit = times.per_cycle * speed.numerator
    whole = now.numerator // now.denominator
    late = int((now - whole) * unit)

    def cycle(ticks: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.asarray(whole + (late + ticks * speed.denominator) // unit, np.int64)

    order = np.argsort(times.start, kind="stable")
    start, end = times.start[order], (times.start + times.ticks)[order]
    return np.stack([cycle(start), order, cycle(end), np.zeros_like(order)], axis=1)


def _table(program: FlightProgram) -> Program:
    """Return ``program`` as a trace wants it: its different instructions, then a row per layer."""
    names: list[str] = []
    parts = []
    layer_of = {run.body: run.layer for run in reversed(program.runs)}
    for number, body in enumerate(program.bodies):
        rows = np.zeros(len(body.code), INSTRUCTION)
        code = body.code
        unit = code["unit"].astype(np.int64)
        rows["unit"] = unit
        rows["opcode"] = np.where(unit == MISC, len(UNITS) + code["mode"], unit)
        rows["op_id"] = len(names)
        is_move = (unit == ST) | ((unit == LD) & (code["flags"] & 1 == 0))  # none of zeros
        rows["mem_bytes"] = np.where(is_move, code["length"] * pieces(code), 0)
        for other in range(len(UNITS)):
            waits = code["wait"].astype(np.int64) >> other & 1
            gives = code["release"].astype(np.int64) >> other & 1
            rows["wait"] |= waits << (other * len(UNITS) + unit)
            rows["release"] |= gives << (unit * len(UNITS) + other)
        parts.append(rows)
        names.append(_name(layer_of[number]))
    layers = np.zeros(len(program.runs), INSTRUCTION)
    layers["unit"], layers["opcode"] = _LAYER_UNIT, len(_OPCODES) - 1
    layers["op_id"] = len(names) + np.arange(len(layers))
    first = program.bodies[program.runs[0].body].code
    begins = {int(u) for u in first["unit"][first["wait"] >> SYS & 1 > 0]}
    return Program(
        machine=program.machine,
        units=[*UNITS, "layer"],
        opcodes=_OPCODES,
        op_names=names + [run.op for run in program.runs],
        channels=[
            TokenChannel(f"{a} to {b}", int(p == SYS and c in begins), "dependency")
            for p, a in enumerate(UNITS)
            for c, b in enumerate(UNITS)
        ],
        instructions=np.concatenate([*parts, layers]),
    )


def _name(layer: Layer) -> str:
    extents = [layer.tokens, layer.k, layer.n] if layer.k else [layer.tokens, layer.n]
    return f"{layer.function or layer.kind} {'×'.join(map(str, extents))}"
