"""Follow attention's loads and stores through memory and buffers: which operands meet?

As in :mod:`fetch`, memory and buffers hold what a value is instead of the value: a *cell*, the
number of a head and two places inside its operand, -1 for nothing. Caches hold what the stores of
the same program put where their addresses say; what earlier programs and other cores have put
there is where the layout has it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwsim.core.units import ceil_div
from hwsim.flightllm.attention_view import group_view, heads_of_core
from hwsim.flightllm.body import pieces
from hwsim.flightllm.emit_step import STEP_BUCKET
from hwsim.flightllm.isa import LD, LD_MODES, MM, MV, SPREAD, STRIPED, TURNED
from hwsim.flightllm.kept_cells import BLOCK, Cells, block_cells, cells
from hwsim.flightllm.places import CHANNELS, COLUMN_BLOCKS
from hwsim.flightllm.plan import Layer
from hwsim.flightllm.spec import FlightSpec

__all__ = ["MetHead", "Memory", "met_prompt", "met_step"]

_A, _B = LD_MODES.index("a"), LD_MODES.index("b")
_OUTPUT, _ZERO = 8, 1


@dataclass(frozen=True)
class MetHead:
    """What one output of ``head``, counted from the program's first, is summed over.

    ``rows`` int[m], ``columns`` int[n] : where its values belong, by token or dimension; ``a``
    int[m, k] and ``b`` int[k, n] : cells; ``tiles`` : lengths over k per instruction.
    """

    head: int
    rows: Cells
    columns: Cells
    a: Cells
    b: Cells
    tiles: tuple[int, ...]


@dataclass(frozen=True)
class Memory:
    """Where a layer's operands begin in its channels, and the cells of its cache.

    ``cache`` int[channels, bytes] : from its base on.
    """

    input_base: int
    cache_base: int
    cache: Cells


def _at(memory: Cells, channel: int, first: int, size: int) -> Cells:
    """Return ``size`` cells from ``first`` on, -1 outside of ``memory``."""
    found = np.full(size, -1, np.int64)
    low, high = max(0, first), min(memory.shape[1], first + size)
    if low < high:
        found[low - first : high - first] = memory[channel, low:high]
    return found


def _blocks(row: np.void, memory: Memory) -> Iterator[Cells]:
    """Yield the blocks [16, 16] of a load from the cache; turned ones with rows as columns."""
    channel, first = int(row["channel"]), int(row["address"]) - memory.cache_base
    size, count, stride = int(row["length"]), int(pieces(row)), int(row["stride"])
    if row["flags"] & SPREAD:
        for index in range(size * count // BLOCK**2):
            slot, inside = divmod(channel + index, CHANNELS)
            place = first + slot * stride
            yield _at(memory.cache, inside, place, BLOCK**2).reshape(BLOCK, BLOCK)
        return
    for piece in range(count):
        found = _at(memory.cache, channel, first + piece * stride, size)
        for block in found[: size // BLOCK**2 * BLOCK**2].reshape(-1, BLOCK, BLOCK):
            yield block.T if row["flags"] & TURNED else block


def met_step(
    code: NDArray[np.void], layer: Layer, memory: Memory, spec: FlightSpec, columns: int
) -> Iterator[MetHead]:
    """Yield the operands of every output of a step below ``columns``, in turn."""
    context = ceil_div(layer.context, STEP_BUCKET) * STEP_BUCKET
    is_scores = layer.kind == "scores"
    width = layer.k if is_scores else layer.n
    a = np.full((CHANNELS, spec.buffers.a_depth, COLUMN_BLOCKS * BLOCK), -1, np.int64)
    if not is_scores:  # an address of a channel holds a block of 16 tokens by 16 columns
        a = np.full((CHANNELS, spec.buffers.a_depth, BLOCK, BLOCK), -1, np.int64)
    b = np.full(2 * spec.buffers.b_depth * BLOCK, -1, np.int64)
    groups = ceil_div(context, spec.mpe.mv_columns) if is_scores else 1
    parts: dict[int, list[tuple[Cells, Cells]]] = {}
    done = 0
    for row in code:
        bank = int(row["bank"])
        if row["unit"] == LD and row["mode"] == _B:
            first = int(row["address"]) - CHANNELS * memory.input_base
            index = first + np.arange(int(row["length"]) * int(pieces(row)))
            head, place = np.divmod(index, layer.k if is_scores else context)
            is_there = (index >= 0) & (head < layer.heads) & bool(row["flags"] & STRIPED)
            found = np.where(is_there, cells(head, 0, place), -1)
            b[bank * BLOCK :][: len(found)] = found
        elif row["unit"] == LD and row["mode"] == _A:
            per_piece = width // BLOCK
            for number, block in enumerate(_blocks(row, memory)):
                piece, inside = divmod(number, per_piece)
                if is_scores:
                    places = (bank + inside * BLOCK + np.arange(BLOCK)) % a.shape[1]
                    lanes = slice(piece * BLOCK, piece * BLOCK + BLOCK)
                    if piece < COLUMN_BLOCKS:
                        a[row["channel"], places, lanes] = block
                else:
                    a[row["channel"], (bank + number) % a.shape[1]] = block
        elif row["unit"] == MV:
            k, start = int(row["k"]), int(row["a"])
            x = b[int(row["b"]) * BLOCK :][: k * BLOCK][None]
            w = _step_weights(a, start, k, width, is_scores)
            parts.setdefault(bank, []).append((x, w))
            if not row["flags"] & _OUTPUT:
                continue
            group = bank % groups if is_scores else 0
            head = done // groups
            if is_scores:  # kv heads in turn, in each its groups of keys, in each the queries
                kv_head, rest = divmod(done, groups * layer.group)
                head = kv_head * layer.group + bank // groups
                del rest
            else:
                head = bank
            done += 1
            first = group * spec.mpe.mv_columns
            found_parts = parts.pop(bank)
            if first < columns:
                yield _joined(head, np.zeros(1, np.int64), first, found_parts, columns)


def _step_weights(a: Cells, start: int, k: int, width: int, is_scores: bool) -> Cells:
    """Return the cells [k * 16, columns] that an MV meets in the A buffer."""
    if is_scores:
        places = (start + np.arange(k * BLOCK)) % a.shape[1]
        lanes = a[:, places].reshape(CHANNELS, k * BLOCK, COLUMN_BLOCKS, BLOCK)
        return lanes.transpose(1, 2, 0, 3).reshape(k * BLOCK, -1)
    per_block = width // BLOCK
    slot, channel = np.divmod(np.arange(k), CHANNELS)
    places = (start + slot[:, None] * per_block + np.arange(per_block)) % a.shape[1]
    found = a[channel[:, None], places]  # [k, columns of blocks, 16, 16]
    return found.transpose(0, 2, 1, 3).reshape(k * BLOCK, width)


def _joined(
    head: int, rows: Cells, first: int, parts: list[tuple[Cells, Cells]], columns: int
) -> MetHead:
    a = np.concatenate([x for x, _ in parts], axis=1)
    b = np.concatenate([w for _, w in parts], axis=0)
    places = first + np.arange(b.shape[1])
    is_asked = places < columns
    tiles = tuple(x.shape[1] for x, _ in parts)
    return MetHead(head, rows, places[is_asked], a, b[:, is_asked], tiles)


def met_prompt(
    code: NDArray[np.void],
    layer: Layer,
    memory: Memory,
    spec: FlightSpec,
    rows: int,
    columns: int,
) -> Iterator[MetHead]:
    """Yield the operands of the outputs of a prompt for ``rows`` tokens, in turn.

    Of scores' columns those below ``columns`` tokens.
    """
    heads, lines = heads_of_core(layer, spec), spec.mpe.mm_rows
    groups = ceil_div(layer.tokens, lines)
    is_scores = layer.kind == "scores"
    work = [(head, group) for head in range(len(heads)) for group in range(groups)]
    views = [group_view(layer, heads[head], group, spec) for head, group in work]
    share = _scores_cells if is_scores else _shares_cells
    memory_a = share(layer, len(heads), spec)
    loads = code[(code["unit"] == LD) & (code["mode"] == _A)]
    depth = int((loads["bank"] + loads["length"] // BLOCK**2).max())
    a = np.full((CHANNELS, depth, BLOCK, BLOCK), -1, np.int64)
    per_block = spec.buffers.b_block_addresses
    b = np.full((2 * spec.buffers.b_depth // per_block, BLOCK, BLOCK), -1, np.int64)
    number = step = 0
    for row in code:
        if number == len(work):
            break
        head, group = work[number]
        view = views[number]
        is_asked = group * lines < rows
        bank = int(row["bank"])
        if row["unit"] == LD and row["mode"] == _A and is_asked:
            count = int(row["length"]) // BLOCK**2
            found = np.full(count * BLOCK**2, -1, np.int64)
            if not row["flags"] & (_ZERO | STRIPED | SPREAD | TURNED):
                first = int(row["address"]) - memory.input_base
                found = memory_a(int(row["channel"]), first + np.arange(len(found)))
            a[row["channel"], bank : bank + count] = found.reshape(count, BLOCK, BLOCK)
        elif row["unit"] == LD and row["mode"] == _B and is_asked:
            for index, block in enumerate(_blocks(row, memory)):
                b[bank // per_block + index] = block
        elif row["unit"] == MM:
            if is_asked:
                place = int(row["bank"]) * BLOCK
                token = view.token(place) if is_scores else place
                k, start, tile = int(row["k"]), int(row["a"]), int(row["b"]) // per_block
                x = a[:, start : start + k].transpose(0, 2, 1, 3).reshape(lines, k * BLOCK)
                w = b[tile : tile + k].reshape(k * BLOCK, BLOCK).copy()
                tokens = group * lines + np.arange(lines)
                if token < columns:
                    yield _joined_prompt(head, tokens, token, x, w)
            step += 1
            if step == ceil_div(view.union if is_scores else layer.n, BLOCK):
                number, step = number + 1, 0


def _joined_prompt(head: int, rows: Cells, first: int, a: Cells, b: Cells) -> MetHead:
    return MetHead(head, rows, first + np.arange(BLOCK), a, b, (a.shape[1],))


def _scores_cells(layer: Layer, heads: int, spec: FlightSpec):  # type: ignore[no-untyped-def]
    """Return what says which cells of the queries are at a channel's addresses."""
    del heads, spec

    def found(channel: int, place: Cells) -> Cells:
        return block_cells(channel, place, layer.heads * layer.k, layer.k, layer.heads)

    return found


def _shares_cells(layer: Layer, heads: int, spec: FlightSpec):  # type: ignore[no-untyped-def]
    """Return the same of the softmax's results: per head and group of rows, the keys kept."""
    lines = spec.mpe.mm_rows
    groups, context = ceil_div(layer.tokens, lines), ceil_div(layer.context, lines) * lines
    first_heads = heads_of_core(layer, spec)

    def found(channel: int, place: Cells) -> Cells:
        number, rest = np.divmod(place, BLOCK * context)
        block, inside = np.divmod(rest, BLOCK**2)
        line, column = np.divmod(inside, BLOCK)
        position = block * BLOCK + column
        result = np.full(len(place), -1, np.int64)
        for one in np.unique(number[(number >= 0) & (number < heads * groups)]).tolist():
            head, group = divmod(one, groups)
            view = group_view(layer, first_heads[head], group, spec)
            spans = view.spans[channel * BLOCK // spec.mask_block]
            ends = np.cumsum([0, *spans])
            union = np.concatenate(
                [np.arange(ends[i], ends[i + 1]) for i in range(0, len(spans), 2)]
            )
            keys = np.array([view.token(int(place)) for place in union], np.int64)
            mine = (number == one) & (position < len(keys))
            row = group * lines + channel * BLOCK + line[mine]
            result[mine] = cells(head, row, keys[position[mine]])
        return result

    return found
