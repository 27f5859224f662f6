"""Draw what is played against the FIFO."""

from __future__ import annotations

import numpy as np

from hwsim.cli.rtl_cases.case import Case
from rtl.common.fifo import FifoSpec
from rtl.common.fifo import timing as fifo_timing
from rtl.cosim.vectors import Vectors, random_stalls, steady_schedule

__all__ = ["fifo_case", "fifo_cases"]


def fifo_case(spec: FifoSpec, words: list[int], *, stall_share: float = 0.0, seed: int = 0) -> Case:
    """Return what a FIFO must do; its cycles are predicted while nobody stalls."""
    rng = np.random.default_rng(seed)
    vectors = Vectors(
        inputs={"i": words},
        expected={"o": words},
        source_gaps={"i": random_stalls(rng, 2 * len(words), stall_share)},
        sink_stalls={"o": random_stalls(rng, 2 * len(words), stall_share)},
        seed=seed,
        name="words",
    )
    has_stalls = vectors.has_stalls
    return vectors, None if has_stalls else steady_schedule(fifo_timing(spec), len(words))


def fifo_cases(spec: FifoSpec, seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)
    drawn = []
    for stall_share in (0.0, 0.4):
        words = rng.integers(0, 1 << min(spec.width_bits, 62), 4096).tolist()
        drawn.append(fifo_case(spec, words, stall_share=stall_share, seed=seed))
    return drawn
