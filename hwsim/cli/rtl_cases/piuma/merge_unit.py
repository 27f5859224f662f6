"""Draw what is played against the merger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hwsim.cli.rtl_cases.case import Case
from hwsim.cli.rtl_cases.piuma.replay import pack_fields, replayed_case
from hwsim.piuma.merge_unit import END, Element, MergeUnitModel, merge_lists
from hwsim.piuma.unit_model import play
from hwsim.piuma.unit_spec import MergeSpec
from rtl.cosim.vectors import random_stalls

__all__ = ["merge_unit_case", "merge_unit_cases", "random_lists"]

Lists = Sequence[Mapping[int, int]]
"""One sparse vector {coordinate: value} per way."""


def random_lists(spec: MergeSpec, rng: np.random.Generator, most: int, range_: int) -> Lists:
    """Return a vector per way of up to ``most`` elements at coordinates below ``range_``."""
    top = (1 << spec.value_bits) - 1
    return [
        {
            int(at): int(rng.integers(0, 1 << 30)) & top
            for at in rng.integers(0, range_, rng.integers(0, most + 1))
        }
        for _ in range(spec.ways)
    ]


def merge_unit_case(
    spec: MergeSpec, batches: Sequence[Lists], *, stall_share: float = 0.0, seed: int = 0
) -> Case:
    """Return what the merger must emit, and when, for one set of lists behind the other."""
    rng = np.random.default_rng(seed)
    model = MergeUnitModel(spec)
    inputs: dict[str, list[Element]] = {name: [] for name in model.inputs}
    merged: list[Element] = []
    for lists in batches:
        for name, elements in zip(model.inputs, lists, strict=True):
            inputs[name] += [Element(False, at, elements[at]) for at in sorted(elements)]
            inputs[name].append(END)
        merged += merge_lists(spec, lists)
    cycles = 2 * len(merged)
    gaps = {name: random_stalls(rng, cycles, stall_share) for name in model.inputs}
    stalls = {"o": random_stalls(rng, cycles, stall_share)}
    played = play(model, inputs, gaps=gaps, stalls=stalls)
    packing = pack_fields(1, spec.coordinate_bits, spec.value_bits)
    packings = dict.fromkeys((*model.inputs, *model.outputs), packing)
    return replayed_case(
        model, played, packings, expected={"o": merged}, stalls=stalls, seed=seed, name="lists"
    )


def merge_unit_cases(spec: MergeSpec, seed: int) -> list[Case]:
    """Return lists that overlap much, little, and not at all, without stalls and with."""
    rng = np.random.default_rng(seed)
    drawn = []
    for stall_share in (0.0, 0.3):
        batches = [
            random_lists(spec, rng, most, range_)
            for most, range_ in ((20, 30), (0, 1), (20, 200), (1, 4), (40, 60))
        ]
        drawn.append(merge_unit_case(spec, batches, stall_share=stall_share, seed=seed))
    return drawn
