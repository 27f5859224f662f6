"""Draw what is played against the DMA engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from hwsim.cli.rtl_cases.case import Case
from hwsim.cli.rtl_cases.piuma.replay import pack_fields, replayed_case
from hwsim.piuma.gather_dma import Descriptor, GatherDmaModel, Write, move
from hwsim.piuma.unit_model import Word, play
from hwsim.piuma.unit_spec import GatherDmaSpec
from rtl.cosim.vectors import random_stalls

__all__ = ["gather_dma_case", "gather_dma_cases", "random_descriptors"]


def random_descriptors(
    spec: GatherDmaSpec, rng: np.random.Generator, number: int, most: int
) -> list[Descriptor]:
    """Return descriptors of all kinds, of up to ``most`` elements, now and then of none."""
    addresses = rng.integers(0, 1 << spec.address_bits, (number, 3)).tolist()
    counts = rng.integers(0, most + 1, number).tolist()
    return [
        Descriptor(int(rng.integers(0, 6)), *place, count)
        for place, count in zip(addresses, counts, strict=True)
    ]


def gather_dma_case(
    spec: GatherDmaSpec,
    descriptors: Sequence[Descriptor],
    *,
    read_cycles: Callable[[], int],
    fetch_cycles: Callable[[], int],
    stall_share: float = 0.0,
    seed: int = 0,
) -> Case:
    """Return what the engine must request and write, and when, if answers take such times.

    Memory holds at every address a number drawn from it: unequal, so that mistakes show.
    """
    rng = np.random.default_rng(seed)
    salt = [int(value) | 1 for value in rng.integers(0, 1 << 30, 2)]
    addresses = {a % (1 << spec.address_bits) for d in descriptors for a in _touched(d)}
    indices = {a: a * salt[0] // 7 % (1 << spec.address_bits) for a in addresses}
    reads = addresses | {
        (d.source + index) % (1 << spec.address_bits)
        for d in descriptors
        for index in indices.values()
    }
    values = {a: a * salt[1] // 5 % (1 << spec.data_bits) for a in reads}

    def respond(stream: str, word: Word) -> tuple[str, Word, int] | None:
        if stream == "fetch":
            return "fetched", (word[0], indices[word[1]]), fetch_cycles()
        if stream == "read":
            return "data", (word[0], values[word[1]]), read_cycles()
        return None

    cycles = 3 * sum(descriptor.count for descriptor in descriptors)
    stalls = {name: random_stalls(rng, cycles, stall_share) for name in GatherDmaModel.outputs}
    model = GatherDmaModel(spec)
    played = play(model, {"i": descriptors}, stalls=stalls, respond=respond)
    writes: list[Write] = []
    for descriptor in descriptors:
        writes += move(spec, descriptor, values, indices)
    address, count = spec.address_bits, spec.count_bits
    packings = {
        "i": pack_fields(3, address, address, address, count),
        "fetch": pack_fields(spec.slot_bits, address),
        "fetched": pack_fields(spec.slot_bits, address),
        "read": pack_fields(spec.slot_bits, address),
        "data": pack_fields(spec.slot_bits, spec.data_bits),
        "write": pack_fields(1, address, spec.data_bits),
        "done": pack_fields(count),
    }
    expected = {"write": writes, "done": [(d.count,) for d in descriptors]}
    return replayed_case(model, played, packings, expected=expected, stalls=stalls, seed=seed)


def _touched(descriptor: Descriptor) -> list[int]:
    starts = (descriptor.source, descriptor.index)
    return [start + element for start in starts for element in range(descriptor.count)]


def gather_dma_cases(spec: GatherDmaSpec, seed: int) -> list[Case]:
    """Return equal answer times without stalls, then any, overtaking, with stalls."""
    rng = np.random.default_rng(seed)
    most = min(100, (1 << spec.count_bits) - 1)
    drawn = []
    for latency in (2, 40):
        times = {"read_cycles": lambda t=latency: t, "fetch_cycles": lambda t=latency: t}
        drawn.append(
            gather_dma_case(spec, random_descriptors(spec, rng, 20, most), **times, seed=seed)
        )
    drawn.append(
        gather_dma_case(
            spec,
            random_descriptors(spec, rng, 20, most),
            read_cycles=lambda: int(rng.integers(1, 60)),
            fetch_cycles=lambda: int(rng.integers(1, 60)),
            stall_share=0.4,
            seed=seed,
        )
    )
    return drawn
