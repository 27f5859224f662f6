"""Choose, op by op, the mapping with the smallest closed-form cost."""

from __future__ import annotations

from hwsim.core.errors import InputError, MappingError
from hwsim.core.graph import Op, OpGraph, OpKind
from hwsim.core.machine import Machine
from hwsim.core.mapping import Mapping
from mappers.fusion import fuse_elementwise

__all__ = ["map_graph"]


def map_graph(
    graph: OpGraph,
    machine: Machine,
    *,
    dataflow: str = "auto",
    fuse: bool = True,
    known: dict[str, Mapping] | None = None,
) -> list[Mapping]:
    """Return one checked mapping per op, in the graph's order.

    ``known`` keeps mappings of products by their extents and pattern; hand the same dict to
    several calls for the same machine and dataflow to search equal products once.

    Ops that pass no data through a unit (reshapes) map to ``none``; ops the machine cannot
    execute to ``unmodelled``. Raises :class:`InputError` for a dataflow the machine lacks and
    :class:`MappingError` if an op fits no tiling.
    """
    capabilities = machine.capabilities()
    if dataflow not in ("auto", *capabilities.dataflows):
        need = f"auto or one of {', '.join(capabilities.dataflows)} on {machine.name}"
        raise InputError("--dataflow", need, repr(dataflow))
    fused = fuse_elementwise(graph) if fuse and "fused" in capabilities.treatment else {}
    known = {} if known is None else known
    return [_map_op(op, machine, dataflow, fused, known) for op in graph.ops()]


def _map_op(
    op: Op, machine: Machine, dataflow: str, fused: dict[str, str], known: dict[str, Mapping]
) -> Mapping:
    if op.name in fused:
        return Mapping(op=op.name, dataflow="fused", placement={"into": fused[op.name]})
    if op.kind is OpKind.RESHAPE:
        return Mapping(op=op.name, dataflow="none", note="moves no data")
    if op.kind.value not in machine.capabilities().op_kinds:
        return Mapping(op=op.name, dataflow="unmodelled", note="no unit executes this operator")
    if not op.is_gemm and not op.is_sparse:
        return Mapping(op=op.name, dataflow="vector")
    key = _product_key(op)
    if key not in known:
        known[key] = _best(op, machine, dataflow)
    return known[key].model_copy(update={"op": op.name})


_GEOMETRY = ("strides", "dilations", "pads", "kernel", "products")
"""Attributes of a product that its cost depends on."""


def _product_key(op: Op) -> str:
    """Return a text that is equal for products with equal extents, geometry and patterns."""
    geometry = [op.attrs.get(name) for name in _GEOMETRY]
    operands = [(operand.role, operand.pattern) for operand in op.inputs[:2]]
    return f"{op.kind}{sorted(op.dims.items())}{geometry}{operands}"


def _best(op: Op, machine: Machine, dataflow: str) -> Mapping:
    """Return the cheapest mapping; a dataflow that cannot hold ``op`` leaves "auto" the others."""
    flows = machine.capabilities().dataflows if dataflow == "auto" else (dataflow,)
    best: tuple[tuple[int, int], Mapping] | None = None
    refusals: list[InputError] = []
    for flow in flows:
        try:
            for mapping in machine.candidates(op, flow):
                estimate = machine.estimate(op, mapping)
                cost = (estimate.cycles, estimate.dram_read_bytes + estimate.dram_write_bytes)
                if best is None or cost < best[0]:
                    best = (cost, mapping)
        except InputError as refusal:
            refusals.append(refusal)
    if best is None:
        raise refusals[0] if refusals else MappingError(f"{op.name}: {dataflow}", 1, 0, "mapping")
    best[1].check(machine.spec)
    return best[1]
