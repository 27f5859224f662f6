"""Append the layers of a single step: vectors stay on chip, matrices stream through MV.

Every product loads tiles of 512 columns into the A buffer, one load per channel, and multiplies
the vector in the B buffer by them. Tiles are placed in the buffer one behind the other; a load
waits for the tiles that it overwrites.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import partial

from hwsim.core.units import ceil_div
from hwsim.flightllm.body import A_CHANNELS, BodyBuilder, Ring, Transfer, bits, groups_of
from hwsim.flightllm.isa import LD, MISC, MV, ST, SYS
from hwsim.flightllm.places import (
    BIAS,
    CACHE,
    INPUT,
    RESULT,
    SECOND,
    Place,
    block_bytes,
    cache_row,
    step_keys,
    step_weights,
    vector,
    weight_ratio,
)
from hwsim.flightllm.plan import Layer

__all__ = ["STEP_BUCKET", "emit_step", "k_tiles"]

STEP_BUCKET = 16
"""Steps whose contexts round up to the same multiple share a program."""

B_ADDRESSES = 4096
"""Of the B buffer as a field can say, each with a block of k of a vector."""

_B, _BIAS, _A = 0, 2, 4
_VECTOR = Transfer(is_crossed=True, parallel=8)
_BIAS_LOAD = Transfer()
_TILE = Transfer(parallel=8)
_SCORES = Transfer(is_crossed=True)
_RESULT = Transfer()


def emit_step(b: BodyBuilder, layer: Layer) -> None:
    """Append ``layer`` for one token, for the core with the largest share, without its barrier."""
    _EMITTERS[layer.kind](b, layer)


def k_tiles(k_blocks: int, addresses: int, depth: int) -> list[int]:
    """Return the k blocks of each tile so that two tiles fit a buffer of ``depth``.

    The count starts at what half a buffer asks for; blocks are divided rounding down, and a rest
    makes a tile of its own (artifact).
    """
    splits = max(1, ceil_div(k_blocks * addresses, depth // 2))
    size = max(1, k_blocks // splits)
    return [min(size, k_blocks - first) for first in range(0, k_blocks, size)]


def _shared(b: BodyBuilder, count: int) -> int:
    """Return the largest share of ``count`` groups or heads that a core has."""
    return ceil_div(count, b.spec.shares)


def _linear(b: BodyBuilder, layer: Layer) -> None:
    spec, columns = b.spec, b.spec.mpe.mv_columns
    k_blocks = ceil_div(layer.k, spec.mpe.block)
    groups = _shared(b, ceil_div(layer.n, columns))
    tiles = k_tiles(k_blocks, spec.buffers.a_block_addresses, spec.buffers.a_depth)
    weights = Transfer(parallel=8, ratio=weight_ratio(layer, spec), coding=layer.coding)
    ring = Ring(spec.buffers.a_depth)
    block = block_bytes(layer, spec)
    bias_bytes = 4 * min(layer.n, groups * columns)
    is_skipping = layer.is_sparse or layer.coding == "gqsa"
    pattern_slots = layer.density if is_skipping else Fraction(1)
    _load_vector(b, layer)
    if not layer.is_sparse:
        b.load(bias_bytes, _BIAS_LOAD, mode=_BIAS, at=Place(BIAS))
    is_first = True
    for group in range(groups):
        first = 0
        for index, k in enumerate(tiles):
            is_last = index == len(tiles) - 1
            size = Fraction(k * spec.mpe.block * columns, A_CHANNELS)
            at = partial(step_weights, group, first, k_blocks, block)
            bank = _load_tile(b, ring, size, weights, k * spec.buffers.a_block_addresses, at)
            if is_first and layer.is_sparse:
                b.load(bias_bytes, _BIAS_LOAD, mode=_BIAS, at=Place(BIAS))
            is_first = False
            release = bits(LD)
            if is_last:
                release |= _after(layer, is_end=group == groups - 1)
            b.matrix(
                MV,
                k,
                layer.density,
                flags=(8 | 2 * layer.has_relu) * is_last | layer.is_sparse,
                wait=bits(LD),
                release=release,
                slots=pattern_slots,
                groups=groups_of(layer, k * columns),
                a=bank,
                b=first,
                out=group,
            )
            first += k
        _fused(b, layer, columns, group, is_end=group == groups - 1)
    wait = bits(MISC if layer.misc else MV)
    b.store(layer.n, _RESULT, wait=wait, release=bits(SYS), at=vector(RESULT))


def _load_vector(b: BodyBuilder, layer: Layer) -> None:
    b.load(layer.k, _VECTOR, mode=_B, wait=bits(SYS), at=vector(INPUT))


def _load_tile(
    b: BodyBuilder,
    ring: Ring,
    size: Fraction,
    how: Transfer,
    addresses: int,
    at: Callable[[int], Place],
    loads: int = A_CHANNELS,
    piece_bytes: int = 0,
) -> int:
    """Append the loads of one tile, one per channel; the first ones wait for overwritten tiles.

    ``at`` is its place on a channel, of pieces of ``piece_bytes`` there (0: of equal shares of
    ``size``, which is the mean that all loads are charged). Returns its first address in the A
    buffer.
    """
    bank, waits = ring.place(addresses)
    for channel in range(loads):
        wait = bits(MV) if channel < waits else 0
        release = bits(MV) if channel == loads - 1 else 0
        place = at(channel)
        moved = place.rows * piece_bytes if piece_bytes else None
        b.load(size, how, mode=_A, bank=bank, wait=wait, release=release, at=place, moved=moved)
    return bank


def _after(layer: Layer, *, is_end: bool) -> int:
    """Return whom the last tile of a group of columns tells."""
    if layer.misc:
        return bits(MISC)
    return bits(ST) if is_end else 0


def _fused(b: BodyBuilder, layer: Layer, columns: int, group: int, *, is_end: bool) -> None:
    """Append what the SFU does with a group of columns, its second operands loaded first.

    They lie in the B buffer behind the vector, a k block per address.
    """
    blocks, first = columns // b.spec.mpe.block, ceil_div(layer.k, b.spec.mpe.block)
    # As many groups as fit one behind the other, so that loads run ahead of the SFU.
    slots = max(1, (B_ADDRESSES - first) // (blocks * max(1, layer.operands)))
    place = (first + group % slots * layer.operands * blocks) % B_ADDRESSES
    for operand in range(layer.operands):
        for channel in range(A_CHANNELS):
            release = bits(MISC) if channel == A_CHANNELS - 1 else 0
            size = Fraction(columns, A_CHANNELS)
            at = vector(SECOND + operand, group * columns + channel * int(size))
            bank = place + operand * blocks + channel * blocks // A_CHANNELS
            b.load(size, _VECTOR, mode=_B, channel=channel, bank=bank, release=release, at=at)
    for index, function in enumerate(layer.functions):
        wait = bits(MV) if index == 0 else 0
        wait |= bits(LD) if index < layer.operands else 0
        release = bits(ST) if is_end and index == layer.misc - 1 else 0
        b.misc(function, columns, wait=wait, release=release, a=group, b=place)


def _norm(b: BodyBuilder, layer: Layer) -> None:
    wait = bits(SYS)
    if not b.spec.is_fused:
        b.load(layer.n, _VECTOR, mode=_B, wait=wait, release=bits(MISC), at=vector(INPUT))
        wait = bits(LD)
    b.misc(layer.function, layer.n, wait=wait, release=bits(ST))
    b.store(layer.n, _RESULT, wait=bits(MISC), release=bits(SYS), at=vector(RESULT))


def _softmax(b: BodyBuilder, layer: Layer) -> None:
    """Append the softmax of rows from memory: of a router, or of unfused scores."""
    rows = _shared(b, max(1, layer.heads))
    b.load(layer.n * rows, _VECTOR, mode=_B, wait=bits(SYS), release=bits(MISC), at=vector(INPUT))
    for row in range(rows):
        is_end = row == rows - 1
        b.misc("softmax", layer.n, wait=bits(LD) if row == 0 else 0, release=bits(ST) * is_end)
    b.store(layer.n * rows, _RESULT, wait=bits(MISC), release=bits(SYS), at=vector(RESULT))


def _eltwise(b: BodyBuilder, layer: Layer) -> None:
    size = _shared(b, layer.n * layer.tokens)
    loads = max(1, layer.operands)
    for index in range(loads):
        is_loaded = index == loads - 1
        wait = bits(SYS) * (index == 0)
        at = vector(INPUT if index == 0 else SECOND + index - 1)
        b.load(size, _VECTOR, mode=_B, wait=wait, release=bits(MISC) * is_loaded, at=at)
    b.misc(layer.function, size, wait=bits(LD), release=bits(ST))
    b.store(size, _RESULT, wait=bits(MISC), release=bits(SYS), at=vector(RESULT))


def _cache(b: BodyBuilder, layer: Layer) -> None:
    """Append the read of old keys or values through all channels, and the store of the new row.

    The published times of stores leave nothing for that row, so it is charged nothing.
    """
    context = ceil_div(layer.context, STEP_BUCKET) * STEP_BUCKET
    size = Fraction(layer.n * context, A_CHANNELS * b.spec.shares)
    for channel in range(A_CHANNELS):
        wait = bits(SYS) if channel == 0 else 0
        release = bits(ST) if channel == A_CHANNELS - 1 else 0
        b.load(size, _TILE, mode=_A, wait=wait, release=release, at=Place(CACHE, channel=channel))
    row = _shared(b, layer.heads) * layer.n // layer.heads
    at = cache_row((layer.context - 1) // b.spec.mpe.block, row)
    b.store(0, _RESULT, wait=bits(LD), release=bits(SYS), at=at, moved=row)


def _scores(b: BodyBuilder, layer: Layer) -> None:
    """Append, per head, the products of its query with all keys, and their softmax."""
    spec, columns = b.spec, b.spec.mpe.mv_columns
    context = ceil_div(layer.context, STEP_BUCKET) * STEP_BUCKET
    kv_heads = _shared(b, layer.heads // layer.group)
    heads = kv_heads * layer.group
    k_blocks = ceil_div(layer.k, spec.mpe.block)
    groups = ceil_div(context, columns)
    loads = min(A_CHANNELS, ceil_div(context, spec.mpe.block))  # channels that hold keys
    after = MISC if layer.misc else MV
    done = bits(MISC if layer.misc else ST)
    ring = Ring(spec.buffers.a_depth)
    parts = min(A_CHANNELS, k_blocks)
    for index in range(heads * parts):  # a query's blocks, one after the other in the B buffer
        head, part = divmod(index, parts)
        first = part * k_blocks // parts
        size = ((part + 1) * k_blocks // parts - first) * spec.mpe.block
        size = min(size, layer.k - first * spec.mpe.block)
        at = vector(INPUT, head * layer.k + first * spec.mpe.block)
        b.load(
            size, _TILE, mode=_B, channel=index % A_CHANNELS, bank=head * k_blocks + first,
            wait=bits(SYS) if index == 0 else 0, at=at,
        )  # fmt: skip
    for kv_head in range(kv_heads):
        for group in range(groups):
            width = min(columns, context - columns * group)
            size = Fraction(layer.k * width, loads)
            first, count = columns * group // spec.mpe.block, ceil_div(width, spec.mpe.block)
            at = partial(_keys, kv_head, first, count, layer.k, kv_heads)
            addresses = k_blocks * spec.buffers.a_block_addresses
            piece = layer.k * spec.mpe.block
            bank = _load_tile(b, ring, size, _TILE, addresses, at, loads, piece)
            for query in range(layer.group):
                is_last = group == groups - 1
                b.matrix(
                    MV,
                    k_blocks,
                    Fraction(1),
                    flags=8,
                    wait=bits(LD) if query == 0 else 0,
                    release=(bits(LD) if query == layer.group - 1 else 0) | done * is_last,
                    a=bank,
                    b=(kv_head * layer.group + query) * k_blocks,
                    out=query * groups + group,
                )
        for query in range(layer.group * layer.misc):
            is_end = kv_head == kv_heads - 1 and query == layer.group - 1
            release = bits(ST) * is_end
            b.misc("softmax", context, wait=bits(MV), release=release, a=query * groups)
    b.store(heads * context, _RESULT, wait=bits(after), release=bits(SYS), at=vector(RESULT))


def _keys(head: int, first: int, count: int, width: int, heads: int, channel: int) -> Place:
    """Return the keys of a tile on ``channel``, their blocks turned over on the way."""
    return step_keys(head, first, count, width, heads, channel)._replace(is_turned=True)


def _mix(b: BodyBuilder, layer: Layer) -> None:
    """Append, per head, the product of its weights with all values."""
    spec = b.spec
    context = ceil_div(layer.context, STEP_BUCKET) * STEP_BUCKET
    kv_heads = _shared(b, layer.heads // layer.group)
    k_blocks = ceil_div(context, spec.mpe.block)
    share = Fraction(layer.n, spec.mpe.mv_columns)
    addresses = spec.buffers.a_block_addresses
    per_block = ceil_div(addresses * layer.n, spec.mpe.mv_columns)
    tiles = k_tiles(k_blocks, per_block, spec.buffers.a_depth)
    ring = Ring(spec.buffers.a_depth)
    size = kv_heads * layer.group * context
    b.load(size, _SCORES, mode=_B, wait=bits(SYS), at=vector(INPUT))
    for kv_head in range(kv_heads):
        first = 0
        for index, k in enumerate(tiles):
            part = Fraction(k * spec.mpe.block * layer.n, A_CHANNELS)
            at = partial(step_keys, kv_head, first, k, layer.n, kv_heads)
            piece = layer.n * spec.mpe.block
            # A block of 16 tokens by 16 columns is an address of its channel.
            room = max(int(k * addresses * share), ceil_div(layer.n, spec.mpe.block))
            bank = _load_tile(b, ring, part, _TILE, room, at, piece_bytes=piece)
            for query in range(layer.group):
                is_tile_done = query == layer.group - 1
                is_end = kv_head == kv_heads - 1 and index == len(tiles) - 1 and is_tile_done
                b.matrix(
                    MV,
                    k,
                    Fraction(1),
                    flags=8 * (index == len(tiles) - 1),
                    wait=bits(LD) if query == 0 else 0,
                    release=(bits(LD) if is_tile_done else 0) | bits(ST) * is_end,
                    a=bank,
                    b=((kv_head * layer.group + query) * k_blocks + first) % B_ADDRESSES,
                    out=kv_head * layer.group + query,
                )
            first += k
    b.store(layer.heads * layer.n, _RESULT, wait=bits(MV), release=bits(SYS), at=vector(RESULT))


_EMITTERS = {
    "linear": _linear,
    "norm": _norm,
    "softmax": _softmax,
    "eltwise": _eltwise,
    "cache": _cache,
    "scores": _scores,
    "mix": _mix,
}
