"""Enclose and predict the cycles of a program from its instruction counts, without running it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwsim.core.machine import Bounds
from hwsim.core.units import ceil_div
from hwsim.cpu.isa import OPCODES
from hwsim.cpu.program import Call, CpuProgram
from hwsim.cpu.rules import Pipeline, Rule, load_pipeline
from hwsim.cpu.spec import CpuSpec

__all__ = ["CallWork", "call_work", "program_bounds"]

_MEMORY = np.array([name.split("_")[0] in ("load", "store", "prefetch") for name in OPCODES])


@dataclass(frozen=True)
class CallWork:
    """Counts of one call.

    Attributes
    ----------
    instructions, uops, macs : int
        Rows executed, dispatch slots, multiply-accumulate lanes.
    port_cycles : int
        The busiest set of ports: its work spread evenly.
    latency_cycles : int
        All instructions one after the other, every access a hit.
    accesses, branches : int
        Rows that access memory; branches.
    load_bytes, store_bytes : int
        Bytes between core and L1.
    """

    instructions: int
    uops: int
    macs: int
    port_cycles: int
    latency_cycles: int
    accesses: int
    branches: int
    load_bytes: int
    store_bytes: int


def call_work(call: Call, pipe: Pipeline) -> CallWork:
    """Return the counts of ``call`` on ``pipe``."""
    rows = call.kernel.rows
    counts = np.where(rows["opcode"] >= 0, call.counts(), 0)
    opcodes = np.maximum(rows["opcode"], 0)
    per_class = np.bincount(opcodes, weights=counts, minlength=len(OPCODES)).astype(np.int64)
    forms = opcodes + len(OPCODES) * (rows["has_write_back"] != 0)
    per_form = np.bincount(forms, weights=counts, minlength=2 * len(OPCODES)).astype(np.int64)
    rules = [
        pipe.rule(name, has_write_back=is_post) for is_post in (False, True) for name in OPCODES
    ]
    uops = np.array([rule.uops for rule in rules])
    latency = np.array([max(rule.latency_cycles, rule.accumulate_cycles) for rule in rules])
    occupied = np.array([sum(cycles for _, cycles in rule.uses) for rule in rules])
    names = np.array([name.split("_")[0] for name in OPCODES])[opcodes]
    moved = counts * rows["size"]
    return CallWork(
        instructions=int(counts.sum()),
        uops=int((per_form * uops).sum()),
        macs=int((counts * rows["macs"]).sum()),
        port_cycles=_busiest(per_form.tolist(), rules),
        latency_cycles=int((per_form * (latency + uops + occupied)).sum()),
        accesses=int(per_class[_MEMORY].sum()),
        branches=int(per_class[OPCODES.index("branch")]),
        load_bytes=int(moved[names == "load"].sum()),
        store_bytes=int(moved[names == "store"].sum()),
    )


def _busiest(counts: list[int], rules: list[Rule]) -> int:
    """Return the cycles of the busiest set of ports: no schedule beats its average."""
    demands: dict[int, int] = {}
    for count, rule in zip(counts, rules, strict=True):
        for mask, cycles in rule.uses:
            demands[mask] = demands.get(mask, 0) + count * cycles
    worst = 0
    for union in demands:
        inside = sum(work for mask, work in demands.items() if mask & ~union == 0)
        worst = max(worst, ceil_div(inside, union.bit_count()))
    return worst


def program_bounds(program: CpuProgram, spec: CpuSpec) -> Bounds:
    """Return cycles that no run of ``program`` undercuts or exceeds.

    At least its dispatch slots at full width, or its busiest ports; at most all instructions one
    after the other, every access two lines from memory behind a queue of as many write-backs, every
    branch mispredicted.
    """
    pipe = load_pipeline(spec.core.rules)
    transfer = spec.memory_slowest_cycles
    levels = sum(cache.latency_cycles for cache in (spec.l2, spec.l3) if cache is not None)
    tlb = spec.tlb.walk_cycles + spec.tlb.second_cycles if spec.tlb.is_modelled else 0
    miss = 2 * (levels + spec.memory_latency_cycles + 4 * transfer + tlb) + 2 * transfer
    low = high = 0
    for call in program.calls:
        work = call_work(call, pipe)
        low += max(ceil_div(work.uops, pipe.dispatch_width), work.port_cycles)
        high += work.latency_cycles + work.accesses * miss + 2
        high += work.branches * (pipe.mispredict_cycles + 1)
    return Bounds(low, high + len(program.op_names))
