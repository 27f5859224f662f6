"""Serve off-chip memory requests asynchronously, exact to the cycle.

Contract of a memory (every implementation, njit functions on its state):

- ``submit(request, t)`` hands over a request at cycle ``t``; calls come in order of time. It says
  nothing about completion: a scheduler may reorder, and a link shared by max-min fairness may
  change the rate of every request in flight whenever one comes or goes.
- ``next_time(limit)`` is the cycle of the next completion if nothing more is submitted before it,
  or something later than ``limit`` if none is due until then. The caller submits nothing before
  the smaller of the two, so that an implementation may advance its own state up to there. It may
  change with every submission, so a caller asks again after each.
- ``advance(until)`` (``pop`` in kernels) returns the completions due at or before ``until``, in
  order of completion.
- ``data_cycles(requester, since, until)`` counts the cycles of [since, until) in which data of
  ``requester`` moved; this is busy time, the remainder of a request's life is waiting for memory.
- ``snapshot(t)`` writes all state that matters from ``t`` on, relative to ``t``, and ``shift(dt)``
  moves it in time: equal snapshots must have equal futures. A memory that cannot promise that, as
  one whose addresses keep running, has neither, and its users step.

Implementations: :mod:`simple` (one FIFO server of fixed rate) and :mod:`controller` (DRAM command
by command). The names of :mod:`simple` are available here; they are loaded when first used, since
a Spec that only checks a device's name must not pay for numba.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "NEVER",
    "Completion",
    "FixedRateMemory",
    "MemoryParameters",
    "Request",
    "memory_data_cycles",
    "memory_next_time",
    "memory_pop",
    "memory_shift",
    "memory_snapshot",
    "memory_state",
    "memory_submit",
]


def __getattr__(name: str) -> Any:
    """Load a name of :mod:`simple` when it is first used."""
    if name in __all__:
        from hwsim.components.dram import simple

        return getattr(simple, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
