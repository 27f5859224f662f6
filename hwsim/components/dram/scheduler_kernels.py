"""Choose and issue DRAM commands: FR-FCFS or FCFS, refresh, write drain.

State layout: :mod:`layout`. Each controller holds a plan, the command that it will issue next and
when if nothing arrives before; so clocks in which nothing happens cost nothing, and a plan is
found once per command instead of once per clock. The plan is the least of all candidates by

1. time, the first clock at which the rules allow the command (not before the present);
2. refresh (and the precharges it needs) before column before row commands;
3. age of the burst that needs the command.

Candidates are the banks with queued bursts of the kind being served, listed by the command they
need (:mod:`queue_kernels`). The rules of channel, bus and rank hold for a whole list at once: one
that they hold up beyond the best so far is not looked at. FCFS keeps only the candidate of the
oldest burst of all.
"""

from __future__ import annotations

import numpy as np

from hwsim.components.dram.layout import (
    ACT,
    BANK,
    BANK_READY,
    BANKS_PER_RANK,
    CONFLICT,
    CONTROLLER_SHIFT,
    COUNT,
    COUNTS,
    DRAIN_LEFT,
    DRAINING,
    DUE,
    FIRST_BANK,
    GROUP_NODE,
    HAS_REFRESH,
    HAS_TRACE,
    HEAD,
    HIGH,
    IS_CLOSED,
    IS_FCFS,
    IS_PER_BANK,
    KEY,
    LIST,
    LISTS,
    LOW,
    NEVER,
    NEXT_BANK,
    NONE,
    OLDEST_HIT,
    OPEN_BANKS,
    OPEN_ROW,
    OUTCOME,
    PLAN_BANK,
    PLAN_COMMAND,
    PLAN_ENTRY,
    PLAN_KEY,
    POSITION,
    PRE,
    PREA,
    PSEUDO_CHANNELS,
    RANK_SHIFT,
    RANKS,
    RD,
    RDA,
    READ,
    REFAB,
    REFPB,
    REFRESH_INTERVAL,
    REQUEST,
    ROW,
    TURNAROUNDS,
    WRA,
    WRITE,
    WRITE_AGE,
    WRITE_SINCE,
)
from hwsim.components.dram.queue_kernels import (
    ROW_COMMAND,
    close_bank,
    command_of,
    insert,
    open_bank,
    update_needs,
)
from hwsim.components.dram.timing_kernels import (
    apply_rules,
    earliest,
    earliest_outside,
    record_command,
)
from hwsim.components.dram.transfer_kernels import transfer
from hwsim.components.jit import as_index, njit_inline

__all__ = ["enqueue", "make_plan", "step_controller"]

KEY_BITS = 43
"""Bits of a candidate's key: 2^42 bursts in all. Above them are clocks from now, below 2^20."""
REFRESH_KEY = np.int64(-1)


@njit_inline
def enqueue(d, g, kind, bank, row, request, t):
    """Append a burst to its bank's queue at clock ``t``, and let it change the plan."""
    c, g, kind = d.controllers, as_index(g), as_index(kind)
    is_changed = insert(d, g, kind, bank, row, request)
    is_served = kind == c[g, DRAINING]
    if kind == WRITE and c[g, COUNT + WRITE] == 1:
        c[g, WRITE_SINCE] = t
        is_served = False  # a clock to look again follows from it
    is_closed = d.fixed[IS_CLOSED] != 0
    if is_changed:  # a last access of the other kind to a row may be none now
        update_needs(d, g, bank, READ if is_closed else kind, WRITE + 1 if is_closed else kind + 1)
    if not is_served or d.fixed[IS_FCFS] != 0 or c[g, PLAN_COMMAND] < 0 or is_closed:
        d.plan_time[g] = min(d.plan_time[g], t)  # find a plan when it is t
        c[g, PLAN_COMMAND] = NONE
    elif is_changed:
        revise_plan(d, g, kind, bank, t)


@njit_inline
def revise_plan(d, g, kind, bank, t):
    """Let another need of ``bank`` change the plan."""
    c, plan_time, g, bank = d.controllers, d.plan_time, as_index(g), as_index(bank)
    if c[g, PLAN_BANK] == bank:
        plan_time[g] = min(plan_time[g], t)
        c[g, PLAN_COMMAND] = NONE
        return
    if d.fixed[HAS_REFRESH] != 0 and is_refreshing(d, bank, t):
        return
    at, k = as_index(d.banks[bank, LIST + kind]), as_index(d.banks[bank, POSITION + kind])
    key, need = d.candidates[at, k, KEY], command_of(at, kind)
    time = max(earliest(d, need, bank), t)
    if time < plan_time[g] or (time == plan_time[g] and key < c[g, PLAN_KEY]):
        plan_time[g] = time
        c[g, PLAN_KEY] = key
        c[g, PLAN_COMMAND] = need
        c[g, PLAN_BANK] = bank
        c[g, PLAN_ENTRY] = d.banks[bank, (HEAD if need <= PRE else OLDEST_HIT) + kind]


@njit_inline
def choose_kind(d, g, t):
    """Switch between reads and writes by the watermarks; return the clock to look again."""
    c, fixed, g = d.controllers, d.fixed, as_index(g)
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
    for rank in range(as_index(g * ranks), (g + 1) * ranks):
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
    rank = as_index(bank >> d.fixed[RANK_SHIFT])
    if d.ranks[rank, DUE] > t:
        return False
    return d.fixed[IS_PER_BANK] == 0 or d.ranks[rank, NEXT_BANK] == bank


@njit_inline
def oldest_key(d, g, kind):
    """Return the key of the burst that has waited longest in the controller's queue."""
    least, key = NEVER, NEVER
    for at in range(LISTS * (2 * g + kind), LISTS * (2 * g + kind + 1)):
        for k in range(d.listed[at]):
            order = d.candidates[at, k, KEY] & (ROW_COMMAND - 1)
            if order < least:
                least, key = order, d.candidates[at, k, KEY]
    return key


@njit_inline
def scan_lists(d, g, t, best, is_due):
    """Return the least of ``best`` and the candidates, and the list and position of that.

    Each is clocks from ``t`` and key in one number; the list is -1 if ``best`` is the least.
    """
    kind = as_index(d.controllers[g, DRAINING])
    only = oldest_key(d, g, kind) if d.fixed[IS_FCFS] != 0 else NONE
    is_checked = is_due or only >= 0 or d.fixed[RANKS] > 1
    chosen, place = NONE, NONE
    first, bank = LISTS * (2 * g + kind), g << d.fixed[CONTROLLER_SHIFT]
    for which in range(LISTS):  # columns first: they are often the earliest
        at = as_index(first + LISTS - 1 - which)
        count = d.listed[at]
        if count == 0:
            continue
        command = command_of(at, kind)
        if is_checked:
            least, k = scan_checked(d, at, command, only, is_due, t)
        else:
            shared = max(t, earliest_outside(d, command, bank))
            if (shared - t) << KEY_BITS | (ROW_COMMAND if command <= PRE else 0) > best:
                continue
            least, k = scan_list(d, at, count, command, shared, t)
        if least < best:
            best, chosen, place = least, at, k
    return best, chosen, place


@njit_inline
def scan_list(d, at, count, command, shared, t):
    """Return the least candidate of a list and its position; rules outside allow ``shared``."""
    candidates, ready, command = d.candidates[at], d.ready, as_index(command)
    best, place = NEVER, NONE
    for k in range(count):
        own, group = candidates[k, BANK_READY], ready[as_index(candidates[k, GROUP_NODE]), command]
        # Maxima by arithmetic: nobody could predict branches, which LLVM makes of maxima, known to
        # it by a shift by 63; clocks differ by less than 2^62.
        own -= (own - group) & ((own - group) >> 62)
        own -= (own - shared) & ((own - shared) >> 62)
        value = (own - t) << KEY_BITS | candidates[k, KEY]
        is_first = value < best
        best = value if is_first else best
        place = k if is_first else place
    return best, place


@njit_inline
def scan_checked(d, at, command, only, is_due, t):
    """Return the same for lists in which not all may issue or not all are of one rank."""
    candidates = d.candidates[at]
    best, place = NEVER, NONE
    for k in range(d.listed[at]):
        key, bank = candidates[k, KEY], candidates[k, BANK]
        if (is_due and is_refreshing(d, bank, t)) or (only >= 0 and key != only):
            continue
        value = (max(t, earliest(d, command, bank)) - t) << KEY_BITS | key
        if value < best:
            best, place = value, k
    return best, place


@njit_inline
def make_plan(d, g, t):
    """Find what controller ``g`` does next, at clock ``t`` or later, if nothing arrives."""
    c, g = d.controllers, as_index(g)
    wake = choose_kind(d, g, t)
    best, time, key, command, bank, entry = NEVER, NEVER, NEVER, NONE, NONE, NONE
    is_due = False
    if d.fixed[HAS_REFRESH] != 0:
        time, command, bank, due = refresh_candidate(d, g, t)
        wake = min(wake, due)
        is_due = command >= 0
        if is_due:
            key = REFRESH_KEY
            best = ((time - t) << KEY_BITS) + key
    best, chosen, place = scan_lists(d, g, t, best, is_due)
    if chosen >= 0:
        kind, chosen, place = as_index(c[g, DRAINING]), as_index(chosen), as_index(place)
        time, key = t + (best >> KEY_BITS), best & ((np.int64(1) << KEY_BITS) - 1)
        command, bank = command_of(chosen, kind), as_index(d.candidates[chosen, place, BANK])
        entry = d.banks[bank, (HEAD if command <= PRE else OLDEST_HIT) + kind]
    d.plan_time[g] = min(time, wake)
    c[g, PLAN_KEY] = key
    c[g, PLAN_COMMAND] = command if time < wake else NONE  # look again: something may come first
    c[g, PLAN_BANK] = bank
    c[g, PLAN_ENTRY] = entry


@njit_inline
def issue(d, g, t):
    """Issue the planned command at clock ``t``."""
    c, g = d.controllers, as_index(g)
    command, bank, e = as_index(c[g, PLAN_COMMAND]), as_index(c[g, PLAN_BANK]), c[g, PLAN_ENTRY]
    first, end = bank, bank + 1  # the banks whose needs change
    apply_rules(d, command, bank, t)
    c[g, COUNTS + command] += 1
    if d.fixed[HAS_TRACE] != 0:
        row = d.entries[e, ROW] if e >= 0 else NONE
        record_command(d, command, bank, row, d.entries[e, REQUEST] if e >= 0 else NONE, t)
    if command >= RD and command <= WRA:
        transfer(d, g, c[g, DRAINING], bank, e, t)
    elif command == ACT:
        open_bank(d, bank, e)
    elif command == PRE and e >= 0:
        d.entries[as_index(e), OUTCOME] = CONFLICT
    rank = as_index(bank >> d.fixed[RANK_SHIFT])
    if command in (PREA, REFAB):
        first = d.ranks[rank, FIRST_BANK]
        end = first + d.fixed[BANKS_PER_RANK]
    if command >= REFAB:
        next_refresh(d, rank, bank, command)
    is_closing = command in (PRE, PREA, RDA, WRA)
    for b in range(first, end):
        if is_closing:
            close_bank(d, b)
        update_needs(d, g, b, READ, WRITE + 1)


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
    c, is_alone, g = d.controllers, d.fixed[PSEUDO_CHANNELS] == 1, as_index(g)
    while d.plan_time[g] == t:
        command = c[g, PLAN_COMMAND]
        # The other data buses of the channel may have taken the command bus since.
        if command >= 0 and (is_alone or earliest_outside(d, command, c[g, PLAN_BANK]) <= t):
            issue(d, g, t)
        make_plan(d, g, t)
