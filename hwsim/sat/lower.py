"""Turn a mapped graph into one SAT program.

Every op becomes loads, work and stores on double-buffered tiles. Ops of one *slot* run beside each
other: the matrix products one after the other on the array, the other ops one after the other on
the lane-parallel units. A slot loads results only after all stores of the slot before; its first
weights may be prefetched earlier. Without a slot of its mapping an op has one of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from collections.abc import Mapping as MappingType
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.graph import Op, OpGraph
from hwsim.core.mapping import Mapping
from hwsim.core.program import Program
from hwsim.sat.emit_array import ArrayEmitter
from hwsim.sat.emit_lanes import LaneEmitter, LaneOp, spread
from hwsim.sat.isa import CHANNELS, OPCODES, UNITS, InstructionBuffer
from hwsim.sat.lane_work import estimate_lanes, lane_unit, lane_work
from hwsim.sat.plan import GemmPlan, plan_gemm
from hwsim.sat.spec import SatSpec
from hwsim.sat.tiling import estimate_gemm
from hwsim.sat.traffic import OpTraffic

__all__ = ["lower_graph"]

_UNTIMED = ("fused", "none", "unmodelled")
"""Dataflows of ops without instructions of their own."""


@dataclass
class _Placed:
    """One op at its place in the program."""

    index: int
    op: Op
    mapping: Mapping
    traffic: OpTraffic = field(default_factory=OpTraffic)
    issued: int = 0


def lower_graph(
    graph: OpGraph,
    mappings: list[Mapping],
    tensors: MappingType[str, NDArray[Any]] | None,
    spec: SatSpec,
) -> Program:
    """Return the program of ``graph``; ``mappings`` has one entry per op, in order of execution.

    Raises :class:`MappingError` if a mapping does not fit the spec, and its base
    :class:`InputError` if an op comes before one whose results it reads.
    """
    placed = [_Placed(i, graph.op(m.op), m) for i, m in enumerate(mappings)]
    _check_order(graph, placed)
    code = InstructionBuffer()
    fused = _fused_ops(mappings)
    is_first = True
    for slot in _slots(placed):
        for member in slot:
            member.mapping.check(spec)
        _Slot(graph, code, spec, fused, is_first=is_first).append(slot)
        is_first = False
    return Program(
        machine="sat",
        units=UNITS,
        opcodes=OPCODES,
        op_names=[mapping.op for mapping in mappings],
        channels=CHANNELS,
        instructions=code.array(),
        tensors=dict(tensors or {}),
        meta={
            "model": graph.name,
            "ops": [_facts(one) for one in placed],
            "notes": graph.notes,
            "gemm_shapes": [(dataflow, *gemm) for dataflow, gemm in code.shapes],
        },
    )


def _check_order(graph: OpGraph, placed: list[_Placed]) -> None:
    ops = graph.ops()
    if sorted(one.op.name for one in placed) != sorted(op.name for op in ops):
        raise InputError("mappings", "one per op of the graph", f"{len(placed)} for {len(ops)} ops")
    position = {one.op.output: one.index for one in placed}
    for one in placed:
        for operand in one.op.inputs:
            if position.get(operand.tensor, -1) > one.index:
                found = f"{one.op.name} before what computes {operand.tensor}"
                raise InputError("mappings", "an order of execution", found)


def _slots(placed: list[_Placed]) -> Iterator[list[_Placed]]:
    """Yield the ops that have instructions, those of one slot together."""
    timed = (one for one in placed if one.mapping.dataflow not in _UNTIMED)
    for _, members in groupby(timed, lambda one: one.mapping.placement.get("slot", one.index)):
        yield list(members)


def _facts(placed: _Placed) -> dict[str, Any]:
    op, mapping = placed.op, placed.mapping.model_dump(mode="json")
    if op.is_gemm:
        mapping["gemm"] = op.gemm().to_json()
    return {
        "name": op.name,
        "kind": op.kind.value,
        "stage": op.stage.value,
        "dims": dict(op.dims),
        "mapping": mapping,
        "unit": "stce" if op.is_gemm else lane_unit(op),
        "macs": op.macs(),
        "useful_macs": op.useful_macs(),
        "issued_macs": placed.issued,
        "bytes": placed.traffic.bytes,
    }


def _fused_ops(mappings: list[Mapping]) -> dict[str, int]:
    """Return, per leading op, how many ops are fused into it."""
    return Counter(m.placement["into"] for m in mappings if m.dataflow == "fused")


class _Slot:
    """Append the instructions of ops that run beside each other."""

    def __init__(
        self,
        graph: OpGraph,
        code: InstructionBuffer,
        spec: SatSpec,
        fused: dict[str, int],
        *,
        is_first: bool,
    ) -> None:
        self.graph = graph
        self.code = code
        self.spec = spec
        self.fused = fused
        self.has_untold_array = not (is_first or spec.is_array_only)
        self.has_untold_lanes = self.has_untold_array

    def append(self, members: list[_Placed]) -> None:
        """Append ``members``: products in order, and beside them the other ops in order."""
        products = [one for one in members if one.op.is_gemm]
        others = [self._lane_op(one) for one in members if not one.op.is_gemm]
        self.lanes = LaneEmitter(self.code, self.spec)
        if self.has_untold_array:  # a last instruction of the slot before
            self.code.sync("dma_out", release="array_to_array array_to_lanes")
            self.code.sync("lane_out", release="lanes_to_array lanes_to_lanes")
        self.code.op_id = members[0].index
        if others:
            self._wait_lanes()
        if products:
            self._products(products, others)
        else:
            for lane_op in others:
                self.lanes.alone(lane_op)
        self.code.op_id = members[-1].index
        self._wait_array()
        self._wait_lanes()

    def _wait_array(self) -> None:
        """Let the array's loads wait, once, for all stores of the slot before."""
        if self.has_untold_array:
            self.code.sync("dma_in", wait="array_to_array lanes_to_array")
        self.has_untold_array = False

    def _wait_lanes(self) -> None:
        if self.has_untold_lanes:
            self.code.sync("lane_in", wait="array_to_lanes lanes_to_lanes")
        self.has_untold_lanes = False

    def _lane_op(self, placed: _Placed) -> LaneOp:
        fused = self.fused.get(placed.op.name, 0)
        work = lane_work(self.graph, placed.op, fused, self.spec)
        return LaneOp(placed.index, placed.op.name, work, placed.traffic)

    def _products(self, products: list[_Placed], others: list[LaneOp]) -> None:
        plans = [plan_gemm(one.op, one.mapping, self.spec) for one in products]
        beside: list[Any] = [()] * len(plans)
        if others:
            tiles = [plan.all_tiles for plan in plans]
            tile_cycles = [self._tile_cycles(plan) for plan in plans]
            cycles = [estimate_lanes(other.work, self.spec).cycles for other in others]
            beside = spread(tiles, tile_cycles, others, cycles)
        for placed, plan, pieces in zip(products, plans, beside, strict=True):
            self.code.op_id = placed.index
            emitter = ArrayEmitter(
                self.code,
                self.spec,
                plan,
                self.fused.get(placed.op.name, 0),
                placed.traffic,
                before_inputs=self._wait_array,
                lanes=self.lanes,
                beside=pieces,
            )
            placed.issued = emitter.emit()

    def _tile_cycles(self, plan: GemmPlan) -> int:
        """Return the mean cycles of a macro tile; where lane work lies depends on it, no result."""
        return max(1, estimate_gemm(plan, self.spec).cycles // plan.all_tiles)
