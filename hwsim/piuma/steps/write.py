"""Write the step that an op asks for, with places for its result."""

from __future__ import annotations

from hwsim.core.graph import Op
from hwsim.piuma.isa import Assembler
from hwsim.piuma.memory_map import MemoryMap, SparseArrays
from hwsim.piuma.row_range import counts_bytes
from hwsim.piuma.spec import PiumaSpec
from hwsim.piuma.spgemm.row_product import Room
from hwsim.piuma.spgemm.sorted_rows import SortedRows
from hwsim.piuma.state import Launch
from hwsim.piuma.steps.dense_steps import (
    BlockRows,
    write_block_rows,
    write_combine,
    write_dense,
    write_vertex,
)
from hwsim.piuma.steps.filters import DropSeen, DropSmall, Filter, PruneEdges, RowCopy
from hwsim.piuma.steps.select import RadixSelect
from hwsim.piuma.steps.walk_rows import WalkRows

__all__ = ["SPARSE_STEPS", "STEPS", "write_step"]

SPARSE_STEPS = ("walks", "filter-small", "filter-seen", "prune")
"""Steps whose result is a sparse matrix."""
STEPS = (
    *SPARSE_STEPS,
    *("select", "vertex-root", "vertex-scale", "combine", "dense", "block-rows"),
)
"""All steps."""


def write_step(
    a: Assembler,
    spec: PiumaSpec,
    memory: MemoryMap,
    op: Op,
    operands: tuple[list[SparseArrays], list[int]],
) -> Launch:
    """Append the step of ``op``, whose sparse and dense ``operands`` have places."""
    matrices, dense = operands
    kernel, attrs = op.attrs["kernel"], op.attrs
    m, n = op.dims["m"], op.dims["n"]
    if kernel in SPARSE_STEPS:
        result = memory.add_sparse(op.output, m, attrs["capacity"])
        if kernel == "walks":
            return _write_walks(a, spec, memory, op, (matrices[0], result), dense[0])
        counts = memory.add(f"{op.output}.counts", counts_bytes(spec))
        copy = RowCopy(m, matrices[0], result, counts)
        return _filter(spec, memory, op, copy, dense).write(a)
    address = memory.add(op.output, 8 * m * n)
    if kernel == "select":
        rows = attrs["rows"]
        return RadixSelect(spec, rows, matrices[0], dense[0], address, attrs["count"]).write(a)
    if kernel.startswith("vertex"):
        return write_vertex(a, spec, m, matrices[0], dense[0] if dense else None, address)
    if kernel == "combine":
        parts = list(zip(matrices, attrs["factors"], strict=True))
        return write_combine(a, spec, (m, n), parts, address)
    if kernel == "dense":
        return write_dense(a, spec, (m, attrs["depth"], n), dense[0], dense[1], address)
    layer = BlockRows(m, n, attrs["block"], matrices[0], dense[0], address)
    return write_block_rows(a, spec, layer)


def _write_walks(
    a: Assembler,
    spec: PiumaSpec,
    memory: MemoryMap,
    op: Op,
    graph: tuple[SparseArrays, SparseArrays],
    thresholds: int,
) -> Launch:
    n, most = op.dims["m"], op.attrs["row_products"]
    room = Room.place(memory, spec, op.output, n, n * min(n, most))
    private = SortedRows.place(memory, spec, op.output, most)
    return WalkRows(spec, (n, *graph), room, private, thresholds, op.attrs).write(a)


def _filter(spec: PiumaSpec, memory: MemoryMap, op: Op, copy: RowCopy, dense: list[int]) -> Filter:
    attrs = op.attrs
    if attrs["kernel"] == "filter-small":
        return DropSmall(spec, copy, scale=attrs["scale"], least=attrs["least"])
    if attrs["kernel"] == "filter-seen":
        columns = op.dims["n"]
        return DropSeen(spec, copy, level=dense[0], columns=columns, depth=attrs["depth"])
    ties = memory.add(f"{op.output}.ties", counts_bytes(spec))
    return PruneEdges(spec, copy, scores=dense[0], bound=dense[1], ties=ties)
