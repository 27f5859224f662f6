"""Describe the dense GEMM micro-kernels, the opponents of the sparse ones.

Activations in rows (HWC layout: a pixel's channels are contiguous), ``nr`` = 8 output channels per
block, weights packed per block: 8 biases, then 8 weights per input channel (XNNPACK's ``f32-gemm``
6x8 and 4x8). With lane operands two input channels per turn are read as 8 bytes of each row
("lane-ld64"); without them one value of each row is broadcast per turn ("loadsplat"; unrolling
that loop costs up to a fifth of the speed in wasmtime).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.units import ceil_div
from hwsim.cpu.microkernel.ir import Kernel, KernelBuilder, Reg
from hwsim.cpu.microkernel.target import Target

__all__ = ["ARGUMENT_NAMES", "BLOCK", "Rows", "check_rows", "describe_gemm", "pack_dense"]

BLOCK = 8
"""Output channels per block."""

ARGUMENT_NAMES = (
    "rows",  # pixels, at least 1
    "channels",  # output channels, at least 1
    "depth",  # input channels, at least 1
    "a",
    "a_stride",  # bytes from a row to the next
    "weights",
    "c",
    "c_stride",
)


def pack_dense(
    weights: NDArray[np.floating], bias: NDArray[np.floating] | None = None
) -> NDArray[np.float32]:
    """Return weights[co, k] as the kernel streams them : float32[ceil(co / 8) * 8 * (k + 1)].

    Channels beyond ``co`` are zero.
    """
    co, k = weights.shape
    blocks = ceil_div(co, BLOCK)
    padded = np.zeros((blocks * BLOCK, k + 1), dtype=np.float32)
    padded[:co, 0] = 0 if bias is None else bias
    padded[:co, 1:] = weights
    return np.ascontiguousarray(padded.reshape(blocks, BLOCK, k + 1).transpose(0, 2, 1)).reshape(-1)


def describe_gemm(target: Target, mr: int, nr: int = BLOCK) -> Kernel:
    """Return the dense kernel of ``mr`` (1 to 8) rows by 8 output channels."""
    check_rows("gemm", mr, nr)
    k = KernelBuilder(f"gemm_{mr}x{nr}", ARGUMENT_NAMES)
    args = dict(zip(ARGUMENT_NAMES, k.args, strict=True))
    with k.loop(args["rows"], mr, until="below"):
        Rows(k, target, args, mr).write()
    for count in (4, 2, 1):
        if count < mr:
            with k.when(args["rows"], count, test="bit"):
                Rows(k, target, args, count).write()
    return k.build()


def check_rows(family: str, mr: int, nr: int) -> None:
    """Raise :class:`InputError` unless there is a dense kernel of ``mr`` by ``nr``."""
    if not 1 <= mr <= 8 or nr != BLOCK:
        raise InputError("kernel", f"{family} of 1 to 8 rows by 8 channels", f"{mr}x{nr}")


class Rows:
    """``count`` rows times all output channels.

    ``args`` are the kernel's arguments by name; channels, depth, weights, c and c_stride are used.
    """

    def __init__(self, k: KernelBuilder, target: Target, args: dict[str, Reg], count: int) -> None:
        self.k, self.target, self.args, self.count = k, target, args, count

    def write(self) -> None:
        """Write the loop over blocks of output channels and go on to the next rows."""
        k, args = self.k, self.args
        with k.integers(2) as (self.w, left), k.integers(self.count) as self.out:
            k.mov(self.w, args["weights"])
            k.mov(left, args["channels"])
            self.rows_of(self.out, args["c"], args["c_stride"])
            with k.loop(left, BLOCK, until="below"), k.vectors(2 * self.count) as acc:
                self._product(acc)
                for row, pointer in enumerate(self.out):
                    k.store(acc[2 * row], pointer)
                    k.store(acc[2 * row + 1], pointer, 16)
                for pointer in self.out:
                    k.addi(pointer, pointer, 4 * BLOCK)
            with k.when(left), k.vectors(2 * self.count) as acc:
                self._product(acc)
                self._store_part(acc, left)
        self.next_rows()

    def next_rows(self) -> None:
        """Go on to the next rows of both operands."""
        for _ in range(self.count):
            self.k.add(self.args["a"], self.args["a"], self.args["a_stride"])
        self.next_outputs()

    def next_outputs(self) -> None:
        """Step the output behind these rows."""
        for _ in range(self.count):
            self.k.add(self.args["c"], self.args["c"], self.args["c_stride"])

    def rows_of(self, pointers: list[Reg], base: Reg, stride: Reg) -> None:
        """Point to rows ``stride`` apart."""
        self.k.mov(pointers[0], base)
        for above, below in zip(pointers, pointers[1:], strict=False):
            self.k.add(below, above, stride)

    def _product(self, acc: list[Reg]) -> None:
        """Write bias, multiply-adds over all input channels, and the clamp."""
        k = self.k
        k.load(acc[0], self.w)
        k.load(acc[1], self.w, 16)
        k.addi(self.w, self.w, 4 * BLOCK)
        for row in range(1, self.count):
            k.mov(acc[2 * row], acc[0])
            k.mov(acc[2 * row + 1], acc[1])
        self.reduce(acc)
        k.clamp(acc)

    def reduce(self, acc: list[Reg]) -> None:
        """Write the multiply-adds of all input channels."""
        k = self.k
        with k.integers(1) as (left,), k.integers(self.count) as rows:
            k.mov(left, self.args["depth"])
            self.rows_of(rows, self.args["a"], self.args["a_stride"])
            self.multiply_rows(acc, rows, left)

    def multiply_rows(self, acc: list[Reg], rows: list[Reg], left: Reg) -> None:
        """Multiply ``left`` values of every row, whose pointer moves behind them."""
        if self.target.has_lane_operand:
            self._by_lane(acc, rows, left)
        else:
            self._by_broadcast(acc, rows, left)

    def _by_lane(self, acc: list[Reg], rows: list[Reg], left: Reg) -> None:
        k = self.k
        with (
            k.loop(left, 2, until="below"),
            k.vectors(self.count) as values,
            k.vectors(4) as weights,
        ):
            for value, row in zip(values, rows, strict=True):
                k.load(value, row, lanes=2, post=8)
            for at, weight in enumerate(weights):
                k.load(weight, self.w, 16 * at)
            k.addi(self.w, self.w, 64)
            for lane in (0, 1):
                self._multiply(acc, values, weights[2 * lane :], lane)
        with k.when(left), k.vectors(self.count) as values, k.vectors(2) as weights:
            for value, row in zip(values, rows, strict=True):
                k.load(value, row, lanes=1, post=4)
            for at, weight in enumerate(weights):
                k.load(weight, self.w, 16 * at)
            k.addi(self.w, self.w, 32)
            self._multiply(acc, values, weights, 0)

    def _multiply(self, acc: list[Reg], values: list[Reg], weights: list[Reg], lane: int) -> None:
        for half in (0, 1):
            for row, value in enumerate(values):
                total = acc[2 * row + half]
                self.k.emit("fma_lane", (total,), (weights[half], value), imm=lane)

    def _by_broadcast(self, acc: list[Reg], rows: list[Reg], left: Reg) -> None:
        k = self.k
        with k.loop(left), k.vectors(2) as weights, k.vectors(self.count) as values:
            for value, pointer in zip(values, rows, strict=True):
                k.emit("load_dup", (value,), (pointer,), post=4)
            for half, weight in enumerate(weights):
                k.load(weight, self.w, 16 * half)
                for row, value in enumerate(values):
                    k.emit("fma", (acc[2 * row + half],), (value, weight))
            k.addi(self.w, self.w, 32)

    def _store_part(self, acc: list[Reg], left: Reg) -> None:
        """Store the channels of a last, partial block: 4, 2 and 1 at a time."""
        k = self.k
        with k.when(left, 4, test="bit"):
            for row, pointer in enumerate(self.out):
                k.store(acc[2 * row], pointer, post=16)
                k.mov(acc[2 * row], acc[2 * row + 1])
        with k.when(left, 2, test="bit"):
            for row, pointer in enumerate(self.out):
                k.store(acc[2 * row], pointer, lanes=2, post=8)
                k.emit("ext", (acc[2 * row],), (acc[2 * row], acc[2 * row]), imm=2)
        with k.when(left, 1, test="bit"):
            for row, pointer in enumerate(self.out):
                k.store(acc[2 * row], pointer, lanes=1)
