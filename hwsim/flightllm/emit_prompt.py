"""Append the layers of a prompt: 128 rows stay in the A buffer, weights stream through MM."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from hwsim.core.units import ceil_div
from hwsim.flightllm.attention_view import group_view, heads_of_core
from hwsim.flightllm.body import A_CHANNELS, BodyBuilder, Transfer, bits
from hwsim.flightllm.emit_step import k_tiles, weight_ratio
from hwsim.flightllm.isa import LD, MISC, MM, ST, SYS
from hwsim.flightllm.plan import Layer

__all__ = ["PROMPT_BUCKET", "emit_prompt"]

PROMPT_BUCKET = 128
"""Prompts whose lengths round up to the same multiple share a program."""

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
    """The halves of the B buffer: a tile waits for the product that last used its half."""

    def __init__(self) -> None:
        self.tiles = 0

    def wait(self) -> int:
        """Return the mask of the next tile's load."""
        self.tiles += 1
        return bits(MM) if self.tiles > 2 else 0


def _linear(b: BodyBuilder, layer: Layer) -> None:
    spec, rows = b.spec, b.spec.mpe.mm_rows
    k_blocks = ceil_div(layer.k, spec.mpe.block)
    steps = ceil_div(ceil_div(layer.n, spec.mpe.mm_columns), spec.shares)
    tiles = k_tiles(k_blocks, spec.buffers.b_block_addresses, spec.buffers.b_depth)
    weights = Transfer(is_crossed=True, ratio=weight_ratio(layer, spec), is_coded=layer.is_coded)
    slots = layer.density if layer.is_sparse else Fraction(1)
    groups = _row_groups(b, layer)
    blocks = k_blocks * steps
    halves = _Halves()

    def emit(group: int) -> None:
        for channel in range(A_CHANNELS):
            size = Fraction(rows * layer.k, A_CHANNELS)
            b.load(size, _ROWS, mode=_A, channel=channel, wait=_start(group + channel == 0))
        if layer.is_sparse:  # one index byte per block of weights, twice (see DEVIATIONS)
            b.load(blocks, _INDEX, mode=_FSB)
            b.load(blocks, _INDEX, mode=_META)
        for step in range(steps):
            is_end = group == groups - 1 and step == steps - 1
            for index, k in enumerate(tiles):
                is_last = index == len(tiles) - 1
                size = Fraction(k * spec.mpe.block * spec.mpe.mm_columns)
                b.load(size, weights, mode=_B, wait=halves.wait(), release=bits(MM))
                b.matrix(
                    MM,
                    k,
                    layer.density,
                    flags=(8 | 2 * layer.has_relu) * is_last | layer.is_sparse,
                    wait=bits(LD),
                    release=bits(LD) | (bits(MISC) if layer.misc else bits(ST)) * is_last,
                    slots=slots,
                )
            _fused(b, layer)
            _store(b, rows * spec.mpe.mm_columns, bits(MISC if layer.misc else MM), is_end)

    b.repeat(groups, emit)


def _fused(b: BodyBuilder, layer: Layer) -> None:
    """Append what the SFU does with the columns of one step, its second operands loaded first."""
    size = b.spec.mpe.mm_rows
    for _ in range(layer.operands):
        for channel in range(A_CHANNELS):
            release = bits(MISC) if channel == A_CHANNELS - 1 else 0
            part = Fraction(size * b.spec.mpe.mm_columns, A_CHANNELS)
            b.load(part, _ROWS, mode=_A, channel=channel, release=release)
    for index, function in enumerate(layer.functions):
        wait = bits(MM) if index == 0 else 0
        wait |= bits(LD) if index < layer.operands else 0
        release = bits(ST) if index == layer.misc - 1 else 0
        b.misc(function, size, wait=wait, release=release)


def _store(b: BodyBuilder, size: int, wait: int, is_end: bool) -> None:
    """Append the stores of one step's results, one per channel."""
    for channel in range(A_CHANNELS):
        b.store(
            size // A_CHANNELS,
            _RESULTS,
            channel=channel,
            wait=wait if channel == 0 else 0,
            release=bits(SYS) if is_end and channel == A_CHANNELS - 1 else 0,
        )


def _row_by_row(b: BodyBuilder, layer: Layer) -> None:
    """Append an SFU operation on every row: a load, the operation, a store."""
    heads = ceil_div(layer.heads, b.spec.shares) if layer.heads else 1
    rows = _row_groups(b, layer) * b.spec.mpe.mm_rows * heads

    def emit(row: int) -> None:
        for operand in range(max(1, layer.operands)):
            is_loaded = operand == max(1, layer.operands) - 1
            b.load(
                layer.n, _ROW, mode=_A, channel=row % A_CHANNELS,
                wait=_start(row + operand == 0), release=bits(MISC) * is_loaded,
            )  # fmt: skip
        b.misc(layer.function, layer.n, wait=bits(LD), release=bits(ST))
        is_end = row == rows - 1
        b.store(layer.n, _ROW, wait=bits(MISC), release=bits(SYS) * is_end)

    b.repeat(rows, emit)


def _scores(b: BodyBuilder, layer: Layer) -> None:
    """Append, per head and group of rows, products with the keys they may see, and softmax."""
    spec, rows = b.spec, b.spec.mpe.mm_rows
    heads = heads_of_core(layer, spec)
    k_blocks = ceil_div(layer.k, spec.mpe.block)
    groups = _row_groups(b, layer)
    halves = _Halves()
    done = bits(MISC if layer.misc else ST)

    def emit(head: int) -> None:
        for group in range(groups):
            view = group_view(layer, heads[head], group, spec)
            for channel in range(A_CHANNELS):
                size = Fraction(rows * layer.k, A_CHANNELS)
                b.load(
                    size, _INDEX, mode=_A, channel=channel, wait=_start(head + group + channel == 0)
                )
            steps = ceil_div(view.union, spec.mpe.mm_columns)
            for step in range(steps):
                size = spec.mpe.mm_columns * layer.k
                b.load(size, _KEYS, mode=_B, wait=halves.wait(), release=bits(MM))
                release = bits(LD) | done * (step == steps - 1)
                b.matrix(MM, k_blocks, Fraction(1), flags=8, wait=bits(LD), release=release)
            for row in range(rows * layer.misc):
                width = view.kept[row // spec.mask_block]
                release = bits(ST) if row == rows - 1 else 0
                b.misc("softmax", width, wait=bits(MM) if row == 0 else 0, release=release)
            is_end = head == len(heads) - 1 and group == groups - 1
            size = sum(view.kept) * spec.mask_block
            _store(b, size, bits(MISC if layer.misc else MM), is_end)

    _each_head(b, layer, len(heads), emit)


def _each_head(b: BodyBuilder, layer: Layer, heads: int, emit: Callable[[int], None]) -> None:
    """Append every head; without a mask they are alike."""
    if not layer.mask:
        b.repeat(heads, emit)
        return
    for head in range(heads):
        emit(head)


def _mix(b: BodyBuilder, layer: Layer) -> None:
    """Append, per head and group of rows, products with the values; unseen blocks are zeros."""
    spec, rows = b.spec, b.spec.mpe.mm_rows
    heads = heads_of_core(layer, spec)
    groups = _row_groups(b, layer)
    per_channel = rows // A_CHANNELS
    halves = _Halves()

    def emit(head: int) -> None:
        for group in range(groups):
            view = group_view(layer, heads[head], group, spec)
            spans = [view.spans[c * per_channel // spec.mask_block] for c in range(A_CHANNELS)]
            for channel in range(A_CHANNELS):
                for index, width in enumerate(spans[channel][::2]):
                    if width:
                        is_first = head + group + channel + index == 0
                        b.load(
                            per_channel * width, _ROWS, mode=_A, channel=channel,
                            wait=_start(is_first),
                        )  # fmt: skip
            for channel in range(A_CHANNELS):
                for missing in filter(None, spans[channel][1::2]):
                    b.zero_fill(per_channel * missing)
            steps = ceil_div(layer.n, spec.mpe.mm_columns)
            k_blocks = ceil_div(view.union, spec.mpe.block)
            for step in range(steps):
                _load_values(b, [spec.mpe.mm_columns * keys for keys in view.runs], halves.wait())
                release = bits(LD) | bits(ST) * (step == steps - 1)
                b.matrix(MM, k_blocks, Fraction(1), flags=8, wait=bits(LD), release=release)
            is_end = head == len(heads) - 1 and group == groups - 1
            _store(b, rows * layer.n, bits(MM), is_end)

    _each_head(b, layer, len(heads), emit)


def _load_values(b: BodyBuilder, sizes: list[int], wait: int) -> None:
    """Append the loads of one tile of values, one per stretch of rows that some query sees."""
    for index, size in enumerate(sizes):
        release = bits(MM) if index == len(sizes) - 1 else 0
        b.load(size, _KEYS, mode=_B, wait=wait if index == 0 else 0, release=release)


_EMITTERS = {
    "linear": _linear,
    "norm": _row_by_row,
    "softmax": _row_by_row,
    "eltwise": _row_by_row,
    "scores": _scores,
    "mix": _mix,
}
