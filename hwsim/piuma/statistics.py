"""Count what a run did: instructions, probes, bytes, and how threads spent their time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwsim.components.dram.controller import Counts, count_events
from hwsim.components.dram.layout import Dram
from hwsim.components.dram.totals import command_counts
from hwsim.core.result import Stats
from hwsim.piuma import state
from hwsim.piuma.opcodes import AFADD, CAS, FMUL, MUL, OPCODES
from hwsim.piuma.spec import PiumaSpec
from hwsim.piuma.state import Chip, memory_state

__all__ = ["OpCounts", "count_op", "empty_counts", "run_extra"]


@dataclass
class OpCounts:
    """Counts of one op.

    Attributes
    ----------
    instructions : dict of str to int
        Issued, by mnemonic; none are left out.
    bytes : dict
        Level -> read and write.
    bus_bytes : list of int
        Per block, bytes that its memory's bus was taken for, short bursts rounded up.
    won, merged, longest : int
        Compare-and-swaps that took an empty slot, that found their key; most in one search.
    entries : int
        Of a sparse result, as its row pointers in memory say.
    commands : Counts, optional
        What the memories' commands were, of model ``dram``.
    spans : list of int
        Per thread of the multi-threaded pipelines, cycles neither at barriers nor queues nor done.
    """

    cycles: int
    issued_macs: int
    instructions: dict[str, int]
    bytes: dict[str, dict[str, int]]
    bus_bytes: list[int]
    won: int
    merged: int
    longest: int
    network_bytes: int
    queue_operations: int
    cache_hits: int
    cache_misses: int
    spans: list[int]
    entries: int = 0
    commands: Counts | None = None


def empty_counts(spec: PiumaSpec) -> OpCounts:
    """Return no counts at all."""
    names = ("dram", "registers", "cache", "dma", "spad")
    levels = {name: {"read": 0, "write": 0} for name in names}
    idle = memory_state(spec)
    return OpCounts(
        *(0, 0, {}, levels, [0] * spec.blocks, 0, 0, 0, 0, 0, 0, 0, []),
        commands=count_events(Dram(idle)) if idle.size else None,
    )


def count_op(chip: Chip, fact: dict[str, Any], cycles: int) -> OpCounts:
    """Return what ``chip`` counted while it ran an op."""
    s = chip.scalar
    issued = chip.op_counts
    block = chip.block.sum(axis=0)
    atomics = 8 * int(block[state.SPAD_ATOMICS])
    levels = {
        "dram": (block[state.DRAM_READ], block[state.DRAM_WRITE]),
        "registers": (s[state.DIRECT_WRITE], s[state.DIRECT_READ]),
        "cache": (s[state.WRITTEN_BACK], s[state.FILLED]),
        "dma": (s[state.DMA_WRITTEN], s[state.DMA_READ]),
        "spad": (block[state.SPAD_READ] + atomics, block[state.SPAD_WRITE] + atomics),
    }
    return OpCounts(
        cycles=cycles,
        issued_macs=int(issued[FMUL] + issued[MUL]),
        instructions={
            name: int(count) for name, count in zip(OPCODES, issued, strict=True) if count
        },
        bytes={
            level: {"read": int(read), "write": int(write)}
            for level, (read, write) in levels.items()
        },
        bus_bytes=chip.block[:, state.DRAM_BUS].tolist(),
        won=int(s[state.CAS_WON]),
        merged=int(s[state.CAS_MERGED]),
        longest=int(s[state.CHAIN_MAX]),
        network_bytes=int(s[state.NET_BYTES]),
        queue_operations=int(s[state.QUEUE_OPS]),
        cache_hits=int(s[state.CACHE_HITS]),
        cache_misses=int(s[state.CACHE_MISSES]),
        spans=_spans(chip, cycles),
        commands=count_events(Dram(chip.dram)) if chip.dram.size else None,
    )


def _spans(chip: Chip, cycles: int) -> list[int]:
    is_mtp = chip.pipe[chip.thread[:, state.OF_PIPE], state.IS_STP] == 0
    accounts = chip.thread_accounts[is_mtp]
    waits = accounts[:, [state.SYNC, state.DEPENDENCY]].sum(axis=1)
    spans: list[int] = np.minimum(accounts.sum(axis=1) - waits, cycles).tolist()
    return spans


def run_extra(
    facts: Sequence[dict[str, Any]], counts: Sequence[OpCounts], stats: Stats, spec: PiumaSpec
) -> dict[str, Any]:
    """Return the machine's own top-level entries of the run document."""
    instructions: dict[str, int] = {}
    for count in counts:
        for name, number in count.instructions.items():
            instructions[name] = instructions.get(name, 0) + number
    total = sum(instructions.values())
    cycles = max(stats.cycles, 1)
    bus = sum(sum(count.bus_bytes) for count in counts)
    capacity = spec.dram_bytes_per_cycle * spec.blocks * cycles
    products = sum(fact["attrs"]["products"] for fact in facts)
    won = sum(count.won for count in counts)
    both = [(f, c) for f, c in zip(facts, counts, strict=True) if f["kind"] == "spgemm"]
    entries = sum(count.entries for _, count in both)
    merged = sum(fact["attrs"]["products"] for fact, _ in both)
    searches = won + sum(count.merged for count in counts)
    moved = sum(stats.bytes["dram"].values())
    return {
        "kernel": " ".join(fact["kernel"] for fact in facts),
        "partial_products": products,
        "steps": [_step(fact, count) for fact, count in zip(facts, counts, strict=True)],
        "nnz_out": entries + _dense_results(facts),
        "compression_factor": merged / entries if entries else None,
        "arithmetic_intensity": products / moved if moved else None,
        "instructions": total,
        "instruction_mix": instructions,
        "ipc": total / cycles,
        "dram_utilization": 0.0 if spec.memory.model == "ideal" else float(bus / capacity),
        "dram_bus_bytes": bus,
        **command_counts(commands_of(counts)),
        "network_bytes": sum(count.network_bytes for count in counts),
        "queue_operations": sum(count.queue_operations for count in counts),
        "cache": {
            "hits": sum(count.cache_hits for count in counts),
            "misses": sum(count.cache_misses for count in counts),
        },
        "probes": {
            "mean": instructions.get(OPCODES[CAS], 0) / searches if searches else 0.0,
            "max": max((count.longest for count in counts), default=0),
        },
        "accumulations": instructions.get(OPCODES[AFADD], 0),
        "insertions": won,
        "thread_utilization": _utilization(counts),
    }


def _step(fact: dict[str, Any], count: OpCounts) -> dict[str, Any]:
    """Return what one op of a run did."""
    return {
        "name": fact["name"],
        "kernel": fact["kernel"],
        "cycles": count.cycles,
        "instructions": sum(count.instructions.values()),
        "partial_products": fact["attrs"]["products"],
        "entries": count.entries,
        "dram_bytes": sum(count.bytes["dram"].values()),
    }


def _dense_results(facts: Sequence[dict[str, Any]]) -> int:
    """Return the elements of results that are no sparse matrices."""
    total = 0
    for fact in facts:
        if fact["kind"] == "sddmm":
            total += fact["attrs"]["nnz_a"]
        elif fact["kind"] in ("spmm", "spmv"):
            total += fact["dims"]["m"] * fact["dims"]["n"]
    return total


def _utilization(counts: Sequence[OpCounts]) -> dict[str, float]:
    """Return the share of the time that threads work: mean, least and most loaded thread."""
    cycles = sum(count.cycles for count in counts)
    spans = [count.spans for count in counts if count.spans]
    if not cycles or not spans:
        return {"mean": 0.0, "min": 0.0, "max": 0.0}
    shares = np.sum(spans, axis=0) / cycles
    return {"mean": float(shares.mean()), "min": float(shares.min()), "max": float(shares.max())}


def commands_of(counts: Sequence[OpCounts]) -> list[Counts]:
    """Return what the memories' commands were, op by op; nothing with other models of memory."""
    return [count.commands for count in counts if count.commands is not None]
