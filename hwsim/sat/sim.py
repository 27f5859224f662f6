"""Run a SAT program on the token engine and account for every cycle.

The road: closed-form (or stepped) array cycles are already in the program's instructions; the
token engine plays loads, array work, vector work and stores against each other; the result is
split over the graph's ops.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from hwsim.components.dram import MemoryParameters
from hwsim.components.dram.parameters import DramParameters
from hwsim.components.dram.totals import command_counts
from hwsim.components.engine import EngineRun, run_program
from hwsim.core.errors import InputError
from hwsim.core.program import Program
from hwsim.core.result import LayerResult, Provenance, Result, Stats
from hwsim.core.trace import TraceSink
from hwsim.sat.energy import lane_cycles, run_energy
from hwsim.sat.estimate import estimate_program
from hwsim.sat.functional import array_outputs
from hwsim.sat.spec import SatSpec

if TYPE_CHECKING:
    from hwsim.sat.machine import SatMachine

__all__ = ["DETAILS", "simulate"]

DETAILS = ("fast", "tile", "pe", "estimate")
"""``fast``: closed forms, repeated structure forwarded exactly. ``tile``: every array tile and
every instruction stepped. ``pe``: every processing element stepped cycle by cycle with values.
``estimate``: closed forms only, no engine."""


def simulate(
    machine: SatMachine,
    program: Program,
    inputs: Mapping[str, NDArray[Any]] | None,
    *,
    trace: bool | TraceSink,
    detail: str,
) -> Result:
    """Return the result of ``program`` on ``machine`` (see :meth:`Machine.run`)."""
    if detail not in DETAILS:
        raise InputError("--detail", f"one of {', '.join(DETAILS)}", repr(detail))
    spec = machine.spec
    if detail in ("tile", "pe"):
        from hwsim.sat.detail import stepped_program  # compiles kernels only stepping needs

        program = stepped_program(program, spec.array, detail)
    if detail == "estimate":
        run = estimate_program(program, spec)
    else:
        run = run_program(
            program,
            memory_parameters(spec),
            spec.queue_depth,
            fast_forward=detail == "fast",
            trace=trace,
        )
    result = _to_result(machine, program, run)
    result.fidelity = "estimate" if detail == "estimate" else "cycle"
    if inputs:
        result.outputs = array_outputs(program, inputs)
    result.check()
    return result


def memory_parameters(spec: SatSpec) -> MemoryParameters | DramParameters:
    """Return the memory behind the DMA engine: DRAM, or exact bytes per cycle as a fraction."""
    if spec.memory.model == "dram":
        return DramParameters(
            spec.memory.dram_device(),
            cycle_hz=spec.clock_hz,
            path_cycles=spec.memory.latency_cycles,
        )
    rate = spec.memory_bytes_per_cycle
    return MemoryParameters(
        num=rate.numerator,
        den=rate.denominator,
        latency_cycles=spec.memory.latency_cycles,
        is_ideal=spec.memory.model == "ideal",
    )


def _to_result(machine: SatMachine, program: Program, run: EngineRun) -> Result:
    spec = machine.spec
    layers: list[LayerResult] = []
    before = 0
    for index, fact in enumerate(program.meta["ops"]):
        end = int(run.op_end[index])
        layers.append(
            LayerResult(
                name=fact["name"],
                kind=fact["kind"],
                stage=fact["stage"],
                dims=fact["dims"],
                mapping=fact["mapping"],
                start_cycle=min(int(run.op_start[index]), end) if end > before else before,
                end_cycle=end,
                cycles=end - before,
                unit=fact["unit"],
                account=run.op_unit(index, fact["unit"]),
                macs=fact["macs"],
                issued_macs=fact["issued_macs"],
                useful_macs=fact["useful_macs"],
                bytes=fact["bytes"],
            )
        )
        before = end
    stats = Stats.of_layers(run.cycles, run.units, layers)
    dram = [run.dram] if run.dram is not None else []
    stats.energy_by_component_pj = run_energy(stats, lane_cycles(program), spec, dram)
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
        trace=run.trace,
        notes=list(program.meta["notes"]),
        extra={
            "memory_bytes_per_cycle": float(spec.memory_bytes_per_cycle),
            **command_counts(dram),
            "spec": spec.model_dump(mode="json"),
        },
    )
