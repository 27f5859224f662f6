"""Let a compiled caller use either memory: ``memory`` of :mod:`simple`, or ``dram`` if not None.

numba drops the branch of the memory that is not there, so that only users of DRAM compile it.
"""

from __future__ import annotations

import numpy as np

from hwsim.components.dram.layout import LIVE
from hwsim.components.dram.layout import REQUESTER as DRAM_REQUESTER
from hwsim.components.dram.layout import TAG as DRAM_TAG
from hwsim.components.dram.memory_kernels import (
    dram_data_cycles,
    dram_moved,
    dram_next_time,
    dram_pop,
    dram_queued,
    dram_submit_stream,
)
from hwsim.components.dram.simple import (
    REQUESTER,
    TAG,
    memory_data_cycles,
    memory_moved,
    memory_next_time,
    memory_pop,
    memory_submit,
)
from hwsim.components.jit import njit_inline

__all__ = [
    "port_data_cycles",
    "port_moved",
    "port_next_time",
    "port_pop",
    "port_queued",
    "port_requester",
    "port_submit",
    "port_tag",
]

MAX_ADVANCE_CYCLES = 4096
"""Cycles that DRAM is advanced at once, so that its caller can look at Ctrl-C in between."""


@njit_inline
def port_submit(memory, dram, requester, tag, size_bytes, is_write, t):
    """Hand over a request at cycle ``t``; there must be room."""
    if dram is None:
        memory_submit(memory, requester, tag, size_bytes, t)
    else:
        dram_submit_stream(dram, requester, tag, size_bytes, is_write, t)


@njit_inline
def port_next_time(memory, dram, now, limit):
    """Return the smaller of ``limit`` and the next time to look at the memory, NEVER if none."""
    if dram is None:
        return min(limit, memory_next_time(memory))
    else:
        if dram[LIVE] > 0:
            limit = min(limit, now + MAX_ADVANCE_CYCLES)
        return min(limit, dram_next_time(dram, limit))


@njit_inline
def port_pop(memory, dram, until):
    """Remove the next completion due at or before ``until``; return its row or -1."""
    if dram is None:
        return memory_pop(memory, until)
    else:
        return dram_pop(dram, until)


@njit_inline
def port_requester(memory, dram, row):
    """Return the requester of a removed completion."""
    if dram is None:
        return memory[row, REQUESTER]
    else:
        return dram[row + DRAM_REQUESTER]


@njit_inline
def port_tag(memory, dram, row):
    """Return the tag of a removed completion."""
    if dram is None:
        return memory[row, TAG]
    else:
        return dram[row + DRAM_TAG]


@njit_inline
def port_data_cycles(memory, dram, requester, since, until):
    """Return the cycles of [since, until) in which data of ``requester`` moved.

    DRAM takes ``since`` to be where the question before ended.
    """
    if dram is None:
        return memory_data_cycles(memory, requester, since, until)
    else:
        return dram_data_cycles(dram, requester, until)


@njit_inline
def port_moved(memory, dram, done, sizes, kinds, kind, t):
    """Return the bytes of ``kind`` moved before cycle ``t``.

    ``done`` bytes belong to requests that the caller has taken; ``sizes`` and ``kinds`` say what
    those in flight move, by tag modulo their length. DRAM needs none of these: it counts whole
    bursts when their command is issued, and must have been advanced to ``t``.
    """
    if dram is None:
        return done + memory_moved(memory, sizes, kinds, kind, t)
    else:
        return dram_moved(dram, kind)


@njit_inline
def port_queued(dram, kind):
    """Return the bursts of ``kind`` that wait in DRAM's controllers."""
    if dram is None:
        return np.int64(0)
    else:
        return dram_queued(dram, kind)
