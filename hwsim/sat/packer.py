"""Say how compact N:M weights lie in memory, and when packer and unpacker move them.

The layout: a slot is an FP16 word below its ceil(log2 M)-bit index; a group is its N slots, the
lowest index lowest; groups follow each other without gaps, across word boundaries, lowest bit
first. A block (a matrix, or whatever part of it is read by itself) starts on a word boundary, and
the unused bits of its last word are zero. So a block takes the bits that
:func:`hwsim.core.formats.nm_compact_bits` counts, rounded up to whole words. All of this is this
project's own choice, but for the pairs of value and index, which the published pattern implies.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError, SpecError
from hwsim.core.formats import NMCompact
from hwsim.core.machine import UnitTiming
from hwsim.core.sparsity import index_bits
from hwsim.core.units import ceil_div
from hwsim.sat.spec import PackerSpec

__all__ = [
    "block_words",
    "pack_nm_words",
    "play_packer",
    "play_unpacker",
    "timing",
    "unpack_nm_words",
]

VALUE_BITS = 16
LATENCY_CYCLES = 1
"""From accepting what completes a word (a group) to offering it: the output register."""


def timing(spec: PackerSpec) -> UnitTiming:
    """Return the cycle contract of packer and unpacker alike; a transfer is a group.

    The latency is that of the transfer that completes an output. The interval is the longest
    between two groups while nobody stalls: 1 if words are at least as wide, else words are the
    bottleneck, one per cycle, and groups come every ``group_bits / word_bits`` cycles on average.
    One cycle more is lost at the end of a packed block whose last group begins one word and
    fills another.

    Raises :class:`SpecError` if the pattern is none that SORE emits.
    """
    sorter = spec.sorter
    if sorter.nm_m < 2 or sorter.nm_n > sorter.nm_m:
        found = f"nm_n={sorter.nm_n}, nm_m={sorter.nm_m}"
        raise SpecError("sore.sorter", "nm_m >= 2 and nm_n <= nm_m", found)
    return UnitTiming(LATENCY_CYCLES, ceil_div(spec.group_bits, spec.word_bits))


def block_words(groups: int, spec: PackerSpec) -> int:
    """Return the words that a block of ``groups`` takes."""
    return ceil_div(groups * spec.group_bits, spec.word_bits)


def pack_nm_words(compact: NMCompact, word_bits: int) -> NDArray[np.uint8]:
    """Return ``compact`` as one block: what memory holds, byte by byte.

    Parameters
    ----------
    compact : NMCompact
        ``values`` of 16 bits; its groups follow each other row of groups by row of groups, so that
        of a row all columns lie together.
    word_bits : int
        Multiple of 8.

    Returns
    -------
    uint8[words, word_bits / 8]
        Little-endian words.

    Raises
    ------
    InputError
        If values have not 16 bits.
    """
    if compact.values.dtype.itemsize * 8 != VALUE_BITS:
        raise InputError("values", "16 bits per value", str(compact.values.dtype))
    values = np.ascontiguousarray(compact.values.transpose(0, 2, 1)).view(np.uint16)
    indices = compact.indices.transpose(0, 2, 1)
    slots = np.concatenate(
        [_to_bits(values, VALUE_BITS), _to_bits(indices, index_bits(compact.nm_m))], axis=-1
    ).ravel()
    padded = np.zeros(ceil_div(slots.size, word_bits) * word_bits, dtype=np.uint8)
    padded[: slots.size] = slots
    return np.packbits(padded, bitorder="little").reshape(-1, word_bits // 8)


def unpack_nm_words(words: NDArray[np.uint8], k: int, n: int, nm_n: int, nm_m: int) -> NMCompact:
    """Return the FP16 matrix [k, n] in compact form that ``words`` hold; padding is not read.

    Parameters
    ----------
    words : uint8[words, bytes]
        From :func:`pack_nm_words`.
    k, n : int
        Shape of the dense matrix, in elements.
    nm_n, nm_m : int
        Its pattern, grouped along k.

    Raises
    ------
    InputError
        If there are more or fewer words than such a matrix takes.
    """
    groups = ceil_div(k, nm_m)
    slot_bits = VALUE_BITS + index_bits(nm_m)
    bits = groups * n * nm_n * slot_bits
    need = ceil_div(bits, 8 * words.shape[1])
    if len(words) != need:
        raise InputError("words", f"{need} words of {words.shape[1]} bytes", str(len(words)))
    slots = np.unpackbits(words.ravel(), bitorder="little")[:bits].reshape(groups, n, nm_n, -1)
    values = _from_bits(slots[..., :VALUE_BITS]).astype(np.uint16).view(np.float16)
    indices = _from_bits(slots[..., VALUE_BITS:]).astype(np.uint8)
    return NMCompact(values.transpose(0, 2, 1), indices.transpose(0, 2, 1), k, nm_m)


def play_packer(
    spec: PackerSpec,
    blocks: int,
    groups_per_block: int,
    source_gaps: NDArray[np.bool_],
    sink_stalls: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return accept cycles of groups and emit cycles of words under any stalls.

    A group is accepted whenever less than a word of complete ones waits, counted after the word
    that leaves in the same cycle; but the first group of a block only when nothing of the
    last block is left.

    Parameters
    ----------
    spec : PackerSpec
        Pattern and word.
    blocks, groups_per_block : int
        Groups offered.
    source_gaps, sink_stalls : bool[cycles]
        True where the producer begins no offer, the consumer refuses; never after their end.

    Returns
    -------
    accept_cycles : int64[blocks * groups_per_block]
    emit_cycles : int64[blocks * block_words(groups_per_block, spec)]
    """
    word = spec.word_bits
    waiting, groups, words = (
        0,
        blocks * groups_per_block,
        blocks * block_words(groups_per_block, spec),
    )
    accepts: list[int] = []
    emits: list[int] = []
    cycle, is_offered = 0, False
    while len(emits) < words:
        is_offered = is_offered or (len(accepts) < groups and not _at(source_gaps, cycle))
        # All groups of the block are in: what is left of it leaves, padded.
        is_ending = waiting > 0 and len(accepts) % groups_per_block == 0
        is_blocked = waiting >= word or is_ending
        if is_blocked and not _at(sink_stalls, cycle):
            emits.append(cycle)
            waiting = max(0, waiting - word)
            is_blocked = waiting >= word or (is_ending and waiting > 0)
        if is_offered and not is_blocked:
            accepts.append(cycle)
            waiting += spec.group_bits
            is_offered = False
        cycle += 1
    return np.array(accepts, dtype=np.int64), np.array(emits, dtype=np.int64)


def play_unpacker(
    spec: PackerSpec,
    blocks: int,
    groups_per_block: int,
    source_gaps: NDArray[np.bool_],
    sink_stalls: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return accept cycles of words and emit cycles of groups under any stalls.

    A word is accepted whenever less than a group waits, counted after the group that leaves in
    the same cycle; with the last group of a block its padding leaves too.

    Parameters and Returns as for :func:`play_packer`, words and groups exchanged.
    """
    group = spec.group_bits
    waiting, groups, words = (
        0,
        blocks * groups_per_block,
        blocks * block_words(groups_per_block, spec),
    )
    accepts: list[int] = []
    emits: list[int] = []
    cycle, is_offered = 0, False
    while len(emits) < groups:
        is_offered = is_offered or (len(accepts) < words and not _at(source_gaps, cycle))
        if waiting >= group and not _at(sink_stalls, cycle):
            emits.append(cycle)
            waiting = waiting - group if len(emits) % groups_per_block else 0
        if is_offered and waiting < group:
            accepts.append(cycle)
            waiting += spec.word_bits
            is_offered = False
        cycle += 1
    return np.array(accepts, dtype=np.int64), np.array(emits, dtype=np.int64)


def _at(pattern: NDArray[np.bool_], cycle: int) -> bool:
    return cycle < len(pattern) and bool(pattern[cycle])


def _to_bits(words: NDArray[np.unsignedinteger], width_bits: int) -> NDArray[np.uint8]:
    """Return the lowest bits of ``words`` [*shape] as uint8[*shape, width_bits], lowest first."""
    return (words[..., None] >> np.arange(width_bits) & 1).astype(np.uint8)


def _from_bits(bits: NDArray[np.uint8]) -> NDArray[np.int64]:
    return bits.astype(np.int64) @ (1 << np.arange(bits.shape[-1], dtype=np.int64))
