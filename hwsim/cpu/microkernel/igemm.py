"""Describe the dense convolution micro-kernels that find their rows through a table.

XNNPACK's ``f32-igemm``: the dense product (:mod:`hwsim.cpu.microkernel.gemm`) once per kernel tap,
sums kept in registers, row pointers stepped through :func:`~hwsim.cpu.microkernel.row_table.\
igemm_table` between taps. Weights are packed as the product's with all taps one behind the other.
"""

from __future__ import annotations

from hwsim.cpu.microkernel.gemm import BLOCK, Rows, check_rows
from hwsim.cpu.microkernel.ir import Kernel, KernelBuilder, Reg
from hwsim.cpu.microkernel.target import Target

__all__ = ["ARGUMENT_NAMES", "describe_igemm"]

ARGUMENT_NAMES = (
    "rows",  # output pixels, at least 1
    "channels",  # output channels, at least 1
    "depth",  # input channels, at least 1
    "taps",  # of the kernel, at least 1
    "input",
    "table",
    "weights",
    "c",
    "c_stride",
)


def describe_igemm(target: Target, mr: int, nr: int = BLOCK) -> Kernel:
    """Return the convolution of ``mr`` (1 to 8) pixels by 8 output channels at once."""
    check_rows("igemm", mr, nr)
    k = KernelBuilder(f"igemm_{mr}x{nr}", ARGUMENT_NAMES)
    args = dict(zip(ARGUMENT_NAMES, k.args, strict=True))
    with k.integers(mr) as rows:
        for row in rows:
            k.mov(row, args["input"])
        with k.loop(args["rows"], mr, until="below"):
            _TableRows(k, target, args, rows).write()
        for count in (4, 2, 1):
            if count < mr:
                with k.when(args["rows"], count, test="bit"):
                    _TableRows(k, target, args, rows[:count]).write()
    return k.build()


class _TableRows(Rows):
    """Rows whose taps are found through the table; ``rows`` stay where they are between tiles."""

    def __init__(
        self, k: KernelBuilder, target: Target, args: dict[str, Reg], rows: list[Reg]
    ) -> None:
        super().__init__(k, target, args, len(rows))
        self.rows = rows

    def write(self) -> None:
        """Step to the first tap of each row, write all output channels, step the table."""
        k, table = self.k, self.args["table"]
        self._step_rows(table)
        with k.integers(1) as (self.cursor,):
            k.mov(self.cursor, table)
            super().write()
        with k.integers(1) as (size,):
            k.const(size, 4 * self.count)
            k.emit("mul", (size,), (size, self.args["taps"]))
            k.add(table, table, size)

    def reduce(self, acc: list[Reg]) -> None:
        """Write the product of every tap."""
        k = self.k
        k.mov(self.cursor, self.args["table"])
        with k.integers(1) as (taps,):
            k.mov(taps, self.args["taps"])
            with k.loop(taps):
                with k.integers(1) as (left,):
                    k.mov(left, self.args["depth"])
                    self.multiply_rows(acc, self.rows, left)
                self._step_rows(self.cursor)

    def next_rows(self) -> None:
        """Go on to the next rows of the output."""
        self.next_outputs()

    def _step_rows(self, table: Reg) -> None:
        with self.k.integers(1) as (step,):
            for row in self.rows:
                self.k.emit("load_s32", (step,), (table,), post=4)
                self.k.add(row, row, step)
