"""Append the layers of a single step: vectors stay on chip, matrices stream through MV.

Every product loads tiles of 512 columns into the A buffer, one load per channel, and multiplies
the vector in the B buffer by them. Tiles are placed in the buffer one behind the other; a load
waits for the tiles that it overwrites.
"""

from __future__ import annotations

from fractions import Fraction

from hwsim.core.units import ceil_div
from hwsim.flightllm.body import A_CHANNELS, BodyBuilder, Ring, Transfer, bits
from hwsim.flightllm.isa import LD, MISC, MV, ST, SYS
from hwsim.flightllm.plan import Layer
from hwsim.flightllm.spec import FlightSpec

__all__ = ["STEP_BUCKET", "emit_step", "k_tiles", "weight_ratio"]

STEP_BUCKET = 16
"""Steps whose contexts round up to the same multiple share a program."""

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


def weight_ratio(layer: Layer, spec: FlightSpec) -> Fraction:
    """Return the weights, a byte each on chip, that a byte of memory holds."""
    if layer.is_coded:
        return 8 / spec.experts.bits_per_weight(layer.k)
    return Fraction(80, spec.weight_bits_x10) / layer.density


def _shared(b: BodyBuilder, count: int) -> int:
    """Return the largest share of ``count`` groups or heads that a core has."""
    return ceil_div(count, b.spec.shares)


def _linear(b: BodyBuilder, layer: Layer) -> None:
    spec, columns = b.spec, b.spec.mpe.mv_columns
    k_blocks = ceil_div(layer.k, spec.mpe.block)
    groups = _shared(b, ceil_div(layer.n, columns))
    tiles = k_tiles(k_blocks, spec.buffers.a_block_addresses, spec.buffers.a_depth)
    weights = Transfer(parallel=8, ratio=weight_ratio(layer, spec), is_coded=layer.is_coded)
    ring = Ring(spec.buffers.a_depth)
    bias_bytes = 4 * min(layer.n, groups * columns)
    pattern_slots = layer.density if layer.is_sparse else Fraction(1)
    _load_vector(b, layer)
    if not layer.is_sparse:
        b.load(bias_bytes, _BIAS_LOAD, mode=_BIAS)
    is_first = True
    for group in range(groups):
        for index, k in enumerate(tiles):
            is_last = index == len(tiles) - 1
            size = Fraction(k * spec.mpe.block * columns, A_CHANNELS)
            _load_tile(b, ring, size, weights, k * spec.buffers.a_block_addresses)
            if is_first and layer.is_sparse:
                b.load(bias_bytes, _BIAS_LOAD, mode=_BIAS)
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
            )
        _fused(b, layer, columns, is_end=group == groups - 1)
    b.store(layer.n, _RESULT, wait=bits(MISC if layer.misc else MV), release=bits(SYS))


def _load_vector(b: BodyBuilder, layer: Layer) -> None:
    b.load(layer.k, _VECTOR, mode=_B, wait=bits(SYS))


def _load_tile(
    b: BodyBuilder, ring: Ring, size: Fraction, how: Transfer, addresses: int, loads: int = 8
) -> None:
    """Append the loads of one tile, one per channel; the first ones wait for overwritten tiles."""
    bank, waits = ring.place(addresses)
    for channel in range(loads):
        wait = bits(MV) if channel < waits else 0
        release = bits(MV) if channel == loads - 1 else 0
        b.load(size, how, mode=_A, channel=channel, bank=bank % 4096, wait=wait, release=release)


def _after(layer: Layer, *, is_end: bool) -> int:
    """Return whom the last tile of a group of columns tells."""
    if layer.misc:
        return bits(MISC)
    return bits(ST) if is_end else 0


def _fused(b: BodyBuilder, layer: Layer, columns: int, *, is_end: bool) -> None:
    """Append what the SFU does with a group of columns, its second operands loaded first."""
    for _ in range(layer.operands):
        for channel in range(A_CHANNELS):
            release = bits(MISC) if channel == A_CHANNELS - 1 else 0
            size = Fraction(columns, A_CHANNELS)
            b.load(size, _VECTOR, mode=_B, channel=channel, release=release)
    for index, function in enumerate(layer.functions):
        wait = bits(MV) if index == 0 else 0
        wait |= bits(LD) if index < layer.operands else 0
        release = bits(ST) if is_end and index == layer.misc - 1 else 0
        b.misc(function, columns, wait=wait, release=release)


def _norm(b: BodyBuilder, layer: Layer) -> None:
    wait = bits(SYS)
    if not b.spec.is_fused:
        b.load(layer.n, _VECTOR, mode=_B, wait=wait, release=bits(MISC))
        wait = bits(LD)
    b.misc(layer.function, layer.n, wait=wait, release=bits(ST))
    b.store(layer.n, _RESULT, wait=bits(MISC), release=bits(SYS))


def _softmax(b: BodyBuilder, layer: Layer) -> None:
    """Append the softmax of rows from memory: of a router, or of unfused scores."""
    rows = _shared(b, max(1, layer.heads))
    b.load(layer.n * rows, _VECTOR, mode=_B, wait=bits(SYS), release=bits(MISC))
    for row in range(rows):
        is_end = row == rows - 1
        b.misc("softmax", layer.n, wait=bits(LD) if row == 0 else 0, release=bits(ST) * is_end)
    b.store(layer.n * rows, _RESULT, wait=bits(MISC), release=bits(SYS))


def _eltwise(b: BodyBuilder, layer: Layer) -> None:
    size = _shared(b, layer.n * layer.tokens)
    loads = max(1, layer.operands)
    for index in range(loads):
        is_loaded = index == loads - 1
        wait = bits(SYS) * (index == 0)
        b.load(size, _VECTOR, mode=_B, wait=wait, release=bits(MISC) * is_loaded)
    b.misc(layer.function, size, wait=bits(LD), release=bits(ST))
    b.store(size, _RESULT, wait=bits(MISC), release=bits(SYS))


def _cache(b: BodyBuilder, layer: Layer) -> None:
    """Append the read of old keys or values through all channels; the new row is in place."""
    context = ceil_div(layer.context, STEP_BUCKET) * STEP_BUCKET
    size = Fraction(layer.n * context, A_CHANNELS * b.spec.shares)
    for channel in range(A_CHANNELS):
        wait = bits(SYS) if channel == 0 else 0
        release = bits(ST) if channel == A_CHANNELS - 1 else 0
        b.load(size, _TILE, mode=_A, channel=channel, wait=wait, release=release)
    b.store(0, _RESULT, wait=bits(LD), release=bits(SYS))


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
    per_channel = Fraction(layer.k, A_CHANNELS)
    for index in range(heads * A_CHANNELS):
        wait = bits(SYS) if index == 0 else 0
        b.load(per_channel, _TILE, mode=_B, channel=index % A_CHANNELS, wait=wait)
    for kv_head in range(kv_heads):
        for group in range(groups):
            width = min(columns, context - columns * group)
            size = Fraction(layer.k * width, loads)
            _load_tile(b, ring, size, _TILE, k_blocks * spec.buffers.a_block_addresses, loads)
            for query in range(layer.group):
                is_last = group == groups - 1
                b.matrix(
                    MV,
                    k_blocks,
                    Fraction(1),
                    flags=8,
                    wait=bits(LD) if query == 0 else 0,
                    release=(bits(LD) if query == layer.group - 1 else 0) | done * is_last,
                )
        for query in range(layer.group * layer.misc):
            is_end = kv_head == kv_heads - 1 and query == layer.group - 1
            b.misc("softmax", context, wait=bits(MV), release=bits(ST) * is_end)
    b.store(heads * context, _RESULT, wait=bits(after), release=bits(SYS))


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
    b.load(kv_heads * layer.group * context, _SCORES, mode=_B, wait=bits(SYS))
    for kv_head in range(kv_heads):
        for index, k in enumerate(tiles):
            size = Fraction(k * spec.mpe.block * layer.n, A_CHANNELS)
            _load_tile(b, ring, size, _TILE, int(k * addresses * share))
            for query in range(layer.group):
                is_tile_done = query == layer.group - 1
                is_end = kv_head == kv_heads - 1 and index == len(tiles) - 1 and is_tile_done
                b.matrix(
                    MV,
                    k,
                    Fraction(1),
                    flags=8,
                    wait=bits(LD) if query == 0 else 0,
                    release=(bits(LD) if is_tile_done else 0) | bits(ST) * is_end,
                )
    b.store(layer.heads * layer.n, _RESULT, wait=bits(MV), release=bits(SYS))


_EMITTERS = {
    "linear": _linear,
    "norm": _norm,
    "softmax": _softmax,
    "eltwise": _eltwise,
    "cache": _cache,
    "scores": _scores,
    "mix": _mix,
}
