"""Serve requests from DRAM: split them into bursts, run the controllers, report completions.

State layout: :mod:`layout`. A request is a run of bursts at consecutive addresses. Reads and writes
wait in a first-in-first-out line each; the front burst of a line enters its controller's queue as
soon as that has room (assumed: the front end splits as fast as queues drain), one clock after
room was made. A request is done when the data of its last burst have moved.
"""

from __future__ import annotations

from hwsim.components.dram.layout import (
    BANKS,
    BANKS_PER_RANK,
    BURST_BYTES,
    BURST_SHIFT,
    BURSTS,
    CHARGED,
    CLOCK_DEN,
    CLOCK_NUM,
    CONTROLLER_SHIFT,
    COUNT,
    COUNTS,
    CURSOR,
    DONE,
    DONE_CLOCK,
    DONE_CYCLE,
    DUE,
    FEED,
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
    NONE,
    NOW,
    OPEN_BANKS,
    OUTCOMES,
    PENDING_BANK,
    PENDING_ROW,
    PLAN_COMMAND,
    RANKS,
    READ_ENTRIES,
    REFAB,
    REFPB,
    REFRESH_INTERVAL,
    REQUESTER,
    RING,
    RING_FIRST,
    RING_LENGTH,
    SKIP_PERIOD,
    SKIP_REQUEST,
    STREAM_FIRST,
    STREAM_LENGTH,
    STREAM_OFFSET,
    SUBMITTED,
    TAG,
    TO_FEED,
)
from hwsim.components.dram.scheduler_kernels import enqueue, step_controller
from hwsim.components.dram.skip_kernels import try_skip
from hwsim.components.dram.timing_kernels import earliest
from hwsim.components.dram.transfer_kernels import convert, push_ring
from hwsim.components.jit import as_index, njit_entry, njit_inline, njit_outline

__all__ = [
    "dram_data_cycles",
    "dram_moved",
    "dram_next_time",
    "dram_pop",
    "dram_queued",
    "dram_submit",
    "dram_submit_stream",
    "operate",
    "play",
    "run_until",
]

SUBMIT, NEXT_TIME, POP, DATA_CYCLES = range(4)
"""Operations of :func:`operate`."""
# Columns of the requests that :func:`play` gets and of what it returns about each.
PLAY_ARRIVAL, PLAY_ADDRESS, PLAY_BYTES, PLAY_KIND, PLAY_DONE = range(5)


@njit_inline
def decode(d, kind, burst):
    """Find bank and row of a burst address and keep them as the kind's pending burst."""
    mapping, fixed = d.mapping, d.fixed
    bank = row = 0
    for k in range(mapping.shape[0]):
        part = (burst >> mapping[k, 1] & mapping[k, 2]) << mapping[k, 3]
        is_row = mapping[k, 0] != 0
        row |= part if is_row else 0
        bank |= 0 if is_row else part
    if fixed[IS_HASHED] != 0:
        bank ^= (row & fixed[GROUPS] - 1) * fixed[BANKS]
        bank ^= row // fixed[GROUPS] & fixed[BANKS] - 1
    d.now[PENDING_BANK + kind] = bank
    d.now[PENDING_ROW + kind] = row


@njit_inline
def feed(d, kind, t):
    """Let bursts of ``kind`` enter their queues until one finds no room."""
    rings, requests, now = d.rings, d.requests, d.now
    while rings[FEED + kind, RING_LENGTH] > 0:
        first = as_index(rings[FEED + kind, RING_FIRST])
        request = as_index(rings[FEED + kind, RING + first])
        if now[PENDING_BANK + kind] < 0:
            decode(d, kind, requests[request, CURSOR])
        bank = as_index(now[PENDING_BANK + kind])
        g = as_index(bank >> d.fixed[CONTROLLER_SHIFT])
        if d.controllers[g, COUNT + kind] >= d.fixed[READ_ENTRIES + kind]:
            return
        enqueue(d, g, kind, bank, now[PENDING_ROW + kind], request, t)
        now[PENDING_BANK + kind] = NONE
        requests[request, CURSOR] += 1
        requests[request, TO_FEED] -= 1
        if requests[request, TO_FEED] == 0:
            drop_first(rings, FEED + kind)


@njit_inline
def drop_first(rings, ring):
    """Remove the first item of a ring."""
    first = rings[ring, RING_FIRST] + 1
    rings[ring, RING_FIRST] = first if first < rings.shape[1] - RING else 0
    rings[ring, RING_LENGTH] -= 1


@njit_inline
def clock_of(d, cycle):
    """Return the first clock at or after the caller's ``cycle``."""
    if cycle >= NEVER // 64:  # also what cannot be converted without overflow
        return NEVER
    return convert(cycle, d.fixed[CLOCK_NUM], d.fixed[CLOCK_DEN])


@njit_inline
def first_done(d):
    """Return the request that is done first, -1 if none: reads before writes at the same clock.

    Requests of one kind become done in the order of their last command.
    """
    rings, requests = d.rings, d.requests
    best = NONE
    for kind in range(2):
        if rings[DONE + kind, RING_LENGTH] > 0:
            request = rings[DONE + kind, RING + rings[DONE + kind, RING_FIRST]]
            if best < 0 or requests[request, DONE_CLOCK] < requests[best, DONE_CLOCK]:
                best = request
    return best


@njit_outline
def skip_idle(d, until):
    """Let idle ranks refresh until shortly before ``until`` without stepping; exact.

    With all banks closed and nothing queued each refresh is issued when it is due, or as one of
    several on a command bus in the same order each time; only the latest can still matter later,
    and that one is stepped.
    """
    fixed, ranks = d.fixed, d.ranks
    command = REFPB if fixed[IS_PER_BANK] else REFAB
    interval = fixed[REFRESH_INTERVAL]
    skipped = NEVER
    for rank in range(ranks.shape[0]):
        ready = earliest(d, command, ranks[rank, NEXT_BANK])
        if ranks[rank, OPEN_BANKS] > 0 or ready > ranks[rank, DUE]:
            return
        skipped = min(skipped, (until - ranks[rank, DUE]) // interval - 2)
    if fixed[IS_PER_BANK] != 0:
        skipped -= skipped % fixed[BANKS_PER_RANK]
    if skipped <= 0:
        return
    for rank in range(ranks.shape[0]):
        ranks[rank, DUE] += skipped * interval
    for g in range(d.controllers.shape[0]):
        d.controllers[g, COUNTS + command] += skipped * fixed[RANKS]
        d.controllers[g, PLAN_COMMAND] = NONE
        d.plan_time[g] = NEVER
    for rank in range(ranks.shape[0]):
        g = rank // fixed[RANKS]
        d.plan_time[g] = min(d.plan_time[g], ranks[rank, DUE])


@njit_inline
def run_until(d, until):
    """Issue all commands before clock ``until``, or before the first completion is back."""
    now, plan_time = d.now, d.plan_time
    limit, is_changed = until, True
    while True:
        if is_changed:
            is_changed = False
            request = first_done(d)
            if request >= 0:
                limit = min(until, clock_of(d, d.requests[request, DONE_CYCLE]))
            if d.skip[SKIP_PERIOD] > 0:
                try_skip(d, limit)
        t = plan_time[0]
        if plan_time.shape[0] > 1:
            for g in range(1, plan_time.shape[0]):
                t = min(t, plan_time[g])
        if t >= limit:
            now[NOW] = max(now[NOW], limit)
            return
        now[NOW] = t
        for g in range(plan_time.shape[0]):
            if plan_time[g] == t:
                step_controller(d, g, t)
        if now[HAS_ROOM] != 0:
            now[HAS_ROOM] = 0
            is_changed = True
            for kind in range(2):
                feed(d, kind, t + 1)


@njit_inline
def dram_submit(d, requester, tag, address, size_bytes, kind, t):
    """Hand over ``size_bytes`` at byte ``address`` in cycle ``t``.

    There must be a free request, and the state must have been advanced to ``t``.
    """
    fixed, rings, requests = d.fixed, d.rings, d.requests
    clock = clock_of(d, t)
    d.now[NOW] = max(d.now[NOW], clock)
    free = rings[FREE, RING_LENGTH] - 1
    rings[FREE, RING_LENGTH] = free
    request = as_index(rings[FREE, RING + as_index(free)])
    first = address >> fixed[BURST_SHIFT]
    bursts = (address + size_bytes - 1 >> fixed[BURST_SHIFT]) - first + 1
    requests[request, REQUESTER] = requester
    requests[request, TAG] = tag
    requests[request, CURSOR] = first & fixed[BURSTS] - 1
    requests[request, TO_FEED] = bursts
    requests[request, LEFT] = bursts
    requests[request, KIND] = kind
    requests[request, SUBMITTED] = t
    if d.skip[SKIP_REQUEST] == request:  # a saved state is of the row's last request
        d.skip[SKIP_REQUEST] = NONE
    d.now[LIVE] += 1
    d.now[FREE_REQUESTS] -= 1
    push_ring(rings, FEED + kind, request)
    feed(d, kind, clock)


@njit_inline
def dram_submit_stream(d, requester, tag, size_bytes, kind, t):
    """Hand over ``size_bytes`` at the running address of ``requester``, from a whole burst on."""
    streams, unit = d.streams, d.fixed[BURST_BYTES]
    bursts = (size_bytes + unit - 1) // unit
    if streams[requester, STREAM_OFFSET] + bursts > streams[requester, STREAM_LENGTH]:
        streams[requester, STREAM_OFFSET] = 0
    address = (streams[requester, STREAM_FIRST] + streams[requester, STREAM_OFFSET]) * unit
    streams[requester, STREAM_OFFSET] += bursts
    dram_submit(d, requester, tag, address, size_bytes, kind, t)


@njit_inline
def dram_next_time(d, limit):
    """Return the cycle of the next completion, or NEVER if none is due before ``limit``.

    Advances the state up to the smaller of the two: nothing may be submitted before it.
    """
    until = clock_of(d, limit)
    target = until
    if d.now[LIVE] == 0:
        if until == NEVER:
            return NEVER
        if d.fixed[HAS_REFRESH] != 0:  # long enough to close all rows and refresh
            target = min(until, d.now[NOW] + 3 * d.fixed[REFRESH_INTERVAL])
    while True:
        run_until(d, target)
        if target == until:
            break
        skip_idle(d, until)
        target = until
    request = first_done(d)
    return NEVER if request < 0 else d.requests[request, DONE_CYCLE]


@njit_inline
def dram_pop(d, until):
    """Remove the next completion due at or before cycle ``until``; return its request or -1.

    The row stays readable until the next submission.
    """
    request = first_done(d)
    if request < 0 or d.requests[request, DONE_CYCLE] > until:
        return NONE
    drop_first(d.rings, DONE + as_index(d.requests[as_index(request), KIND]))
    request = as_index(request)
    d.rings[FREE, RING + as_index(d.rings[FREE, RING_LENGTH])] = request
    d.rings[FREE, RING_LENGTH] += 1
    d.now[LIVE] -= 1
    d.now[FREE_REQUESTS] += 1
    return request


@njit_inline
def dram_data_cycles(d, requester, until):
    """Return the cycles before ``until``, not counted before, in which its data moved.

    The state must have been advanced to ``until``: every command issued, no later one.
    """
    streams, mask = d.streams, d.fixed[MARKS] - 1
    moved = streams[requester, MARKED]
    for cycle in range(until, until + d.fixed[MARKS]):
        if d.marks[requester, cycle & mask] == cycle:
            moved -= 1
    fresh = moved - streams[requester, CHARGED]
    streams[requester, CHARGED] = moved
    return fresh


@njit_inline
def dram_moved(d, kind):
    """Return the bytes of ``kind`` moved so far: whole bursts, when their command is issued."""
    bursts = 0
    for g in range(d.controllers.shape[0]):
        for outcome in range(3):
            bursts += d.controllers[g, OUTCOMES + 3 * kind + outcome]
    return bursts * d.fixed[BURST_BYTES]


@njit_inline
def dram_queued(d, kind):
    """Return the bursts of ``kind`` that wait in all controllers."""
    queued = 0
    for g in range(d.controllers.shape[0]):
        queued += d.controllers[g, COUNT + kind]
    return queued


@njit_entry
def play(d, requests):
    """Serve ``requests`` and write into each the cycle in which it was done.

    ``requests`` : int64[n, 5] arrival (not decreasing), address, bytes, kind and the result; one
    waits outside as long as all of the memory's requests are in flight. Returns the last cycle.
    """
    n, at, end = requests.shape[0], 0, 0
    while True:
        limit = NEVER
        if at < n and d.now[FREE_REQUESTS] > 0:
            limit = requests[at, PLAY_ARRIVAL]
        limit = min(limit, dram_next_time(d, limit))
        if limit == NEVER:
            return end
        limit = max(limit, end)
        end = limit
        while True:
            done = dram_pop(d, limit)
            if done < 0:
                break
            requests[d.requests[done, TAG], PLAY_DONE] = d.requests[done, DONE_CYCLE]
        while at < n and d.now[FREE_REQUESTS] > 0 and requests[at, PLAY_ARRIVAL] <= limit:
            address, size = requests[at, PLAY_ADDRESS], requests[at, PLAY_BYTES]
            dram_submit(d, 0, at, address, size, requests[at, PLAY_KIND], limit)
            at += 1


@njit_entry
def operate(d, operation, values):
    """Do one operation of the contract for Python, all of them compiled together.

    ``values`` : int64[6]. SUBMIT: requester, tag, address, bytes, kind, cycle. NEXT_TIME: the
    limit, replaced by the cycle. POP: the cycle, replaced by the row of ``requests`` or -1.
    DATA_CYCLES: requester and cycle, the former replaced by the count.
    """
    if operation == SUBMIT:
        dram_submit(d, values[0], values[1], values[2], values[3], values[4], values[5])
    elif operation == NEXT_TIME:
        values[0] = dram_next_time(d, values[0])
    elif operation == POP:
        values[0] = dram_pop(d, values[0])
    else:
        values[0] = dram_data_cycles(d, values[0], values[1])
