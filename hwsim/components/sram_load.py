"""Measure what a banked scratchpad serves of a pattern, beside its closed form."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.components.sram import SramSpec, play_requests
from hwsim.core.errors import InputError

__all__ = ["PadResult", "characterise_pad", "word_limit"]

_RANDOM_WORDS = 1 << 20
"""Words that random requests go to."""


@dataclass(frozen=True)
class PadResult:
    """What all ports together are served of ``pattern``; rates in words per cycle.

    ``limit`` is the closed form of ``rule``; ``waiting`` the mean cycles that a request waited.
    """

    pattern: str
    words_per_cycle: float
    limit: float
    rule: str
    waiting: float
    conflict_share: float

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON's types."""
        return asdict(self)


def word_limit(spec: SramSpec, pattern: str) -> tuple[float, str]:
    """Return the most words per cycle that reads of ``pattern`` can be served, and by which rule.

    ``stride:S``: the ports' words of one step lie S apart: B / gcd(S, B) banks serve them, if words
    go to banks in turn. ``random``: P requests meet B(1 - (1 - 1/B)^P) banks when drawn anew; those
    that wait are not, so that fewer pass. ``hot``: one bank.

    Raises :class:`InputError` if there is no such pattern.
    """
    per_bank = spec.bank_ports / spec.read_interval_cycles
    banks, ports = spec.banks, spec.ports
    name, _, number = pattern.partition(":")
    if name == "stride" and number.isdecimal() and len(number) < 19:
        step = int(number)
        used = banks // gcd(step, banks) if spec.bank_selection == "interleave" else banks
        return _least(ports, used * per_bank, f"{used} bank{'s' * (used > 1)}")
    if pattern == "random":
        met = banks * (1 - (1 - 1 / banks) ** ports)
        return _least(ports, met * per_bank, "banks met at random")
    if pattern == "hot":
        return _least(ports, per_bank, "1 bank")
    raise InputError("--pattern", "stride:S, random or hot", repr(pattern))


def _least(ports: int, banks: float, rule: str) -> tuple[float, str]:
    return (float(ports), "ports") if ports <= banks else (banks, rule)


def characterise_pad(spec: SramSpec, pattern: str, *, steps: int, seed: int) -> PadResult:
    """Return what ``spec`` serves when every port reads ``steps`` words, one after the other.

    Raises :class:`InputError` if the pattern is unknown or ``steps`` below 1.
    """
    if steps < 1:
        raise InputError("--steps", "at least 1", str(steps))
    limit, rule = word_limit(spec, pattern)
    words = _words(spec, pattern, steps, seed)
    ports = np.tile(np.arange(spec.ports), steps)
    zero = np.zeros(len(ports), np.int64)
    run = play_requests(spec, zero, ports, words.ravel() * spec.word_bytes)
    served = len(ports)
    span = int(run.grant_cycles.max()) + 1
    return PadResult(
        pattern=pattern,
        words_per_cycle=served / span,
        limit=limit,
        rule=rule,
        waiting=float(run.port_conflict_cycles.sum() / served),
        conflict_share=float(run.port_delayed.sum() / served),
    )


def _words(spec: SramSpec, pattern: str, steps: int, seed: int) -> NDArray[np.int64]:
    """Return the word that each port asks for : int64[step, port]."""
    if pattern == "random":
        return np.random.default_rng(seed).integers(0, _RANDOM_WORDS, (steps, spec.ports))
    if pattern == "hot":
        return np.zeros((steps, spec.ports), np.int64)
    stride = int(pattern.partition(":")[2])
    return np.arange(steps * spec.ports).reshape(steps, spec.ports) * stride
