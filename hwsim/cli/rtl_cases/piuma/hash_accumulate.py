"""Draw what is played against the hash accumulator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hwsim.cli.rtl_cases.case import Case
from hwsim.cli.rtl_cases.piuma.replay import pack_fields, replayed_case
from hwsim.piuma.hash_accumulate import (
    ACCUMULATE,
    CLEAR,
    DRAIN,
    HashAccumulateModel,
    HashTable,
    Request,
)
from hwsim.piuma.unit_model import play
from hwsim.piuma.unit_spec import HashSpec
from rtl.cosim.vectors import random_stalls

__all__ = ["hash_accumulate_case", "hash_accumulate_cases", "random_requests"]


def hash_accumulate_case(
    spec: HashSpec,
    requests: Sequence[Request],
    *,
    stall_share: float = 0.0,
    seed: int = 0,
    name: str = "requests",
) -> Case:
    """Return what the unit must answer and emit, and when."""
    rng = np.random.default_rng(seed)
    cycles = 4 * len(requests) + 2 * spec.slots
    gaps = {"i": random_stalls(rng, cycles, stall_share)}
    stalls = {n: random_stalls(rng, cycles, stall_share) for n in HashAccumulateModel.outputs}
    model = HashAccumulateModel(spec)
    played = play(model, {"i": requests}, gaps=gaps, stalls=stalls)
    answers, drained = HashTable(spec).answer(requests)
    packings = {
        "i": pack_fields(2, spec.key_bits, spec.data_bits),
        "o": pack_fields(spec.slot_bits + 1, 1, 1),
        "drained": pack_fields(spec.key_bits, spec.data_bits),
    }
    return replayed_case(
        model,
        played,
        packings,
        expected={"o": answers, "drained": drained},
        stalls=stalls,
        seed=seed,
        name=name,
    )


def random_requests(
    spec: HashSpec, rng: np.random.Generator, count: int, distinct_keys: int
) -> list[Request]:
    """Return accumulations over ``distinct_keys`` keys, now and then a drain or a clear."""
    keys = rng.integers(0, 1 << spec.key_bits, distinct_keys)
    operations = rng.choice([ACCUMULATE, DRAIN, CLEAR], count, p=[0.96, 0.02, 0.02])
    return [
        Request(int(operation), int(rng.choice(keys)), _value(rng, spec.data_bits))
        for operation in operations
    ]


def hash_accumulate_cases(spec: HashSpec, seed: int) -> list[Case]:
    """Return bursts without stalls and with, ending in a drain."""
    rng = np.random.default_rng(seed)
    drawn = []
    for stall_share in (0.0, 0.4):
        requests = [*random_requests(spec, rng, 1000, spec.slots), Request(DRAIN)]
        drawn.append(hash_accumulate_case(spec, requests, stall_share=stall_share, seed=seed))
    return drawn


def _value(rng: np.random.Generator, width_bits: int) -> int:
    return int.from_bytes(rng.bytes(8), "little") % (1 << width_bits)
