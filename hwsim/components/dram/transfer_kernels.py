"""Move the data of a burst: complete its request, mark the cycles in which data moved.

State layout: :mod:`layout`.
"""

from __future__ import annotations

from hwsim.components.dram.layout import (
    BL,
    BURSTS_DONE,
    CL,
    CLOCK_DEN,
    CLOCK_NUM,
    CWL,
    DONE,
    DONE_CLOCK,
    DONE_CYCLE,
    DRAIN_LEFT,
    HAS_ROOM,
    KIND,
    LEFT,
    MARK_FROM,
    MARK_TO,
    MARKED,
    MARKS,
    OUTCOME,
    OUTCOMES,
    PATH_CYCLES,
    READ,
    REQUEST,
    REQUESTER,
    RING,
    RING_FIRST,
    RING_LENGTH,
    SKIP_MARKED,
)
from hwsim.components.dram.queue_kernels import unlink
from hwsim.components.jit import as_index, njit_inline

__all__ = ["convert", "mark_data", "push_ring", "transfer"]


@njit_inline
def push_ring(rings, ring, item):
    """Append ``item``; there must be room."""
    at = rings[ring, RING_FIRST] + rings[ring, RING_LENGTH]
    size = rings.shape[1] - RING
    rings[ring, RING + as_index(at if at < size else at - size)] = item
    rings[ring, RING_LENGTH] += 1


@njit_inline
def convert(time, num, den):
    """Return ``time * num / den`` rounded up; no overflow while the result and num * den fit."""
    if num == den:
        return time
    whole = time // den
    return whole * num + ((time - whole * den) * num + den - 1) // den


@njit_inline
def convert_down(time, num, den):
    """Return ``time * num / den`` rounded down, within the same limits."""
    whole = time // den
    return whole * num + (time - whole * den) * num // den


@njit_inline
def mark_data(d, requester, begin, end):
    """Mark the caller's cycles in which clocks [begin, end) of data of ``requester`` lie."""
    streams = d.streams
    if begin >= streams[requester, MARK_FROM] and end <= streams[requester, MARK_TO]:
        return
    num, den = d.fixed[CLOCK_NUM], d.fixed[CLOCK_DEN]
    cycle, last = convert_down(begin, den, num), convert(end, den, num)
    streams[requester, MARK_FROM] = convert(cycle, num, den)
    streams[requester, MARK_TO] = convert_down(last, num, den)
    mask = d.fixed[MARKS] - 1
    while cycle < last:
        if d.marks[requester, cycle & mask] != cycle:
            d.marks[requester, cycle & mask] = cycle
            streams[requester, MARKED] += 1
        cycle += 1


@njit_inline
def note_move(d, begin, end):
    """Keep the clocks of a burst for fast-forward to mark anew, or count that they are too many."""
    at = d.skip[SKIP_MARKED]
    if at < d.moves.shape[0]:
        d.moves[at, 0] = begin
        d.moves[at, 1] = end
    d.skip[SKIP_MARKED] = at + 1


@njit_inline
def transfer(d, g, kind, bank, e, t):
    """Move the burst of entry ``e``; complete its request if it was the last one."""
    fixed, requests = d.fixed, d.requests
    g, e, kind = as_index(g), as_index(e), as_index(kind)
    request = as_index(d.entries[e, REQUEST])
    d.controllers[g, OUTCOMES + 3 * kind + as_index(d.entries[e, OUTCOME])] += 1
    begin = t + (fixed[CL] if kind == READ else fixed[CWL])
    end = begin + fixed[BL]
    unlink(d, g, kind, bank, e)
    d.now[HAS_ROOM] = 1
    d.now[BURSTS_DONE] += 1
    d.controllers[g, DRAIN_LEFT] -= kind
    requests[request, LEFT] -= 1
    if requests[request, LEFT] == 0:
        cycle = convert(end, fixed[CLOCK_DEN], fixed[CLOCK_NUM]) + fixed[PATH_CYCLES]
        requests[request, DONE_CLOCK] = end
        requests[request, DONE_CYCLE] = cycle
        push_ring(d.rings, DONE + as_index(requests[request, KIND]), request)
    if fixed[MARKS] > 0:
        mark_data(d, requests[request, REQUESTER], begin, end)
        note_move(d, begin, end)
