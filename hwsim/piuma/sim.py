"""Run thread programs on the machine and account for every cycle and byte."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.result import STALL_REASONS, LayerResult, Provenance, Result, Stats, UnitStats
from hwsim.core.trace import TraceSink
from hwsim.core.units import ceil_div
from hwsim.piuma.energy import run_energy
from hwsim.piuma.estimate import estimate_cycles, estimate_traffic
from hwsim.piuma.outputs import count_entries, operand_values, read_outputs
from hwsim.piuma.play import finish_memory, play
from hwsim.piuma.program import ThreadProgram
from hwsim.piuma.spec import PiumaSpec
from hwsim.piuma.state import BUSY, Chip, chip_state, dram_words
from hwsim.piuma.statistics import OpCounts, count_op, empty_counts, run_extra
from hwsim.piuma.trace import INTERVAL_CYCLES, ActivityTrace, Watcher

if TYPE_CHECKING:
    from hwsim.piuma.machine import PiumaMachine

__all__ = ["DETAILS", "simulate"]

DETAILS = ("fast", "tile", "estimate")
"""``fast``: from event to event. ``tile``: every pipeline looked at in every cycle. ``estimate``:
closed forms only, nothing runs."""

Array = NDArray[Any]


@dataclass
class _OpRun:
    """One op's cycles, accounts by unit and counts."""

    cycles: int
    units: dict[str, UnitStats]
    counts: OpCounts


def simulate(
    machine: PiumaMachine,
    program: ThreadProgram,
    *,
    has_outputs: bool,
    detail: str,
    trace: bool | TraceSink = False,
) -> Result:
    """Return the result of ``program`` on ``machine`` (see :meth:`Machine.run`)."""
    if detail not in DETAILS:
        raise InputError("--detail", f"one of {', '.join(DETAILS)}", repr(detail))
    outputs: dict[str, Array] = {}
    activity = None
    if detail == "estimate":
        runs = [_estimate(fact, machine.spec) for fact in program.meta["ops"]]
    else:
        if trace:
            names = [code.name for code in program.codes]
            sink = None if trace is True else trace
            activity = ActivityTrace(_tracks(machine.spec), names, sink)
        found = outputs if has_outputs else None
        runs = _run_ops(machine.spec, program, found, activity, is_plain=detail == "tile")
    result = _to_result(machine, program, runs)
    result.fidelity = "estimate" if detail == "estimate" else "cycle"
    result.outputs = outputs
    result.trace = activity.build() if activity is not None else None
    result.check()
    return result


def _run_ops(
    spec: PiumaSpec,
    program: ThreadProgram,
    outputs: dict[str, Array] | None,
    activity: ActivityTrace | None,
    *,
    is_plain: bool,
) -> list[_OpRun]:
    """Run op after op in one memory; fill ``outputs`` and ``activity`` if there are such."""
    runs = []
    memory = program.memory.image(operand_values(program))
    for code, fact in zip(program.codes, program.meta["ops"], strict=True):
        chip = chip_state(spec, program.instructions[code.first : code.last], memory, code.launch)
        if activity is None:
            cycles = play(chip, is_plain=is_plain)
        else:
            watcher = Watcher()
            cycles = play(chip, is_plain=is_plain, watch=watcher.look, chunk_cycles=INTERVAL_CYCLES)
            activity.add(watcher, cycles)
        cycles = finish_memory(chip, cycles)
        memory = dram_words(chip)
        runs.append(_account(chip, spec, fact, cycles))
        runs[-1].counts.entries = count_entries(program, fact, memory, spec.blocks)
        if outputs is not None:
            outputs |= read_outputs(program, fact, memory, spec.blocks)
    return runs


def _names(spec: PiumaSpec) -> list[str]:
    """Return the pipelines' names in order."""
    kinds = [f"mtp{i}" for i in range(spec.mtp.pipelines)]
    kinds += [f"stp{i}" for i in range(spec.stp.pipelines)]
    return [f"b{block}.{kind}" for block in range(spec.blocks) for kind in kinds]


def _tracks(spec: PiumaSpec) -> list[str]:
    """Return the names of a trace's tracks: pipelines, then DMA engines."""
    return [*_names(spec), *(f"b{block}.dma" for block in range(spec.blocks))]


def _account(chip: Chip, spec: PiumaSpec, fact: dict[str, Any], cycles: int) -> _OpRun:
    units: dict[str, UnitStats] = {}
    for name, row in zip(_names(spec), chip.accounts, strict=True):
        units[name] = _unit(row, cycles)
    counts = count_op(chip, fact, cycles)
    rate = spec.dram_bytes_per_cycle
    for block, row in enumerate(chip.dma_accounts):
        units[f"b{block}.dma"] = _unit(row, cycles)
        busy = ceil_div(counts.bus_bytes[block] * rate.denominator, rate.numerator)
        busy = 0 if spec.memory.model == "ideal" else busy
        units[f"b{block}.dram"] = UnitStats(busy=min(busy, cycles), idle=max(cycles - busy, 0))
    return _OpRun(cycles, units, counts)


def _unit(account: NDArray[np.int64], cycles: int) -> UnitStats:
    stalls = dict(zip(STALL_REASONS, account[1:].tolist(), strict=True))
    return UnitStats(int(account[BUSY]), stalls, cycles - int(account.sum()))


def _estimate(fact: dict[str, Any], spec: PiumaSpec) -> _OpRun:
    """Return closed forms in the shape of a run: pipelines share the work evenly."""
    compute, memory = estimate_cycles(fact, spec)
    cycles = max(compute, memory)
    units = {}
    for name in _names(spec):
        busy = compute if ".mtp" in name else 0
        stalls = dict.fromkeys(STALL_REASONS, 0)
        stalls["dram"] = cycles - busy if busy else 0
        units[name] = UnitStats(busy, stalls, cycles - busy - stalls["dram"])
    for block in range(spec.blocks):
        units[f"b{block}.dma"] = UnitStats(idle=cycles)
        units[f"b{block}.dram"] = UnitStats(busy=memory, idle=cycles - memory)
    read, written = estimate_traffic(fact)
    counts = empty_counts(spec)
    counts.cycles = cycles
    counts.issued_macs = fact["useful_macs"]
    counts.bytes["dram"] = {"read": read, "write": written}
    counts.bytes["registers"] = {"read": written, "write": read}
    return _OpRun(cycles, units, counts)


def _to_result(machine: PiumaMachine, program: ThreadProgram, runs: list[_OpRun]) -> Result:
    spec = machine.spec
    layers: list[LayerResult] = []
    now = 0
    units: dict[str, UnitStats] = {}
    for fact, run in zip(program.meta["ops"], runs, strict=True):
        pipelines = {name: unit for name, unit in run.units.items() if "tp" in name}
        busiest = max(pipelines, key=lambda name: pipelines[name].busy)
        layers.append(
            LayerResult(
                **{key: fact[key] for key in ("name", "kind", "stage", "dims", "mapping")},
                start_cycle=now,
                end_cycle=now + run.cycles,
                cycles=run.cycles,
                unit=busiest,
                account=run.units[busiest],
                macs=fact["macs"],
                issued_macs=run.counts.issued_macs,
                useful_macs=fact["useful_macs"],
                bytes=run.counts.bytes,
            )
        )
        now += run.cycles
        for name, unit in run.units.items():
            _add_unit(units.setdefault(name, UnitStats()), unit)
    stats = Stats.of_layers(now, units, layers)
    counts = [run.counts for run in runs]
    stats.energy_by_component_pj = run_energy(stats, counts, spec)
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
        notes=list(program.meta["notes"]),
        extra={
            "memory_bytes_per_cycle": float(spec.dram_bytes_per_cycle * spec.blocks),
            "spec": spec.model_dump(mode="json"),
            **run_extra(program.meta["ops"], counts, stats, spec),
        },
    )


def _add_unit(total: UnitStats, more: UnitStats) -> None:
    total.busy += more.busy
    total.idle += more.idle
    for reason, cycles in more.stall.items():
        total.stall[reason] += cycles
