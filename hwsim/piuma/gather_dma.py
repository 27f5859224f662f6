"""Say what the DMA engine moves and when: golden copy and cycle model.

A descriptor names an operation, the first elements of source, target and index list, and a count.
Elements go through three stages in order, index fetch, read and write, each one element per cycle;
up to ``outstanding`` of them are between their first request and their write. Answers of memory may
overtake each other. What the engine can do is recollection (DMA with arithmetic: published,
HotTiles 2024); everything about cycles is this project's own.

With an answer ``d`` cycles behind its request, an element that needs no index holds its place for
``d + 3`` cycles, one that does for ``d_index + d_read + 5``; ``outstanding`` elements pass in that
time or, if it is shorter, in ``outstanding`` cycles.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from hwsim.core.machine import UnitTiming
from hwsim.piuma.unit_model import UnitModel, Word
from hwsim.piuma.unit_spec import GatherDmaSpec

__all__ = [
    "BROADCAST",
    "COPY",
    "GATHER",
    "SCATTER",
    "SCATTER_ADD",
    "Descriptor",
    "GatherDmaModel",
    "Write",
    "move",
    "place_cycles",
    "timing",
]

COPY, GATHER, SCATTER, SCATTER_ADD, BROADCAST = range(5)
"""Operations of a descriptor; any other code copies."""


class Descriptor(NamedTuple):
    """One transfer; addresses count elements."""

    operation: int
    source: int
    target: int
    index: int
    count: int

    @property
    def is_indexed(self) -> bool:
        """Return whether the list of indices is read."""
        return self.operation in (GATHER, SCATTER, SCATTER_ADD)

    @property
    def is_scatter(self) -> bool:
        """Return whether indices name targets."""
        return self.operation in (SCATTER, SCATTER_ADD)


class Write(NamedTuple):
    """One write, or addition where the word lives."""

    is_add: bool
    address: int
    value: int


def timing(spec: GatherDmaSpec) -> UnitTiming:
    """Return the cycle contract: from an element's data to its write, and between elements."""
    del spec
    return UnitTiming(latency_cycles=2, interval_cycles=1)


def place_cycles(descriptor: Descriptor, read_cycles: int, index_cycles: int = 0) -> int:
    """Return how long an element holds its place if answers are so far behind requests."""
    return read_cycles + 3 + (index_cycles + 2 if descriptor.is_indexed else 0)


def move(
    spec: GatherDmaSpec,
    descriptor: Descriptor,
    data: Mapping[int, int],
    indices: Mapping[int, int],
) -> list[Write]:
    """Return the writes of ``descriptor``, in order; memory that is not listed holds 0."""
    top = 1 << spec.address_bits
    writes = []
    for element in range(descriptor.count):
        index = indices.get((descriptor.index + element) % top, 0)
        offset = {GATHER: index, BROADCAST: 0}.get(descriptor.operation, element)
        value = data.get((descriptor.source + offset) % top, 0)
        place = index if descriptor.is_scatter else element
        is_add = descriptor.operation == SCATTER_ADD
        writes.append(Write(is_add, (descriptor.target + place) % top, value))
    return writes


class GatherDmaModel(UnitModel):
    """The engine cycle by cycle.

    Streams: ``i`` descriptors; ``fetch`` and ``read`` requests (slot, address), answered on
    ``fetched`` and ``data`` by (slot, value), always taken; ``write``; ``done`` (count,).
    """

    inputs = ("i", "fetched", "data")
    outputs = ("fetch", "read", "write", "done")

    def __init__(self, spec: GatherDmaSpec) -> None:
        self.spec = spec
        self.held: dict[str, Word] = {}
        self.descriptor: Descriptor | None = None
        self.fetch_at = self.read_at = self.write_at = 0
        self.indices: dict[int, int] = {}
        self.values: dict[int, int] = {}

    def offers(self) -> dict[str, Word]:
        """Return the registers that hold something."""
        return dict(self.held)

    @property
    def is_busy(self) -> bool:
        """Return whether a descriptor is being worked on."""
        return self.descriptor is not None

    def accepts(self, offered: Mapping[str, Word], leaving: frozenset[str]) -> frozenset[str]:
        """Accept every answer, and a descriptor when there is none."""
        del leaving
        is_free = self.descriptor is None
        return frozenset(name for name in offered if name != "i" or is_free)

    def clock(self, accepted: Mapping[str, Word], leaving: frozenset[str]) -> None:
        """Let every stage begin one element if there is one and its register is free."""
        free = {name for name in self.outputs if name not in self.held or name in leaving}
        was_writing = "write" in self.held
        for name in leaving:
            del self.held[name]
        now = self.descriptor
        if "done" in leaving:
            self.descriptor = None
        elif now is not None:
            self._step(now, free, was_writing)
        if "fetched" in accepted:
            slot, value = accepted["fetched"]
            self.indices[slot] = value
        if "data" in accepted:
            slot, value = accepted["data"]
            self.values[slot] = value
        if "i" in accepted:
            self.descriptor = Descriptor(*accepted["i"])
            self.fetch_at = self.read_at = self.write_at = 0
            self.values = {}

    def _step(self, now: Descriptor, free: set[str], was_writing: bool) -> None:
        top = 1 << self.spec.address_bits
        places = self.spec.outstanding
        fetch_at, read_at, write_at = self.fetch_at, self.read_at, self.write_at
        has_index, has_value = set(self.indices), set(self.values)
        if now.is_indexed and "fetch" in free and fetch_at < min(now.count, write_at + places):
            self.held["fetch"] = (fetch_at % places, (now.index + fetch_at) % top)
            self.fetch_at += 1
        limit = min(now.count, 1) if now.operation == BROADCAST else now.count
        slot = read_at % places
        is_open = read_at < fetch_at if now.is_indexed else read_at < write_at + places
        is_known = not now.is_indexed or slot in has_index
        if "read" in free and read_at < limit and is_open and is_known:
            offset = self.indices[slot] if now.operation == GATHER else read_at
            self.held["read"] = (slot, (now.source + offset) % top)
            self.read_at += 1
        slot = 0 if now.operation == BROADCAST else write_at % places
        if "write" in free and write_at < now.count and slot in has_value:
            place = self.indices[slot] if now.is_scatter else write_at
            is_add = now.operation == SCATTER_ADD
            self.held["write"] = Write(is_add, (now.target + place) % top, self.values[slot])
            self.write_at += 1
            if now.operation != BROADCAST:
                del self.values[slot]
                self.indices.pop(slot, None)
        if write_at == now.count and not was_writing and "done" not in self.held:
            self.held["done"] = (now.count,)
