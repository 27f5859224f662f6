"""Draw what is played against the scratchpad's banks and their crossbar."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hwsim.cli.rtl_cases.case import Case
from hwsim.cli.rtl_cases.piuma.replay import pack_fields, replayed_case
from hwsim.piuma.atomic_spad import (
    STORE,
    AtomicSpadModel,
    Request,
    SpadCrossbarModel,
    apply_request,
)
from hwsim.piuma.unit_model import play
from hwsim.piuma.unit_spec import AtomicSpadSpec, SpadCrossbarSpec
from rtl.cosim.vectors import random_stalls

__all__ = [
    "atomic_spad_case",
    "atomic_spad_cases",
    "random_requests",
    "spad_crossbar_case",
    "spad_crossbar_cases",
    "zeros",
]


def zeros(words: int) -> list[Request]:
    """Return what leaves memory as it is at power-up, for the run behind: reset keeps words."""
    return [Request(STORE, 0, address) for address in range(words)]


def random_requests(
    spec: AtomicSpadSpec, rng: np.random.Generator, count: int, words: int
) -> list[Request]:
    """Return requests of all kinds to ``words`` words; few values, so that swaps succeed."""
    top = (1 << spec.data_bits) - 1
    values = [0, 1, 2, top]
    return [
        Request(
            int(rng.integers(0, 8)),
            int(rng.integers(0, 1 << spec.tag_bits)),
            int(rng.integers(0, words)),
            values[rng.integers(0, 4)] & top,
            values[rng.integers(0, 4)] & top,
        )
        for _ in range(count)
    ]


def atomic_spad_case(
    spec: AtomicSpadSpec, requests: Sequence[Request], *, stall_share: float = 0.0, seed: int = 0
) -> Case:
    """Return what one bank must answer, and when, from a memory of zeros to one of zeros."""
    rng = np.random.default_rng(seed)
    gaps = {"i": random_stalls(rng, 2 * len(requests), stall_share)}
    stalls = {"o": random_stalls(rng, 2 * len(requests), stall_share)}
    model = AtomicSpadModel(spec)
    requests = [*requests, *zeros(1 + max(request.address for request in requests))]
    played = play(model, {"i": requests}, gaps=gaps, stalls=stalls)
    memory: dict[int, int] = {}
    answers = [apply_request(memory, request, spec.data_bits) for request in requests]
    packings = {
        "i": pack_fields(3, spec.tag_bits, spec.address_bits, spec.data_bits, spec.data_bits),
        "o": pack_fields(spec.tag_bits, spec.data_bits),
    }
    return replayed_case(model, played, packings, expected={"o": answers}, stalls=stalls, seed=seed)


def spad_crossbar_case(
    spec: SpadCrossbarSpec,
    requests: Sequence[Sequence[Request]],
    *,
    stall_share: float = 0.0,
    seed: int = 0,
) -> Case:
    """Return what the banks must answer to the ``requests`` of every port, and when.

    Which request is first at a bank depends on time, and so do the answers. Memory is zeros before,
    and again afterwards.
    """
    rng = np.random.default_rng(seed)
    model = SpadCrossbarModel(spec)
    cycles = 2 * max(map(len, requests))
    gaps = {name: random_stalls(rng, cycles, stall_share) for name in model.inputs}
    stalls = {name: random_stalls(rng, cycles, stall_share) for name in model.outputs}
    inputs = dict(zip(model.inputs, requests, strict=True))
    played = play(model, inputs, gaps=gaps, stalls=stalls)

    # Port 0 writes the zeros when all else is done.
    first = model.inputs[0]
    words = 1 + max(request.address for port in requests for request in port)
    pause = np.ones(played.end_cycle, dtype=np.bool_)
    pause[played.offer_cycles[first]] = False
    model = SpadCrossbarModel(spec)
    inputs[first] = [*requests[0], *zeros(words)]
    played = play(model, inputs, gaps={**gaps, first: pause}, stalls=stalls)
    bank = spec.bank
    into = pack_fields(3, bank.tag_bits, spec.address_bits, bank.data_bits, bank.data_bits)
    out = pack_fields(bank.tag_bits, bank.data_bits)
    packings = {**dict.fromkeys(model.inputs, into), **dict.fromkeys(model.outputs, out)}
    return replayed_case(model, played, packings, stalls=stalls, seed=seed)


def atomic_spad_cases(spec: AtomicSpadSpec, seed: int) -> list[Case]:
    """Return requests to all words and to few, without stalls and with."""
    rng = np.random.default_rng(seed)
    drawn = []
    for stall_share, words in ((0.0, spec.words), (0.0, 2), (0.4, 4)):
        requests = random_requests(spec, rng, 2000, words)
        drawn.append(atomic_spad_case(spec, requests, stall_share=stall_share, seed=seed))
    return drawn


def spad_crossbar_cases(spec: SpadCrossbarSpec, seed: int) -> list[Case]:
    """Return ports that contend for few words, without stalls and with."""
    rng = np.random.default_rng(seed)
    drawn = []
    for stall_share in (0.0, 0.4):
        words = 4 * spec.banks
        requests = [random_requests(spec.bank, rng, 500, words) for _ in range(spec.ports)]
        drawn.append(spad_crossbar_case(spec, requests, stall_share=stall_share, seed=seed))
    return drawn
