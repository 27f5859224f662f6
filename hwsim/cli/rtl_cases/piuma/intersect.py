"""Draw what is played against the intersection unit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hwsim.cli.rtl_cases.case import Case
from hwsim.cli.rtl_cases.piuma.replay import Packing, pack_fields, replayed_case
from hwsim.piuma.intersect import Block, IntersectModel, Match, blocks_of, intersect
from hwsim.piuma.unit_model import play
from hwsim.piuma.unit_spec import IntersectSpec
from rtl.cosim.vectors import random_stalls

__all__ = ["intersect_case", "intersect_cases", "random_pair"]

Pair = tuple[Sequence[int], Sequence[int]]
"""Two ascending lists of coordinates."""


def random_pair(rng: np.random.Generator, sizes: tuple[int, int], range_: int) -> Pair:
    """Return ascending lists of up to ``sizes`` coordinates below ``range_``."""
    a, b = (np.unique(rng.integers(0, range_, size)).tolist() for size in sizes)
    return a, b


def intersect_case(
    spec: IntersectSpec, pairs: Sequence[Pair], *, stall_share: float = 0.0, seed: int = 0
) -> Case:
    """Return the matches of one pair of lists behind the other, and when they come."""
    rng = np.random.default_rng(seed)
    inputs: dict[str, list[Block]] = {"a": [], "b": []}
    matches: list[Match] = []
    for a, b in pairs:
        inputs["a"] += blocks_of(spec, a)
        inputs["b"] += blocks_of(spec, b)
        matches += intersect(spec, a, b)
    cycles = 2 * sum(len(a) + len(b) + 2 for a, b in pairs)
    gaps = {name: random_stalls(rng, cycles, stall_share) for name in inputs}
    stalls = {"o": random_stalls(rng, cycles, stall_share)}
    model = IntersectModel(spec)
    played = play(model, inputs, gaps=gaps, stalls=stalls)
    packing = _block_packing(spec)
    packings = {
        "a": packing,
        "b": packing,
        "o": pack_fields(1, spec.coordinate_bits, spec.position_bits, spec.position_bits),
    }
    return replayed_case(
        model, played, packings, expected={"o": matches}, stalls=stalls, seed=seed, name="lists"
    )


def _block_packing(spec: IntersectSpec) -> Packing:
    fields = pack_fields(1, spec.count_bits, *[spec.coordinate_bits] * spec.block)

    def pack(block: tuple[bool, tuple[int, ...]]) -> int:
        is_last, coordinates = block
        # The first coordinate lies lowest; places that are not used hold ones.
        unused = [(1 << spec.coordinate_bits) - 1] * (spec.block - len(coordinates))
        return fields((is_last, len(coordinates), *unused, *coordinates[::-1]))

    return pack


def intersect_cases(spec: IntersectSpec, seed: int) -> list[Case]:
    """Return lists of equal and unequal length, dense and sparse, without stalls and with."""
    rng = np.random.default_rng(seed)
    shapes = [
        ((40, 40), 60),
        ((5, 100), 300),
        ((100, 5), 300),
        ((0, 9), 9),
        ((9, 0), 9),
        ((0, 0), 1),
    ]
    return [
        intersect_case(
            spec,
            [random_pair(rng, sizes, range_) for sizes, range_ in shapes],
            stall_share=stall_share,
            seed=seed,
        )
        for stall_share in (0.0, 0.4)
    ]
