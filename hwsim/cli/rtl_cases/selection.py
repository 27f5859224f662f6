"""Draw what is played against pre-generation with its packers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwsim.cli.rtl_cases.case import Case
from hwsim.cli.rtl_cases.reduction import pack_rows
from hwsim.cli.rtl_cases.sorter import random_groups
from hwsim.sat.pre_gen import pregenerate
from hwsim.sat.pre_gen_words import pack_tiles, words_schedule
from hwsim.sat.spec import PreGenSpec
from rtl.cosim.vectors import Schedule, Vectors, random_stalls

__all__ = ["pre_gen_words_case", "pre_gen_words_cases"]


def pre_gen_words_case(
    spec: PreGenSpec,
    rows: NDArray[np.uint16],
    *,
    panels: int = 1,
    stall_share: float = 0.0,
    seed: int = 0,
) -> Case:
    """Return what the chain must do with ``rows`` uint16[panels * panel_rows, lanes].

    Cycles are predicted for one panel while nobody stalls.
    """
    rng = np.random.default_rng(seed)
    panel_rows = len(rows) // panels
    expected = {
        f"{name}__{tile}": _mark_ends(words, spec.word_bits)
        for name, groups in zip(("o_ff", "o_bp"), pregenerate(spec, rows), strict=True)
        for tile, words in enumerate(pack_tiles(spec, groups, panel_rows))
    }
    vectors = Vectors(
        inputs={"i": pack_rows(rows)},
        expected=expected,
        source_gaps={"i": random_stalls(rng, 2 * len(rows), stall_share)},
        sink_stalls={name: random_stalls(rng, 2 * len(rows), stall_share) for name in expected},
        statics={"i_groups": panel_rows},
        seed=seed,
        name="weights",
    )
    if vectors.has_stalls or panels > 1:
        return vectors, None
    accepts, *emits = words_schedule(spec, len(rows) // spec.sore.sorter.nm_m)
    cycles = dict(zip(("o_ff", "o_bp"), emits, strict=True))
    return vectors, Schedule({"i": accepts}, {name: cycles[name[:4]] for name in expected})


def _mark_ends(panels: NDArray[np.uint8], word_bits: int) -> list[int]:
    """Return the words of a tile in order, a bit above them where a panel ends."""
    words = []
    for panel in panels:
        words += [int.from_bytes(word.tobytes(), "little") for word in panel]
        words[-1] |= 1 << word_bits
    return words


def pre_gen_words_cases(spec: PreGenSpec, seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)
    rows = 64 * spec.sore.sorter.nm_m
    return [
        pre_gen_words_case(
            spec,
            random_groups(rng, rows, spec.sore.lanes),
            panels=panels,
            stall_share=stall_share,
            seed=seed,
        )
        for panels, stall_share in ((1, 0.0), (4, 0.0), (4, 0.4))
    ]
