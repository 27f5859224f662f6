"""Say what the lane-parallel units do for an op: which unit, how many elements, which bytes.

The vector path runs pointwise, pooling, softmax and normalisation work; WUVE updates weights
(SGD with momentum on FP32 masters: reads dW 2 B, w 4 B, v 4 B, writes w 4 B, v 4 B and, if some
product reads dense weights, an FP16 copy 2 B); SORE selects N:M groups at one element per lane and
cycle. Selected right after the update, weights stream from WUVE into SORE and only the compact copy
is written; selected in front of a product, the dense copy is read as well.
"""

from __future__ import annotations

from dataclasses import dataclass

from hwsim.core.errors import SpecError
from hwsim.core.formats import nm_compact_bits
from hwsim.core.graph import Op, OpGraph, OpKind, Role, Stage
from hwsim.core.machine import OpEstimate
from hwsim.core.units import ceil_div
from hwsim.sat.plan import ACTIVATION_BYTES
from hwsim.sat.spec import SatSpec

__all__ = ["LaneWork", "estimate_lanes", "lane_unit", "lane_work", "vector_passes"]

_PASSES = {OpKind.SOFTMAX: 3, OpKind.NORMALIZATION: 2}
"""Passes over the elements (assumed): max, exponentials and their sum, scale; sums of values and of
squares in one chain, scale and shift."""

_UPDATE_READ_BYTES, _UPDATE_WRITE_BYTES, _COPY_BYTES = 10, 8, 2


@dataclass(frozen=True)
class LaneWork:
    """Work of one op on ``unit``: ``elems`` at ``lanes`` per cycle, bytes in and out of memory."""

    unit: str
    lanes: int
    bytes_in: int
    elems: int
    bytes_out: int

    @property
    def bytes_per_elem(self) -> int:
        """Return the bytes that an element moves in and out, rounded up."""
        return ceil_div(self.bytes_in + self.bytes_out, max(1, self.elems))


def lane_unit(op: Op) -> str:
    """Return the unit that executes an op that is no matrix product."""
    return {OpKind.WEIGHT_UPDATE: "wuve", OpKind.NM_PRUNE: "sore"}.get(op.kind, "vector")


def vector_passes(op: Op, fused_ops: int, stages: int) -> int:
    """Return how often the vector path visits an element of ``op`` and of ops fused into it.

    Pointwise steps and the comparisons of a pooling window chain through ``stages`` ALUs per
    lane; a pass that needs a whole reduction first cannot chain with the next.
    """
    steps = fused_ops
    if op.kind is OpKind.POOL:
        steps += op.attrs["kernel"][0] * op.attrs["kernel"][1]
    elif not op.is_gemm and op.kind not in _PASSES:
        steps += 1
    return _PASSES.get(op.kind, 0) + ceil_div(steps, stages)


def lane_work(graph: OpGraph, op: Op, fused_ops: int, spec: SatSpec) -> LaneWork:
    """Return the work of ``op`` and of ``fused_ops`` pointwise ops that follow it."""
    if op.kind is OpKind.WEIGHT_UPDATE:
        return _update_work(graph, op, spec)
    if op.kind is OpKind.NM_PRUNE:
        return _prune_work(op, spec)
    out_elems = graph.tensors[op.output].elems
    operands = [graph.tensors[operand.tensor].elems for operand in op.inputs]
    visited = max(out_elems, *operands) if op.kind is OpKind.REDUCE else out_elems
    passes = vector_passes(op, fused_ops, spec.vector.stages)
    return LaneWork(
        unit="vector",
        lanes=spec.vector.lanes,
        bytes_in=sum(operands) * ACTIVATION_BYTES,
        elems=visited * passes,
        bytes_out=out_elems * ACTIVATION_BYTES,
    )


def estimate_lanes(work: LaneWork, spec: SatSpec) -> OpEstimate:
    """Return the closed-form cost of ``work`` alone: the slower of unit and memory."""
    compute, memory = ceil_div(work.elems, work.lanes), 0
    if spec.memory.model != "ideal":
        memory = spec.memory_cycles(work.bytes_in + work.bytes_out)
    total = max(compute, memory) + 2 * spec.memory.latency_cycles
    return OpEstimate(total, compute, memory, work.bytes_in, work.bytes_out, 0)


def _update_work(graph: OpGraph, op: Op, spec: SatSpec) -> LaneWork:
    elems = op.dims["elems"]
    weights = op.attrs["of"]
    # A strided layer has one selection per phase of its BP, all along the same axis.
    directions = {
        other.attrs["axis"]
        for other in graph.consumers(op.output)
        if other.kind is OpKind.NM_PRUNE
        and other.stage is Stage.WU
        and other.attrs.get("of") == weights
    }
    copy = 0 if len(directions) == 2 else _COPY_BYTES  # else some product reads dense weights
    written = elems * (_UPDATE_WRITE_BYTES + copy)
    return LaneWork("wuve", spec.wuve.lanes, elems * _UPDATE_READ_BYTES, elems, written)


def _prune_work(op: Op, spec: SatSpec) -> LaneWork:
    elems = op.dims["elems"]
    nm_m = op.attrs["nm_m"]
    lanes = spec.sore.lanes - spec.sore.lanes % nm_m  # the data provider turns whole tiles of nm_m
    if not lanes:
        raise SpecError("sore.lanes", f"at least nm_m = {nm_m}", str(spec.sore.lanes))
    dense = elems * ACTIVATION_BYTES
    compact = ceil_div(nm_compact_bits(elems, 1, op.attrs["nm_n"], nm_m), 8)
    is_weight = op.inputs[0].role is Role.WEIGHT
    if is_weight and op.stage is Stage.WU:
        read, written = 0, compact
    elif is_weight:
        # The product that follows is charged with reading the compact part.
        read, written = dense - compact, 0
    else:
        read, written = dense, compact
    return LaneWork("sore", lanes, read, elems, written)
