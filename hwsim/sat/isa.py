"""Name SAT's units, instructions and token channels, and collect instructions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
from numpy.typing import NDArray

from hwsim.core.program import END, INSTRUCTION, LOOP, TokenChannel
from hwsim.core.result import STALL_REASONS
from hwsim.sat.timing import ArrayGemm, GemmTiming

__all__ = ["CHANNELS", "MEMORY_UNITS", "OPCODES", "UNITS", "InstructionBuffer"]

UNITS = ["stce", "vector", "dma_in", "dma_out", "wuve", "sore", "lane_in", "lane_out"]
"""Sparse tensor computing engine, vector path, load and store halves of the array's DMA channel,
weight update vector engine, sparse online reduction engine, load and store halves of the DMA
channel that the lane-parallel units (vector path, WUVE, SORE) share."""

MEMORY_UNITS = frozenset({"dma_in", "dma_out", "lane_in", "lane_out"})
"""Units whose work is moving bytes."""

OPCODES = ["load_a", "load_w", "gemm", "vector", "store", "sync", "update", "prune", "load", "put"]
"""``load`` and ``put`` move the operands and results of the lane-parallel units."""

_TRANSFER_UNITS = {"load_a": "dma_in", "load_w": "dma_in", "store": "dma_out"}
_TRANSFER_UNITS |= {"load": "lane_in", "put": "lane_out"}
_TRANSFERS = {
    opcode: (UNITS.index(unit), OPCODES.index(opcode), unit.endswith("_out"))
    for opcode, unit in _TRANSFER_UNITS.items()
}
"""Indices of unit and opcode, and whether memory is written."""

_LANE_OPCODES = {"vector": "vector", "wuve": "update", "sore": "prune"}
"""What a lane-parallel unit executes."""

CHANNELS = [
    TokenChannel("a_free", 2, "resource"),  # half of the activation buffer
    TokenChannel("a_full", 0, "dram"),  # activations for the array
    TokenChannel("w_free", 2, "resource"),  # half of the weight buffer
    TokenChannel("w_full", 0, "dram"),
    TokenChannel("o_free", 2, "resource"),  # half of the output buffer
    TokenChannel("sums_full", 0, "dependency"),  # array -> vector path
    TokenChannel("results_full", 0, "dependency"),  # array -> store
    TokenChannel("out_full", 0, "dependency"),  # vector path -> store
    TokenChannel("lane_free", 2, "resource"),  # quarter of the lane buffer, for operands
    # One channel per consumer: the next op's unit must not take what was loaded for this one's.
    TokenChannel("vector_full", 0, "dram"),  # operands for the vector path
    TokenChannel("wuve_full", 0, "dram"),  # gradients, weights and momenta
    TokenChannel("sore_full", 0, "dram"),  # values to select from
    TokenChannel("put_free", 2, "resource"),  # quarter of the lane buffer, for results
    TokenChannel("put_full", 0, "dependency"),  # lane-parallel unit -> store
    TokenChannel("lane_op_done", 0, "dependency"),  # the lane op before has stored its results
    # What an earlier slot stored may be loaded: from either DMA channel to either.
    TokenChannel("array_to_array", 0, "dependency"),
    TokenChannel("array_to_lanes", 0, "dependency"),
    TokenChannel("lanes_to_array", 0, "dependency"),
    TokenChannel("lanes_to_lanes", 0, "dependency"),
]

_CHANNEL_BIT = {channel.name: 1 << i for i, channel in enumerate(CHANNELS)}
_REASON = {reason: i for i, reason in enumerate(STALL_REASONS)}

_PLAIN = ("unit", "opcode", "op_id", "operand", "count", "wait", "release", "cycles", "mem_bytes")
_PLAIN += ("is_write", "macs")
"""Fields of an instruction that are appended; of the others only ``stall`` is ever set."""


@cache
def _bits(names: str) -> int:
    """Return the channels in ``names``, a bit each; there are few different texts."""
    return sum(_CHANNEL_BIT[name] for name in names.split())


class InstructionBuffer:
    """Append instructions and counted loops; ``array()`` returns them as INSTRUCTION[:]."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, ...]] = []  # the fields named in _PLAIN
        self._stalled: list[int] = []  # rows that lose cycles inside
        self._stalls: list[list[int]] = []
        self.shapes: dict[tuple[str, ArrayGemm], int] = {}
        self.op_id = 0

    @contextmanager
    def loop(self, count: int) -> Iterator[None]:
        """Repeat what the block appends ``count`` times (no loop for a count of one)."""
        if count == 1:
            yield
            return
        self._append(LOOP, 0, count=count)
        yield
        self._append(END, 0)

    def transfer(self, opcode: str, size_bytes: int, *, wait: str = "", release: str = "") -> None:
        """Append a DMA request of ``size_bytes``; ``wait`` and ``release`` list channels."""
        unit, code, is_write = _TRANSFERS[opcode]
        self._append(
            unit,
            code,
            wait=_bits(wait),
            release=_bits(release),
            mem_bytes=size_bytes,
            is_write=is_write,
        )

    def sync(self, unit: str, *, wait: str = "", release: str = "") -> None:
        """Append a fence: it completes when everything before it in its unit has."""
        self._append(
            UNITS.index(unit), OPCODES.index("sync"), wait=_bits(wait), release=_bits(release)
        )

    def gemm(
        self,
        dataflow: str,
        shape: ArrayGemm,
        timing: GemmTiming,
        issued_macs: int,
        *,
        wait: str,
        release: str,
    ) -> None:
        """Append one macro tile of array work; its operand is the index of its shape."""
        stall = [0] * len(STALL_REASONS)
        for reason in ("hazard", "resource", "fill", "load", "drain"):
            stall[_REASON[reason]] = getattr(timing, reason)
        self._stalled.append(len(self._rows))
        self._stalls.append(stall)
        self._append(
            UNITS.index("stce"),
            OPCODES.index("gemm"),
            wait=_bits(wait),
            release=_bits(release),
            operand=self.shapes.setdefault((dataflow, shape), len(self.shapes)),
            cycles=timing.cycles,
            macs=issued_macs,
        )

    def lanes(self, unit: str, cycles: int, *, wait: str, release: str) -> None:
        """Append work of a lane-parallel unit: vector path, WUVE or SORE."""
        self._append(
            UNITS.index(unit),
            OPCODES.index(_LANE_OPCODES[unit]),
            wait=_bits(wait),
            release=_bits(release),
            cycles=cycles,
        )

    def _append(
        self,
        unit: int,
        opcode: int,
        *,
        operand: int = 0,
        count: int = 1,
        wait: int = 0,
        release: int = 0,
        cycles: int = 0,
        mem_bytes: int = 0,
        is_write: bool = False,
        macs: int = 0,
    ) -> None:
        row = (unit, opcode, self.op_id, operand, count, wait, release, cycles, mem_bytes)
        self._rows.append((*row, is_write, macs))

    def array(self) -> NDArray[np.void]:
        """Return everything appended so far, its addresses 0."""
        rows = np.zeros(len(self._rows), dtype=INSTRUCTION)
        # Field by field: a tuple per row, strides and stalls nested, takes five times as long.
        columns = np.array(self._rows, dtype=np.int64).reshape(len(rows), len(_PLAIN)).T
        for name, values in zip(_PLAIN, columns, strict=True):
            rows[name] = values
        if self._stalled:
            rows["stall"][self._stalled] = self._stalls
        return rows
