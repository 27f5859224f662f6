"""Fast-forward a long request whose state recurs, exactly.

State layout: :mod:`layout`. While one request streams alone, within the addresses of one row per
bank, commands follow a short period: after it all state that the future depends on is the same,
relative to the present clock, the next burst and the next age. The state is compared whenever the
stream has come another column further, with the one a column before, from when the queues hold
nothing but the present rows. If it is equal, as many periods are skipped as

- keep the bursts that enter the queues inside the row,
- leave the request its last burst to enter,
- end before the caller's limit, and before any plan could reach the next refresh.

What grows by the same amount in every period, grows by so many times more: times, ages, counts.
Data cycles do not repeat if the caller's clock is no multiple; the bursts of one period are noted
and marked anew, shifted.
"""

from __future__ import annotations

from hwsim.components.dram.layout import (
    BANK,
    BANK_LEVEL,
    BANK_READY,
    BURSTS_DONE,
    CONTROLLER_COLUMNS,
    COUNT,
    COUNTS,
    CURSOR,
    DRAIN_LEFT,
    DRAINING,
    DUE,
    FEED,
    HEAD,
    KEY,
    LEFT,
    LISTS,
    NEVER,
    NEXT,
    NEXT_BANK,
    NOW,
    OPEN_ROW,
    ORDER,
    OUTCOME,
    PENDING_BANK,
    PLAN_BANK,
    PLAN_COMMAND,
    PLAN_KEY,
    QUEUED,
    READ_ENTRIES,
    REQUEST,
    REQUESTER,
    RING,
    RING_FIRST,
    RING_LENGTH,
    ROW,
    SEQUENCE,
    SKIP_ATTEMPTS,
    SKIP_BLOCK,
    SKIP_LENGTH,
    SKIP_MARGIN,
    SKIP_MARKED,
    SKIP_PERIOD,
    SKIP_REQUEST,
    SKIP_RUN,
    SKIPPED,
    TO_FEED,
    TURNAROUNDS,
    WIDTH,
)
from hwsim.components.dram.queue_kernels import command_of
from hwsim.components.dram.transfer_kernels import mark_data
from hwsim.components.jit import njit_inline, njit_outline

__all__ = ["snapshot", "try_skip"]

SAVED, PRESENT = 0, 1
# Columns of a snapshot: values that grow with time, then per controller its counters, then state.
SNAP_TIME, SNAP_CURSOR, SNAP_LEFT, SNAP_DONE, SNAP_COUNTERS = range(5)
MOST_ATTEMPTS = 24
"""Comparisons per run of columns: what does not recur by then, after the rules of the last change
of rows have passed, does not."""


@njit_inline
def try_skip(d, limit):
    """Skip whole periods of the request that streams alone, if its state recurs."""
    skip, rings = d.skip, d.rings
    kind = 0 if rings[FEED, RING_LENGTH] > 0 else 1
    if rings[FEED + kind, RING_LENGTH] == 0 or rings[FEED + 1 - kind, RING_LENGTH] > 0:
        return
    request = rings[FEED + kind, RING + rings[FEED + kind, RING_FIRST]]
    if d.requests[request, TO_FEED] < 2 * skip[SKIP_PERIOD]:
        return
    block = d.requests[request, CURSOR] // skip[SKIP_PERIOD]
    if block == skip[SKIP_BLOCK]:
        return
    compare_states(d, kind, request, block, limit)


@njit_outline
def compare_states(d, kind, request, block, limit):
    """Compare the state with the saved one, and skip or save."""
    skip = d.skip
    run = skip[SKIP_RUN] // skip[SKIP_PERIOD]
    is_new = request != skip[SKIP_REQUEST] or block // run != skip[SKIP_BLOCK] // run
    skip[SKIP_BLOCK] = block
    skip[SKIP_REQUEST] = request
    if is_new:
        skip[SKIP_ATTEMPTS] = 0
        skip[SKIP_LENGTH] = 0
    entered = d.requests[request, CURSOR] % skip[SKIP_RUN]
    queued = d.fixed[READ_ENTRIES + kind] * d.controllers.shape[0]
    if skip[SKIP_ATTEMPTS] >= MOST_ATTEMPTS or entered < queued:
        return
    for g in range(d.controllers.shape[0]):
        if d.controllers[g, COUNT + 1 - kind] > 0:
            return
    skip[SKIP_ATTEMPTS] += 1
    length = snapshot(d, kind, request, PRESENT)
    if skip[SKIP_LENGTH] == length and is_equal(d, length):
        skip_periods(d, kind, request, limit)
        skip[SKIP_ATTEMPTS] = MOST_ATTEMPTS  # until the next run of columns
        return
    skip[SKIP_LENGTH] = length
    skip[SKIP_MARKED] = 0
    for column in range(length):
        d.saved[SAVED, column] = d.saved[PRESENT, column]


@njit_inline
def state_begin(d):
    """Return the first column of a snapshot that is compared."""
    return SNAP_COUNTERS + d.controllers.shape[0] * CONTROLLER_COLUMNS


@njit_inline
def is_equal(d, length):
    """Return whether both snapshots hold the same state, and no bus was turned around since."""
    for g in range(d.controllers.shape[0]):
        at = SNAP_COUNTERS + g * CONTROLLER_COLUMNS + TURNAROUNDS
        if d.saved[SAVED, at] != d.saved[PRESENT, at]:
            return False
    at = state_begin(d)
    while at < length and d.saved[SAVED, at] == d.saved[PRESENT, at]:
        at += 1
    return at == length


@njit_outline
def snapshot(d, kind, request, out):
    """Write what grows, then the state relative to now; return the length.

    ``kind``: of the bursts that are queued; none of the other kind may be.
    """
    saved, c, now = d.saved, d.controllers, d.now[NOW]
    saved[out, SNAP_TIME] = now
    saved[out, SNAP_CURSOR] = d.requests[request, CURSOR]
    saved[out, SNAP_LEFT] = d.requests[request, LEFT]
    saved[out, SNAP_DONE] = d.now[BURSTS_DONE]
    at = SNAP_COUNTERS
    for g in range(c.shape[0]):
        for column in range(CONTROLLER_COLUMNS):
            saved[out, at] = c[g, column]
            at += 1
    saved[out, at] = d.requests[request, CURSOR] % d.skip[SKIP_PERIOD]
    saved[out, at + 1] = d.requests[request, LEFT] - d.requests[request, TO_FEED]
    saved[out, at + 2] = d.now[PENDING_BANK + kind]
    at += 3
    for g in range(c.shape[0]):
        at = snapshot_queue(d, g, kind, out, at)
    for bank in range(d.banks.shape[0]):
        saved[out, at] = d.banks[bank, OPEN_ROW]
        at += 1
    for rank in range(d.ranks.shape[0]):
        saved[out, at] = d.ranks[rank, NEXT_BANK]
        at += 1
    for node in range(d.ready.shape[0]):
        for command in range(WIDTH):
            saved[out, at] = max(d.ready[node, command] - now, 0)
            at += 1
    for h in range(d.history.shape[0]):
        for node in range(d.history.shape[1]):
            saved[out, at] = d.history[h, node, 0]
            at += 1
            for k in range(1, d.history.shape[2]):
                # A window's latest times matter as long as a rule's latency.
                saved[out, at] = max(d.history[h, node, k] - now, -d.skip[SKIP_MARGIN])
                at += 1
    return at


@njit_inline
def snapshot_queue(d, g, kind, out, at):
    """Write the plan and the queue of controller ``g``; ages relative to the next one."""
    saved, c = d.saved, d.controllers
    sequence, now = d.now[SEQUENCE], d.now[NOW]
    is_burst = c[g, PLAN_KEY] >= 0 and c[g, PLAN_KEY] != NEVER
    saved[out, at] = c[g, DRAINING]
    saved[out, at + 1] = c[g, PLAN_COMMAND]
    saved[out, at + 2] = c[g, PLAN_BANK]
    saved[out, at + 3] = c[g, PLAN_KEY] - sequence if is_burst else NEVER
    saved[out, at + 4] = d.plan_time[g] - now if d.plan_time[g] != NEVER else NEVER
    at += 5
    first = LISTS * (2 * g + kind)
    for wanted in range(first, first + LISTS):
        saved[out, at] = d.listed[wanted]
        at += 1
        for k in range(d.listed[wanted]):
            at = snapshot_candidate(d, kind, wanted, k, out, at)
    return at


@njit_inline
def snapshot_candidate(d, kind, wanted, k, out, at):
    """Write a candidate and the bursts queued at its bank."""
    saved, sequence = d.saved, d.now[SEQUENCE]
    bank = d.candidates[wanted, k, BANK]
    saved[out, at] = bank
    saved[out, at + 1] = d.candidates[wanted, k, KEY] - sequence
    saved[out, at + 2] = max(d.candidates[wanted, k, BANK_READY] - d.now[NOW], 0)
    saved[out, at + 3] = d.banks[bank, QUEUED + kind]
    at += 4
    e = d.banks[bank, HEAD + kind]
    while e >= 0:
        saved[out, at] = d.entries[e, ROW]
        saved[out, at + 1] = d.entries[e, ORDER] - sequence
        saved[out, at + 2] = d.entries[e, REQUEST]
        saved[out, at + 3] = d.entries[e, OUTCOME]
        at += 4
        e = d.entries[e, NEXT]
    return at


@njit_inline
def most_periods(d, request, limit, bursts, clocks):
    """Return how many periods may be skipped."""
    cursor, run = d.requests[request, CURSOR], d.skip[SKIP_RUN]
    # Strictly inside the run: the burst that enters next is already located.
    periods = ((cursor // run + 1) * run - 1 - cursor) // bursts
    periods = min(periods, (d.requests[request, TO_FEED] - 1) // bursts)
    end = limit - 1
    for rank in range(d.ranks.shape[0]):
        end = min(end, d.ranks[rank, DUE] - d.skip[SKIP_MARGIN] - 1)
    return min(periods, (end - d.now[NOW]) // clocks)


@njit_inline
def skip_periods(d, kind, request, limit):
    """Add what happens in as many periods as possible to everything that grows."""
    saved, requests, now = d.saved, d.requests, d.now
    bursts = saved[PRESENT, SNAP_CURSOR] - saved[SAVED, SNAP_CURSOR]
    clocks = saved[PRESENT, SNAP_TIME] - saved[SAVED, SNAP_TIME]
    served = saved[SAVED, SNAP_LEFT] - saved[PRESENT, SNAP_LEFT]
    if bursts <= 0 or clocks <= 0 or d.skip[SKIP_MARKED] > d.moves.shape[0]:
        return
    periods = most_periods(d, request, limit, bursts, clocks)
    if periods <= 0:
        return
    later, more = periods * clocks, periods * bursts
    shift_times(d, later)
    shift_ages(d, kind, more)
    requests[request, CURSOR] += more
    requests[request, TO_FEED] -= more
    requests[request, LEFT] -= periods * served
    now[BURSTS_DONE] += periods * (saved[PRESENT, SNAP_DONE] - saved[SAVED, SNAP_DONE])
    now[SEQUENCE] += more
    now[NOW] += later
    d.skip[SKIPPED] += periods * served
    for g in range(d.controllers.shape[0]):
        at = SNAP_COUNTERS + g * CONTROLLER_COLUMNS
        for column in range(COUNTS, CONTROLLER_COLUMNS):
            grown = saved[PRESENT, at + column] - saved[SAVED, at + column]
            d.controllers[g, column] += periods * grown
        grown = saved[PRESENT, at + DRAIN_LEFT] - saved[SAVED, at + DRAIN_LEFT]
        d.controllers[g, DRAIN_LEFT] += periods * grown
    for period in range(1, periods + 1):
        for move in range(d.skip[SKIP_MARKED]):
            begin, end = d.moves[move, 0], d.moves[move, 1]
            shift = period * clocks
            mark_data(d, requests[request, REQUESTER], begin + shift, end + shift)


@njit_inline
def shift_times(d, later):
    """Move every time that is still to come into the future."""
    now = d.now[NOW]
    for node in range(d.ready.shape[0]):
        for command in range(WIDTH):
            if d.ready[node, command] > now:
                d.ready[node, command] += later
    for h in range(d.history.shape[0]):
        for node in range(d.history.shape[1]):
            for k in range(1, d.history.shape[2]):
                if d.history[h, node, k] > now - d.skip[SKIP_MARGIN]:
                    d.history[h, node, k] += later
    for g in range(d.plan_time.shape[0]):
        if d.plan_time[g] != NEVER:
            d.plan_time[g] += later


@njit_inline
def shift_ages(d, kind, more):
    """Make every queued burst, and what is kept of its age and times, as much younger."""
    c = d.controllers
    for g in range(c.shape[0]):
        if c[g, PLAN_KEY] >= 0 and c[g, PLAN_KEY] != NEVER:
            c[g, PLAN_KEY] += more
        first = LISTS * (2 * g + kind)
        for wanted in range(first, first + LISTS):
            for k in range(d.listed[wanted]):
                bank = d.candidates[wanted, k, BANK]
                d.candidates[wanted, k, KEY] += more
                ready = d.ready[d.nodes[bank, BANK_LEVEL], command_of(wanted, kind)]
                d.candidates[wanted, k, BANK_READY] = ready
                e = d.banks[bank, HEAD + kind]
                while e >= 0:
                    d.entries[e, ORDER] += more
                    e = d.entries[e, NEXT]
