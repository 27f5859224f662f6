"""Draw what is played against one SORE lane."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.cli.rtl_cases.case import Case
from hwsim.cli.rtl_cases.float_units import SPECIALS
from hwsim.core.sparsity import index_bits
from hwsim.sat.sorter import play_lane, topn_group
from hwsim.sat.spec import SorterSpec
from rtl.cosim.vectors import Schedule, Vectors, pack_words, random_stalls

__all__ = ["random_groups", "topn_sorter_case", "topn_sorter_cases"]


def topn_sorter_case(
    spec: SorterSpec,
    bits: NDArray[np.uint16],
    *,
    stall_share: float = 0.0,
    seed: int = 0,
    name: str = "groups",
) -> Case:
    """Return what one SORE lane must do with ``bits`` uint16[groups, nm_m]."""
    rng = np.random.default_rng(seed)
    values, indices = topn_group(bits, spec.nm_n)
    fields: list[tuple[NDArray[Any], int]] = []
    for slot in range(spec.nm_n):
        fields.append((values[:, slot], spec.value_bits))
        fields.append((indices[:, slot], index_bits(spec.nm_m)))
    gaps = random_stalls(rng, 2 * bits.size, stall_share)
    stalls = random_stalls(rng, 2 * bits.size, stall_share)
    vectors = Vectors(
        inputs={"i": bits.ravel().tolist()},
        expected={"o": pack_words(fields)},
        source_gaps={"i": gaps},
        sink_stalls={"o": stalls},
        seed=seed,
        name=name,
    )
    accepts, emits = play_lane(spec, bits.size, gaps, stalls)
    return vectors, Schedule({"i": accepts}, {"o": emits})


def random_groups(
    rng: np.random.Generator, groups: int, nm_m: int, special_share: float = 0.25
) -> NDArray[np.uint16]:
    """Return uint16[groups, nm_m] of any FP16 words; every third group is full of ties."""
    bits = rng.integers(0, 1 << 16, (groups, nm_m)).astype(np.uint16)
    bits[::3] &= np.uint16(0x8003)
    is_special = rng.random(bits.shape) < special_share
    return np.where(is_special, rng.choice(SPECIALS, bits.shape), bits).astype(np.uint16)


def topn_sorter_cases(spec: SorterSpec, seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)
    drawn = []
    for stall_share in (0.0, 0.4):
        bits = random_groups(rng, 512, spec.nm_m)
        drawn.append(topn_sorter_case(spec, bits, stall_share=stall_share, seed=seed))
    return drawn
