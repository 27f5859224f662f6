"""Name every kernel, and write the one that an op asks for with places for what it needs."""

from __future__ import annotations

from hwsim.core.graph import Op, OpKind
from hwsim.piuma.dense_rows import DenseProduct, write_sddmm, write_spmm
from hwsim.piuma.isa import Assembler
from hwsim.piuma.memory_map import MemoryMap, SparseArrays
from hwsim.piuma.smash import write_smash
from hwsim.piuma.smash_role import SparseProduct, add_product
from hwsim.piuma.spec import PiumaSpec
from hwsim.piuma.spgemm.heap_rows import HeapRows
from hwsim.piuma.spgemm.inner_rows import InnerRows
from hwsim.piuma.spgemm.outer_product import OuterProduct, Partials
from hwsim.piuma.spgemm.row_product import Room, RowProduct
from hwsim.piuma.spgemm.sorted_rows import SortedRows
from hwsim.piuma.state import Launch

__all__ = ["KERNELS", "is_in_pieces", "operands", "write_kernel"]

KERNELS: dict[str, tuple[str, ...]] = {
    "spgemm": ("smash-v3", "smash-v2", "smash-v1", "row-heap", "row-esc", "inner", "outer"),
    "spmv": ("spmv",),
    "spmm": ("spmm",),
    "sddmm": ("sddmm",),
}
"""Kind of product -> its kernels, the default first."""


def is_in_pieces(kernel: str) -> bool:
    """Return whether the kernel leaves a sparse result in one piece per block."""
    return kernel.startswith("smash")


def operands(memory: MemoryMap, op: Op) -> tuple[list[SparseArrays], list[int]]:
    """Return the addresses of an op's sparse operands and of its dense ones, in order."""
    matrices, dense = [], []
    names = [operand.tensor for operand in op.inputs]
    position = 0
    while position < len(names):
        if names[position].endswith(".ptr"):
            places = [memory.address(name) for name in names[position : position + 3]]
            matrices.append(SparseArrays(*places))
            position += 3
        else:
            dense.append(memory.address(names[position]))
            position += 1
    return matrices, dense


def write_kernel(a: Assembler, spec: PiumaSpec, memory: MemoryMap, op: Op, kernel: str) -> Launch:
    """Append ``op`` by ``kernel`` and return where its threads begin; its result gets a place."""
    matrices, dense = operands(memory, op)
    m, k, n = op.dims["m"], op.dims["k"], op.dims["n"]
    if op.kind is OpKind.SPGEMM:
        return _write_spgemm(a, spec, memory, op, kernel)
    if op.kind is OpKind.SDDMM:
        c = memory.add(op.output, 8 * max(1, op.attrs["nnz_a"]))
        return write_sddmm(a, spec, DenseProduct(m, k, matrices[0], dense[0], dense[1], c))
    c = memory.add(op.output, 8 * m * n)
    return write_spmm(a, spec, DenseProduct(m, n, matrices[0], 0, dense[0], c))


def _write_spgemm(a: Assembler, spec: PiumaSpec, memory: MemoryMap, op: Op, kernel: str) -> Launch:
    matrices, _ = operands(memory, op)
    extents = (op.dims["m"], op.dims["k"], op.dims["n"])
    pieces = spec.blocks if is_in_pieces(kernel) else 1
    result = memory.add_sparse(op.output, extents[0], op.attrs["capacity"], pieces)
    product = add_product(
        *(memory, spec, extents, (matrices[0], matrices[1]), result),
        name=op.output,
        is_integer=False,
    )
    if kernel.startswith("smash"):
        return write_smash(a, spec, product, int(kernel[-1]))
    return _row_product(spec, memory, op, product, kernel, matrices[2:]).write(a)


def _row_product(
    spec: PiumaSpec,
    memory: MemoryMap,
    op: Op,
    product: SparseProduct,
    kernel: str,
    by_columns: list[SparseArrays],
) -> RowProduct:
    """Return the baseline ``kernel``; ``by_columns`` holds what it wants by columns beside."""
    name, attrs = op.output, op.attrs
    room = Room.place(memory, spec, name, product.m, attrs["capacity"])
    if kernel == "inner":
        return InnerRows(spec, product, room, by_columns[0])
    if kernel == "row-esc":
        most = attrs["row_products"]
        return SortedRows(spec, product, room, SortedRows.place(memory, spec, name, most), most)
    most = attrs["row_nonzeros"]
    private = HeapRows.place(memory, spec, name, most)
    if kernel == "row-heap":
        return HeapRows(spec, product, room, private, most)
    counts = (product.m, attrs["nnz_a"], attrs["products"])
    partials = Partials.place(memory, name, by_columns[0], counts)
    return OuterProduct(spec, product, room, private, most, partials)
