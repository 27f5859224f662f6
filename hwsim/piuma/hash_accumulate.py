"""Say what the hash accumulator computes and when: golden table and cycle model.

The table is an array of slots with linear probing: a key's first slot is its hash, an empty slot or
one of the same key takes the product, anything else sends it to the next slot. A probe that has
met all slots in vain overflows: the product is refused and says so. Sums wrap modulo two to their
width. That the table works like this is recollection of the SMASH thesis, not published text; the
hash functions' constants and the cycle contract are this project's own.

An accumulation takes ``ceil(probes / comparators)`` compare cycles after one cycle of reading, so
its answer is offered ``1 + ceil(probes / comparators)`` cycles after it was accepted, and
accumulations follow each other every ``ceil(probes / comparators)`` cycles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hwsim.core.machine import UnitTiming
from hwsim.core.units import ceil_div
from hwsim.piuma.unit_model import UnitModel, Word
from hwsim.piuma.unit_spec import HashSpec

__all__ = [
    "ACCUMULATE",
    "CLEAR",
    "DRAIN",
    "FACTOR",
    "Answer",
    "HashAccumulateModel",
    "HashTable",
    "Request",
    "first_slot",
    "timing",
]

ACCUMULATE, DRAIN, CLEAR = 0, 1, 2
"""Operations of a request."""

FACTOR = 0x9E3779B1
"""Prime next to 2^32 / golden ratio (Knuth, TAOCP vol. 3, 6.4: multiplicative hashing)."""


class Request(NamedTuple):
    """One request; ``key`` and ``value`` count for an accumulation only."""

    operation: int
    key: int = 0
    value: int = 0


class Answer(NamedTuple):
    """What became of a request; ``probes`` counts entries in the answer to a drain."""

    probes: int
    is_new: bool = False
    is_overflow: bool = False


def timing(spec: HashSpec) -> UnitTiming:
    """Return the cycle contract of an accumulation that the first compare cycle settles."""
    del spec
    return UnitTiming(latency_cycles=2, interval_cycles=1)


def first_slot(spec: HashSpec, key: int) -> int:
    """Return the slot at which the search for ``key`` begins."""
    if spec.hash == "high":
        return key >> (spec.key_bits - spec.slot_bits)
    if spec.hash == "low":
        return key % spec.slots
    if spec.hash == "low_xor_row":
        return (key ^ ((key >> spec.column_bits) * FACTOR)) % spec.slots
    return ((key * FACTOR) % (1 << 32)) >> (32 - spec.slot_bits)


class HashTable:
    """The golden table: what is where, in plain lists."""

    def __init__(self, spec: HashSpec) -> None:
        self.spec = spec
        self.clear()

    def clear(self) -> None:
        """Empty every slot."""
        self.keys: list[int | None] = [None] * self.spec.slots
        self.sums = [0] * self.spec.slots

    def accumulate(self, key: int, value: int) -> Answer:
        """Add ``value`` to the sum of ``key`` and return how far the search went."""
        slots = self.spec.slots
        slot = first_slot(self.spec, key)
        for probes in range(1, slots + 1):
            if self.keys[slot] is None or self.keys[slot] == key:
                is_new = self.keys[slot] is None
                self.keys[slot] = key
                self.sums[slot] = (self.sums[slot] + value) % (1 << self.spec.data_bits)
                return Answer(probes, is_new)
            slot = (slot + 1) % slots
        return Answer(slots, is_overflow=True)

    def drain(self) -> list[tuple[int, int]]:
        """Return all (key, sum) by slot and empty the table."""
        found = [
            (key, total) for key, total in zip(self.keys, self.sums, strict=True) if key is not None
        ]
        self.clear()
        return found

    def answer(self, requests: Sequence[Request]) -> tuple[list[Answer], list[tuple[int, int]]]:
        """Return the answer to every request in order, and all that drains emit."""
        answers: list[Answer] = []
        drained: list[tuple[int, int]] = []
        for request in requests:
            if request.operation == ACCUMULATE:
                answers.append(self.accumulate(request.key, request.value))
                continue
            entries = self.drain()
            is_drain = request.operation == DRAIN
            drained += entries if is_drain else []
            answers.append(Answer(len(entries) if is_drain else 0))
        return answers, drained


class HashAccumulateModel(UnitModel):
    """The unit cycle by cycle: streams ``i`` of requests, ``o`` of answers, ``drained`` entries.

    After reset, and whenever epochs run out, a sweep of ``slots / comparators`` cycles marks every
    slot empty; other clears take one cycle.
    """

    inputs = ("i",)
    outputs = ("o", "drained")

    def __init__(self, spec: HashSpec) -> None:
        self.spec = spec
        self.table = HashTable(spec)
        self.sweep_cycles = spec.slots // spec.comparators
        self.epoch = 1
        self.answer: Answer | None = None  # register o
        self.entry: tuple[int, int] | None = None  # register drained
        self.outcome: Answer | None = None  # accumulation being compared
        self.compares_left = 0
        self.scan: list[tuple[int, int] | None] | None = None
        self.scan_at = -1  # slot that was read in the last cycle
        self.clearing: Answer | None = None

    def offers(self) -> dict[str, Word]:
        """Return the registers that hold something."""
        held = {"o": self.answer, "drained": self.entry}
        return {name: word for name, word in held.items() if word is not None}

    @property
    def is_busy(self) -> bool:
        """Return whether a request is between acceptance and answer."""
        return self.outcome is not None or self.scan is not None or self.clearing is not None

    def _fires(self, leaving: frozenset[str]) -> bool:
        is_settled = self.outcome is not None and self.compares_left == 1
        return is_settled and (self.answer is None or "o" in leaving)

    def accepts(self, offered: Mapping[str, Word], leaving: frozenset[str]) -> frozenset[str]:
        """Accept while nothing is compared, or in the cycle that settles what is."""
        is_blocked = self.sweep_cycles or self.scan is not None or self.clearing is not None
        is_free = self.outcome is None or self._fires(leaving)
        return frozenset(offered) if is_free and not is_blocked else frozenset()

    def clock(self, accepted: Mapping[str, Word], leaving: frozenset[str]) -> None:
        """Compare, scan, clear or sweep by one step."""
        fires = self._fires(leaving)
        can_answer = self.answer is None or "o" in leaving
        if "o" in leaving:
            self.answer = None
        if "drained" in leaving:
            self.entry = None
        if self.sweep_cycles:
            self.sweep_cycles -= 1
        elif self.clearing is not None:
            if can_answer:
                self.answer, self.clearing = self.clearing, None
                self._next_epoch()
        elif self.scan is not None:
            self._scan(self.scan)
        elif fires:
            self.answer, self.outcome = self.outcome, None
        elif self.outcome is not None and self.compares_left > 1:
            self.compares_left -= 1
        if "i" in accepted:
            self._begin(Request(*accepted["i"]))

    def _begin(self, request: Request) -> None:
        if request.operation == ACCUMULATE:
            self.outcome = self.table.accumulate(request.key, request.value)
            self.compares_left = ceil_div(self.outcome.probes, self.spec.comparators)
        elif request.operation == DRAIN:
            keys, sums = self.table.keys, self.table.sums
            self.scan = [None if k is None else (k, s) for k, s in zip(keys, sums, strict=True)]
            self.scan_at = -1
            self.table.clear()
        else:
            self.table.clear()
            self.clearing = Answer(0)

    def _scan(self, scan: list[tuple[int, int] | None]) -> None:
        entry = scan[self.scan_at] if self.scan_at >= 0 else None
        if entry is not None:
            if self.entry is not None:
                return
            self.entry = entry
        self.scan_at += 1
        if self.scan_at == self.spec.slots:
            self.clearing = Answer(sum(found is not None for found in scan))
            self.scan = None

    def _next_epoch(self) -> None:
        self.epoch += 1
        if self.epoch == 1 << self.spec.epoch_bits:
            self.epoch = 1
            self.sweep_cycles = self.spec.slots // self.spec.comparators
