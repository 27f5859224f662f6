"""Name every counter of the run document: what it counts and in which unit."""

from __future__ import annotations

from hwsim.core.result import STALL_REASONS

__all__ = ["COUNTERS", "REASON_MEANINGS", "TIER_MEANINGS"]

REASON_MEANINGS: dict[str, str] = {
    "resource": "a port or functional unit is taken",
    "queue_full": "the consumer's queue has no room",
    "data_wait": "an operand is on its way inside the chip",
    "dependency": "another unit has not finished what this one needs",
    "hazard": "a pipeline hazard, for example adder latency",
    "frontend": "no instruction has been dispatched yet",
    "fill": "the pipeline is filling: skew, first results not out yet",
    "load": "stationary operands are being loaded",
    "drain": "results are being shifted out",
    "cache": "a cache miss",
    "atomic": "an atomic operation",
    "network": "a message from another node",
    "dram": "bytes from or to off-chip memory",
    "sync": "a barrier",
}
"""Why a unit that has work does not work, by stall reason."""

TIER_MEANINGS: dict[str, str] = {
    "T0": "functional results equal the golden model",
    "T1": "cycles within analytic bounds",
    "T2": "unit timings exact at t−1 and t",
    "T3": "cycle-exact against RTL co-simulation",
    "T4": "published numbers reproduced within tolerance",
}
"""What each validation tier means; a higher tier includes the lower ones."""

_RUN: dict[str, tuple[str, str]] = {
    "clock_hz": ("clock in which all cycles are counted", "Hz"),
    "cycles": ("makespan of the whole run, all batch items and repeats", "cycles"),
    "time_s": ("simulated time, cycles / clock_hz", "s"),
    "macs": ("multiply-accumulates of the dense model, whole batch", "MACs"),
    "issued_macs": ("multiply-accumulate slots executed, padding included", "MACs"),
    "useful_macs": ("multiply-accumulates with kept weights, or keys that a query sees", "MACs"),
    "peak_macs_per_cycle": ("multiply-accumulates the array can issue per cycle", "MACs/cycle"),
    "memory_bytes_per_cycle": ("bytes off-chip memory delivers per cycle", "bytes/cycle"),
    "utilization": ("useful_macs / (cycles · peak_macs_per_cycle), 0 to 1", "1"),
    "energy_pj": ("energy of the whole run", "pJ"),
    "energy_by_component_pj.*": ("energy of one component; the parts sum to energy_pj", "pJ"),
    "bytes.*.read": ("bytes read from this memory level", "bytes"),
    "bytes.*.write": ("bytes written to this memory level", "bytes"),
    "units.*.busy": ("cycles in which the unit worked", "cycles"),
    "units.*.idle": ("cycles in which the unit had no work", "cycles"),
    "baseline.dense_cycles": ("cycles of the same graph with dense weights", "cycles"),
    "baseline.speedup": ("baseline.dense_cycles / cycles", "1"),
    "baseline.layers.*": ("cycles of this layer in the dense run", "cycles"),
}

_LAYER: dict[str, tuple[str, str]] = {
    "layers[].start_cycle": ("cycle in which the layer's first instruction started", "cycles"),
    "layers[].end_cycle": ("cycle in which the layer's last instruction ended", "cycles"),
    "layers[].cycles": ("increase of the latest completion so far; sums to cycles", "cycles"),
    "layers[].busy": ("cycles of the layer in which its compute unit worked", "cycles"),
    "layers[].idle": ("cycles of the layer in which its compute unit had no work", "cycles"),
    "layers[].macs": ("dense multiply-accumulates of the layer", "MACs"),
    "layers[].issued_macs": ("slots executed for the layer, padding included", "MACs"),
    "layers[].useful_macs": ("those with kept weights, or keys that a query sees", "MACs"),
    "layers[].bytes.*.read": ("bytes the layer read from this memory level", "bytes"),
    "layers[].bytes.*.write": ("bytes the layer wrote to this memory level", "bytes"),
}

_SCHEDULE: dict[str, tuple[str, str]] = {
    "schedule.steps": ("optimiser steps of the whole training run", "steps"),
    "schedule.cycles": ("cycles of the whole training run", "cycles"),
    "schedule.time_s": ("simulated time of the whole training run", "s"),
    "schedule.dense_cycles": ("cycles of as many dense steps", "cycles"),
    "schedule.speedup": ("schedule.dense_cycles / schedule.cycles", "1"),
    "schedule.frames[].from_step": ("first step of the frame, counted from 0", "steps"),
    "schedule.frames[].steps": ("steps of the frame", "steps"),
    "schedule.frames[].beta": ("factor of masked weights at the frame's first step", "1"),
    "schedule.frames[].cycles_per_step": ("cycles of one iteration", "cycles"),
    "schedule.frames[].share": ("share of the whole run's cycles, 0 to 1", "1"),
}

_MEMORY_MODELS: dict[str, tuple[str, str]] = {
    "memory_models[].cycles": ("cycles of the run with this model of off-chip memory", "cycles"),
    "memory_models[].time_s": ("simulated time of that run", "s"),
    "memory_models[].dram_stall_cycles": ("of them, the compute unit stalled by dram", "cycles"),
}

_PEERS: dict[str, tuple[str, str]] = {
    "peers[].time_s": ("time of the same product on another accelerator, by closed form", "s"),
    "peers[].bytes": ("bytes that it moves off chip", "bytes"),
    "peers[].memory_bytes_per_s": ("rate of its memory", "bytes/s"),
}

_AREA: dict[str, tuple[str, str]] = {
    "area.total.*": ("cells of all parts that have RTL, before placement", "cells"),
    "area.board_has.*": ("cells of the board's whole FPGA", "cells"),
    "area.share.*": ("area.total / area.board_has", "1"),
    "area.parts[].count": ("instances of the unit", "units"),
    "area.parts[].sizes": ("synthesised sizes that the fit rests on", "sizes"),
    "area.parts[].cells.*": ("cells of all instances of the unit", "cells"),
    "area.parts[].residual.*": ("largest relative error of the fit at a size", "1"),
    "area.parts[].left_out.*": ("largest relative error at a size left out of the fit", "1"),
}


def _stall_counters(prefix: str, owner: str) -> dict[str, tuple[str, str]]:
    return {
        f"{prefix}.stall.{reason}": (f"cycles {owner} stalled: {REASON_MEANINGS[reason]}", "cycles")
        for reason in STALL_REASONS
    }


COUNTERS: dict[str, tuple[str, str]] = {
    **_RUN,
    **_stall_counters("units.*", "the unit"),
    **_LAYER,
    **_stall_counters("layers[]", "the layer's compute unit"),
    **_SCHEDULE,
    **_AREA,
    **_MEMORY_MODELS,
    **_PEERS,
}
"""Path in the run document -> (meaning, unit). ``*`` stands for a name, ``[]`` for an entry."""
