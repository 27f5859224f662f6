"""Say which thread a barrel issues and when: cycle model of the issue stage of one pipeline.

A thread may issue from its response on, and is not looked at again until the next one: at most one
instruction per thread is in flight. Among those that may, the turn goes on behind the last one
picked. With L cycles from an issue to the cycle in which the thread can issue again, NT threads
reach min(1, NT / L) instructions per cycle: the third-party rule behind "16 threads hide 16
cycles". Round-robin over ready threads is published (HotTiles 2024); one outstanding instruction
per thread is recollection; cycles are this project's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.machine import UnitTiming
from hwsim.piuma.atomic_spad import first_by_turn
from hwsim.piuma.unit_model import Played, UnitModel, Word, play
from hwsim.piuma.unit_spec import BarrelSpec

__all__ = ["BarrelIssueModel", "Counts", "issued_in_steady_state", "run_barrel", "timing"]


class Counts(NamedTuple):
    """Cycles in which an instruction left, waited for the pipeline, or was not there."""

    issued: int = 0
    stalled: int = 0
    idle: int = 0


def timing(spec: BarrelSpec) -> UnitTiming:
    """Return the cycle contract: from a thread's response to its issue, and between issues."""
    del spec
    return UnitTiming(latency_cycles=1, interval_cycles=1)


def issued_in_steady_state(spec: BarrelSpec, latency_cycles: int, cycles: int) -> int:
    """Return the instructions of ``cycles`` cycles that begin when thread 0 issues.

    Each thread issues ``latency_cycles`` after its last issue or, if others are in its way, when
    its turn comes: the barrel turns once in max(threads, latency_cycles) cycles.
    """
    turn_cycles = max(spec.threads, latency_cycles)
    turns, rest = divmod(cycles, turn_cycles)
    return turns * spec.threads + min(rest, spec.threads)


class BarrelIssueModel(UnitModel):
    """The stage cycle by cycle: stream ``resp`` of (threads,), always taken, ``o`` of (thread,).

    ``threads`` has a bit per thread. The first response of a thread starts it.
    """

    inputs = ("resp",)
    outputs = ("o",)

    def __init__(self, spec: BarrelSpec) -> None:
        self.spec = spec
        self.may_issue = [False] * spec.threads
        self.turn = 0
        self.issue: int | None = None
        self.counts = Counts()

    def offers(self) -> dict[str, Word]:
        """Return the thread picked."""
        return {} if self.issue is None else {"o": (self.issue,)}

    @property
    def is_busy(self) -> bool:
        """Return whether a thread waits for its turn."""
        return any(self.may_issue)

    def accepts(self, offered: Mapping[str, Word], leaving: frozenset[str]) -> frozenset[str]:
        """Accept every response."""
        del leaving
        return frozenset(offered)

    def clock(self, accepted: Mapping[str, Word], leaving: frozenset[str]) -> None:
        """Count the cycle; pick the next thread if the last one is gone."""
        issued, stalled, idle = self.counts
        self.counts = Counts(
            issued + (self.issue is not None and "o" in leaving),
            stalled + (self.issue is not None and "o" not in leaving),
            idle + (self.issue is None),
        )
        if "resp" in accepted:
            [answered] = accepted["resp"]
            for thread in range(self.spec.threads):
                if not answered >> thread & 1:
                    continue
                if self.may_issue[thread] or self.issue == thread:
                    raise InputError("resp", "a thread in flight", f"thread {thread}")
                self.may_issue[thread] = True
        if self.issue is not None and "o" not in leaving:
            return
        self.issue = first_by_turn(self.may_issue, self.turn)
        if self.issue is not None:
            self.may_issue[self.issue] = False
            self.turn = (self.issue + 1) % self.spec.threads


def run_barrel(
    spec: BarrelSpec,
    latency_cycles: Callable[[], int],
    instructions: int,
    stalls: Mapping[str, NDArray[np.bool_]] | None = None,
) -> Played:
    """Return ``instructions`` issues, all threads starting at once.

    Parameters
    ----------
    spec : BarrelSpec
        The stage.
    latency_cycles : () -> int
        Asked once per issue: cycles until the thread can issue again, at least 2 as a response is
        one cycle behind its issue.
    instructions : int
        At least one per thread.
    stalls : {"o": bool[cycles]}, optional
        True where the pipeline takes no instruction.

    Raises
    ------
    InputError
        For a latency of less than 2 cycles.
    """
    left = instructions - spec.threads

    def respond(stream: str, word: Word) -> tuple[str, Word, int] | None:
        nonlocal left
        left -= 1
        if left < 0:
            return None
        latency = latency_cycles()
        if latency < 2:
            raise InputError("latency_cycles", "at least 2", str(latency))
        return "resp", (1 << word[0],), latency - timing(spec).latency_cycles

    return play(
        BarrelIssueModel(spec),
        {"resp": [((1 << spec.threads) - 1,)]},
        stalls=stalls,
        respond=respond,
        join=lambda one, other: (one[0] | other[0],),
    )
