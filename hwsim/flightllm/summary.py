"""Say what a run means to its user: tokens per second, energy, bandwidth, buckets, storage."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import numpy as np

from hwsim.core.result import LayerResult, Stats
from hwsim.flightllm.isa import UNITS, program_bytes
from hwsim.flightllm.lower import FlightProgram, Run
from hwsim.flightllm.plan import phase_of
from hwsim.flightllm.spec import FlightSpec
from hwsim.flightllm.storage import storage_of_lengths, storage_report

__all__ = ["capacity_notes", "run_extra"]


def capacity_notes(program: FlightProgram, spec: FlightSpec) -> list[str]:
    """Return a note if the program's tensors exceed a channel of HBM."""
    need = sum(program.layout.bytes_per_channel().values())
    room = spec.hbm.channel_capacity_bytes
    if need <= room:
        return []
    return [
        f"does not fit: {need >> 20} MiB on each channel of {room >> 20} MiB; timed all the same"
    ]


def run_extra(
    program: FlightProgram, stats: Stats, layers: list[LayerResult], spec: FlightSpec
) -> dict[str, Any]:
    """Return the entries that a run's document has on this machine only."""
    phases = _phases(program, layers)
    rates = _rates(program, phases, stats.cycles / spec.clock_hz, spec)
    seconds = stats.cycles / spec.clock_hz
    moved = sum(stats.bytes["dram"].values())
    used = spec.hbm.channels_per_core * spec.hbm.channel_bytes_per_s
    instructions = dict(zip(UNITS, program.counts().tolist(), strict=True))
    extra = {
        "timing": spec.timing,
        **rates,
        "joules_per_token": stats.energy_pj * 1e-12 / rates["tokens"],
        "instructions": {unit.upper(): count for unit, count in instructions.items()},
        "hbm_bytes": moved,
        "hbm_bytes_per_channel": program.layout.bytes_per_channel()
        | {"capacity": spec.hbm.channel_capacity_bytes},
        "bandwidth_utilization": float(moved / seconds / spec.hbm.bytes_per_s),
        "bandwidth_utilization_of_used_channels": float(moved / seconds / (spec.cores * used)),
        "memory_bytes_per_cycle": float(spec.shares * used * spec.speed / spec.clock_hz),
        "storage": storage_report(instructions),
        "spec": spec.model_dump(mode="json"),
    }
    if len(phases) > 1:
        extra["buckets"] = phases
        extra["storage"] |= _stored(program, phases, spec)
    return extra


def _phases(program: FlightProgram, layers: list[LayerResult]) -> list[dict[str, Any]]:
    """Return name, stage, steps, cycles and one step's program bytes of each part of the run."""
    counts = np.array([body.counts() for body in program.bodies])
    phases = []
    cycles = {
        name: sum(layer.cycles for layer in own)
        for name, own in groupby(layers, key=lambda layer: phase_of(layer.name))
    }
    stages = {phase_of(layer.name): layer.stage for layer in layers}
    for name, group in groupby(program.runs, key=lambda run: phase_of(run.op)):
        own = list(group)
        each = counts[[run.body for run in own]].sum(axis=0).tolist()
        phases.append(
            {
                "name": name,
                "stage": stages[name],
                "steps": own[0].steps,
                "cycles": cycles[name],
                "program_bytes": program_bytes(dict(zip(UNITS, each, strict=True))),
            }
        )
    return phases


def _rates(
    program: FlightProgram, phases: list[dict[str, Any]], seconds: float, spec: FlightSpec
) -> dict[str, Any]:
    """Return tokens and their rate: a prompt's as read, steps' as written.

    A request's rate is that of its steps, as the paper counts; ``end_to_end_tokens_per_s`` counts
    the prompt's time too.
    """
    tokens = sum(phase["steps"] for phase in phases if phase["stage"] == "decode")
    if not tokens:
        tokens = max(int(fact["tokens"]) for fact in program.meta["ops"])
        return {"tokens": tokens, "tokens_per_s": tokens / seconds, "prefill_s": seconds}
    read = sum(phase["cycles"] for phase in phases if phase["stage"] == "prefill") / spec.clock_hz
    return {
        "tokens": tokens,
        "tokens_per_s": tokens / (seconds - read),
        "prefill_s": read,
        "end_to_end_tokens_per_s": tokens / seconds,
    }


def _stored(
    program: FlightProgram, phases: list[dict[str, Any]], spec: FlightSpec
) -> dict[str, Any]:
    """Return what a request's programs take, and those of all lengths if these are known.

    Which experts a prompt of another length would meet, and with how many tokens, is not.
    """
    found: dict[str, Any] = {
        "request_bytes": sum(phase["program_bytes"] for phase in phases) * spec.cores,
        "request_one_per_length_bytes": spec.cores
        * sum(phase["program_bytes"] * phase["steps"] for phase in phases),
    }

    def layers(phase: dict[str, Any]) -> list[Run]:
        return [run for run in program.runs if phase_of(run.op) == phase["name"]]

    prompt, step = ([run.layer for run in layers(phase)] for phase in (phases[0], phases[-1]))
    if len({layer.tokens for layer in prompt}) == 1:
        found["all_lengths"] = storage_of_lengths(step, prompt, spec)
    return found
