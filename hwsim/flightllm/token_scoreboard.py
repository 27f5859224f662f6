"""Say when instructions may start: golden and cycle model of the tokens between units.

Tokens by pair of producer and consumer and the masks over the other units, first unit highest:
from the authors' artifact. The depth of a counter and the register are this project's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hwsim.core.machine import UnitTiming
from hwsim.flightllm.unit_spec import TokenSpec

__all__ = [
    "ScoreboardRun",
    "TokenPlay",
    "dispatch_cycles",
    "peer_bits",
    "play_scoreboard",
    "timing",
]

Pattern = NDArray[np.bool_]


def timing(spec: TokenSpec) -> UnitTiming:
    """Return the cycle contract; a transfer is an instruction of one unit.

    A token that arrives in cycle t lets an instruction be accepted in t + 1.
    """
    del spec
    return UnitTiming(latency_cycles=1, interval_cycles=1)


def dispatch_cycles(spec: TokenSpec) -> int:
    """Return the cycles from accepting a completion to offering the instruction that waited."""
    return 1 + timing(spec).latency_cycles


def peer_bits(spec: TokenSpec, unit: int) -> dict[int, int]:
    """Return {other unit: its bit in a mask of ``unit``}; the first other unit is the highest."""
    others = [other for other in range(spec.units) if other != unit]
    return {other: spec.peers - 1 - place for place, other in enumerate(others)}


@dataclass(frozen=True)
class TokenPlay:
    """What every unit's instructions and completions bring, in order.

    Attributes
    ----------
    waits, releases : list[list[int]]
        Per unit, the masks of its instructions.
    dones : list[list[int]]
        Per unit, the release masks of the instructions that it completes, no more than there are.
    """

    waits: Sequence[Sequence[int]]
    releases: Sequence[Sequence[int]]
    dones: Sequence[Sequence[int]]


@dataclass
class ScoreboardRun:
    """Cycles by stream (``i__u``, ``done__u`` accepted, ``o__u`` emitted) and the tokens left."""

    cycles: dict[str, list[int]] = field(default_factory=dict)
    tokens: dict[tuple[int, int], int] = field(default_factory=dict)


def play_scoreboard(
    spec: TokenSpec,
    play: TokenPlay,
    gaps: Mapping[str, Pattern] | None = None,
    stalls: Mapping[str, Pattern] | None = None,
    limit_cycles: int = 100_000,
) -> ScoreboardRun:
    """Return when every stream moves under any stalls; stops when nothing is left to offer.

    Instructions and completions are taken if their tokens are there (or have room) at the begin of
    the cycle; an instruction also needs the register behind it empty or accepted and fewer than
    ``spec.in_flight`` before it under way, a completion at least one.
    """
    units = range(spec.units)
    run = ScoreboardRun(
        {f"{kind}__{u}": [] for kind in ("i", "done", "o") for u in units},
        {(p, c): 0 for p in units for c in units if p != c},
    )
    offered = dict.fromkeys(run.cycles, False)
    held = [False] * spec.units
    size = {f"i__{u}": len(play.waits[u]) for u in units}
    size |= {f"done__{u}": len(play.dones[u]) for u in units}
    emits = sum(len(masks) for masks in play.waits)
    for cycle in range(limit_cycles):
        moved: dict[tuple[int, int], int] = {}
        for name, count in size.items():
            is_gap = _at(gaps, name, cycle)
            offered[name] = offered[name] or (len(run.cycles[name]) < count and not is_gap)
        flying = [len(run.cycles[f"i__{u}"]) - len(run.cycles[f"done__{u}"]) for u in units]
        for u in units:
            bits = peer_bits(spec, u)
            done, taken = f"done__{u}", f"i__{u}"
            if offered[done] and flying[u] > 0:
                mask = play.dones[u][len(run.cycles[done])]
                chosen = [(u, c) for c, bit in bits.items() if mask >> bit & 1]
                if all(run.tokens[pair] < spec.depth for pair in chosen):
                    _move(run, offered, done, cycle, moved, chosen, 1)
            is_free = not held[u] or not _at(stalls, f"o__{u}", cycle)
            if held[u] and is_free:
                run.cycles[f"o__{u}"].append(cycle)
                held[u] = False
            if offered[taken] and is_free and flying[u] < spec.in_flight:
                mask = play.waits[u][len(run.cycles[taken])]
                chosen = [(p, u) for p, bit in bits.items() if mask >> bit & 1]
                if all(run.tokens[pair] > 0 for pair in chosen):
                    _move(run, offered, taken, cycle, moved, chosen, -1)
                    held[u] = True
        for pair, change in moved.items():
            run.tokens[pair] += change
        if sum(len(run.cycles[f"o__{u}"]) for u in units) == emits and all(
            len(run.cycles[name]) == count for name, count in size.items()
        ):
            break
    return run


def _move(
    run: ScoreboardRun,
    offered: dict[str, bool],
    name: str,
    cycle: int,
    moved: dict[tuple[int, int], int],
    pairs: list[tuple[int, int]],
    change: int,
) -> None:
    run.cycles[name].append(cycle)
    offered[name] = False
    for pair in pairs:
        moved[pair] = moved.get(pair, 0) + change


def _at(patterns: Mapping[str, Pattern] | None, name: str, cycle: int) -> bool:
    pattern = (patterns or {}).get(name)
    return pattern is not None and cycle < len(pattern) and bool(pattern[cycle])
