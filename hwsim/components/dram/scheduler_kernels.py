"""Choose and issue DRAM commands: queues per bank, FR-FCFS or FCFS, pages, refresh, write drain.

State layout: :mod:`state`. Each controller holds a plan, the command that it will issue next and
when if nothing arrives before; so clocks in which nothing happens cost nothing, and a plan is
found once per command instead of once per clock. The plan is the least of all candidates by

1. time, the first clock at which the rules allow the command (not before the present);
2. refresh (and the precharges it needs) before column before row commands;
3. age of the burst that needs the command.

A candidate is, per bank with queued bursts of the kind being served: read or write for the oldest
that hits the open row; else precharge, or activate if the bank is closed, for the oldest. FCFS
keeps only the candidate of the oldest burst of all.
"""

from __future__ import annotations

import numpy as np

from hwsim.components.dram.state import (
    ACT,
    ACTIVE,
    BANK,
    BANK_LEVEL,
    BANK_READY,
    BANKS_PER_RANK,
    BL,
    BURSTS_DONE,
    CL,
    CLOCK_DEN,
    CLOCK_NUM,
    CONFLICT,
    COUNT,
    COUNTS,
    CWL,
    DONE,
    DONE_CLOCK,
    DONE_CYCLE,
    DRAIN_LEFT,
    DRAINING,
    DUE,
    ENTRY,
    FIRST_BANK,
    FREE_ENTRY,
    GROUP_LEVEL,
    GROUP_NODE,
    HAS_REFRESH,
    HAS_ROOM,
    HAS_TRACE,
    HEAD,
    HIGH,
    IS_CLOSED,
    IS_FCFS,
    IS_PER_BANK,
    KEY,
    KIND,
    LEFT,
    LOW,
    MARK_FROM,
    MARK_TO,
    MARKED,
    MARKS,
    MAX_TRACE,
    MISS,
    NEED,
    NEVER,
    NEXT,
    NEXT_BANK,
    NONE,
    OLDEST_HIT,
    OPEN_BANKS,
    OPEN_ROW,
    ORDER,
    OUTCOME,
    OUTCOMES,
    PATH_CYCLES,
    PLAN_BANK,
    PLAN_COMMAND,
    PLAN_ENTRY,
    PLAN_KEY,
    POSITION,
    PRE,
    PREA,
    PREVIOUS,
    QUEUED,
    RANK_LEVEL,
    RANKS,
    RD,
    RDA,
    READ,
    REFAB,
    REFPB,
    REFRESH_INTERVAL,
    REQUEST,
    REQUESTER,
    RING,
    RING_FIRST,
    RING_LENGTH,
    ROW,
    SEQUENCE,
    SKIP_MARKED,
    TAIL,
    TRACE_BANK,
    TRACE_CLOCK,
    TRACE_COMMAND,
    TRACE_REQUEST,
    TRACE_ROW,
    TRACED,
    TURNAROUNDS,
    WRA,
    WRITE,
    WRITE_AGE,
    WRITE_SINCE,
)
from hwsim.components.dram.timing_kernels import apply_rules, earliest, gather_shared
from hwsim.components.jit import njit_inline

__all__ = ["enqueue", "make_plan", "push_ring", "step_controller"]

ROW_COMMAND = np.int64(1) << 60
"""Added to the age in a candidate's key, so that column commands come first."""
REFRESH_KEY = np.int64(-1)


@njit_inline
def push_ring(rings, ring, item):
    """Append ``item``; there must be room."""
    at = rings[ring, RING_FIRST] + rings[ring, RING_LENGTH]
    size = rings.shape[1] - RING
    rings[ring, RING + (at if at < size else at - size)] = item
    rings[ring, RING_LENGTH] += 1


@njit_inline
def enqueue(d, g, kind, bank, row, request, t):
    """Append a burst to its bank's queue at clock ``t``; there must be room."""
    controllers, banks, entries = d.controllers, d.banks, d.entries
    e = controllers[g, FREE_ENTRY]
    controllers[g, FREE_ENTRY] = entries[e, NEXT]
    tail = banks[bank, TAIL + kind]
    if banks[bank, QUEUED + kind] == 0:
        position = controllers[g, ACTIVE + kind]
        d.active[2 * g + kind, position, BANK] = bank
        d.active[2 * g + kind, position, GROUP_NODE] = d.nodes[bank, GROUP_LEVEL]
        banks[bank, POSITION + kind] = position
        controllers[g, ACTIVE + kind] = position + 1
        banks[bank, HEAD + kind] = e
        tail = NONE
    else:
        entries[tail, NEXT] = e
    entries[e, ROW] = row
    entries[e, NEXT] = NONE
    entries[e, PREVIOUS] = tail
    entries[e, REQUEST] = request
    entries[e, ORDER] = d.now[SEQUENCE]
    entries[e, OUTCOME] = 0
    d.now[SEQUENCE] += 1
    banks[bank, TAIL + kind] = e
    banks[bank, QUEUED + kind] += 1
    if banks[bank, OLDEST_HIT + kind] < 0 and banks[bank, OPEN_ROW] == row:
        banks[bank, OLDEST_HIT + kind] = e
    controllers[g, COUNT + kind] += 1
    if kind == WRITE and controllers[g, COUNT + WRITE] == 1:
        controllers[g, WRITE_SINCE] = t
    update_needs(d, g, bank)
    revise_plan(d, g, kind, bank, t)


@njit_inline
def update_needs(d, g, bank):
    """Note which command each kind's queue of ``bank`` needs next."""
    banks, entries, active = d.banks, d.entries, d.active
    for kind in range(2):
        if banks[bank, QUEUED + kind] == 0:
            continue
        row, k = 2 * g + kind, banks[bank, POSITION + kind]
        e, key, need = banks[bank, OLDEST_HIT + kind], np.int64(0), RD + kind
        if d.fixed[IS_FCFS] != 0 and e != banks[bank, HEAD + kind]:
            e = NONE
        if e < 0:
            e, key = banks[bank, HEAD + kind], ROW_COMMAND
            need = ACT if banks[bank, OPEN_ROW] < 0 else PRE
        elif d.fixed[IS_CLOSED] != 0 and is_last_hit(d, bank, kind, e):
            need += RDA - RD
        active[row, k, NEED] = need
        active[row, k, KEY] = key + entries[e, ORDER]
        active[row, k, ENTRY] = e
        active[row, k, BANK_READY] = d.ready[d.nodes[bank, BANK_LEVEL], need]


@njit_inline
def is_last_hit(d, bank, kind, e):
    """Return whether no other queued burst hits the row that entry ``e`` hits."""
    after = d.entries[e, NEXT]
    while after >= 0 and d.entries[after, ROW] != d.entries[e, ROW]:
        after = d.entries[after, NEXT]
    return after < 0 and d.banks[bank, OLDEST_HIT + 1 - kind] < 0


@njit_inline
def revise_plan(d, g, kind, bank, t):
    """Let an arrival at ``bank`` change the plan: found anew only where it may matter."""
    c, plan_time = d.controllers, d.plan_time
    is_other_kind = kind != c[g, DRAINING]
    is_own_bank = c[g, PLAN_BANK] == bank
    if is_other_kind or d.fixed[IS_FCFS] != 0 or c[g, PLAN_COMMAND] < 0 or is_own_bank:
        plan_time[g] = min(plan_time[g], t)  # find a plan when it is t
        c[g, PLAN_COMMAND] = NONE
        return
    row, k = 2 * g + kind, d.banks[bank, POSITION + kind]
    if d.active[row, k, ENTRY] != d.banks[bank, TAIL + kind]:
        return  # the bank needs what it needed before
    if d.fixed[HAS_REFRESH] != 0 and is_refreshing(d, bank, t):
        return
    need, key = d.active[row, k, NEED], d.active[row, k, KEY]
    time = max(earliest(d, need, bank), t)
    if time < plan_time[g] or (time == plan_time[g] and key < c[g, PLAN_KEY]):
        plan_time[g] = time
        c[g, PLAN_KEY] = key
        c[g, PLAN_COMMAND] = need
        c[g, PLAN_BANK] = bank
        c[g, PLAN_ENTRY] = d.active[row, k, ENTRY]


@njit_inline
def unlink(d, g, kind, bank, e):
    """Remove entry ``e`` from its bank's queue and find the next hit."""
    controllers, banks, entries = d.controllers, d.banks, d.entries
    before, after = entries[e, PREVIOUS], entries[e, NEXT]
    if before >= 0:
        entries[before, NEXT] = after
    else:
        banks[bank, HEAD + kind] = after
    if after >= 0:
        entries[after, PREVIOUS] = before
    else:
        banks[bank, TAIL + kind] = before
    banks[bank, QUEUED + kind] -= 1
    controllers[g, COUNT + kind] -= 1
    entries[e, NEXT] = controllers[g, FREE_ENTRY]
    controllers[g, FREE_ENTRY] = e
    row = banks[bank, OPEN_ROW]
    while after >= 0 and entries[after, ROW] != row:
        after = entries[after, NEXT]
    banks[bank, OLDEST_HIT + kind] = after
    if banks[bank, QUEUED + kind] == 0:  # the list's last bank takes its place
        position = banks[bank, POSITION + kind]
        last = controllers[g, ACTIVE + kind] - 1
        moved = d.active[2 * g + kind, last, BANK]
        for column in range(d.active.shape[2]):
            d.active[2 * g + kind, position, column] = d.active[2 * g + kind, last, column]
        banks[moved, POSITION + kind] = position
        controllers[g, ACTIVE + kind] = last


@njit_inline
def close_bank(d, bank):
    """Note that no row of ``bank`` is open."""
    rank = rank_of(d, bank)
    if d.banks[bank, OPEN_ROW] >= 0:
        d.ranks[rank, OPEN_BANKS] -= 1
    d.banks[bank, OPEN_ROW] = NONE
    d.banks[bank, OLDEST_HIT + READ] = NONE
    d.banks[bank, OLDEST_HIT + WRITE] = NONE


@njit_inline
def choose_kind(d, g, t):
    """Switch between reads and writes by the watermarks; return the clock to look again."""
    c, fixed = d.controllers, d.fixed
    reads, writes = c[g, COUNT + READ], c[g, COUNT + WRITE]
    if c[g, DRAINING] == WRITE:
        if writes == 0 or (c[g, DRAIN_LEFT] <= 0 and reads > 0):
            c[g, DRAINING] = READ
            c[g, WRITE_SINCE] = t
            c[g, TURNAROUNDS] += 1
    elif writes > 0:
        is_old = t - c[g, WRITE_SINCE] >= fixed[WRITE_AGE]
        if writes >= fixed[HIGH] or reads == 0 or is_old:
            c[g, DRAINING] = WRITE
            c[g, DRAIN_LEFT] = writes if is_old else writes - fixed[LOW]
            c[g, TURNAROUNDS] += 1
    if writes > 0 and c[g, DRAINING] == READ:
        return c[g, WRITE_SINCE] + fixed[WRITE_AGE]
    return NEVER


@njit_inline
def refresh_candidate(d, g, t):
    """Return what a due refresh needs next (time, command, bank) and when another is due."""
    best, command, bank, wake = NEVER, NONE, NONE, NEVER
    ranks = d.fixed[RANKS]
    for rank in range(g * ranks, (g + 1) * ranks):
        if d.ranks[rank, DUE] > t:
            wake = min(wake, d.ranks[rank, DUE])
            continue
        target = d.ranks[rank, NEXT_BANK]
        if d.fixed[IS_PER_BANK] != 0:
            need = PRE if d.banks[target, OPEN_ROW] >= 0 else REFPB
        else:
            need = PREA if d.ranks[rank, OPEN_BANKS] > 0 else REFAB
        time = max(earliest(d, need, target), t)
        if time < best:
            best, command, bank = time, need, target
    return best, command, bank, wake


@njit_inline
def is_refreshing(d, bank, t):
    """Return whether a due refresh keeps other commands from ``bank``."""
    rank = rank_of(d, bank)
    if d.ranks[rank, DUE] > t:
        return False
    return d.fixed[IS_PER_BANK] == 0 or d.ranks[rank, NEXT_BANK] == bank


@njit_inline
def rank_of(d, bank):
    """Return the rank of a bank."""
    return d.nodes[bank, RANK_LEVEL] - d.nodes[0, RANK_LEVEL]


@njit_inline
def oldest_key(d, g, kind):
    """Return the key of the burst that has waited longest in the controller's queue."""
    least, key = NEVER, NEVER
    for k in range(d.controllers[g, ACTIVE + kind]):
        order = d.active[2 * g + kind, k, KEY] & (ROW_COMMAND - 1)
        if order < least:
            least, key = order, d.active[2 * g + kind, k, KEY]
    return key


@njit_inline
def scan_banks(d, g, t, best, key, is_due):
    """Return the least (time, key) of ``best``, ``key`` and the banks' candidates, and its place.

    The place in the list of banks is -1 if it is the one given.
    """
    ready, active, shared = d.ready, d.active, d.shared
    kind = d.controllers[g, DRAINING]
    row, count = 2 * g + kind, d.controllers[g, ACTIVE + kind]
    only = oldest_key(d, g, kind) if d.fixed[IS_FCFS] != 0 else NONE
    is_checked = is_due or only >= 0 or d.fixed[RANKS] > 1
    rank, chosen = NONE, NONE
    if count > 0:
        rank = d.nodes[active[row, 0, BANK], RANK_LEVEL]
        gather_shared(d, active[row, 0, BANK])
    for k in range(count):
        need, order = active[row, k, NEED], active[row, k, KEY]
        time = max(active[row, k, BANK_READY], ready[active[row, k, GROUP_NODE], need])
        if is_checked:
            b = active[row, k, BANK]
            if (is_due and is_refreshing(d, b, t)) or (only >= 0 and order != only):
                continue
            if rank != d.nodes[b, RANK_LEVEL]:
                rank = d.nodes[b, RANK_LEVEL]
                gather_shared(d, b)
        time = max(max(time, shared[need]), t)
        is_first = time < best or (time == best and order < key)
        best = time if is_first else best  # selects: nobody could predict branches
        key = order if is_first else key
        chosen = k if is_first else chosen
    return best, key, chosen


@njit_inline
def make_plan(d, g, t):
    """Find what controller ``g`` does next, at clock ``t`` or later, if nothing arrives."""
    c = d.controllers
    wake = choose_kind(d, g, t)
    best, key, command, bank, entry = NEVER, NEVER, NONE, NONE, NONE
    is_due = False
    if d.fixed[HAS_REFRESH] != 0:
        best, command, bank, due = refresh_candidate(d, g, t)
        wake = min(wake, due)
        is_due = command >= 0
        key = REFRESH_KEY if is_due else NEVER
    best, key, chosen = scan_banks(d, g, t, best, key, is_due)
    if chosen >= 0:
        row = 2 * g + c[g, DRAINING]
        command, bank = d.active[row, chosen, NEED], d.active[row, chosen, BANK]
        entry = d.active[row, chosen, ENTRY]
    d.plan_time[g] = min(best, wake)
    c[g, PLAN_KEY] = key
    c[g, PLAN_COMMAND] = command if best < wake else NONE  # look again: something may come first
    c[g, PLAN_BANK] = bank
    c[g, PLAN_ENTRY] = entry


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
    request = d.entries[e, REQUEST]
    d.controllers[g, OUTCOMES + 3 * kind + d.entries[e, OUTCOME]] += 1
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
        push_ring(d.rings, DONE + requests[request, KIND], request)
    if fixed[MARKS] > 0:
        mark_data(d, requests[request, REQUESTER], begin, end)
        note_move(d, begin, end)


@njit_inline
def record(d, command, bank, e, t):
    """Append a command to the trace; beyond the bound, to the dump row."""
    trace = d.trace
    at = min(d.now[TRACED], d.fixed[MAX_TRACE])
    d.now[TRACED] += 1
    trace[at, TRACE_CLOCK] = t
    trace[at, TRACE_COMMAND] = command
    trace[at, TRACE_BANK] = bank
    trace[at, TRACE_ROW] = d.entries[e, ROW] if e >= 0 else NONE
    trace[at, TRACE_REQUEST] = d.entries[e, REQUEST] if e >= 0 else NONE


@njit_inline
def issue(d, g, t):
    """Issue the planned command at clock ``t``."""
    c = d.controllers
    command, bank, e = c[g, PLAN_COMMAND], c[g, PLAN_BANK], c[g, PLAN_ENTRY]
    first, end = bank, bank + 1  # the banks whose needs change
    apply_rules(d, command, bank, t)
    c[g, COUNTS + command] += 1
    if d.fixed[HAS_TRACE] != 0:
        record(d, command, bank, e, t)
    if command >= RD and command <= WRA:
        transfer(d, g, c[g, DRAINING], bank, e, t)
    elif command == ACT:
        open_bank(d, bank, e)
    elif command == PRE and e >= 0:
        d.entries[e, OUTCOME] = CONFLICT
    rank = rank_of(d, bank)
    if command in (PREA, REFAB):
        first = d.ranks[rank, FIRST_BANK]
        end = first + d.fixed[BANKS_PER_RANK]
    if command >= REFAB:
        next_refresh(d, rank, bank, command)
    is_closing = command in (PRE, PREA, RDA, WRA)
    for b in range(first, end):
        if is_closing:
            close_bank(d, b)
        update_needs(d, g, b)


@njit_inline
def open_bank(d, bank, e):
    """Open the row of entry ``e`` and find which bursts of each kind hit it."""
    banks, entries = d.banks, d.entries
    row = entries[e, ROW]
    d.ranks[rank_of(d, bank), OPEN_BANKS] += 1
    banks[bank, OPEN_ROW] = row
    entries[e, OUTCOME] = max(entries[e, OUTCOME], MISS)
    for kind in range(2):
        hit = banks[bank, HEAD + kind] if banks[bank, QUEUED + kind] > 0 else NONE
        while hit >= 0 and entries[hit, ROW] != row:
            hit = entries[hit, NEXT]
        banks[bank, OLDEST_HIT + kind] = hit


@njit_inline
def next_refresh(d, rank, bank, command):
    """Note that a refresh was issued and when the next one is due."""
    d.ranks[rank, DUE] += d.fixed[REFRESH_INTERVAL]
    if command == REFPB:
        first = d.ranks[rank, FIRST_BANK]
        is_last = bank + 1 == first + d.fixed[BANKS_PER_RANK]
        d.ranks[rank, NEXT_BANK] = first if is_last else bank + 1


@njit_inline
def step_controller(d, g, t):
    """Do all that controller ``g`` does at clock ``t``, at which its plan is due."""
    c = d.controllers
    while d.plan_time[g] == t:
        command = c[g, PLAN_COMMAND]
        if command >= 0 and earliest(d, command, c[g, PLAN_BANK]) <= t:
            issue(d, g, t)
        make_plan(d, g, t)
