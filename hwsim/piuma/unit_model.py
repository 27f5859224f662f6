"""Step a model of one hardware unit cycle by cycle between sources that pause and sinks that stall.

The handshake is the RTL's: a source offers its next word in the first cycle it may and holds it
until it is accepted; an output is offered from registers. A model says what it accepts given what
is offered and which outputs leave in this cycle.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError

__all__ = ["Played", "UnitModel", "play"]

Word = tuple[Any, ...]
"""One transfer: the fields of its payload in order."""


class UnitModel(ABC):
    """One unit: its registers, and what one clock edge does to them.

    Attributes
    ----------
    inputs, outputs : tuple[str, ...]
        Names of the streams.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @abstractmethod
    def offers(self) -> dict[str, Word]:
        """Return the word of every output stream that is valid in this cycle."""

    @abstractmethod
    def accepts(self, offered: Mapping[str, Word], leaving: frozenset[str]) -> frozenset[str]:
        """Return which of the ``offered`` inputs are taken while outputs ``leaving`` leave."""

    @abstractmethod
    def clock(self, accepted: Mapping[str, Word], leaving: frozenset[str]) -> None:
        """Move to the next cycle."""

    @property
    @abstractmethod
    def is_busy(self) -> bool:
        """Return whether work is left inside, beside what is offered."""


@dataclass
class Played:
    """What one run did; cycle 0 is the first after reset.

    Attributes
    ----------
    words : {stream: list}
        Accepted or emitted words, in order.
    cycles : {stream: list[int]}
        Cycle of each.
    offer_cycles : {input: list[int]}
        Cycle in which each accepted word was offered first.
    end_cycle : int
        First cycle in which nothing was left to do.
    """

    words: dict[str, list[Word]]
    cycles: dict[str, list[int]]
    offer_cycles: dict[str, list[int]]
    end_cycle: int = 0

    def cycles_of(self, stream: str) -> NDArray[np.int64]:
        """Return the cycle of every transfer of ``stream``."""
        return np.array(self.cycles[stream], dtype=np.int64)


@dataclass
class _Source:
    """Words to offer, each not before its cycle, in order."""

    words: deque[tuple[int, Word]] = field(default_factory=deque)
    offered_since: int = -1


def play(
    model: UnitModel,
    inputs: Mapping[str, Sequence[Word]],
    *,
    arrivals: Mapping[str, Sequence[int]] | None = None,
    gaps: Mapping[str, NDArray[np.bool_]] | None = None,
    stalls: Mapping[str, NDArray[np.bool_]] | None = None,
    respond: Callable[[str, Word], tuple[str, Word, int] | None] | None = None,
    join: Callable[[Word, Word], Word] | None = None,
    limit_cycles: int = 1_000_000,
) -> Played:
    """Return what ``model`` does with ``inputs`` until nothing moves any more.

    Parameters
    ----------
    model : UnitModel
        Fresh out of reset.
    inputs : {stream: words}
        Absent: nothing but responses.
    arrivals : {stream: cycles}
        Ascending, one per word: when it is there. Absent: from the beginning.
    gaps, stalls : {stream: bool[cycles]}
        True where the source begins no offer, where the sink refuses; false past the end.
    respond : (output, word) -> (input, word, delay_cycles) or None
        The surroundings: an emitted word may cause an input ``delay_cycles`` (at least 1) later,
        before those that are due later.
    join : (word, word) -> word, optional
        What two responses on one input make that are due in the same cycle; absent: they queue.
    limit_cycles : int
        When to give up.

    Raises
    ------
    InputError
        If words are left over after ``limit_cycles``.
    """
    sources = {}
    for name in model.inputs:
        words = inputs.get(name, ())
        cycles = (arrivals or {}).get(name, [0] * len(words))
        sources[name] = _Source(deque(zip(cycles, words, strict=True)))
    names = (*model.inputs, *model.outputs)
    played = Played({n: [] for n in names}, {n: [] for n in names}, {n: [] for n in model.inputs})
    for cycle in range(limit_cycles):
        offered = {
            name: source.words[0][1]
            for name, source in sources.items()
            if _is_offering(source, cycle, (gaps or {}).get(name))
        }
        offers = model.offers()
        leaving = frozenset(n for n in offers if not _is_set((stalls or {}).get(n), cycle))
        taken = model.accepts(offered, leaving)
        for name in taken:
            played.offer_cycles[name].append(sources[name].offered_since)
            _note(played, name, offered[name], cycle)
            sources[name].words.popleft()
            sources[name].offered_since = -1
        for name in model.outputs:
            if name in leaving:
                _note(played, name, offers[name], cycle)
                reply = respond(name, offers[name]) if respond else None
                if reply is not None:
                    _insert(sources[reply[0]], cycle + reply[2], reply[1], join)
        model.clock({name: offered[name] for name in taken}, leaving)
        if not (model.is_busy or model.offers() or any(s.words for s in sources.values())):
            played.end_cycle = cycle + 1
            return played
    left = sum(len(source.words) for source in sources.values())
    raise InputError("unit model", f"an end within {limit_cycles} cycles", f"{left} words left")


def _insert(
    source: _Source,
    due_cycle: int,
    word: Word,
    join: Callable[[Word, Word], Word] | None,
) -> None:
    place = len(source.words)
    first = int(source.offered_since >= 0)
    while place > first and source.words[place - 1][0] > due_cycle:
        place -= 1
    if join is not None and place > first and source.words[place - 1][0] == due_cycle:
        source.words[place - 1] = (due_cycle, join(source.words[place - 1][1], word))
        return
    source.words.insert(place, (due_cycle, word))


def _is_offering(source: _Source, cycle: int, gaps: NDArray[np.bool_] | None) -> bool:
    if not source.words:
        return False
    if source.offered_since < 0 and cycle >= source.words[0][0] and not _is_set(gaps, cycle):
        source.offered_since = cycle
    return source.offered_since >= 0


def _is_set(pattern: NDArray[np.bool_] | None, cycle: int) -> bool:
    return pattern is not None and cycle < len(pattern) and bool(pattern[cycle])


def _note(played: Played, name: str, word: Word, cycle: int) -> None:
    played.words[name].append(word)
    played.cycles[name].append(cycle)
