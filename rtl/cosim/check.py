"""Compare what a unit did with what it must do: outputs, stream rules, cycles, in this order."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import HwsimError
from rtl.cosim.observed import Observed, StreamTrace
from rtl.cosim.player import RESET_CYCLES
from rtl.cosim.vectors import Schedule, Vectors

__all__ = ["CosimError", "check", "stream_rules"]

Category = Literal["outputs", "stream rules", "schedule"]


class CosimError(HwsimError):
    """A unit does not do what it must; ``category`` says which check found it."""

    def __init__(self, category: Category, where: str, need: str, found: str) -> None:
        super().__init__(f"{category}: {where}", need, found)
        self.category = category


def check(observed: Observed, vectors: Vectors, schedule: Schedule | None = None) -> None:
    """Return if ``observed`` is right; raise :class:`CosimError` for the first thing that is not.

    Parameters
    ----------
    observed : Observed
        From either driver.
    vectors : Vectors
        What was played.
    schedule : Schedule, optional
        Cycles the simulator predicts for these vectors, compared exactly. Absent: the simulator
        does not predict this stall pattern, so only outputs and stream rules are compared.
    """
    where = f"{observed.driver} {vectors.name} seed {vectors.seed}"
    for name, words in vectors.inputs.items():
        _compare_words(f"{where} {name} (accepted)", words, observed.streams[name].words)
    for name, words in vectors.expected.items():
        _compare_words(f"{where} {name}", words, observed.streams[name].words)
    stream_rules(observed, where)
    if schedule is not None:
        for name, cycles in schedule.accept_cycles.items():
            _compare_cycles(f"{where} {name} accept", cycles, observed.accept_cycles[name])
        for name, cycles in schedule.emit_cycles.items():
            _compare_cycles(f"{where} {name} emit", cycles, observed.emit_cycles[name])


def stream_rules(observed: Observed, where: str = "") -> None:
    """Raise :class:`CosimError` if a stream breaks a rule; inputs are checked too.

    The rules: no bit is unknown; nothing is offered in reset (from its second cycle on: reset
    is synchronous); an offer stays, unchanged, until it is accepted.
    """
    where = where or observed.driver
    if len(observed.unknown_cycles):
        cycle = int(observed.unknown_cycles[0]) - RESET_CYCLES
        raise CosimError("stream rules", where, "0 or 1 on every bit", f"X in cycle {cycle}")
    for trace in observed.streams.values():
        _check_stream(trace, f"{where} {trace.name}")


def _check_stream(trace: StreamTrace, where: str) -> None:
    if trace.valid[1:RESET_CYCLES].any():
        raise CosimError("stream rules", where, "no offer in reset", "valid")
    waits = np.flatnonzero(trace.valid[:-1] & ~trace.ready[:-1])
    # What was offered when reset began is rightly gone afterwards.
    for cycle in waits[waits >= RESET_CYCLES].tolist():
        if not trace.valid[cycle + 1]:
            found = f"valid dropped in cycle {cycle + 1 - RESET_CYCLES}"
            raise CosimError("stream rules", where, "valid held until accepted", found)
        if trace.payload[cycle] != trace.payload[cycle + 1]:
            found = f"payload changed in cycle {cycle + 1 - RESET_CYCLES}"
            raise CosimError("stream rules", where, "payload held until accepted", found)


def _compare_words(where: str, expected: Sequence[int], found: Sequence[int]) -> None:
    if list(expected) == list(found):
        return
    for number, (want, have) in enumerate(zip_longest(expected, found)):
        if want != have:
            raise CosimError("outputs", f"{where} transfer {number}", _hex(want), _hex(have))


def _compare_cycles(where: str, expected: NDArray[np.int64], found: NDArray[np.int64]) -> None:
    if np.array_equal(expected, found):
        return
    for number, (want, have) in enumerate(zip_longest(expected.tolist(), found.tolist())):
        if want != have:
            raise CosimError(
                "schedule", f"{where} transfer {number}", f"cycle {want}", f"cycle {have}"
            )


def _hex(word: int | None) -> str:
    return "nothing" if word is None else f"{word:#x}"
