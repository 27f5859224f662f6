"""Predict a program's cycles op by op from counts alone, in the same form as a simulated run.

Each slot takes the longest of its array's, its lane-parallel units' and its memory's work plus one
memory latency in and one out; slots follow each other, and a slot's cycles are charged to its first
op. This ignores what the token engine adds: start-up of double buffering and waits that do not
overlap.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwsim.components.engine import EngineRun
from hwsim.core.program import Program
from hwsim.core.result import STALL_REASONS, UnitStats
from hwsim.core.units import ceil_div
from hwsim.sat.isa import MEMORY_UNITS, UNITS
from hwsim.sat.spec import SatSpec

__all__ = ["estimate_program"]

_BUSY, _FIRST_STALL = 0, 1
_DRAM = _FIRST_STALL + STALL_REASONS.index("dram")
_DEPENDENCY = _FIRST_STALL + STALL_REASONS.index("dependency")
_ARRAY = UNITS.index("stce")
_LANES = [UNITS.index(name) for name in ("vector", "wuve", "sore")]


def estimate_program(program: Program, spec: SatSpec) -> EngineRun:
    """Return closed-form cycles per op and unit, shaped like a run of the token engine."""
    rows = program.instructions
    times = program.dynamic_counts()
    ops, units = len(program.op_names), len(UNITS)
    is_work = rows["unit"] >= 0
    index = (_first_of_slot(program)[rows["op_id"][is_work]], rows["unit"][is_work])
    busy = np.zeros((ops, units), dtype=np.int64)
    stalls = np.zeros((ops, units, len(STALL_REASONS)), dtype=np.int64)
    moved = np.zeros((ops, units), dtype=np.int64)
    slots = np.zeros((ops, units), dtype=np.int64)
    work, repeat = rows[is_work], times[is_work]
    inside = work["stall"].sum(axis=1)
    np.add.at(busy, index, (work["cycles"] - inside) * repeat)
    np.add.at(stalls, index, work["stall"] * repeat[:, None])
    np.add.at(moved, index, work["mem_bytes"] * repeat)
    np.add.at(slots, index, work["macs"] * repeat)

    memory = _memory_cycles(moved, spec)
    own = busy + stalls.sum(axis=2)
    latency = np.where(moved.sum(axis=1) > 0, 2 * spec.memory.latency_cycles, 0)
    total = np.maximum(own[:, _ARRAY], own[:, _LANES].sum(axis=1))
    total = np.maximum(total, memory.sum(axis=1)) + latency
    accounts = np.zeros((ops, units, 2 + len(STALL_REASONS)), dtype=np.int64)
    accounts[:, :, _BUSY] = busy + memory
    accounts[:, :, _FIRST_STALL:-1] = stalls
    _attribute_rest(accounts, total)
    end = np.cumsum(total)
    return EngineRun(
        cycles=int(end[-1]),
        units={
            name: UnitStats.from_account(accounts[:, i].sum(axis=0)) for i, name in enumerate(UNITS)
        },
        frontend=UnitStats(idle=int(end[-1])),
        op_start=end - total,
        op_end=end,
        op_accounts=accounts,
        bytes_read=moved[:, [UNITS.index("dma_in"), UNITS.index("lane_in")]].sum(axis=1),
        bytes_written=moved[:, [UNITS.index("dma_out"), UNITS.index("lane_out")]].sum(axis=1),
        macs=slots.sum(axis=1),
        instructions=len(program),
        skipped_instructions=len(program),
        steps=0,
    )


def _first_of_slot(program: Program) -> NDArray[np.int64]:
    """Return, per op, the first op of its slot : int64[op]."""
    first: list[int] = []
    before = None
    for index, fact in enumerate(program.meta["ops"]):
        slot = fact["mapping"]["placement"].get("slot")
        first.append(first[-1] if slot is not None and slot == before else index)
        before = slot
    return np.array(first, dtype=np.int64)


def _memory_cycles(moved: np.ndarray, spec: SatSpec) -> np.ndarray:
    """Return the data cycles of each op's loads and stores."""
    if spec.memory.model == "ideal":
        return np.zeros_like(moved)
    rate = spec.memory_bytes_per_cycle
    return ceil_div(moved * rate.denominator, rate.numerator)


def _attribute_rest(accounts: np.ndarray, total: np.ndarray) -> None:
    """Charge what an op lasts beyond a unit's own work: waits if it works at all, else idle."""
    rest = total[:, None] - accounts.sum(axis=2)
    works = accounts.sum(axis=2) > 0
    is_memory = np.array([name in MEMORY_UNITS for name in UNITS])
    accounts[:, :, _DRAM] += np.where(works & ~is_memory, rest, 0)
    accounts[:, :, _DEPENDENCY] += np.where(works & is_memory, rest, 0)
    accounts[:, :, -1] += np.where(works, 0, rest)
