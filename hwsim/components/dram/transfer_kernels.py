"""Move the data of a burst: complete its request, mark the cycles in which data moved.

State layout: :mod:`layout`.
"""

from __future__ import annotations

from hwsim.components.dram.layout import (
    AT_MOVES,
    AT_STREAMS,
    BL,
    BURSTS_DONE,
    CL,
    CLOCK_DEN,
    CLOCK_NUM,
    CWL,
    DONE,
    DONE_CLOCK,
    DONE_CYCLE,
    DONE_LAST,
    DRAIN_LEFT,
    FREE_ENTRY,
    HAS_ROOM,
    KIND,
    LEFT,
    MARK_FROM,
    MARK_TO,
    MARKED,
    MARKS,
    MOVE_WIDTH,
    NEXT,
    NEXT_REQUEST,
    OPENER,
    OUTCOME,
    OUTCOMES,
    PATH_CYCLES,
    READ,
    REQUEST,
    REQUESTER,
    SKIP_MARKED,
    STREAM_MARKS,
    STREAM_WIDTH,
)
from hwsim.components.dram.queue_kernels import remove_opener, unlink
from hwsim.components.jit import as_index, njit_apart, njit_inline

__all__ = ["append", "convert", "mark_data", "stream_of", "transfer"]


@njit_inline
def append(s, line, last, request):
    """Put ``request`` at the end of a line of requests, whose ends are at ``line``, ``last``."""
    s[request + NEXT_REQUEST] = 0
    if s[line] == 0:
        s[line] = request
    else:
        s[as_index(s[last]) + NEXT_REQUEST] = request
    s[last] = request


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
def stream_of(s, requester):
    """Return the position of a requester's record."""
    return as_index(s[AT_STREAMS] + requester * STREAM_WIDTH)


@njit_apart
def mark_data(s, requester, begin, end):
    """Mark the caller's cycles in which clocks [begin, end) of data of ``requester`` lie."""
    stream = stream_of(s, requester)
    if begin >= s[stream + MARK_FROM] and end <= s[stream + MARK_TO]:
        return
    num, den = s[CLOCK_NUM], s[CLOCK_DEN]
    cycle, last = convert_down(begin, den, num), convert(end, den, num)
    s[stream + MARK_FROM] = convert(cycle, num, den)
    s[stream + MARK_TO] = convert_down(last, num, den)
    marks, mask = s[stream + STREAM_MARKS], s[MARKS] - 1
    while cycle < last:
        mark = as_index(marks + (cycle & mask))
        if s[mark] != cycle:
            s[mark] = cycle
            s[stream + MARKED] += 1
        cycle += 1


@njit_inline
def note_move(s, begin, end):
    """Keep the clocks of a burst for fast-forward to mark anew, or count that they are too many."""
    at = s[SKIP_MARKED]
    if at < s[AT_MOVES + 1]:
        move = as_index(s[AT_MOVES] + at * MOVE_WIDTH)
        s[move] = begin
        s[move + 1] = end
    s[SKIP_MARKED] = at + 1


@njit_inline
def transfer(s, c, kind, bank, e, t):
    """Move the burst of entry ``e``; complete its request if it was the last one."""
    request = as_index(s[e + REQUEST])
    s[c + OUTCOMES + 3 * kind + as_index(s[e + OUTCOME])] += 1
    begin = t + (s[CL] if kind == READ else s[CWL])
    end = begin + s[BL]
    if s[bank + OPENER] == e:
        remove_opener(s, c, bank)
    else:
        unlink(s, c, kind, bank, e)
        s[c + DRAIN_LEFT] -= kind
    s[HAS_ROOM] = 1  # and perhaps a request is done, which matters to run_until as well
    s[e + NEXT] = s[c + FREE_ENTRY]
    s[c + FREE_ENTRY] = e
    s[BURSTS_DONE] += 1
    s[request + LEFT] -= 1
    if s[request + LEFT] == 0:
        s[request + DONE_CLOCK] = end
        s[request + DONE_CYCLE] = convert(end, s[CLOCK_DEN], s[CLOCK_NUM]) + s[PATH_CYCLES]
        kind = as_index(s[request + KIND])
        append(s, DONE + kind, DONE_LAST + kind, request)
    if s[MARKS] > 0:
        mark_data(s, s[request + REQUESTER], begin, end)
        note_move(s, begin, end)
