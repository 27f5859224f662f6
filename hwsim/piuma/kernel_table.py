"""Name every kernel, and write the one that an op asks for with places for what it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.graph import Op, OpKind
from hwsim.piuma.dense_rows import DenseProduct, write_sddmm, write_spmm
from hwsim.piuma.isa import Assembler
from hwsim.piuma.memory_map import MemoryMap, SparseArrays, transposed
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
from hwsim.piuma.steps.write import STEPS, write_step

__all__ = ["KERNELS", "Writer", "is_in_pieces"]

KERNELS: dict[str, tuple[str, ...]] = {
    "spgemm": ("smash-v3", "smash-v2", "smash-v1", "row-heap", "row-esc", "inner", "outer"),
    "spmv": ("spmv",),
    "spmm": ("spmm", "spmm-stp", "spmm-mixed"),
    "sddmm": ("sddmm",),
    "sparse_step": STEPS,
}
"""Kind of op -> its kernels, the default first."""


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
    prepared : dict of name to array or None
        What was brought into another order, to lie in memory when the program begins; None for
        an operand without values.
    """

    def __init__(
        self, spec: PiumaSpec, memory: MemoryMap, values: Mapping[str, NDArray[Any]]
    ) -> None:
        self.spec, self.memory, self.values = spec, memory, values
        self.prepared: dict[str, NDArray[Any] | None] = {}
        self._in_pieces: set[str] = set()

    def write(self, a: Assembler, op: Op, kernel: str) -> Launch:
        """Append ``op`` by ``kernel``, give its result a place; return where threads begin."""
        if op.kind is OpKind.SPGEMM:
            return self._write_spgemm(a, op, kernel)
        matrices, dense = self._operands(op)
        if op.kind is OpKind.SPARSE_STEP:
            return write_step(a, self.spec, self.memory, op, (matrices, dense))
        m, k, n = op.dims["m"], op.dims["k"], op.dims["n"]
        if op.kind is OpKind.SDDMM:
            c = self.memory.add(op.output, 8 * max(1, op.attrs["nnz_a"]))
            return write_sddmm(a, self.spec, DenseProduct(m, k, matrices[0], dense[0], dense[1], c))
        c = self.memory.add(op.output, 8 * m * n)
        is_rectified = op.attrs.get("is_rectified", False)
        product = DenseProduct(m, n, matrices[0], 0, dense[0], c, is_rectified=is_rectified)
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
                continue
            if f"{names[position]}.ptr" in self.memory:
                matrices.append(self._result(names[position]))
            else:
                dense.append(self.memory.address(names[position]))
            position += 1
        return matrices, dense

    def _result(self, name: str) -> SparseArrays:
        """Return the addresses of an earlier op's sparse result."""
        places = [self.memory.address(f"{name}.{part}") for part in ("ptr", "col", "val")]
        if name not in self._in_pieces:
            return SparseArrays(*places)
        return SparseArrays(*places, self.spec.blocks, self.memory.address(f"{name}.starts"))

    def _write_tiles(
        self, a: Assembler, op: Op, product: DenseProduct, *, has_cold: bool
    ) -> Launch:
        """Append SpMM over tiles, the matrix cut into them beforehand."""
        require_pipelines(self.spec, has_cold=has_cold)
        names = [operand.tensor for operand in op.inputs[:3]]
        for name in names:
            if name not in self.values:
                raise InputError(f"tensor {name}", "values, to cut it into tiles", "none attached")
        ptr, col, val = (self.values[name] for name in names)
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
        if pieces > 1:
            self._in_pieces.add(op.output)
        product = add_product(
            *(self.memory, self.spec, extents, (matrices[0], matrices[1]), result),
            name=op.output,
            is_integer=False,
        )
        if kernel.startswith("smash"):
            return write_smash(a, self.spec, product, int(kernel[-1]))
        return self._row_product(op, product, kernel).write(a)

    def _row_product(self, op: Op, product: SparseProduct, kernel: str) -> RowProduct:
        """Return the baseline ``kernel``."""
        spec, memory, name, attrs = self.spec, self.memory, op.output, op.attrs
        room = Room.place(memory, spec, name, product.m, attrs["capacity"])
        if kernel == "inner":
            return InnerRows(spec, product, room, self._by_columns(op, 3, product.n))
        if kernel == "row-esc":
            most = attrs["row_products"]
            private = SortedRows.place(memory, spec, name, most)
            return SortedRows(spec, product, room, private, most)
        most = attrs["row_nonzeros"]
        private = HeapRows.place(memory, spec, name, most)
        if kernel == "row-heap":
            return HeapRows(spec, product, room, private, most)
        counts = (product.m, attrs["nnz_a"], attrs["products"])
        partials = Partials.place(memory, name, self._by_columns(op, 0, product.k), counts)
        return OuterProduct(spec, product, room, private, most, partials)

    def _by_columns(self, op: Op, position: int, columns: int) -> SparseArrays:
        """Place the sparse operand whose arrays begin at ``position`` once more, by columns."""
        names = [operand.tensor for operand in op.inputs[position : position + 3]]
        sizes = [4 * (columns + 1), *(self.memory.size_bytes(name) for name in names[1:])]
        keys = [f"{op.output}.by_columns.{name}" for name in names]
        places = [self.memory.add(*pair) for pair in zip(keys, sizes, strict=True)]
        self.prepared |= dict.fromkeys(keys)
        if all(name in self.values for name in names):
            arrays = transposed(*(self.values[name] for name in names), columns)
            self.prepared |= zip(keys, arrays, strict=True)
        return SparseArrays(*places)
