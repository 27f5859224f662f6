"""Draw what is played against packer and unpacker of compact groups."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.cli.rtl_cases.case import Case
from hwsim.core.formats import NMCompact
from hwsim.core.sparsity import index_bits
from hwsim.sat.packer import pack_nm_words, play_packer, play_unpacker
from hwsim.sat.spec import PackerSpec
from rtl.cosim.vectors import Schedule, Vectors, pack_words, random_stalls

__all__ = [
    "Blocks",
    "nm_packer_case",
    "nm_packer_cases",
    "nm_unpacker_case",
    "nm_unpacker_cases",
    "random_blocks",
]

Blocks = tuple[NDArray[np.uint16], NDArray[np.uint8]]
"""Values and indices, [blocks, groups, nm_n] each."""


def random_blocks(rng: np.random.Generator, spec: PackerSpec, blocks: int, groups: int) -> Blocks:
    """Return ``blocks`` blocks of ``groups`` groups with any values and any indices below M."""
    shape = (blocks, groups, spec.sorter.nm_n)
    values = rng.integers(0, 1 << 16, shape).astype(np.uint16)
    return values, rng.integers(0, spec.sorter.nm_m, shape).astype(np.uint8)


def nm_packer_case(
    spec: PackerSpec, blocks: Blocks, *, stall_share: float = 0.0, seed: int = 0
) -> Case:
    """Return what the packer must do with ``blocks``, and when."""
    count, groups = blocks[0].shape[:2]
    expected = []
    for words in _words(spec, blocks):
        expected += [*words[:-1], words[-1] | 1 << spec.word_bits]
    gaps, stalls = _patterns(seed, count * groups + len(expected), stall_share)
    vectors = Vectors(
        inputs={"i": _groups(spec, blocks)},
        expected={"o": expected},
        source_gaps={"i": gaps},
        sink_stalls={"o": stalls},
        statics={"i_groups": groups},
        seed=seed,
        name="blocks",
    )
    accepts, emits = play_packer(spec, count, groups, gaps, stalls)
    return vectors, Schedule({"i": accepts}, {"o": emits})


def nm_unpacker_case(
    spec: PackerSpec,
    blocks: Blocks,
    *,
    stall_share: float = 0.0,
    seed: int = 0,
    is_padded_with_ones: bool = False,
) -> Case:
    """Return what the unpacker must do with the words of ``blocks`` and their padding."""
    count, groups = blocks[0].shape[:2]
    inputs = []
    for words in _words(spec, blocks):
        used = groups * spec.group_bits - (len(words) - 1) * spec.word_bits
        free = (1 << spec.word_bits) - (1 << used)
        inputs += [*words[:-1], words[-1] | (free if is_padded_with_ones else 0)]
    gaps, stalls = _patterns(seed, count * groups + len(inputs), stall_share)
    vectors = Vectors(
        inputs={"i": inputs},
        expected={"o": _groups(spec, blocks)},
        source_gaps={"i": gaps},
        sink_stalls={"o": stalls},
        statics={"i_groups": groups},
        seed=seed,
        name="blocks",
    )
    accepts, emits = play_unpacker(spec, count, groups, gaps, stalls)
    return vectors, Schedule({"i": accepts}, {"o": emits})


def _words(spec: PackerSpec, blocks: Blocks) -> list[list[int]]:
    """Return the words of each block."""
    packed = []
    for values, indices in zip(*blocks, strict=True):
        compact = NMCompact(
            values[:, :, None],
            indices[:, :, None],
            len(values) * spec.sorter.nm_m,
            spec.sorter.nm_m,
        )
        words = pack_nm_words(compact, spec.word_bits)
        packed.append([int.from_bytes(word.tobytes(), "little") for word in words])
    return packed


def _groups(spec: PackerSpec, blocks: Blocks) -> list[int]:
    nm_n = spec.sorter.nm_n
    values, indices = (part.reshape(-1, nm_n) for part in blocks)
    fields: list[tuple[NDArray[Any], int]] = []
    for slot in range(nm_n):
        fields.append((values[:, slot], spec.sorter.value_bits))
        fields.append((indices[:, slot], index_bits(spec.sorter.nm_m)))
    return pack_words(fields)


def _patterns(
    seed: int, transfers: int, share: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    return random_stalls(rng, 2 * transfers, share), random_stalls(rng, 2 * transfers, share)


def nm_packer_cases(spec: PackerSpec, seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)
    return [
        nm_packer_case(spec, random_blocks(rng, spec, 16, 101), stall_share=share, seed=seed)
        for share in (0.0, 0.4)
    ]


def nm_unpacker_cases(spec: PackerSpec, seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)
    return [
        nm_unpacker_case(spec, random_blocks(rng, spec, 16, 101), stall_share=share, seed=seed)
        for share in (0.0, 0.4)
    ]
