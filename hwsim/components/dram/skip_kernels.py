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
    AT_BANKS,
    AT_CONTROLLERS,
    AT_GROUPS,
    AT_MOVES,
    AT_RANKS,
    AT_SAVED,
    BANK_WIDTH,
    BURSTS_DONE,
    CONTROLLER_WIDTH,
    COUNT,
    COUNTS,
    CURSOR,
    DRAIN_LEFT,
    DRAINING,
    DUE,
    FEED,
    HEAD,
    KEY,
    LATEST,
    LEFT,
    MOVE_WIDTH,
    N_COMMANDS,
    NEED,
    NEVER,
    NEXT,
    NEXT_BANK,
    NODE_WIDTH,
    NONE,
    NOW,
    OPEN_ROW,
    OPENERS,
    ORDER,
    OUTCOME,
    OWN_READY,
    PENDING_BANK,
    PLACE_BITS,
    PLAN_BANK,
    PLAN_COMMAND,
    PLAN_KEY,
    PLAN_TIME,
    QUEUED,
    RANK_WIDTH,
    READ_ENTRIES,
    REQUEST,
    REQUESTER,
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
    SLOT,
    TO_FEED,
    TURNAROUNDS,
)
from hwsim.components.dram.queue_kernels import COLUMN_CLASS
from hwsim.components.dram.transfer_kernels import mark_data
from hwsim.components.jit import as_index, njit_apart, njit_inline

__all__ = ["try_skip"]

# Columns of a snapshot: values that grow with time, then per controller its counters, then state.
SNAP_TIME, SNAP_CURSOR, SNAP_LEFT, SNAP_DONE, SNAP_COUNTERS = range(5)
MOST_ATTEMPTS = 24
"""Comparisons per run of columns: what does not recur by then, after the rules of the last change
of rows have passed, does not."""


@njit_inline
def try_skip(s, limit):
    """Skip whole periods of the request that streams alone, if its state recurs."""
    kind = 0 if s[FEED] != 0 else 1
    if s[FEED + kind] == 0 or s[FEED + 1 - kind] != 0:
        return
    request = as_index(s[FEED + kind])
    if s[request + TO_FEED] < 2 * s[SKIP_PERIOD]:
        return
    block = s[request + CURSOR] // s[SKIP_PERIOD]
    if block != s[SKIP_BLOCK]:
        compare_states(s, kind, request, block, limit)


@njit_apart
def compare_states(s, kind, request, block, limit):
    """Compare the state with the saved one, and skip or save."""
    run = s[SKIP_RUN] // s[SKIP_PERIOD]
    is_new = request != s[SKIP_REQUEST] or block // run != s[SKIP_BLOCK] // run
    s[SKIP_BLOCK] = block
    s[SKIP_REQUEST] = request
    if is_new:
        s[SKIP_ATTEMPTS] = 0
        s[SKIP_LENGTH] = 0
    entered = s[request + CURSOR] % s[SKIP_RUN]
    queued = s[READ_ENTRIES + kind] * s[AT_CONTROLLERS + 1]
    if s[SKIP_ATTEMPTS] >= MOST_ATTEMPTS or entered < queued:
        return
    for c in controllers(s):
        if s[c + COUNT + 1 - kind] > 0 or s[c + OPENERS] > 0:
            return
    s[SKIP_ATTEMPTS] += 1
    saved = s[AT_SAVED]
    present = saved + s[AT_SAVED + 1]
    length = snapshot(s, kind, request, present)
    if s[SKIP_LENGTH] == length and is_equal(s, saved, present, length):
        skip_periods(s, kind, request, limit)
        s[SKIP_ATTEMPTS] = MOST_ATTEMPTS  # until the next run of columns
        return
    s[SKIP_LENGTH] = length
    s[SKIP_MARKED] = 0
    for column in range(length):
        s[saved + column] = s[present + column]


@njit_inline
def controllers(s):
    """Return the positions of all controllers."""
    first = s[AT_CONTROLLERS]
    return range(first, first + s[AT_CONTROLLERS + 1] * CONTROLLER_WIDTH, CONTROLLER_WIDTH)


@njit_inline
def ranks(s):
    """Return the positions of all ranks."""
    return range(s[AT_RANKS], s[AT_RANKS] + s[AT_RANKS + 1] * RANK_WIDTH, RANK_WIDTH)


@njit_inline
def nodes(s, which):
    """Return the positions of the nodes of one level: 0 group, 1 rank, 2 bank."""
    at = AT_GROUPS if which == 0 else AT_RANKS if which == 1 else AT_BANKS
    width = NODE_WIDTH if which == 0 else RANK_WIDTH if which == 1 else BANK_WIDTH
    return range(s[at], s[at] + s[at + 1] * width, width)


@njit_inline
def is_equal(s, saved, present, length):
    """Return whether both snapshots hold the same state, and no bus was turned around since."""
    state = SNAP_COUNTERS + s[AT_CONTROLLERS + 1] * CONTROLLER_WIDTH
    for at in range(SNAP_COUNTERS + TURNAROUNDS, state, CONTROLLER_WIDTH):
        if s[saved + at] != s[present + at]:
            return False
    at = state
    while at < length and s[saved + at] == s[present + at]:
        at += 1
    return at == length


@njit_apart
def snapshot(s, kind, request, first):
    """Write what grows, then the state relative to now, from ``first`` on; return the length.

    ``kind``: of the bursts that are queued; none of the other kind may be.
    """
    now = s[NOW]
    s[first + SNAP_TIME] = now
    s[first + SNAP_CURSOR] = s[request + CURSOR]
    s[first + SNAP_LEFT] = s[request + LEFT]
    s[first + SNAP_DONE] = s[BURSTS_DONE]
    at = first + SNAP_COUNTERS
    for c in controllers(s):
        for column in range(CONTROLLER_WIDTH):
            s[at + column] = s[c + column]
        at += CONTROLLER_WIDTH
    s[at] = s[request + CURSOR] % s[SKIP_PERIOD]
    s[at + 1] = s[request + LEFT] - s[request + TO_FEED]
    s[at + 2] = s[PENDING_BANK + kind]
    at += 3
    for c in controllers(s):
        at = snapshot_controller(s, c, at)
    for bank in nodes(s, 2):
        at = snapshot_bank(s, bank, kind, at)
    for rank in ranks(s):
        s[at] = s[rank + NEXT_BANK]
        for k in range(3):
            # A window's latest times matter as long as a rule's latency.
            s[at + 1 + k] = max(s[rank + LATEST + k] - now, -s[SKIP_MARGIN])
        at += 4
    for which in range(3):
        for node in nodes(s, which):
            for command in range(N_COMMANDS):
                s[at + command] = max(s[node + command] - now, 0)
            at += N_COMMANDS
    return at - first


@njit_inline
def snapshot_controller(s, c, at):
    """Write the plan of controller ``c``; ages relative to the next one."""
    is_burst = s[c + PLAN_KEY] >= COLUMN_CLASS and s[c + PLAN_KEY] != NEVER
    s[at] = s[c + DRAINING]
    s[at + 1] = s[c + PLAN_COMMAND]
    s[at + 2] = s[c + PLAN_BANK]
    s[at + 3] = s[c + PLAN_KEY] - s[SEQUENCE] if is_burst else NEVER
    s[at + 4] = s[c + PLAN_TIME] - s[NOW] if s[c + PLAN_TIME] != NEVER else NEVER
    return at + 5


@njit_inline
def snapshot_bank(s, bank, kind, at):
    """Write the open row, the need and the queued bursts of a bank."""
    s[at] = s[bank + OPEN_ROW]
    s[at + 1] = s[bank + QUEUED + kind]
    s[at + 2] = NONE
    if s[bank + SLOT] >= 0:
        s[at + 2] = (s[s[bank + SLOT] + KEY] >> PLACE_BITS) - s[SEQUENCE]
        s[at + 3] = s[s[bank + SLOT] + NEED]
        at += 1
    at += 3
    e = s[bank + HEAD + kind]
    while e >= 0:
        s[at] = s[e + ROW]
        s[at + 1] = s[e + ORDER] - s[SEQUENCE]
        s[at + 2] = s[e + REQUEST]
        s[at + 3] = s[e + OUTCOME]
        at += 4
        e = s[e + NEXT]
    return at


@njit_inline
def most_periods(s, request, limit, bursts, clocks):
    """Return how many periods may be skipped."""
    cursor, run = s[request + CURSOR], s[SKIP_RUN]
    # Strictly inside the run: the burst that enters next is already located.
    periods = ((cursor // run + 1) * run - 1 - cursor) // bursts
    periods = min(periods, (s[request + TO_FEED] - 1) // bursts)
    end = limit - 1
    for rank in ranks(s):
        end = min(end, s[rank + DUE] - s[SKIP_MARGIN] - 1)
    return min(periods, (end - s[NOW]) // clocks)


@njit_inline
def skip_periods(s, kind, request, limit):
    """Add what happens in as many periods as possible to everything that grows."""
    saved = s[AT_SAVED]
    present = saved + s[AT_SAVED + 1]
    bursts = s[present + SNAP_CURSOR] - s[saved + SNAP_CURSOR]
    clocks = s[present + SNAP_TIME] - s[saved + SNAP_TIME]
    served = s[saved + SNAP_LEFT] - s[present + SNAP_LEFT]
    if bursts <= 0 or clocks <= 0 or s[SKIP_MARKED] > s[AT_MOVES + 1]:
        return
    periods = most_periods(s, request, limit, bursts, clocks)
    if periods <= 0:
        return
    shift_times(s, periods * clocks)
    shift_ages(s, kind, periods * bursts)
    s[request + CURSOR] += periods * bursts
    s[request + TO_FEED] -= periods * bursts
    s[request + LEFT] -= periods * served
    s[BURSTS_DONE] += periods * (s[present + SNAP_DONE] - s[saved + SNAP_DONE])
    s[SEQUENCE] += periods * bursts
    s[NOW] += periods * clocks
    s[SKIPPED] += periods * served
    at = SNAP_COUNTERS
    for c in controllers(s):
        for column in range(COUNTS, CONTROLLER_WIDTH):
            s[c + column] += periods * (s[present + at + column] - s[saved + at + column])
        s[c + DRAIN_LEFT] += periods * (s[present + at + DRAIN_LEFT] - s[saved + at + DRAIN_LEFT])
        at += CONTROLLER_WIDTH
    for period in range(1, periods + 1):
        for move in range(s[SKIP_MARKED]):
            at, shift = s[AT_MOVES] + move * MOVE_WIDTH, period * clocks
            mark_data(s, s[request + REQUESTER], s[at] + shift, s[at + 1] + shift)


@njit_inline
def shift_times(s, later):
    """Move every time that is still to come into the future."""
    now = s[NOW]
    for which in range(3):
        for node in nodes(s, which):
            for command in range(N_COMMANDS):
                if s[node + command] > now:
                    s[node + command] += later
    for rank in ranks(s):
        for k in range(3):
            if s[rank + LATEST + k] > now - s[SKIP_MARGIN]:
                s[rank + LATEST + k] += later
    for c in controllers(s):
        if s[c + PLAN_TIME] != NEVER:
            s[c + PLAN_TIME] += later


@njit_inline
def shift_ages(s, kind, more):
    """Make every queued burst, and what is kept of its age and times, as much younger."""
    for c in controllers(s):
        if s[c + PLAN_KEY] >= COLUMN_CLASS and s[c + PLAN_KEY] != NEVER:
            s[c + PLAN_KEY] += more
    for bank in nodes(s, 2):
        if s[bank + SLOT] >= 0:
            slot = s[bank + SLOT]
            s[slot + KEY] += more << PLACE_BITS
            s[slot + OWN_READY] = s[bank + s[slot + NEED]]
        e = s[bank + HEAD + kind]
        while e >= 0:
            s[e + ORDER] += more
            e = s[e + NEXT]
