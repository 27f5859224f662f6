"""Turn a run of a unit's model into vectors for the RTL: same offers, same stalls, same cycles."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.piuma.unit_model import Played, UnitModel
from rtl.cosim.vectors import Schedule, Vectors

__all__ = ["Packing", "pack_fields", "replayed_case"]

Packing = Callable[[tuple[Any, ...]], int]
"""Word of a model -> payload of the RTL."""


def pack_fields(*widths_bits: int) -> Packing:
    """Return what packs fields of these widths, the last field of a word lowest."""

    def pack(word: tuple[Any, ...]) -> int:
        packed = 0
        for value, width_bits in zip(word, widths_bits, strict=True):
            assert 0 <= int(value) < 1 << width_bits
            packed = packed << width_bits | int(value)
        return packed

    return pack


def replayed_case(
    model: UnitModel,
    played: Played,
    packings: Mapping[str, Packing],
    *,
    expected: Mapping[str, Sequence[tuple[Any, ...]]] | None = None,
    stalls: Mapping[str, NDArray[np.bool_]] | None = None,
    seed: int = 0,
    name: str = "requests",
) -> tuple[Vectors, Schedule]:
    """Return what makes the RTL do what ``model`` did in ``played``, cycle for cycle.

    Parameters
    ----------
    model : UnitModel
        For the names of its streams.
    played : Played
        The run.
    packings : {stream: packing}
        One per stream.
    expected : {output: words}, optional
        Golden outputs, where they do not depend on time; absent: what the model emitted.
    stalls : {output: bool[cycles]}
        As in the run.
    """
    gaps = {}
    for stream in model.inputs:
        begins = played.offer_cycles[stream]
        gap = np.ones(max(begins, default=-1) + 1, dtype=np.bool_)
        gap[begins] = False
        gaps[stream] = gap
    words = {**played.words, **(expected or {})}
    vectors = Vectors(
        inputs={n: [packings[n](word) for word in words[n]] for n in model.inputs},
        expected={n: [packings[n](word) for word in words[n]] for n in model.outputs},
        source_gaps=gaps,
        sink_stalls=dict(stalls or {}),
        extra_cycles=played.end_cycle,
        seed=seed,
        name=name,
    )
    schedule = Schedule(
        {n: played.cycles_of(n) for n in model.inputs},
        {n: played.cycles_of(n) for n in model.outputs},
    )
    return vectors, schedule
