"""Choose, op by op, the mapping with the smallest closed-form cost."""

from __future__ import annotations

from collections.abc import Callable

from hwsim.core.errors import InputError, MappingError
from hwsim.core.graph import Op, OpGraph, OpKind
from hwsim.core.machine import Machine
from hwsim.core.mapping import Mapping
from mappers.fusion import fuse_elementwise

__all__ = ["Known", "map_graph"]

Choice = tuple[tuple[int, int], Mapping]
"""The cheapest mapping under one dataflow, behind its cost: cycles, then bytes off chip."""

Known = dict[str, Choice | None]
"""Choices by dataflow and product; None where the dataflow cannot hold the product."""


def map_graph(
    graph: OpGraph,
    machine: Machine,
    *,
    dataflow: str = "auto",
    fuse: bool = True,
    known: Known | None = None,
) -> list[Mapping]:
    """Return one checked mapping per op, in the graph's order.

    ``known`` keeps the choice for each product's extents and pattern under each dataflow; hand the
    same dict to several calls for the same machine to search equal products once.

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
    op: Op, machine: Machine, dataflow: str, fused: dict[str, str], known: Known
) -> Mapping:
    if op.name in fused:
        return Mapping(op=op.name, dataflow="fused", placement={"into": fused[op.name]})
    if op.kind is OpKind.RESHAPE:
        return Mapping(op=op.name, dataflow="none", note="moves no data")
    if op.kind.value not in machine.capabilities().op_kinds:
        return Mapping(op=op.name, dataflow="unmodelled", note="no unit executes this operator")
    if not op.is_gemm and not op.is_sparse:
        return Mapping(op=op.name, dataflow="vector")
    return _best(op, machine, dataflow, known).model_copy(update={"op": op.name})


_GEOMETRY = ("strides", "dilations", "pads", "kernel", "products")
"""Attributes of a product that its cost depends on."""


def _product_key(op: Op) -> str:
    """Return a text that is equal for products with equal extents, geometry and patterns."""
    geometry = [op.attrs.get(name) for name in _GEOMETRY]
    operands = [(operand.role, operand.pattern) for operand in op.inputs[:2]]
    return f"{op.kind}{sorted(op.dims.items())}{geometry}{operands}"


def _best(op: Op, machine: Machine, dataflow: str, known: Known) -> Mapping:
    """Return the cheapest mapping; a dataflow that cannot hold ``op`` leaves "auto" the others."""
    flows = machine.capabilities().dataflows if dataflow == "auto" else (dataflow,)
    product = _product_key(op)
    choices: list[Choice] = []
    for flow in flows:
        key = f"{flow} {product}"
        if key not in known:
            try:
                known[key] = _search(op, machine, flow)
            except InputError:
                known[key] = None
        choice = known[key]
        if choice is not None:
            choices.append(choice)
    if not choices:
        return _search(op, machine, flows[0])[1]  # raises, naming this op
    return min(choices, key=lambda choice: choice[0])[1]


def _search(op: Op, machine: Machine, flow: str) -> Choice:
    """Return the cheapest mapping of ``op`` under ``flow``; the first of equally cheap ones."""
    best: tuple[tuple[int, int], Callable[[], Mapping]] | None = None
    for estimate, mapping in machine.costed_candidates(op, flow):
        cost = (estimate.cycles, estimate.dram_read_bytes + estimate.dram_write_bytes)
        if best is None or cost < best[0]:
            best = (cost, mapping)
    if best is None:
        raise MappingError(f"{op.name}: {flow}", 1, 0, "mapping")
    chosen = best[1]()
    chosen.check(machine.spec)
    return best[0], chosen
