"""Say where the operands of a layer lie in a core's eight channels, relative to their bases.

Bytes of a channel unless a place is striped; ``shares`` of columns and heads are the first core's.

- A matrix of weights is blocks of 16 rows by 16 columns, in whole bytes. Of every 128 columns 16
  are on one channel: there, per group of 512, k blocks follow each other, each with its 4 columns
  of blocks. A step's tile is one piece of every channel, a prompt's 16 columns are a column of it.
- A vector is striped over the channels in pieces of 64 bytes: its addresses count all of them.
- Rows of a prompt: 16 of every 128 on each channel, in blocks of 16 by 16 bytes, columns in order.
- Keys and values: what a prompt's projections store, 16 tokens of every 128 on each channel; a
  step adds a line of 16 bytes to every block. Loads of keys turn the blocks over.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from hwsim.core.units import ceil_div
from hwsim.flightllm.plan import Layer
from hwsim.flightllm.spec import FlightSpec

__all__ = [
    "BIAS",
    "CACHE",
    "INDEX",
    "INPUT",
    "NOWHERE",
    "OPERANDS",
    "RESULT",
    "SECOND",
    "STRIPE_BYTES",
    "WEIGHTS",
    "Place",
    "block_bytes",
    "cache_row",
    "head_rows",
    "row_blocks",
    "step_keys",
    "step_weights",
    "tokens_of",
    "prompt_keys",
    "prompt_values",
    "prompt_weights",
    "row_offset",
    "vector",
    "weight_ratio",
]

NOWHERE, WEIGHTS, INPUT, RESULT, BIAS, INDEX, CACHE, SECOND = range(8)
"""Operands of a layer: each has a base of its own. From ``SECOND`` on: those of fused ops."""
OPERANDS = SECOND + 3
STRIPE_BYTES = 64
BLOCK = 16
CHANNELS = 8
COLUMN_BLOCKS = 4
"""Columns of blocks of a group of 512 on each channel."""
MOST_LOOPS = 255


class Place(NamedTuple):
    """Where bytes come from or go to: ``rows`` pieces, ``stride`` bytes apart, on ``channel``.

    Spread: blocks of 256 bytes, one on each channel in turn, then ``stride`` bytes further on; the
    length counts all of them. Turned: rows of blocks become columns. A row: 16 bytes of each block.
    """

    operand: int = NOWHERE
    address: int = 0
    channel: int = 0
    is_striped: bool = False
    is_spread: bool = False
    is_turned: bool = False
    is_row: bool = False
    rows: int = 1
    stride: int = 0

    @property
    def loops(self) -> int:
        """Return the two loop fields of a load, the inner one lowest; 0 for a single piece."""
        return 0 if self.rows == 1 else _loops(self.rows)


@lru_cache(maxsize=256)
def _loops(rows: int) -> int:
    inner = next(n for n in range(MOST_LOOPS, 0, -1) if rows % n == 0)
    return inner | rows // inner << 8


def weight_ratio(layer: Layer, spec: FlightSpec) -> Fraction:
    """Return the weights, a byte each on chip, that a byte of memory holds."""
    if layer.coding == "qmoe":
        return 8 / spec.experts.bits_per_weight(layer.k)
    if layer.coding == "gqsa":
        return 8 / spec.groups.bits_per_weight(layer.density, layer.k)
    return Fraction(80, spec.weight_bits_x10) / layer.density


def block_bytes(layer: Layer, spec: FlightSpec) -> int:
    """Return the bytes of a block of weights, rounded up."""
    size = BLOCK * BLOCK / weight_ratio(layer, spec)
    return ceil_div(size.numerator, size.denominator)


def step_weights(group: int, first: int, k_blocks: int, size: int, channel: int) -> Place:
    """Return a tile of ``group`` from k block ``first`` on; a block has ``size`` bytes."""
    return Place(WEIGHTS, (group * k_blocks + first) * COLUMN_BLOCKS * size, channel)


def prompt_weights(step: int, first: int, count: int, k_blocks: int, size: int) -> Place:
    """Return ``count`` blocks of the 16 columns number ``step``."""
    group, rest = divmod(step, CHANNELS * COLUMN_BLOCKS)
    column, channel = divmod(rest, CHANNELS)
    start = step_weights(group, first, k_blocks, size, channel)
    stride = COLUMN_BLOCKS * size
    return start._replace(address=start.address + column * size, rows=count, stride=stride)


def vector(operand: int, first: int = 0) -> Place:
    """Return a vector from byte ``first`` on."""
    return Place(operand, first, is_striped=True)


def row_blocks(operand: int, group: int, width: int, channel: int, first: int = 0) -> Place:
    """Return the rows of ``group`` on ``channel`` from column ``first`` of ``width`` on."""
    padded = ceil_div(width, BLOCK) * BLOCK
    return Place(operand, group * BLOCK * padded + first * BLOCK, channel)


def head_rows(operand: int, row: int, width: int) -> Place:
    """Return one row, a piece of every block of 16 columns."""
    group, inside = divmod(row, CHANNELS * BLOCK)
    channel, line = divmod(inside, BLOCK)
    start = row_blocks(operand, group, width, channel)
    blocks = ceil_div(width, BLOCK)
    return start._replace(
        address=start.address + line * BLOCK, rows=blocks, stride=BLOCK * BLOCK * (blocks > 1)
    )


def step_keys(head: int, first: int, count: int, width: int, heads: int, channel: int) -> Place:
    """Return keys or values of ``head`` of those 16-token blocks that lie on ``channel``.

    The blocks are ``first`` to ``first + count``, of which ``first`` is on the first channel.
    """
    slots = max(1, ceil_div(count - channel, CHANNELS))
    start = first // CHANNELS * BLOCK * width * heads + head * BLOCK * width
    return Place(CACHE, start, channel, rows=slots, stride=BLOCK * width * heads * (slots > 1))


def cache_row(block: int, width: int) -> Place:
    """Return the first row of the 16-token block, ``width`` bytes of all of a core's heads.

    The base of the result says which row it is (:func:`row_offset`).
    """
    slot, inside = divmod(block, CHANNELS)
    return Place(RESULT, slot * BLOCK * width, inside, is_row=True)


def row_offset(token: int) -> int:
    """Return how far the row of ``token`` is behind the first one of its block."""
    return token % BLOCK * BLOCK


def prompt_keys(head: int, block: int, width: int, heads: int) -> Place:
    """Return the keys of one block of 16 tokens."""
    start = step_keys(head, block, 1, width, heads, 0)
    return start._replace(channel=block % CHANNELS, is_turned=True)


def prompt_values(head: int, column: int, width: int, heads: int) -> Place:
    """Return 16 columns of values; :func:`tokens_of` says whose."""
    start = step_keys(head, 0, 1, width, heads, 0)
    stride = BLOCK * width * heads
    return start._replace(address=start.address + column * BLOCK * BLOCK, stride=stride)


def tokens_of(at: Place, first: int, count: int) -> Place:
    """Return the values at ``at`` of ``count`` tokens, on every channel alike from its own on."""
    slot, inside = divmod(first // BLOCK, CHANNELS)
    slots = max(1, ceil_div(inside + ceil_div(count, BLOCK), CHANNELS))
    stride = at.stride if slots > 1 else 0
    address = at.address + slot * at.stride
    return at._replace(address=address, channel=inside, is_spread=True, rows=slots, stride=stride)
