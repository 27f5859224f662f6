"""Say which key or value lies at every byte of a cache: what stores put there, and the layout."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwsim.core.units import ceil_div
from hwsim.flightllm.isa import MM, ROW, ST
from hwsim.flightllm.layout import Region
from hwsim.flightllm.lower import FlightProgram
from hwsim.flightllm.places import CACHE, CHANNELS, RESULT
from hwsim.flightllm.plan import Layer, phase_of
from hwsim.flightllm.spec import FlightSpec

__all__ = ["BLOCK", "Cells", "block_cells", "cache_cells", "cells", "parts_of"]

Cells = NDArray[np.int64]
BLOCK = 16
_BITS = 21
_OUTPUT = 8


def cells(head: Cells | int, row: Cells | int, column: Cells | int) -> Cells:
    """Return the numbers of places ``row``, ``column`` of ``head``'s operand."""
    return np.asarray((np.asarray(head) << 2 * _BITS) | (np.asarray(row) << _BITS) | column)


def parts_of(cell: Cells) -> tuple[Cells, Cells, Cells]:
    """Return head, row and column of cells that are not -1."""
    most = (1 << _BITS) - 1
    return cell >> 2 * _BITS, cell >> _BITS & most, cell & most


def block_cells(channel: int, place: Cells, columns: int, width: int, heads: int) -> Cells:
    """Return the cells at addresses ``place`` of a channel of rows in blocks of 16 by 16.

    Rows are tokens, 16 of every 128 on a channel, of ``heads`` heads of ``width`` side by side in
    ``columns``.
    """
    slot, rest = np.divmod(place, BLOCK * columns)
    block, inside = np.divmod(rest, BLOCK**2)
    line, column = np.divmod(inside, BLOCK)
    head, dimension = np.divmod(block * BLOCK + column, width)
    token = (slot * CHANNELS + channel) * BLOCK + line
    return np.where((place >= 0) & (head < heads), cells(head, token, dimension), -1)


def cache_cells(program: FlightProgram, number: int, width: int, spec: FlightSpec) -> Cells:
    """Return the cells of the cache of run ``number``, int[channels, bytes], heads of ``width``.

    What the runs before it in the same phase store is where they store it; all else of the cache,
    as the layout has it.
    """
    region = program.layout.operands[number][CACHE]
    layer = program.runs[number].layer
    heads = ceil_div(layer.heads // layer.group, spec.shares)
    found = np.stack(
        [
            block_cells(channel, np.arange(region.size), heads * width, width, heads)
            for channel in range(CHANNELS)
        ]
    )
    phase = phase_of(program.runs[number].op)
    for other in range(number):
        is_writer = program.layout.operands[other].get(RESULT) is region
        if is_writer and phase_of(program.runs[other].op) == phase:
            _store(program, other, found, region, width, spec)
    return found


def _store(
    program: FlightProgram,
    number: int,
    found: Cells,
    region: Region,
    width: int,
    spec: FlightSpec,
) -> None:
    """Put the results of run ``number`` where its stores say, and nowhere else."""
    run = program.runs[number]
    code = program.code(run)
    if run.layer.kind == "cache":
        _store_row(run.layer.context - 1, code, found, region, width)
    else:
        _store_blocks(run.layer, code, found, region, width, spec)


def _store_row(
    token: int, code: NDArray[np.void], found: Cells, region: Region, width: int
) -> None:
    """Put a step's new row, a line of every block, where its store says."""
    found[(parts_of(found)[1] == token) & (found >= 0)] = -1
    for store in code[(code["unit"] == ST) & (code["flags"] & ROW > 0)]:
        at = int(store["address"]) - region.base
        for first in range(0, int(store["length"]), BLOCK):
            own = first + np.arange(BLOCK)
            line = cells(own // width, token, own % width)
            _put(found, int(store["channel"]), at + first * BLOCK, line)


def _store_blocks(
    layer: Layer,
    code: NDArray[np.void],
    found: Cells,
    region: Region,
    width: int,
    spec: FlightSpec,
) -> None:
    """Put a prompt's rows where the stores behind its products say, by the buffer's places."""
    steps, lines = ceil_div(ceil_div(layer.n, BLOCK), spec.shares), spec.mpe.mm_rows
    head, row, column = parts_of(found)
    is_own = (row < ceil_div(layer.tokens, lines) * lines) & (found >= 0)
    found[is_own & (head * width + column < steps * BLOCK)] = -1
    outputs = (code["unit"] == MM) & (code["flags"] & _OUTPUT > 0)
    buffer: dict[int, int] = {}
    done = 0
    for one in code[(code["unit"] == ST) | outputs]:
        bank = int(one["bank"])
        if one["unit"] == MM:
            buffer[bank], done = done, done + 1
            continue
        group, step = divmod(buffer.get(bank, -1), steps)
        token = group * lines + int(one["channel"]) * BLOCK + np.arange(BLOCK)[:, None]
        own = step * BLOCK + np.arange(BLOCK)
        block = cells(own // width, token, own % width).reshape(-1)[: int(one["length"])]
        block = block if bank in buffer else np.full_like(block, -1)
        _put(found, int(one["channel"]), int(one["address"]) - region.base, block)


def _put(found: Cells, channel: int, first: int, values: Cells) -> None:
    """Write ``values`` from ``first`` on, as far as that is inside."""
    place = first + np.arange(len(values))
    is_inside = (place >= 0) & (place < found.shape[1])
    found[channel, place[is_inside]] = values[is_inside]
