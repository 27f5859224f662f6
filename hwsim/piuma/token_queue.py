"""Say what the queue engine answers and when: golden pairing and cycle model.

The queue carries out one operation per cycle, a push or a pop, by turns among ports. A pop that
finds no token waits inside; the next push answers the pop that has waited longest. So the n-th pop
gets the n-th token, whatever comes first. That the machine has hardware queues is recollection;
one operation per cycle and waiting in order are what the simulator's queue engine does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hwsim.core.machine import UnitTiming
from hwsim.piuma.atomic_spad import first_by_turn
from hwsim.piuma.unit_model import UnitModel, Word
from hwsim.piuma.unit_spec import TokenQueueSpec

__all__ = ["Answer", "Operation", "TokenQueueModel", "pair_up", "timing"]


class Operation(NamedTuple):
    """A push of ``token``, or a pop under ``tag``."""

    is_push: bool
    tag: int
    token: int


class Answer(NamedTuple):
    """A token for the pop that came from ``port`` under ``tag``."""

    port: int
    tag: int
    token: int


def timing(spec: TokenQueueSpec) -> UnitTiming:
    """Return the cycle contract of an operation that causes an answer."""
    del spec
    return UnitTiming(latency_cycles=1, interval_cycles=1)


def pair_up(operations: Sequence[tuple[int, Operation]]) -> list[Answer]:
    """Return the answers to (port, operation)s in the order in which they are carried out."""
    tokens = [operation.token for _, operation in operations if operation.is_push]
    pops = [(port, operation.tag) for port, operation in operations if not operation.is_push]
    return [Answer(port, tag, token) for (port, tag), token in zip(pops, tokens, strict=False)]


class TokenQueueModel(UnitModel):
    """The engine cycle by cycle: streams ``i__p`` of operations, ``o`` of answers."""

    outputs = ("o",)

    def __init__(self, spec: TokenQueueSpec) -> None:
        self.spec = spec
        self.inputs = tuple(f"i__{port}" for port in range(spec.ports))
        self.tokens: deque[int] = deque()
        self.waiters: deque[tuple[int, int]] = deque()
        self.turn = 0
        self.answer: Answer | None = None

    def offers(self) -> dict[str, Word]:
        """Return the answer register."""
        return {} if self.answer is None else {"o": self.answer}

    @property
    def is_busy(self) -> bool:
        """Return whether anything is under way; what waits inside waits for others."""
        return False

    def accepts(self, offered: Mapping[str, Word], leaving: frozenset[str]) -> frozenset[str]:
        """Accept the first operation by turn that there is room for."""
        if self.answer is not None and "o" not in leaving:
            return frozenset()
        has_room = {
            True: len(self.tokens) < self.spec.entries,
            False: len(self.waiters) < self.spec.waiters,
        }
        wanting = [n in offered and has_room[bool(offered[n][0])] for n in self.inputs]
        port = first_by_turn(wanting, self.turn)
        return frozenset() if port is None else frozenset({self.inputs[port]})

    def clock(self, accepted: Mapping[str, Word], leaving: frozenset[str]) -> None:
        """Carry the accepted operation out."""
        if "o" in leaving:
            self.answer = None
        for name, word in accepted.items():
            port, operation = self.inputs.index(name), Operation(*word)
            self.turn = (port + 1) % self.spec.ports
            if operation.is_push:
                self.tokens.append(operation.token)
            else:
                self.waiters.append((port, operation.tag))
            if self.tokens and self.waiters:
                self.answer = Answer(*self.waiters.popleft(), self.tokens.popleft())
