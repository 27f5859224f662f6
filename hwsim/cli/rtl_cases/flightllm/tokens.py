"""Draw what is played against the token scoreboard."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hwsim.cli.rtl_cases.case import Case
from hwsim.flightllm.token_scoreboard import TokenPlay, peer_bits, play_scoreboard
from hwsim.flightllm.unit_spec import TokenSpec
from rtl.cosim.vectors import Schedule, Vectors, random_stalls

__all__ = ["random_play", "scoreboard_case", "token_scoreboard_cases"]


def random_play(rng: np.random.Generator, spec: TokenSpec, events: int) -> TokenPlay:
    """Return instructions and completions that some order lets through to the end.

    Drawn along one such order; since only its consumer takes a pair's tokens and only its producer
    adds any, and a unit's instructions complete in turn, every other order comes to the end too.
    """
    units = range(spec.units)
    tokens = {(p, c): 0 for p in units for c in units if p != c}
    waits: list[list[int]] = [[] for _ in units]
    dones: list[list[int]] = [[] for _ in units]
    for _ in range(events):
        unit = int(rng.integers(spec.units))
        bits = peer_bits(spec, unit)
        is_wait, mask = rng.random() < 0.5, 0
        flying = len(waits[unit]) - len(dones[unit])
        if flying in (0, spec.in_flight):  # nothing to complete, or no room for another
            is_wait = flying == 0
        # Dense masks now and then, so that counters fill.
        share = rng.choice([0.2, 0.9])
        for other, bit in bits.items():
            pair = (other, unit) if is_wait else (unit, other)
            is_possible = tokens[pair] > 0 if is_wait else tokens[pair] < spec.depth
            if is_possible and rng.random() < share:
                tokens[pair] += -1 if is_wait else 1
                mask |= 1 << bit
        (waits if is_wait else dones)[unit].append(mask)
    releases = [rng.integers(0, 1 << spec.peers, len(masks)).tolist() for masks in waits]
    return TokenPlay(waits, releases, dones)


def scoreboard_case(
    spec: TokenSpec,
    play: TokenPlay,
    *,
    stall_share: float = 0.0,
    seed: int = 0,
    gaps: Mapping[str, NDArray[np.bool_]] | None = None,
) -> Case:
    """Return what the scoreboard must do with ``play``, and when; ``gaps`` replace drawn ones."""
    rng = np.random.default_rng(seed)
    units = range(spec.units)
    names = [f"{kind}__{u}" for kind in ("i", "done") for u in units]
    length = 4 * max(len(masks) for masks in [*play.waits, *play.dones])
    gaps = {name: random_stalls(rng, length, stall_share) for name in names} | dict(gaps or {})
    stalls = {f"o__{u}": random_stalls(rng, length, stall_share) for u in units}
    inputs = {f"done__{u}": list(play.dones[u]) for u in units}
    for u in units:
        pairs = zip(play.waits[u], play.releases[u], strict=True)
        inputs[f"i__{u}"] = [wait << spec.peers | release for wait, release in pairs]
    vectors = Vectors(
        inputs=inputs,
        expected={f"o__{u}": list(play.releases[u]) for u in units},
        source_gaps=gaps,
        sink_stalls=stalls,
        seed=seed,
        name="tokens",
    )
    cycles = play_scoreboard(spec, play, gaps, stalls).cycles
    arrays = {name: np.array(found, dtype=np.int64) for name, found in cycles.items()}
    accepts = {name: found for name, found in arrays.items() if not name.startswith("o")}
    emits = {name: found for name, found in arrays.items() if name.startswith("o")}
    return vectors, Schedule(accepts, emits)


def token_scoreboard_cases(spec: TokenSpec, seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)
    return [
        scoreboard_case(spec, random_play(rng, spec, 2048), stall_share=share, seed=seed)
        for share in (0.0, 0.4)
    ]
