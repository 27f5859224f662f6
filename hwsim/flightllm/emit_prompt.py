"""Append the layers of a prompt: 128 rows stay in the A buffer, weights stream through MM."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

from hwsim.core.units import ceil_div
from hwsim.flightllm.attention_view import GroupView, group_view, heads_of_core
from hwsim.flightllm.body import A_CHANNELS, BodyBuilder, Transfer, bits, groups_of
from hwsim.flightllm.emit_step import B_ADDRESSES, k_tiles
from hwsim.flightllm.isa import LD, MISC, MM, ST, SYS
from hwsim.flightllm.places import (
    INDEX,
    INPUT,
    RESULT,
    SECOND,
    Place,
    block_bytes,
    head_rows,
    prompt_keys,
    prompt_values,
    prompt_weights,
    row_blocks,
    tokens_of,
    vector,
    weight_ratio,
)
from hwsim.flightllm.plan import Layer

__all__ = ["PROMPT_BUCKET", "emit_prompt"]

PROMPT_BUCKET = 128
"""Prompts whose lengths round up to the same multiple share a program."""

_AHEAD = 512
"""Addresses that second operands take in turn."""

_B, _META, _FSB, _A = 0, 1, 3, 4
_ROWS = Transfer(parallel=8)
_INDEX = Transfer(is_crossed=True, parallel=8)
_KEYS = Transfer(is_crossed=True)
_ROW = Transfer()
_RESULTS = Transfer(parallel=8)


def emit_prompt(b: BodyBuilder, layer: Layer) -> None:
    """Append ``layer`` for all tokens, for the core with the largest share, without its barrier."""
    _EMITTERS[layer.kind](b, layer)


def _row_groups(b: BodyBuilder, layer: Layer) -> int:
    """Return the groups of rows of the bucket that the tokens fall into."""
    return ceil_div(layer.tokens, b.spec.mpe.mm_rows)


def _start(is_first: bool) -> int:
    return bits(SYS) if is_first else 0


class _Halves:
    """The halves of the buffers: a tile waits for the product that last used its half of B.

    Rows need not wait: all products of the rows but one before them are done by then, if each has
    two tiles.
    """

    def __init__(self, b: BodyBuilder) -> None:
        self.tiles = 0
        self.size = b.spec.buffers.b_depth // 2
        self.rows = b.spec.buffers.a_depth // 2
        self._each = 0

    @property
    def bank(self) -> int:
        """Return the first address of the latest tile's half."""
        return (self.tiles - 1) % 2 * self.size

    def row_bank(self, number: int, blocks: int) -> int:
        """Return the first address of the group ``number`` of rows, of ``blocks`` of k each."""
        return number % 2 * self.rows if blocks <= self.rows else 0

    def begin(self, index: int) -> None:
        """Begin the repetition ``index`` where it would if all before it had been appended."""
        if index == 1:
            self._each = self.tiles
        elif index > 1:
            self.tiles = index * self._each

    def wait(self) -> int:
        """Return the mask of the next tile's load."""
        self.tiles += 1
        return bits(MM) if self.tiles > 2 else 0


def _linear(b: BodyBuilder, layer: Layer) -> None:
    spec, rows = b.spec, b.spec.mpe.mm_rows
    k_blocks = ceil_div(layer.k, spec.mpe.block)
    steps = ceil_div(ceil_div(layer.n, spec.mpe.mm_columns), spec.shares)
    tiles = k_tiles(k_blocks, spec.buffers.b_block_addresses, spec.buffers.b_depth)
    weights = Transfer(is_crossed=True, ratio=weight_ratio(layer, spec), coding=layer.coding)
    is_skipping = layer.is_sparse or layer.coding == "gqsa"
    slots = layer.density if is_skipping else Fraction(1)
    groups = _row_groups(b, layer)
    blocks = k_blocks * steps
    block = block_bytes(layer, spec)
    halves = _Halves(b)

    def emit(group: int) -> None:
        halves.begin(group)
        bank = halves.row_bank(group, k_blocks)
        for channel in range(A_CHANNELS):
            size = Fraction(rows * layer.k, A_CHANNELS)
            at = row_blocks(INPUT, group, layer.k, channel)
            b.load(size, _ROWS, mode=_A, bank=bank, wait=_start(group + channel == 0), at=at)
        if layer.is_sparse:  # one index byte per block of weights, twice (see DEVIATIONS)
            b.load(blocks, _INDEX, mode=_FSB, at=vector(INDEX))
            b.load(blocks, _INDEX, mode=_META, at=vector(INDEX, blocks))
        for step in range(steps):
            is_end = group == groups - 1 and step == steps - 1
            first = 0
            for index, k in enumerate(tiles):
                is_last = index == len(tiles) - 1
                size = Fraction(k * spec.mpe.block * spec.mpe.mm_columns)
                at = prompt_weights(step, first, k, k_blocks, block)
                wait = halves.wait()
                b.load(size, weights, mode=_B, bank=halves.bank, wait=wait, release=bits(MM), at=at)
                b.matrix(
                    MM,
                    k,
                    layer.density,
                    flags=(8 | 2 * layer.has_relu) * is_last | layer.is_sparse,
                    wait=bits(LD),
                    release=bits(LD) | (bits(MISC) if layer.misc else bits(ST)) * is_last,
                    slots=slots,
                    groups=groups_of(layer, rows * k * spec.mpe.mm_columns),
                    a=bank + first,
                    b=halves.bank,
                    out=step % B_ADDRESSES,
                )
                first += k
            _fused(b, layer, group, step)
            width = layer.cached or layer.n
            at = row_blocks(RESULT, group, width, 0, step * spec.mpe.mm_columns)
            wait = bits(MISC if layer.misc else MM)
            _store(b, rows * spec.mpe.mm_columns, wait, at, is_end=is_end, bank=step)

    b.repeat(groups, emit)


def _fused(b: BodyBuilder, layer: Layer, group: int, step: int) -> None:
    """Append what the SFU does with the columns of one step, its second operands loaded first."""
    size = b.spec.mpe.mm_rows
    # Behind the rows, an address per operand and step, so that loads run ahead of the SFU.
    place = ceil_div(layer.k, b.spec.mpe.block) + step * layer.operands % _AHEAD
    for operand in range(layer.operands):
        for channel in range(A_CHANNELS):
            release = bits(MISC) if channel == A_CHANNELS - 1 else 0
            part = Fraction(size * b.spec.mpe.mm_columns, A_CHANNELS)
            first = step * b.spec.mpe.mm_columns
            at = row_blocks(SECOND + operand, group, layer.n, channel, first)
            bank = (place + operand) % B_ADDRESSES
            b.load(part, _ROWS, mode=_A, bank=bank, release=release, at=at)
    for index, function in enumerate(layer.functions):
        wait = bits(MM) if index == 0 else 0
        wait |= bits(LD) if index < layer.operands else 0
        release = bits(ST) if index == layer.misc - 1 else 0
        second = place % B_ADDRESSES
        b.misc(function, size, wait=wait, release=release, a=step % B_ADDRESSES, b=second)


def _store(
    b: BodyBuilder,
    size: int,
    wait: int,
    at: Place,
    *,
    is_end: bool,
    bank: int = 0,
    moved: Sequence[int] | None = None,
) -> None:
    """Append the stores of one step's results, one per channel, to the same place on each.

    They begin at ``bank`` of the global buffer; ``moved`` are each channel's bytes if they differ.
    """
    for channel in range(A_CHANNELS):
        b.store(
            size // A_CHANNELS,
            _RESULTS,
            bank=bank % B_ADDRESSES,
            moved=None if moved is None else moved[channel],
            at=at._replace(channel=channel),
            wait=wait if channel == 0 else 0,
            release=bits(SYS) if is_end and channel == A_CHANNELS - 1 else 0,
        )


def _row_by_row(b: BodyBuilder, layer: Layer) -> None:
    """Append an SFU operation on every row: a load, the operation, a store."""
    heads = ceil_div(layer.heads, b.spec.shares) if layer.heads else 1
    groups, rows = _row_groups(b, layer) * heads, b.spec.mpe.mm_rows
    loads = max(1, layer.operands)
    blocks = ceil_div(layer.n, A_CHANNELS * b.spec.mpe.block**2)  # addresses of a row, 2048 bytes

    def emit(group: int) -> None:
        for row in range(group * rows, group * rows + rows):
            bank = row % (2 * rows) * loads * blocks % B_ADDRESSES
            for operand in range(loads):
                is_loaded = operand == loads - 1
                b.load(
                    layer.n, _ROW, mode=_A, bank=(bank + operand * blocks) % B_ADDRESSES,
                    wait=_start(row + operand == 0), release=bits(MISC) * is_loaded,
                    at=head_rows(SECOND + operand - 1 if operand else INPUT, row, layer.n),
                )  # fmt: skip
            second = (bank + blocks) % B_ADDRESSES
            b.misc(layer.function, layer.n, wait=bits(LD), release=bits(ST), a=bank, b=second)
            is_end = row == groups * rows - 1
            release = bits(SYS) * is_end
            at = head_rows(RESULT, row, layer.n)._replace(rows=1, stride=0, is_row=True)
            b.store(layer.n, _ROW, bank=bank, wait=bits(MISC), release=release, at=at)

    b.repeat(groups, emit)


def _scores(b: BodyBuilder, layer: Layer) -> None:
    """Append, per head and group of rows, products with the keys they may see, and softmax."""
    spec, rows = b.spec, b.spec.mpe.mm_rows
    heads = heads_of_core(layer, spec)
    kv_heads = ceil_div(len(heads), layer.group)
    k_blocks = ceil_div(layer.k, spec.mpe.block)
    groups = _row_groups(b, layer)
    context = ceil_div(layer.context, rows) * rows
    halves = _Halves(b)
    done = bits(MISC if layer.misc else ST)

    def emit(head: int) -> None:
        for group in range(groups):
            view = group_view(layer, heads[head], group, spec)
            number = head * groups + group
            bank = halves.row_bank(number, k_blocks)
            for channel in range(A_CHANNELS):
                size = Fraction(rows * layer.k, A_CHANNELS)
                at = row_blocks(INPUT, group, layer.heads * layer.k, channel, head * layer.k)
                wait = _start(number + channel == 0)
                b.load(size, _INDEX, mode=_A, bank=bank, wait=wait, at=at)
            steps = ceil_div(view.union, spec.mpe.mm_columns)
            for step in range(steps):
                size = spec.mpe.mm_columns * layer.k
                block = view.token(step * spec.mpe.mm_columns) // spec.mpe.block
                at = prompt_keys(head // layer.group, block, layer.k, kv_heads)
                wait = halves.wait()
                b.load(size, _KEYS, mode=_B, bank=halves.bank, wait=wait, release=bits(MM), at=at)
                release = bits(LD) | done * (step == steps - 1)
                b.matrix(
                    MM, k_blocks, Fraction(1), flags=8, wait=bits(LD), release=release,
                    a=bank, b=halves.bank, out=step % B_ADDRESSES,
                )  # fmt: skip
            for row in range(rows * layer.misc):
                width = view.kept[row // spec.mask_block]
                release = bits(ST) if row == rows - 1 else 0
                b.misc("softmax", width, wait=bits(MM) if row == 0 else 0, release=release)
            is_end = head == len(heads) - 1 and group == groups - 1
            at = row_blocks(RESULT, number, context, 0)
            size = sum(view.kept) * spec.mask_block
            lines = rows // A_CHANNELS
            moved = [lines * view.kept[c * lines // spec.mask_block] for c in range(A_CHANNELS)]
            wait = bits(MISC if layer.misc else MM)
            _store(b, size, wait, at, is_end=is_end, moved=moved)

    _each_head(b, layer, len(heads), halves, emit)


def _each_head(
    b: BodyBuilder, layer: Layer, heads: int, halves: _Halves, emit: Callable[[int], None]
) -> None:
    """Append every head; without a mask those of the same number in their group are alike."""

    def emit_group(index: int) -> None:
        halves.begin(index)
        for head in range(index * layer.group, min(index * layer.group + layer.group, heads)):
            emit(head)

    if not layer.mask:
        b.repeat(ceil_div(heads, layer.group), emit_group)
        return
    for head in range(heads):
        emit(head)


def _mix(b: BodyBuilder, layer: Layer) -> None:
    """Append, per head and group of rows, products with the values; unseen blocks are zeros."""
    spec, rows = b.spec, b.spec.mpe.mm_rows
    heads = heads_of_core(layer, spec)
    kv_heads = ceil_div(len(heads), layer.group)
    groups = _row_groups(b, layer)
    context = ceil_div(layer.context, rows) * rows
    halves = _Halves(b)

    def emit(head: int) -> None:
        for group in range(groups):
            view = group_view(layer, heads[head], group, spec)
            number = head * groups + group
            steps = ceil_div(layer.n, spec.mpe.mm_columns)
            k_blocks = ceil_div(view.union, spec.mpe.block)
            bank = halves.row_bank(number, k_blocks)
            _load_shares(b, view, row_blocks(INPUT, number, context, 0), bank, number == 0)
            for step in range(steps):
                at = prompt_values(head // layer.group, step, layer.n, kv_heads)
                _load_values(b, view, at, halves)
                release = bits(LD) | bits(ST) * (step == steps - 1)
                b.matrix(
                    MM, k_blocks, Fraction(1), flags=8, wait=bits(LD), release=release,
                    a=bank, b=halves.bank, out=step % B_ADDRESSES,
                )  # fmt: skip
            is_end = head == len(heads) - 1 and group == groups - 1
            at = row_blocks(RESULT, group, layer.heads * layer.n, 0, head * layer.n)
            _store(b, rows * layer.n, bits(MM), at, is_end=is_end)

    _each_head(b, layer, len(heads), halves, emit)


def _load_shares(b: BodyBuilder, view: GroupView, at: Place, bank: int, is_first: bool) -> None:
    """Append the loads of the shares that rows keep, then zeros for those that others keep.

    Rows have what they keep side by side in memory; in the buffer a key has the same address, a
    block of keys each, for all rows.
    """
    lines = b.spec.mpe.mm_rows // A_CHANNELS
    zeros = []
    for channel in range(A_CHANNELS):
        first = place = 0
        spans = view.spans[channel * lines // b.spec.mask_block]
        for index, width in enumerate(spans):
            target = bank + place // b.spec.mpe.block
            place += width
            if index % 2:
                zeros.append((lines * width, target, channel))
            elif width:
                address = at.address + first * b.spec.mpe.block
                where = at._replace(address=address, channel=channel)
                wait = _start(is_first and channel + index == 0)
                b.load(lines * width, _ROWS, mode=_A, bank=target, wait=wait, at=where)
                first += width
    for size, target, channel in zeros:
        if size:
            b.zero_fill(size, target, channel)


def _load_values(b: BodyBuilder, view: GroupView, at: Place, halves: _Halves) -> None:
    """Append the loads of one tile of values, one per stretch of rows that some query sees."""
    wait, bank = halves.wait(), halves.bank
    for index, (start, keys) in enumerate(zip(view.starts, view.runs, strict=True)):
        release = bits(MM) if index == len(view.runs) - 1 else 0
        b.load(
            b.spec.mpe.mm_columns * keys, _KEYS, mode=_B, bank=bank,
            wait=wait if index == 0 else 0, release=release, at=tokens_of(at, start, keys),
        )  # fmt: skip
        bank += ceil_div(keys, b.spec.mpe.block) * b.spec.buffers.b_block_addresses


_EMITTERS = {
    "linear": _linear,
    "norm": _row_by_row,
    "softmax": _row_by_row,
    "eltwise": _row_by_row,
    "scores": _scores,
    "mix": _mix,
}
