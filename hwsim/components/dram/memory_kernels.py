"""Serve requests from DRAM: split them into bursts, run the controllers, report completions.

State layout: :mod:`layout`. A request is a run of bursts at consecutive addresses. Reads and writes
wait in a first-in-first-out line each; the front burst of a line enters its controller's queue as
soon as that has room (assumed: the front end splits as fast as queues drain), one clock after
room was made. A request is done when the data of its last burst have moved.
"""

from __future__ import annotations

import numpy as np

from hwsim.components.dram.layout import (
    AT_BANKS,
    AT_CONTROLLERS,
    AT_PIECES,
    AT_RANKS,
    BANK_CONTROLLER,
    BANK_WIDTH,
    BANKS,
    BANKS_PER_RANK,
    BURST_BYTES,
    BURST_SHIFT,
    BURSTS,
    CHARGED,
    CLOCK_DEN,
    CLOCK_NUM,
    CONTROLLER_WIDTH,
    COUNT,
    COUNTS,
    CURSOR,
    DONE,
    DONE_CLOCK,
    DONE_CYCLE,
    DUE,
    FEED,
    FEED_LAST,
    FREE,
    FREE_REQUESTS,
    GROUPS,
    HAS_REFRESH,
    HAS_ROOM,
    IS_HASHED,
    IS_PER_BANK,
    KIND,
    LEFT,
    LIVE,
    MARKED,
    MARKS,
    NEVER,
    NEXT_BANK,
    NEXT_REQUEST,
    NONE,
    NOW,
    OPEN_BANKS,
    OUTCOMES,
    PENDING_BANK,
    PENDING_ROW,
    PIECE_WIDTH,
    PLAN_COMMAND,
    PLAN_TIME,
    RANK_CONTROLLER,
    RANK_WIDTH,
    READ,
    READ_ENTRIES,
    REFAB,
    REFPB,
    REFRESH_INTERVAL,
    REQUESTER,
    SKIP_PERIOD,
    SKIP_REQUEST,
    SOONEST_DUE,
    STREAM_FIRST,
    STREAM_LENGTH,
    STREAM_MARKS,
    STREAM_OFFSET,
    SUBMITTED,
    TAG,
    TO_FEED,
    WRITE,
)
from hwsim.components.dram.scheduler_kernels import enqueue, set_soonest_due, step_controller
from hwsim.components.dram.skip_kernels import try_skip
from hwsim.components.dram.timing_kernels import earliest
from hwsim.components.dram.transfer_kernels import append, convert, stream_of
from hwsim.components.jit import as_index, njit_apart, njit_entry, njit_inline

__all__ = [
    "decode",
    "dram_data_cycles",
    "dram_moved",
    "dram_next_time",
    "dram_pop",
    "dram_queued",
    "dram_submit",
    "dram_submit_stream",
    "operate",
    "play",
]

SUBMIT, NEXT_TIME, POP, DATA_CYCLES = range(4)
"""Operations of :func:`operate`."""
# Columns of the requests that :func:`play` gets and of what it returns about each.
PLAY_ARRIVAL, PLAY_ADDRESS, PLAY_BYTES, PLAY_KIND, PLAY_DONE = range(5)


@njit_inline
def decode(s, kind, burst):
    """Find bank and row of a burst address and keep them as the kind's pending burst."""
    piece, found = as_index(s[AT_PIECES]), np.int64(0)
    for _ in range(s[AT_PIECES + 1]):
        found |= (burst >> s[piece] & s[piece + 1]) << s[piece + 2]
        piece = as_index(piece + PIECE_WIDTH)
    bank, row = found & 0xFFFFFFFF, found >> 32
    if s[IS_HASHED] != 0:
        bank ^= (row & s[GROUPS] - 1) * s[BANKS]
        bank ^= row // s[GROUPS] & s[BANKS] - 1
    s[PENDING_BANK + kind] = s[AT_BANKS] + bank * BANK_WIDTH
    s[PENDING_ROW + kind] = row


@njit_inline
def feed(s, kind, t):
    """Let bursts of ``kind`` enter their queues until one finds no room."""
    kind = as_index(kind)
    while s[FEED + kind] != 0:
        request = as_index(s[FEED + kind])
        if s[PENDING_BANK + kind] < 0:
            decode(s, kind, s[request + CURSOR])
        bank = as_index(s[PENDING_BANK + kind])
        c = as_index(s[bank + BANK_CONTROLLER])
        if s[c + COUNT + kind] >= s[READ_ENTRIES + kind]:
            return
        enqueue(s, c, kind, bank, s[PENDING_ROW + kind], request, t)
        s[PENDING_BANK + kind] = NONE
        s[request + CURSOR] += 1
        s[request + TO_FEED] -= 1
        if s[request + TO_FEED] == 0:
            s[FEED + kind] = s[request + NEXT_REQUEST]


@njit_inline
def clock_of(s, cycle):
    """Return the first clock at or after the caller's ``cycle``."""
    if cycle >= NEVER // 64:  # also what cannot be converted without overflow
        return NEVER
    return convert(cycle, s[CLOCK_NUM], s[CLOCK_DEN])


@njit_inline
def first_done(s):
    """Return the request that is done first, 0 if none: reads before writes at the same clock.

    Requests of one kind become done in the order of their last command.
    """
    read, write = as_index(s[DONE + READ]), as_index(s[DONE + WRITE])
    if read == 0 or (write != 0 and s[write + DONE_CLOCK] < s[read + DONE_CLOCK]):
        return write
    return read


@njit_apart
def skip_idle(s, until):
    """Let idle ranks refresh until shortly before ``until`` without stepping; exact.

    With all banks closed and nothing queued each refresh is issued when it is due, or as one of
    several on a command bus in the same order each time; only the latest can still matter later,
    and that one is stepped.
    """
    command = REFPB if s[IS_PER_BANK] != 0 else REFAB
    first, interval = s[AT_RANKS], s[REFRESH_INTERVAL]
    end, skipped = first + s[AT_RANKS + 1] * RANK_WIDTH, NEVER
    for rank in range(first, end, RANK_WIDTH):
        ready = earliest(s, command, s[rank + NEXT_BANK])
        if s[rank + OPEN_BANKS] > 0 or ready > s[rank + DUE]:
            return
        skipped = min(skipped, (until - s[rank + DUE]) // interval - 2)
    if s[IS_PER_BANK] != 0:
        skipped -= skipped % s[BANKS_PER_RANK]
    if skipped <= 0:
        return
    for rank in range(first, end, RANK_WIDTH):
        s[rank + DUE] += skipped * interval
        s[as_index(s[rank + RANK_CONTROLLER]) + COUNTS + command] += skipped
    c = as_index(s[AT_CONTROLLERS])
    for _ in range(s[AT_CONTROLLERS + 1]):
        set_soonest_due(s, c)
        s[c + PLAN_COMMAND] = NONE
        s[c + PLAN_TIME] = s[c + SOONEST_DUE]
        c = as_index(c + CONTROLLER_WIDTH)


@njit_inline
def next_plan(s):
    """Return the clock of the next plan of all controllers."""
    c = as_index(s[AT_CONTROLLERS])
    t = s[c + PLAN_TIME]
    for _ in range(s[AT_CONTROLLERS + 1] - 1):
        c = as_index(c + CONTROLLER_WIDTH)
        t = min(t, s[c + PLAN_TIME])
    return t


@njit_apart
def run_until(s, until):
    """Issue all commands before clock ``until``, or before the first completion is back."""
    limit, is_changed = until, True
    while True:
        if is_changed:
            is_changed = False
            request = first_done(s)
            if request > 0:
                limit = min(until, clock_of(s, s[request + DONE_CYCLE]))
            if s[SKIP_PERIOD] > 0:
                try_skip(s, limit)
        t = next_plan(s)
        if t >= limit:
            s[NOW] = max(s[NOW], limit)
            return
        s[NOW] = t
        c = as_index(s[AT_CONTROLLERS])
        for _ in range(s[AT_CONTROLLERS + 1]):
            step_controller(s, c, t)
            c = as_index(c + CONTROLLER_WIDTH)
        if s[HAS_ROOM] != 0:
            s[HAS_ROOM] = 0
            is_changed = True
            for kind in range(2):
                feed(s, kind, t + 1)


@njit_inline
def dram_submit(s, requester, tag, address, size_bytes, kind, t):
    """Hand over ``size_bytes`` at byte ``address`` in cycle ``t``.

    There must be a free request, and the state must have been advanced to ``t``.
    """
    clock = clock_of(s, t)
    s[NOW] = max(s[NOW], clock)
    request = as_index(s[FREE])
    s[FREE] = s[request + NEXT_REQUEST]
    first = address >> s[BURST_SHIFT]
    bursts = (address + size_bytes - 1 >> s[BURST_SHIFT]) - first + 1
    s[request + REQUESTER] = requester
    s[request + TAG] = tag
    s[request + CURSOR] = first & s[BURSTS] - 1
    s[request + TO_FEED] = bursts
    s[request + LEFT] = bursts
    s[request + KIND] = kind
    s[request + SUBMITTED] = t
    if s[SKIP_REQUEST] == request:  # a saved state is of the row's last request
        s[SKIP_REQUEST] = NONE
    s[LIVE] += 1
    s[FREE_REQUESTS] -= 1
    kind = as_index(kind)
    is_first = s[FEED + kind] == 0  # others wait for room
    append(s, FEED + kind, FEED_LAST + kind, request)
    if is_first:
        feed(s, kind, clock)


@njit_inline
def dram_submit_stream(s, requester, tag, size_bytes, kind, t):
    """Hand over ``size_bytes`` at the running address of ``requester``, from a whole burst on."""
    stream, unit = stream_of(s, requester), s[BURST_BYTES]
    bursts = (size_bytes + unit - 1) // unit
    if s[stream + STREAM_OFFSET] + bursts > s[stream + STREAM_LENGTH]:
        s[stream + STREAM_OFFSET] = 0
    address = (s[stream + STREAM_FIRST] + s[stream + STREAM_OFFSET]) * unit
    s[stream + STREAM_OFFSET] += bursts
    dram_submit(s, requester, tag, address, size_bytes, kind, t)


@njit_apart
def dram_next_time(s, limit):
    """Return the cycle of the next completion, or NEVER if none is due before ``limit``.

    Advances the state up to the smaller of the two: nothing may be submitted before it.
    """
    until = clock_of(s, limit)
    if s[LIVE] == 0:
        if until == NEVER:
            return NEVER
        if s[HAS_REFRESH] != 0:  # long enough to close all rows and refresh
            target = min(until, s[NOW] + 3 * s[REFRESH_INTERVAL])
            if target < until:
                run_until(s, target)
                skip_idle(s, until)
    run_until(s, until)
    request = first_done(s)
    return NEVER if request == 0 else s[request + DONE_CYCLE]


@njit_inline
def dram_pop(s, until):
    """Remove the next completion due at or before cycle ``until``; return its position or -1.

    The record stays readable until the next submission.
    """
    request = first_done(s)
    if request == 0 or s[request + DONE_CYCLE] > until:
        return NONE
    s[DONE + as_index(s[request + KIND])] = s[request + NEXT_REQUEST]
    s[request + NEXT_REQUEST] = s[FREE]
    s[FREE] = request
    s[LIVE] -= 1
    s[FREE_REQUESTS] += 1
    return request


@njit_inline
def dram_data_cycles(s, requester, until):
    """Return the cycles before ``until``, not counted before, in which its data moved.

    The state must have been advanced to ``until``: every command issued, no later one.
    """
    stream, mask = stream_of(s, requester), s[MARKS] - 1
    moved, marks = s[stream + MARKED], s[stream + STREAM_MARKS]
    for cycle in range(until, until + s[MARKS]):
        if s[as_index(marks + (cycle & mask))] == cycle:
            moved -= 1
    fresh = moved - s[stream + CHARGED]
    s[stream + CHARGED] = moved
    return fresh


@njit_inline
def dram_moved(s, kind):
    """Return the bytes of ``kind`` moved so far: whole bursts, when their command is issued."""
    bursts, c = 0, as_index(s[AT_CONTROLLERS])
    for _ in range(s[AT_CONTROLLERS + 1]):
        for outcome in range(3):
            bursts += s[c + OUTCOMES + 3 * kind + outcome]
        c = as_index(c + CONTROLLER_WIDTH)
    return bursts * s[BURST_BYTES]


@njit_inline
def dram_queued(s, kind):
    """Return the bursts of ``kind`` that wait in all controllers."""
    queued, c = 0, as_index(s[AT_CONTROLLERS])
    for _ in range(s[AT_CONTROLLERS + 1]):
        queued += s[c + COUNT + kind]
        c = as_index(c + CONTROLLER_WIDTH)
    return queued


@njit_entry
def play(s, requests):
    """Serve ``requests`` and write into each the cycle in which it was done.

    ``requests`` : int64[n, 5] arrival (not decreasing), address, bytes, kind and the result; one
    waits outside as long as all of the memory's requests are in flight. Returns the last cycle.
    """
    n, at, end = requests.shape[0], 0, 0
    while True:
        limit = NEVER
        if at < n and s[FREE_REQUESTS] > 0:
            limit = requests[at, PLAY_ARRIVAL]
        limit = min(limit, dram_next_time(s, limit))
        if limit == NEVER:
            return end
        limit = max(limit, end)
        end = limit
        while True:
            done = dram_pop(s, limit)
            if done < 0:
                break
            done = as_index(done)
            requests[as_index(s[done + TAG]), PLAY_DONE] = s[done + DONE_CYCLE]
        while at < n and s[FREE_REQUESTS] > 0 and requests[at, PLAY_ARRIVAL] <= limit:
            address, size = requests[at, PLAY_ADDRESS], requests[at, PLAY_BYTES]
            dram_submit(s, np.int64(0), at, address, size, requests[at, PLAY_KIND], limit)
            at += 1


@njit_entry
def operate(s, operation, values):
    """Do one operation of the contract for Python, all of them compiled together.

    ``values`` : int64[6]. SUBMIT: requester, tag, address, bytes, kind, cycle. NEXT_TIME: the
    limit, replaced by the cycle. POP: the cycle, replaced by the request's position or -1.
    DATA_CYCLES: requester and cycle, the former replaced by the count.
    """
    if operation == SUBMIT:
        dram_submit(s, values[0], values[1], values[2], values[3], values[4], values[5])
    elif operation == NEXT_TIME:
        values[0] = dram_next_time(s, values[0])
    elif operation == POP:
        values[0] = dram_pop(s, values[0])
    else:
        values[0] = dram_data_cycles(s, values[0], values[1])
