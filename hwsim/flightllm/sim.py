"""Run a program: time its layers, split every cycle over units and ops, count bytes and energy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hwsim.components.dram.controller import Counts
from hwsim.components.dram.totals import command_counts
from hwsim.components.engine_trace import MAX_TRACE_EVENTS
from hwsim.core.errors import InputError
from hwsim.core.result import (
    LayerResult,
    Provenance,
    Result,
    Stats,
    UnitStats,
    empty_stalls,
)
from hwsim.core.trace import TraceSink
from hwsim.core.units import ceil_div
from hwsim.flightllm.body import Body
from hwsim.flightllm.energy import run_energy
from hwsim.flightllm.isa import LD, SYS, UNITS
from hwsim.flightllm.lower import FlightProgram, Run
from hwsim.flightllm.spec import FlightSpec
from hwsim.flightllm.summary import capacity_notes, run_extra
from hwsim.flightllm.timing import LayerTime, play_body
from hwsim.flightllm.trace import record_trace, write_events

if TYPE_CHECKING:
    from hwsim.flightllm.machine import FlightMachine

__all__ = ["DETAILS", "busy_ms", "layer_times", "simulate"]

DETAILS = ("fast", "tile", "estimate")
"""``fast``: every different layer is played once. ``tile``: every layer is played. ``estimate``:
a layer takes as long as its busiest unit."""

_LEVELS = ("b_buffer", "meta_buffer", "bias_buffer", "fsb_buffer", "a_buffer", "global_buffer")
_MATRIX_KINDS = ("linear", "scores", "mix")


def layer_times(
    program: FlightProgram, detail: str = "fast", spec: FlightSpec | None = None
) -> list[LayerTime]:
    """Return the time of each run of ``program``, once per run; ``spec`` may ask for DRAM."""
    if spec is not None and spec.memory.model == "dram" and detail != "estimate":
        return _dram_times(program, detail, spec)
    if detail == "tile":
        return [play_body(program.bodies[run.body]) for run in program.runs]
    each = [(_closed if detail == "estimate" else play_body)(body) for body in program.bodies]
    return [each[run.body] for run in program.runs]


def _dram_times(program: FlightProgram, detail: str, spec: FlightSpec) -> list[LayerTime]:
    from hwsim.flightllm.dram_play import check_capacity, dram_layer_time

    check_capacity(sum(program.layout.bytes_per_channel().values()), spec)
    known: dict[int, LayerTime] = {}
    found = []
    for run in program.runs:
        if run.body not in known or detail == "tile":
            code = program.code(run)
            known[run.body] = dram_layer_time(program.bodies[run.body], code, spec)
        found.append(known[run.body])
    return found


def _closed(body: Body) -> LayerTime:
    busy = []
    for unit in range(6):
        chosen = body.code["cost"][body.code["unit"] == unit]
        counts = np.bincount(chosen, minlength=len(body.costs)).tolist()
        busy.append(
            sum((c * n for c, n in zip(body.costs, counts, strict=True)), start=Fraction(0))
        )
    none = tuple(Fraction(0) for _ in range(6))
    return LayerTime(max(busy), tuple(busy), (none,) * 6)


def busy_ms(program: FlightProgram, spec: FlightSpec) -> dict[str, float]:
    """Return milliseconds that every unit works, over all layers."""
    total = [Fraction(0)] * 6
    for run, time in zip(program.runs, layer_times(program), strict=True):
        for unit in range(6):
            total[unit] += time.busy[unit] * run.steps
    scale = 1000 / (spec.clock_hz * spec.speed)
    return {name: float(total[unit] * scale) for unit, name in enumerate(UNITS)}


def simulate(
    machine: FlightMachine,
    program: FlightProgram,
    inputs: Mapping[str, NDArray[Any]] | None,
    *,
    trace: bool | TraceSink,
    detail: str,
) -> Result:
    """Return the result of ``program`` on ``machine`` (see :meth:`Machine.run`)."""
    if detail not in DETAILS:
        raise InputError("--detail", f"one of {', '.join(DETAILS)}", repr(detail))
    if trace and machine.spec.memory.model == "dram":
        raise InputError("--trace", "memory.model=simple", "dram")
    times = layer_times(program, detail, machine.spec)
    accounts = _Accounts(machine.spec)
    placed = _placed(program, times, accounts, machine.spec)
    layers = _layer_results(program, placed)
    result = _to_result(machine, program, placed, layers, accounts)
    if trace is True:
        result.trace = record_trace(program, machine.spec.speed, MAX_TRACE_EVENTS)
    elif trace:
        write_events(program, machine.spec.speed, trace)
    result.fidelity = "estimate" if detail == "estimate" else "cycle"
    if inputs:
        result.outputs = machine.execute(program, inputs)
    result.check()
    return result


class _Accounts:
    """Turns exact times into whole cycles by rounding running totals, so that sums stay exact."""

    def __init__(self, spec: FlightSpec) -> None:
        self.speed = spec.speed
        self.now = Fraction(0)
        self.end = 0
        self.units = {name: UnitStats() for name in UNITS}
        self._exact: dict[tuple[int, int], Fraction] = {}
        self._split: dict[tuple[int, int, int], dict[str, UnitStats]] = {}

    def add(self, body: int, time: LayerTime, steps: int) -> dict[str, UnitStats]:
        """Account for one layer, number ``body``; return what each unit did in whole cycles."""
        if (body, steps) not in self._exact:
            self._exact[body, steps] = time.cycles * steps / self.speed
        self.now += self._exact[body, steps]
        before, self.end = self.end, ceil_div(self.now.numerator, self.now.denominator)
        cycles = self.end - before
        if (body, steps, cycles) not in self._split:
            self._split[body, steps, cycles] = self._units(time, steps, cycles)
        found = self._split[body, steps, cycles]
        for name, stats in found.items():
            self.units[name].busy += stats.busy
            self.units[name].idle += stats.idle
            for reason in ("dram", "sync", "dependency", "queue_full"):
                self.units[name].stall[reason] += stats.stall[reason]
        return found

    def _units(self, time: LayerTime, steps: int, cycles: int) -> dict[str, UnitStats]:
        scale = float(steps / self.speed)
        found = {}
        for unit, name in enumerate(UNITS):
            whole = _whole([part * scale for part in time.parts[unit]], cycles)
            stats = UnitStats(whole[0], empty_stalls(), cycles - sum(whole))
            for producer, lost in enumerate(whole[1:]):
                reason = "queue_full" if producer == unit else _reason(producer)
                stats.stall[reason] += lost
            found[name] = stats
        return found


def _reason(producer: int) -> str:
    if producer == LD:
        return "dram"
    return "sync" if producer == SYS else "dependency"


def _whole(parts: list[float], limit: int) -> list[int]:
    """Return ``parts`` as whole numbers whose sum is at most ``limit``, by running totals."""
    found, position, before = [], 0.0, 0
    for part in parts:
        position += part
        until = min(int(position), limit)
        found.append(until - before)
        before = until
    return found


_Moved = dict[str, dict[str, int]]
_NOTHING: _Moved = {level: {"read": 0, "write": 0} for level in ("dram", *_LEVELS)}
_FACTS = ("name", "kind", "stage", "dims", "macs", "useful_macs")


@dataclass
class _Placed:
    """What the layer led by an op took; bytes, slots and commands of all cores."""

    run: Run
    start: int
    end: int
    units: dict[str, UnitStats]
    issued_macs: int
    moved: _Moved
    dram: Counts | None


def _placed(
    program: FlightProgram, times: list[LayerTime], accounts: _Accounts, spec: FlightSpec
) -> list[_Placed]:
    known: dict[tuple[int, int], _Moved] = {}
    found = []
    for run, time in zip(program.runs, times, strict=True):
        start, body, times_run = accounts.end, program.bodies[run.body], run.steps * spec.shares
        units = accounts.add(run.body, time, run.steps)
        key = (run.body, run.steps)
        if key not in known:
            known[key] = _bytes(body, times_run)
        issued = body.issued_macs * times_run
        dram = _total(time.dram, times_run) if time.dram else None
        found.append(_Placed(run, start, accounts.end, units, issued, known[key], dram))
    return found


def _total(each: tuple[Counts, ...], times: int) -> Counts:
    """Return the sum of ``each`` of the channels, ``times`` times."""
    commands = {name: times * sum(one.commands[name] for one in each) for name in each[0].commands}
    others = [name for name in vars(each[0]) if name != "commands"]
    return Counts(
        commands, **{name: times * sum(getattr(one, name) for one in each) for name in others}
    )


def _layer_results(program: FlightProgram, placed: list[_Placed]) -> list[LayerResult]:
    """Return one entry per op; those fused into a layer, and pure addresses, take no cycles."""
    leading = {one.run.op: one for one in placed}
    owner = {name: run.op for run in program.runs for name in run.fused}
    layers = []
    now = 0
    for fact in program.meta["ops"]:
        one = leading.get(fact["name"])
        now = one.end if one is not None else now
        layers.append(_entry(fact, one, owner.get(fact["name"]), now))
    return layers


def _entry(fact: dict[str, Any], one: _Placed | None, owner: str | None, now: int) -> LayerResult:
    facts = {key: fact[key] for key in _FACTS}
    if one is None:
        mapping = dict(fact["mapping"])
        if owner is not None:
            mapping = {"dataflow": "fused", "placement": {"into": owner}}
        return LayerResult(
            **facts, mapping=mapping, start_cycle=now, end_cycle=now, cycles=0, unit="misc",
            account=UnitStats(), issued_macs=fact["macs"], bytes=_NOTHING,
        )  # fmt: skip
    layer, steps = one.run.layer, one.run.steps
    unit = ("mv" if layer.tokens == 1 else "mm") if layer.kind in _MATRIX_KINDS else "misc"
    unit = "ld" if layer.kind == "cache" else unit
    return LayerResult(
        **facts,
        mapping={"dataflow": layer.kind, "density": float(layer.density), "steps": steps},
        start_cycle=one.start,
        end_cycle=one.end,
        cycles=one.end - one.start,
        unit=unit,
        account=one.units[unit],
        issued_macs=one.issued_macs,
        bytes=one.moved,
    )


def _bytes(body: Body, times: int) -> _Moved:
    """Return what ``times`` runs of ``body`` move per level, on any core."""
    found = {level: dict(moved) for level, moved in _NOTHING.items()}
    found["dram"] = {"read": body.hbm_read * times, "write": body.hbm_write * times}
    for level, size in body.filled.items():
        found[level]["write"] += size * times
    for level, size in body.drained.items():
        found[level]["read"] += size * times
    return found


def _to_result(
    machine: FlightMachine,
    program: FlightProgram,
    placed: list[_Placed],
    layers: list[LayerResult],
    accounts: _Accounts,
) -> Result:
    spec = machine.spec
    stats = Stats.of_layers(accounts.end, accounts.units, layers)
    dram = [one.dram for one in placed if one.dram is not None]
    stats.energy_by_component_pj = run_energy(stats, spec, dram)
    return Result(
        model=program.meta["model"],
        machine=machine.name,
        preset=machine.preset,
        fidelity="cycle",
        clock_hz=spec.clock_hz,
        peak_macs_per_cycle=spec.peak_macs_per_cycle,
        stats=stats,
        layers=layers,
        provenance=Provenance.of(spec.spec_hash(), program.program_hash()),
        notes=[*program.meta["notes"], *capacity_notes(program, spec)],
        extra=run_extra(program, stats, layers, spec) | command_counts(dram),
    )
