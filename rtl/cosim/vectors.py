"""Hold what is played against a unit, and what the simulator says must come back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.machine import UnitTiming

__all__ = ["Schedule", "Vectors", "pack_words", "random_stalls", "steady_schedule"]

Cycles = NDArray[np.int64]


@dataclass(frozen=True)
class Vectors:
    """One batch: everything a driver needs, and the outputs that are right.

    Attributes
    ----------
    inputs : {source: words}
        Payload words per input stream, in order; a structured payload is packed least significant
        field first (:func:`pack_words`).
    expected : {sink: words}
        Payload words per output stream, in order.
    source_gaps : {source: bool[cycles]}
        True where the source begins no new offer; it holds an offer once made. Absent or past the
        end: no gap.
    sink_stalls : {sink: bool[cycles]}
        True where the sink is not ready. Absent or past the end: no stall.
    statics : {input: value}
        Plain inputs, constant during the batch; absent: 0.
    waves : {input: values}
        Plain inputs that change: one value per cycle, the last one stays.
    extra_cycles : int
        Cycles to allow beyond what the number of words asks for, for units that keep words waiting.
    seed : int
        What the random parts were drawn from.
    name : str
        Shown in failures.
    """

    inputs: Mapping[str, Sequence[int]]
    expected: Mapping[str, Sequence[int]]
    source_gaps: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    sink_stalls: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    statics: Mapping[str, int] = field(default_factory=dict)
    waves: Mapping[str, Sequence[int]] = field(default_factory=dict)
    extra_cycles: int = 0
    seed: int = 0
    name: str = "vectors"

    @property
    def limit_cycles(self) -> int:
        """Return when to give up: far beyond what any correct unit here needs."""
        words = sum(len(words) for words in [*self.inputs.values(), *self.expected.values()])
        patterns = [*self.source_gaps.values(), *self.sink_stalls.values()]
        paused = sum(len(pattern) for pattern in [*patterns, *self.waves.values()])
        return 1000 + 4 * words + paused + self.extra_cycles

    @property
    def has_stalls(self) -> bool:
        """Return whether any source or sink ever pauses."""
        patterns = [*self.source_gaps.values(), *self.sink_stalls.values()]
        return any(bool(pattern.any()) for pattern in patterns)

    def to_json(self) -> dict[str, Any]:
        """Return what :class:`rtl.cosim.player.Player` reads."""
        return {
            "inputs": {name: [int(word) for word in words] for name, words in self.inputs.items()},
            "expected": {name: [0] * len(words) for name, words in self.expected.items()},
            "gaps": {name: _bits(pattern) for name, pattern in self.source_gaps.items()},
            "stalls": {name: _bits(pattern) for name, pattern in self.sink_stalls.items()},
            "statics": dict(self.statics),
            "waves": {name: [int(value) for value in wave] for name, wave in self.waves.items()},
            "limit_cycles": self.limit_cycles,
        }


@dataclass(frozen=True)
class Schedule:
    """Cycles the simulator predicts, counted from the first cycle after reset.

    A stream that is not named is not compared.
    """

    accept_cycles: Mapping[str, Cycles] = field(default_factory=dict)
    emit_cycles: Mapping[str, Cycles] = field(default_factory=dict)


def steady_schedule(
    timing: UnitTiming, transfers: int, source: str = "i", sink: str = "o"
) -> Schedule:
    """Return the schedule of a one-in-one-out unit that nobody stalls."""
    accepts = np.arange(transfers, dtype=np.int64) * timing.interval_cycles
    return Schedule({source: accepts}, {sink: accepts + timing.latency_cycles})


def pack_words(fields: Sequence[tuple[NDArray[Any], int]]) -> list[int]:
    """Return one word per row from {unsigned values[rows], width in bits}, lowest field first."""
    words = [0] * len(fields[0][0])
    bit = 0
    for values, width_bits in fields:
        for row, value in enumerate(values.tolist()):
            words[row] |= value << bit
        bit += width_bits
    return words


def random_stalls(rng: np.random.Generator, cycles: int, share: float) -> NDArray[np.bool_]:
    """Return a pattern of ``cycles`` with about ``share`` stalled, half of it in long bursts."""
    single = rng.random(cycles) < share / 2
    bursts = np.repeat(rng.random(cycles // 16 + 1) < share / 2, 16)[:cycles]
    return single | bursts


def _bits(pattern: NDArray[np.bool_]) -> str:
    return "".join("1" if stalled else "0" for stalled in pattern.tolist())
