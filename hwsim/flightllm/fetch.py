"""Follow a projection's loads through memory and buffers: which operands does each product meet?

Memory is what :mod:`layout` says it is; instructions find in it what their addresses find.
Buffers hold, instead of values, which row and column of the matrix a place was filled from, -1 if
from none. Instructions run in program order, which their tokens keep.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.units import ceil_div
from hwsim.flightllm.body import pieces
from hwsim.flightllm.isa import LD, LD_MODES, MM, MV, STRIPED
from hwsim.flightllm.lower import FlightProgram
from hwsim.flightllm.places import (
    CHANNELS,
    COLUMN_BLOCKS,
    INPUT,
    WEIGHTS,
    block_bytes,
    weight_ratio,
)
from hwsim.flightllm.spec import FlightSpec

__all__ = ["Met", "met_operands"]

_BLOCK = 16
_GROUP_COLUMNS = CHANNELS * COLUMN_BLOCKS * _BLOCK
_A, _B = LD_MODES.index("a"), LD_MODES.index("b")
_OUTPUT = 8
"""Flag of an output's last product."""

Index = NDArray[np.int64]


@dataclass(frozen=True)
class Met:
    """Products that have their activations in common.

    ``rows``, ``columns`` int[m, k] : of the activations; ``k``, ``n`` int[k, columns] : of the
    weights, for the outputs ``first`` and following; ``tiles`` : lengths over k per instruction.
    """

    rows: Index
    columns: Index
    k: Index
    n: Index
    first: int
    tiles: tuple[int, ...]


def met_operands(
    program: FlightProgram, number: int, spec: FlightSpec, m: int, n: int
) -> list[Met]:
    """Return what meets in the projection that run ``number`` is, for ``m`` rows and ``n`` outputs.

    Columns are the first core's. Runs of one body whose operands are where their bases say meet
    the same. Raises :class:`InputError` if the program gives fewer outputs.
    """
    run = program.runs[number]
    regions = program.layout.operands[number]
    off = tuple(run.bases[o] - regions[o].base for o in (WEIGHTS, INPUT))
    key = (run.body, off, run.layer.k, run.layer.n, m, n)
    if key not in program.met:
        program.met[key] = list(_meetings(program, number, spec, m, n))
    return program.met[key]


def _meetings(
    program: FlightProgram, number: int, spec: FlightSpec, m: int, n: int
) -> Iterator[Met]:
    run = program.runs[number]
    walk = (_StepWalk if run.layer.tokens == 1 else _PromptWalk)(program, number, spec)
    groups = 1 if run.layer.tokens == 1 else ceil_div(m, spec.mpe.mm_rows)
    steps = ceil_div(n, walk.width)
    found = 0
    held: list[Met] = []
    for met in walk.outputs():
        if met.first < n:
            found += 1
            if held and not _fits(held[-1], met):
                yield _joined(held)
                held = []
            held.append(met)
        if found == groups * steps:
            break
    if held:
        yield _joined(held)
    if found < groups * steps:
        raise InputError(f"op {run.op}", f"{groups * steps} outputs in the program", str(found))


def _fits(before: Met, met: Met) -> bool:
    """Return whether ``met`` goes on where ``before`` ends, with the same activations."""
    return (
        met.first == before.first + before.n.shape[1]
        and met.tiles == before.tiles
        and np.array_equal(met.rows, before.rows)
        and np.array_equal(met.columns, before.columns)
    )


def _joined(held: list[Met]) -> Met:
    k, n = (np.concatenate([getattr(met, name) for met in held], axis=1) for name in ("k", "n"))
    one = held[0]
    return Met(one.rows, one.columns, k, n, one.first, one.tiles)


class _Walk:
    """What both kinds of programs have in common: blocks of weights, found by their address."""

    width = _GROUP_COLUMNS
    unit = MV

    def __init__(self, program: FlightProgram, number: int, spec: FlightSpec) -> None:
        run = program.runs[number]
        self.code = program.code(run)
        regions = program.layout.operands[number]
        self.weights, self.input = regions[WEIGHTS].base, regions[INPUT].base
        self.layer, self.spec = run.layer, spec
        self.k_blocks = ceil_div(run.layer.k, _BLOCK)
        self.block = block_bytes(run.layer, spec)
        self.exact = _BLOCK * _BLOCK / weight_ratio(run.layer, spec)
        groups = ceil_div(ceil_div(run.layer.n, _GROUP_COLUMNS), spec.shares)
        self.blocks = groups * self.k_blocks * COLUMN_BLOCKS

    def outputs(self) -> Iterator[Met]:
        """Yield every output's operands."""
        parts: list[tuple[Index, ...]] = []
        for row in self.code:
            if row["unit"] == LD and not row["flags"] & 1:
                self.load(row)
            elif row["unit"] == self.unit:
                parts.append(self.product(row))
                if row["flags"] & _OUTPUT:
                    tiles = tuple(part[0].shape[-1] for part in parts)
                    rows, columns = (np.concatenate([p[i] for p in parts], 1) for i in (0, 1))
                    k, n = (np.concatenate([p[i] for p in parts], 0) for i in (2, 3))
                    yield Met(rows, columns, k, n, int(row["bank"]) * self.width, tiles)
                    parts = []

    def load(self, row: np.void) -> None:
        """Fill a buffer."""
        raise NotImplementedError

    def product(self, row: np.void) -> tuple[Index, ...]:
        """Return rows and columns of activations, k and columns of weights that meet."""
        raise NotImplementedError

    def found(self, row: np.void, count: int, stride: int) -> tuple[Index, Index]:
        """Return k and column of ``count`` blocks from a load's address on : int[count, 16, 16]."""
        places = int(row["address"]) - self.weights + stride * np.arange(count)
        index = places // self.block
        is_block = (places % self.block == 0) & (index >= 0) & (index < self.blocks)
        is_block &= not row["flags"] & STRIPED
        column = index % COLUMN_BLOCKS
        group, k_block = np.divmod(index // COLUMN_BLOCKS, self.k_blocks)
        lines = np.arange(_BLOCK)
        first = group * _GROUP_COLUMNS + (column * CHANNELS + int(row["channel"])) * _BLOCK
        shape = (count, _BLOCK, _BLOCK)
        k = np.broadcast_to((k_block * _BLOCK)[:, None, None] + lines[:, None], shape)
        n = np.broadcast_to(first[:, None, None] + lines, shape)
        is_there = is_block[:, None, None]
        return np.where(is_there, k, -1), np.where(is_there, n, -1)


class _StepWalk(_Walk):
    """A vector in the B buffer, tiles of 512 columns in the A buffer."""

    def __init__(self, program: FlightProgram, number: int, spec: FlightSpec) -> None:
        super().__init__(program, number, spec)
        depth = spec.buffers.a_depth
        shape = (2, CHANNELS, depth, COLUMN_BLOCKS * _BLOCK)
        self.a = np.full(shape, -1, np.int64)
        self.b = np.full((spec.buffers.b_depth + self.k_blocks) * _BLOCK, -1, np.int64)

    def load(self, row: np.void) -> None:
        depth, bank = self.a.shape[2], int(row["bank"])
        size = int(row["length"] * pieces(row))
        if row["mode"] == _B:
            first = int(row["address"]) - CHANNELS * self.input
            index = first + np.arange(size)
            is_there = (index >= 0) & (index < self.layer.k) & bool(row["flags"] & STRIPED)
            self.b[bank * _BLOCK : bank * _BLOCK + size] = np.where(is_there, index, -1)[
                : len(self.b) - bank * _BLOCK
            ]
        if row["mode"] == _A:
            blocks = int(size / self.exact)
            rows = blocks // COLUMN_BLOCKS
            addresses = (bank + np.arange(rows * _BLOCK)) % depth
            for kind, values in enumerate(self.found(row, blocks, self.block)):
                tile = values.reshape(rows, COLUMN_BLOCKS, _BLOCK, _BLOCK).swapaxes(1, 2)
                self.a[kind, row["channel"], addresses] = tile.reshape(rows * _BLOCK, -1)

    def product(self, row: np.void) -> tuple[Index, ...]:
        size = int(row["k"]) * _BLOCK
        addresses = (int(row["a"]) + np.arange(size)) % self.a.shape[2]
        lanes = self.a[:, :, addresses].reshape(2, CHANNELS, size, COLUMN_BLOCKS, _BLOCK)
        k, n = lanes.transpose(0, 2, 3, 1, 4).reshape(2, size, -1)
        x = self.b[int(row["b"]) * _BLOCK :][:size][None]
        return np.zeros_like(x), x, k, n


class _PromptWalk(_Walk):
    """128 rows in the A buffer, 16 columns of weights in a half of the B buffer."""

    width = _BLOCK
    unit = MM

    def __init__(self, program: FlightProgram, number: int, spec: FlightSpec) -> None:
        super().__init__(program, number, spec)
        self.lines = spec.mpe.mm_rows // CHANNELS
        rows = self.code[(self.code["unit"] == LD) & (self.code["mode"] == _A)]
        depth = int(rows["bank"].max()) + self.k_blocks + 1
        self.a = np.full((2, CHANNELS, depth, self.lines, _BLOCK), -1, np.int64)
        self.per_block = spec.buffers.b_block_addresses
        self.b = np.full((2, spec.buffers.b_depth // self.per_block, _BLOCK, _BLOCK), -1, np.int64)

    def load(self, row: np.void) -> None:
        count, bank = int(pieces(row)), int(row["bank"])
        if row["mode"] == _B:
            stride = int(row["stride"]) if count > 1 else self.block
            for kind, values in enumerate(self.found(row, count, stride)):
                self.b[kind, bank // self.per_block :][:count] = values
        if row["mode"] == _A:
            size = self.lines * _BLOCK
            blocks = ceil_div(int(row["length"]), size)
            places = int(row["address"]) - self.input + size * np.arange(blocks)
            is_there = (places % size == 0) & (places >= 0) & (not row["flags"] & STRIPED)
            group, block = np.divmod(places // size, self.k_blocks)
            first = group * self.spec.mpe.mm_rows + int(row["channel"]) * self.lines
            lines, columns = np.arange(self.lines)[:, None], np.arange(_BLOCK)
            for kind, start in enumerate((first, block * _BLOCK)):
                values = start[:, None, None] + (columns if kind else lines)
                values = np.where(is_there[:, None, None], values, -1)
                self.a[kind, row["channel"], bank : bank + blocks] = values

    def product(self, row: np.void) -> tuple[Index, ...]:
        blocks, a, b = int(row["k"]), int(row["a"]), int(row["b"]) // self.per_block
        size = blocks * _BLOCK
        tile = self.a[:, :, a : a + blocks].transpose(0, 1, 3, 2, 4)
        rows, columns = tile.reshape(2, self.spec.mpe.mm_rows, size)
        k, n = self.b[:, b : b + blocks].reshape(2, size, _BLOCK)
        return rows, columns, k, n
