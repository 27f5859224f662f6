"""Hold what SMASH's roles share: the product's addresses, the layout, the block's barrier."""

from __future__ import annotations

from dataclasses import dataclass

from hwsim.piuma.isa import BLOCK, SPAD, Assembler, Register
from hwsim.piuma.memory_map import MemoryMap, SparseArrays
from hwsim.piuma.row_range import counts_bytes
from hwsim.piuma.smash_layout import SmashLayout
from hwsim.piuma.spec import PiumaSpec
from hwsim.piuma.state import BLOCK_THREADS

__all__ = ["TOKENS", "WINDOWS", "SmashRole", "SparseProduct", "add_product"]

TOKENS, WINDOWS = 0, 1
"""Queues of a block: work for its threads; halves to be written back."""


@dataclass(frozen=True)
class SparseProduct:
    """Operands and result of C = A · B, and the arrays its kernels need.

    Attributes
    ----------
    m, k, n : int
        Extents.
    a, b, c : SparseArrays
        Addresses; ``c`` is kept in one piece per block.
    bounds : int
        Address of 8 bytes per row: most entries of the row of C.
    sums : int
        Address of 8 bytes per thread: the bounds of its share of rows.
    starts : int
        Address of 16 bytes per block: its first row of C, and the first entry of its piece.
    is_integer : bool
        Whether values are 64-bit integers instead of doubles.
    """

    m: int
    k: int
    n: int
    a: SparseArrays
    b: SparseArrays
    c: SparseArrays
    bounds: int
    sums: int
    starts: int
    is_integer: bool

    @property
    def multiply(self) -> str:
        """Return the instruction that multiplies values."""
        return "mul" if self.is_integer else "fmul"

    @property
    def accumulate(self) -> str:
        """Return the atomic that adds to a sum."""
        return "aadd" if self.is_integer else "afadd"


def add_product(
    memory: MemoryMap,
    spec: PiumaSpec,
    extents: tuple[int, int, int],
    operands: tuple[SparseArrays, SparseArrays],
    result: SparseArrays,
    *,
    name: str,
    is_integer: bool,
) -> SparseProduct:
    """Return the product of placed operands, its auxiliary arrays placed too."""
    m, k, n = extents
    return SparseProduct(
        *(m, k, n, *operands, result),
        bounds=memory.add(f"{name}.bounds", 8 * m),
        sums=memory.add(f"{name}.sums", counts_bytes(spec)),
        starts=memory.add(f"{name}.starts", 16 * spec.blocks),
        is_integer=is_integer,
    )


class SmashRole:
    """One kind of thread of one version; it has the registers to itself."""

    def __init__(self, spec: PiumaSpec, product: SparseProduct, layout: SmashLayout) -> None:
        self.spec, self.product, self.layout = spec, product, layout
        self.block_threads = spec.mtp.pipelines * spec.mtp.threads
        self.is_double = layout.version == 3
        self.has_tokens = layout.version > 1

    def sync(self, a: Assembler) -> None:
        """Wait for the block."""
        a.emit("bar", rs1=BLOCK, imm=BLOCK_THREADS)

    def half_base(self, a: Assembler, base: Register, half: Register) -> None:
        """Set ``base`` to the address from which the window's offsets count."""
        if self.is_double:
            a.emit("muli", base, half, imm=self.layout.half_bytes)
            a.add(base, base, SPAD)
        else:
            a.add(base, SPAD, 0)
