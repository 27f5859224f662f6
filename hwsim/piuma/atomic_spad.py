"""Say what scratchpad banks answer and when: golden memory, cycle models of bank and crossbar.

A bank takes one request per cycle, reads in that cycle and writes in the next, forwarding to a
request right behind; its answer, the word as it was before, is offered 2 cycles after acceptance.
The crossbar leads every port to every bank, one request per bank and one answer per port and cycle,
both by turns; it adds one register on the way back. Sums wrap modulo two to the width. That
atomics are executed at the bank is recollection; everything about cycles is this project's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hwsim.core.machine import UnitTiming
from hwsim.piuma.unit_model import UnitModel, Word
from hwsim.piuma.unit_spec import AtomicSpadSpec, SpadCrossbarSpec

__all__ = [
    "ADD",
    "CAS",
    "LOAD",
    "STORE",
    "SWAP",
    "Answer",
    "AtomicSpadModel",
    "Request",
    "SpadCrossbarModel",
    "apply_request",
    "bank_of",
    "bank_timing",
    "crossbar_timing",
    "first_by_turn",
]

LOAD, STORE, CAS, ADD, SWAP = range(5)
"""Operations of a request; any other code loads."""


class Request(NamedTuple):
    """One request; a compare-and-swap stores ``operand`` if the word is ``compare``."""

    operation: int
    tag: int
    address: int
    operand: int = 0
    compare: int = 0


class Answer(NamedTuple):
    """The tag of a request and the word before it."""

    tag: int
    old: int


def bank_timing(spec: AtomicSpadSpec) -> UnitTiming:
    """Return the cycle contract of one bank."""
    del spec
    return UnitTiming(latency_cycles=2, interval_cycles=1)


def crossbar_timing(spec: SpadCrossbarSpec) -> UnitTiming:
    """Return the cycle contract of a request that meets no other."""
    return UnitTiming(latency_cycles=bank_timing(spec.bank).latency_cycles + 1, interval_cycles=1)


def apply_request(memory: dict[int, int], request: Request, data_bits: int) -> Answer:
    """Carry ``request`` out on ``memory`` (absent: 0) and return its answer."""
    old = memory.get(request.address, 0)
    is_swapped = request.operation == CAS and old == request.compare
    if request.operation in (STORE, SWAP) or is_swapped:
        memory[request.address] = request.operand
    elif request.operation == ADD:
        memory[request.address] = (old + request.operand) % (1 << data_bits)
    return Answer(request.tag, old)


def bank_of(spec: SpadCrossbarSpec, address: int) -> tuple[int, int]:
    """Return the bank of ``address`` and the address within it."""
    bank, within = address % spec.banks, address >> spec.bank_bits
    return bank ^ (within % spec.banks if spec.has_xor else 0), within


def first_by_turn(wanting: Sequence[bool], turn: int) -> int | None:
    """Return the first place from ``turn`` on, around the end, that is ``wanting``."""
    places = len(wanting)
    order = ((turn + step) % places for step in range(places))
    return next((place for place in order if wanting[place]), None)


class AtomicSpadModel(UnitModel):
    """One bank cycle by cycle: stream ``i`` of requests, ``o`` of answers in the same order."""

    inputs = ("i",)
    outputs = ("o",)

    def __init__(self, spec: AtomicSpadSpec) -> None:
        self.spec = spec
        self.memory: dict[int, int] = {}
        self.reading: Request | None = None
        self.answer: Answer | None = None

    def offers(self) -> dict[str, Word]:
        """Return the answer register."""
        return {} if self.answer is None else {"o": self.answer}

    @property
    def is_busy(self) -> bool:
        """Return whether a request is being read."""
        return self.reading is not None

    def accepts(self, offered: Mapping[str, Word], leaving: frozenset[str]) -> frozenset[str]:
        """Accept unless the request before is stuck behind an answer."""
        is_free = self.reading is None or self.answer is None or "o" in leaving
        return frozenset(offered) if is_free else frozenset()

    def clock(self, accepted: Mapping[str, Word], leaving: frozenset[str]) -> None:
        """Move requests on by one stage where there is room."""
        if self.answer is None or "o" in leaving:
            self.answer = None
            if self.reading is not None:
                self.answer = apply_request(self.memory, self.reading, self.spec.data_bits)
                self.reading = None
        if "i" in accepted:
            self.reading = Request(*accepted["i"])


class SpadCrossbarModel(UnitModel):
    """All banks and ports cycle by cycle: streams ``i__p`` of requests, ``o__p`` of answers."""

    def __init__(self, spec: SpadCrossbarSpec) -> None:
        self.spec = spec
        self.inputs = tuple(f"i__{port}" for port in range(spec.ports))
        self.outputs = tuple(f"o__{port}" for port in range(spec.ports))
        self.banks = [AtomicSpadModel(spec.bank) for _ in range(spec.banks)]
        self.answers: list[Answer | None] = [None] * spec.ports
        self.request_turns = [0] * spec.banks
        self.answer_turns = [0] * spec.ports

    def offers(self) -> dict[str, Word]:
        """Return the answer register of every port."""
        return {f"o__{p}": word for p, word in enumerate(self.answers) if word is not None}

    @property
    def is_busy(self) -> bool:
        """Return whether any bank holds a request or an answer."""
        return any(bank.is_busy or bank.offers() for bank in self.banks)

    def _answers_taken(self, leaving: frozenset[str]) -> dict[int, int]:
        """Return {port: bank} of the answers that move to a port's register."""
        taken = {}
        for port in range(self.spec.ports):
            if self.answers[port] is not None and f"o__{port}" not in leaving:
                continue
            # A bank's tag holds the port above the request's own tag.
            wanting = [
                bank.answer is not None and bank.answer.tag >> self.spec.bank.tag_bits == port
                for bank in self.banks
            ]
            bank = first_by_turn(wanting, self.answer_turns[port])
            if bank is not None:
                taken[port] = bank
        return taken

    def _requests_taken(
        self, offered: Mapping[str, Word], leaving: frozenset[str]
    ) -> dict[int, int]:
        """Return {bank: port} of the requests that banks accept."""
        emptied = set(self._answers_taken(leaving).values())
        taken = {}
        for number, bank in enumerate(self.banks):
            wanting = [
                name in offered and bank_of(self.spec, offered[name][2])[0] == number
                for name in self.inputs
            ]
            port = first_by_turn(wanting, self.request_turns[number])
            is_leaving = frozenset({"o"} if number in emptied else ())
            if port is not None and bank.accepts({"i": ()}, is_leaving):
                taken[number] = port
        return taken

    def accepts(self, offered: Mapping[str, Word], leaving: frozenset[str]) -> frozenset[str]:
        """Accept per bank the first request by turn."""
        taken = self._requests_taken(offered, leaving)
        return frozenset(f"i__{port}" for port in taken.values())

    def clock(self, accepted: Mapping[str, Word], leaving: frozenset[str]) -> None:
        """Move answers to ports and requests into banks."""
        answers = self._answers_taken(leaving)
        requests = self._requests_taken(accepted, leaving)
        for port in range(self.spec.ports):
            if f"o__{port}" in leaving:
                self.answers[port] = None
        for port, number in answers.items():
            answer = self.banks[number].answer
            assert answer is not None
            tag = answer.tag % (1 << self.spec.bank.tag_bits)
            self.answers[port] = Answer(tag, answer.old)
            self.answer_turns[port] = (number + 1) % self.spec.banks
        for number, bank in enumerate(self.banks):
            inside = {}
            if number in requests:
                port = requests[number]
                request = Request(*accepted[f"i__{port}"])
                inside["i"] = request._replace(
                    tag=port << self.spec.bank.tag_bits | request.tag,
                    address=bank_of(self.spec, request.address)[1],
                )
                self.request_turns[number] = (port + 1) % self.spec.ports
            bank.clock(inside, frozenset({"o"} if number in answers.values() else ()))
