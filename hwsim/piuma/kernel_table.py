"""Name every kernel, and write the one that an op asks for with places for what it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

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
from hwsim.piuma.spmm.hot_tiles import HotTiles, TileArrays, require_pipelines
from hwsim.piuma.spmm.tiles import cut_tiles
from hwsim.piuma.state import Launch

__all__ = ["KERNELS", "Writer", "is_in_pieces"]

KERNELS: dict[str, tuple[str, ...]] = {
    "spgemm": ("smash-v3", "smash-v2", "smash-v1", "row-heap", "row-esc", "inner", "outer"),
    "spmv": ("spmv",),
    "spmm": ("spmm", "spmm-stp", "spmm-mixed"),
    "sddmm": ("sddmm",),
}
"""Kind of product -> its kernels, the default first."""


def is_in_pieces(kernel: str) -> bool:
    """Return whether the kernel leaves a sparse result in one piece per block."""
    return kernel.startswith("smash")


class Writer:
    """Writes kernels, op by op.

    Attributes
    ----------
    memory : MemoryMap
        Places of all arrays; operands are there before their op is written.
    values : mapping from name to array
        Operands' values: a kernel may want them in another order.
    prepared : dict of name to array
        What was brought into another order, to lie in memory when the program begins.
    """

    def __init__(
        self, spec: PiumaSpec, memory: MemoryMap, values: Mapping[str, NDArray[Any]]
    ) -> None:
        self.spec, self.memory, self.values = spec, memory, values
        self.prepared: dict[str, NDArray[Any]] = {}

    def write(self, a: Assembler, op: Op, kernel: str) -> Launch:
        """Append ``op`` by ``kernel``, give its result a place; return where threads begin."""
        if op.kind is OpKind.SPGEMM:
            return self._write_spgemm(a, op, kernel)
        matrices, dense = self._operands(op)
        m, k, n = op.dims["m"], op.dims["k"], op.dims["n"]
        if op.kind is OpKind.SDDMM:
            c = self.memory.add(op.output, 8 * max(1, op.attrs["nnz_a"]))
            return write_sddmm(a, self.spec, DenseProduct(m, k, matrices[0], dense[0], dense[1], c))
        c = self.memory.add(op.output, 8 * m * n)
        product = DenseProduct(m, n, matrices[0], 0, dense[0], c)
        if kernel in ("spmm-stp", "spmm-mixed"):
            return self._write_tiles(a, op, product, has_cold=kernel == "spmm-mixed")
        return write_spmm(a, self.spec, product)

    def _operands(self, op: Op) -> tuple[list[SparseArrays], list[int]]:
        """Return the addresses of an op's sparse operands and of its dense ones, in order."""
        matrices, dense = [], []
        names = [operand.tensor for operand in op.inputs]
        position = 0
        while position < len(names):
            if names[position].endswith(".ptr"):
                places = [self.memory.address(name) for name in names[position : position + 3]]
                matrices.append(SparseArrays(*places))
                position += 3
            else:
                dense.append(self.memory.address(names[position]))
                position += 1
        return matrices, dense

    def _write_tiles(
        self, a: Assembler, op: Op, product: DenseProduct, *, has_cold: bool
    ) -> Launch:
        """Append SpMM over tiles, the matrix cut into them beforehand."""
        require_pipelines(self.spec, has_cold=has_cold)
        ptr, col, val = (self.values[operand.tensor] for operand in op.inputs[:3])
        extents = (op.dims["m"], op.dims["k"], op.dims["n"])
        tiling = cut_tiles(self.spec, (ptr, col, val), extents, has_cold=has_cold)
        if has_cold and not len(tiling.tiles):
            return write_spmm(a, self.spec, product)
        places = {}
        for name, array in tiling.arrays().items():
            places[name] = self.memory.add(f"{op.name}.{name}", array.nbytes)
            self.prepared[f"{op.name}.{name}"] = array
        rows = SparseArrays(places["ptr"], places["col"], places["val"])
        hot = TileArrays(places["tiles"], places["firsts"], rows)
        if has_cold:
            cold = SparseArrays(places["cold_ptr"], places["cold_col"], places["cold_val"])
            product = replace(product, a=cold, is_shared=places["is_shared"])
        return HotTiles(self.spec, product, hot, has_cold=has_cold).write(a)

    def _write_spgemm(self, a: Assembler, op: Op, kernel: str) -> Launch:
        matrices, _ = self._operands(op)
        extents = (op.dims["m"], op.dims["k"], op.dims["n"])
        pieces = self.spec.blocks if is_in_pieces(kernel) else 1
        result = self.memory.add_sparse(op.output, extents[0], op.attrs["capacity"], pieces)
        product = add_product(
            *(self.memory, self.spec, extents, (matrices[0], matrices[1]), result),
            name=op.output,
            is_integer=False,
        )
        if kernel.startswith("smash"):
            return write_smash(a, self.spec, product, int(kernel[-1]))
        return self._row_product(op, product, kernel, matrices[2:]).write(a)

    def _row_product(
        self, op: Op, product: SparseProduct, kernel: str, by_columns: list[SparseArrays]
    ) -> RowProduct:
        """Return the baseline ``kernel``; ``by_columns`` holds what it wants by columns beside."""
        spec, memory, name, attrs = self.spec, self.memory, op.output, op.attrs
        room = Room.place(memory, spec, name, product.m, attrs["capacity"])
        if kernel == "inner":
            return InnerRows(spec, product, room, by_columns[0])
        if kernel == "row-esc":
            most = attrs["row_products"]
            private = SortedRows.place(memory, spec, name, most)
            return SortedRows(spec, product, room, private, most)
        most = attrs["row_nonzeros"]
        private = HeapRows.place(memory, spec, name, most)
        if kernel == "row-heap":
            return HeapRows(spec, product, room, private, most)
        counts = (product.m, attrs["nnz_a"], attrs["products"])
        partials = Partials.place(memory, name, by_columns[0], counts)
        return OuterProduct(spec, product, room, private, most, partials)
