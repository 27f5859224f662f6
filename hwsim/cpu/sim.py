"""Run a CPU program op by op on one core and account for every cycle and byte.

Ops follow each other; the pipeline empties between them, caches and prefetchers keep their state.
The network starts with empty caches.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hwsim.components.dram.controller import Counts
from hwsim.components.dram.totals import command_counts
from hwsim.components.engine_trace import MAX_TRACE_EVENTS, TraceBuilder
from hwsim.core.errors import InputError
from hwsim.core.result import (
    STALL_REASONS,
    LayerResult,
    Provenance,
    Result,
    Stats,
    UnitStats,
)
from hwsim.core.trace import TraceSink
from hwsim.cpu.core_state import Core
from hwsim.cpu.energy import run_energy
from hwsim.cpu.estimate import estimate_runs
from hwsim.cpu.functional import kernel_outputs
from hwsim.cpu.kernel_run import COUNT_NAMES, LINE_BYTES, KernelRun
from hwsim.cpu.program import CpuProgram
from hwsim.cpu.rules import load_pipeline
from hwsim.cpu.spec import CpuSpec
from hwsim.cpu.trace import CallTrace, trace_table

if TYPE_CHECKING:
    from hwsim.cpu.machine import CpuMachine

__all__ = ["DETAILS", "simulate"]

DETAILS = ("fast", "tile", "estimate")
"""``tile`` steps every instruction; ``fast`` does not step again what it remembers, with the same
result; ``estimate`` counts only."""

_DRAIN = STALL_REASONS.index("drain")


def simulate(
    machine: CpuMachine,
    program: CpuProgram,
    inputs: Mapping[str, NDArray[Any]] | None,
    *,
    trace: bool | TraceSink,
    detail: str,
) -> Result:
    """Return the result of ``program`` on ``machine`` (see :meth:`Machine.run`)."""
    if detail not in DETAILS:
        raise InputError("--detail", f"one of {', '.join(DETAILS)}", repr(detail))
    builder = TraceBuilder(trace_table(program), MAX_TRACE_EVENTS) if trace is True else None
    dram: list[Counts] = []
    if detail == "estimate":
        runs = estimate_runs(program, machine.spec)
    else:
        sink = builder or (trace if not isinstance(trace, bool) else None)
        calls = CallTrace(program, sink) if sink is not None else None
        core = Core(machine.spec, is_stepping=detail == "tile")
        runs = _run_ops(program, core, calls)
        dram = core.finish_memory()
    result = _to_result(machine, program, runs, dram)
    result.fidelity = "estimate" if detail == "estimate" else "cycle"
    if builder is not None:
        result.trace = builder.build(result.cycles)
    if inputs:
        result.outputs = {**kernel_outputs(program, inputs)}
    result.check()
    return result


def _run_ops(program: CpuProgram, core: Core, calls: CallTrace | None) -> list[KernelRun]:
    """Return one run per op, its calls together; the last op's stores reach the L1 inside it."""
    pending = list(program.calls)
    runs = []
    for index in range(len(program.op_names)):
        parts = []
        while pending and pending[0].op_id == index:
            call = pending.pop(0)
            parts.append(core.run(call.kernel, call.addresses, call.streams))
        if calls is not None:
            calls.take(index, parts)
        runs.append(KernelRun.together(parts, core.cycle, core.pipeline.dispatch_width))
    tail = core.drained_cycle - core.cycle
    if tail > 0:
        runs[-1] = runs[-1].lengthened(tail, _DRAIN)
    return runs


def layer_bytes(counts: Mapping[str, int], spec: CpuSpec) -> dict[str, dict[str, int]]:
    """Return the bytes that each level gives (read) and takes (write).

    ``l1`` serves the core; ``lN_refill`` is what moves between level N and the one below: lines
    filled (write) and dirty lines evicted (read); that of the last level is ``llc_refill``.
    """
    moved = {"l1": {"read": counts["load_bytes"], "write": counts["store_bytes"]}}
    last = 2 if spec.l3 is None else 3
    for level in range(1, last + 1):
        moved["llc_refill" if level == last else f"l{level}_refill"] = {
            "read": LINE_BYTES * counts[f"l{level}_evictions"],
            "write": LINE_BYTES * counts[f"l{level}_fills"],
        }
    moved["dram"] = {
        "read": LINE_BYTES * counts["memory_reads"],
        "write": LINE_BYTES * counts["memory_writes"],
    }
    return moved


def _to_result(
    machine: CpuMachine, program: CpuProgram, runs: list[KernelRun], dram: list[Counts]
) -> Result:
    spec = machine.spec
    layers = [
        LayerResult(
            name=fact["name"],
            kind=fact["kind"],
            stage=fact["stage"],
            dims=fact["dims"],
            mapping=fact["mapping"],
            start_cycle=run.start_cycle,
            end_cycle=run.end_cycle,
            cycles=run.cycles,
            unit="slot0",
            account=run.account,
            macs=fact["macs"],
            issued_macs=run.macs,
            useful_macs=fact["useful_macs"],
            bytes=layer_bytes(run.counts, spec),
        )
        for fact, run in zip(program.meta["ops"], runs, strict=True)
    ]
    counts = {name: sum(run.counts[name] for run in runs) for name in COUNT_NAMES}
    slots = np.sum([run.slots for run in runs], axis=0)
    units = {f"slot{i}": UnitStats.from_account(account) for i, account in enumerate(slots)}
    stats = Stats.of_layers(runs[-1].end_cycle, units, layers)
    instructions = sum(run.instructions for run in runs)
    stats.energy_by_component_pj = run_energy(
        counts, instructions, stats.issued_macs, stats.cycles, spec, dram
    )
    return Result(
        model=program.meta["model"],
        machine=machine.name,
        preset=machine.preset,
        fidelity="cycle",
        clock_hz=spec.clock_hz,
        peak_macs_per_cycle=peak_macs_per_cycle(spec),
        stats=stats,
        layers=layers,
        provenance=Provenance.of(spec.spec_hash(), program.program_hash()),
        notes=list(program.meta["notes"]),
        extra={
            "instructions": instructions,
            "dispatch_slots": sum(run.uops for run in runs),
            "cache_events": counts,
            "memory_bytes_per_cycle": spec.memory_bytes_per_s / spec.clock_hz,
            **command_counts(dram),
            "spec": spec.model_dump(mode="json"),
        },
    )


def peak_macs_per_cycle(spec: CpuSpec) -> int:
    """Return the multiply-accumulates that the vector ports can start per cycle."""
    pipe = load_pipeline(spec.core.rules)
    mask, cycles = pipe.rules["fma_q"].uses[0]
    return 4 * mask.bit_count() // cycles
