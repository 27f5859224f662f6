"""Draw what is played against the barrel's issue stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.cli.rtl_cases.case import Case
from hwsim.cli.rtl_cases.piuma.replay import pack_fields, replayed_case
from hwsim.piuma.barrel_issue import BarrelIssueModel, run_barrel
from hwsim.piuma.unit_model import Played
from hwsim.piuma.unit_spec import BarrelSpec
from rtl.cosim.vectors import random_stalls

__all__ = ["barrel_issue_case", "barrel_issue_cases", "barrel_loop_case"]


def barrel_issue_case(
    spec: BarrelSpec, instructions: int, *, stall_share: float = 0.0, seed: int = 0
) -> Case:
    """Return which threads issue, and when, if each instruction takes a time of its own."""
    rng = np.random.default_rng(seed)
    stalls = {"o": random_stalls(rng, 4 * instructions, stall_share)}
    slowest = 3 * spec.threads
    played = run_barrel(spec, lambda: int(rng.integers(2, slowest + 2)), instructions, stalls)
    return _case(spec, played, stalls, seed=seed, name="any latency")


def barrel_loop_case(spec: BarrelSpec, latency_cycles: int, instructions: int) -> Case:
    """Return which threads issue, and when, if each may again after ``latency_cycles``."""
    played = run_barrel(spec, lambda: latency_cycles, instructions)
    return _case(spec, played, {}, name=f"latency {latency_cycles}")


def _case(
    spec: BarrelSpec,
    played: Played,
    stalls: Mapping[str, NDArray[np.bool_]],
    **labels: Any,
) -> Case:
    packings = {"resp": pack_fields(spec.threads), "o": pack_fields(spec.thread_bits)}
    return replayed_case(BarrelIssueModel(spec), played, packings, stalls=stalls, **labels)


def barrel_issue_cases(spec: BarrelSpec, seed: int) -> list[Case]:
    """Return equal latencies around the number of threads, then any, without stalls and with."""
    latencies = sorted({2, spec.threads + 1, 2 * spec.threads, 100})
    return [
        *(barrel_loop_case(spec, latency, 20 * spec.threads) for latency in latencies),
        *(barrel_issue_case(spec, 1000, stall_share=share, seed=seed) for share in (0.0, 0.4)),
    ]
