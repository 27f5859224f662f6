"""Draw what is played against the barrel's issue stage."""

from __future__ import annotations

import numpy as np

from hwsim.cli.rtl_cases.case import Case
from hwsim.cli.rtl_cases.piuma.replay import pack_fields, replayed_case
from hwsim.piuma.barrel_issue import BarrelIssueModel, run_barrel
from hwsim.piuma.unit_model import Word, play
from hwsim.piuma.unit_spec import BarrelSpec
from rtl.cosim.vectors import random_stalls

__all__ = ["barrel_issue_case", "barrel_issue_cases", "barrel_loop_case"]


def barrel_issue_case(
    spec: BarrelSpec, instructions: int, *, stall_share: float = 0.0, seed: int = 0
) -> Case:
    """Return which threads issue, and when, if each instruction takes a time of its own."""
    rng = np.random.default_rng(seed)
    stalls = {"o": random_stalls(rng, 4 * instructions, stall_share)}
    left = instructions - spec.threads

    def respond(stream: str, word: Word) -> tuple[str, Word, int] | None:
        nonlocal left
        left -= 1
        return ("resp", word, int(rng.integers(1, 3 * spec.threads))) if left >= 0 else None

    model = BarrelIssueModel(spec)
    starts = [(int(thread),) for thread in rng.permutation(spec.threads)]
    played = play(model, {"resp": starts}, stalls=stalls, respond=respond)
    packing = pack_fields(spec.thread_bits)
    packings = {"resp": packing, "o": packing}
    return replayed_case(model, played, packings, stalls=stalls, seed=seed, name="any latency")


def barrel_loop_case(spec: BarrelSpec, latency_cycles: int, instructions: int) -> Case:
    """Return which threads issue, and when, if each may again after ``latency_cycles``."""
    played = run_barrel(spec, latency_cycles, instructions)
    packing = pack_fields(spec.thread_bits)
    packings = {"resp": packing, "o": packing}
    return replayed_case(BarrelIssueModel(spec), played, packings, name=f"latency {latency_cycles}")


def barrel_issue_cases(spec: BarrelSpec, seed: int) -> list[Case]:
    """Return equal latencies around the number of threads, then any, without stalls and with."""
    latencies = sorted({2, spec.threads + 1, 2 * spec.threads, 100})
    return [
        *(barrel_loop_case(spec, latency, 20 * spec.threads) for latency in latencies),
        *(barrel_issue_case(spec, 1000, stall_share=share, seed=seed) for share in (0.0, 0.4)),
    ]
