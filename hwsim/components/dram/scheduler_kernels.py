"""Choose and issue DRAM commands: FR-FCFS or FCFS, refresh, write drain.

State layout: :mod:`layout`. Each controller holds a plan, the command that it will issue next and
when if nothing arrives before; so clocks in which nothing happens cost nothing, and a plan is
found once per command instead of once per clock. The plan is the least of all candidates by

1. time, the first clock at which the rules allow the command (not before the present);
2. bursts whose rows were opened for them (with ``ACTIVATED_FIRST``) before refresh (and the
   precharges it needs) before column before row commands;
3. age of the burst that needs the command.

Candidates are the slots of the controller (:mod:`queue_kernels`). FCFS keeps only the candidate of
the oldest burst of all.
"""

from __future__ import annotations

import numpy as np

from hwsim.components.dram.layout import (
    ACT,
    BANK_RANK,
    BANK_WIDTH,
    BANKS_PER_RANK,
    CONFLICT,
    CONTROLLER_RANK,
    COUNT,
    COUNTS,
    DRAIN_LEFT,
    DRAINING,
    DUE,
    FIRST_BANK,
    FIRST_OPENER,
    FIRST_SLOT,
    GROUP_WORD,
    HAS_TRACE,
    HIGH,
    IS_CLOSED,
    IS_FCFS,
    IS_PER_BANK,
    KEY,
    KIND,
    LOW,
    NEED,
    NEVER,
    NEXT_BANK,
    NONE,
    OPEN_BANKS,
    OPEN_ROW,
    OPENER,
    OPENERS,
    ORDER,
    OUTCOME,
    OWN_READY,
    PLACE_BITS,
    PLAN_BANK,
    PLAN_COMMAND,
    PLAN_ENTRY,
    PLAN_KEY,
    PLAN_TIME,
    PRE,
    PREA,
    PSEUDO_CHANNELS,
    RANK_WIDTH,
    RANK_WORD,
    RANKS,
    RD,
    RDA,
    READ,
    REFAB,
    REFPB,
    REFRESH_INTERVAL,
    REQUEST,
    ROW,
    SLOT,
    SLOT_BANK,
    SLOT_ENTRY,
    SLOT_WIDTH,
    SLOTS,
    SOONEST_DUE,
    TURNAROUNDS,
    WAITING,
    WRITE,
    WRITE_AGE,
    WRITE_SINCE,
)
from hwsim.components.dram.queue_kernels import (
    close_bank,
    insert,
    is_last_hit,
    list_banks,
    open_bank,
    update_slot,
    write_slot,
)
from hwsim.components.dram.timing_kernels import apply_rules, earliest, record_command
from hwsim.components.dram.transfer_kernels import transfer
from hwsim.components.jit import as_index, njit_apart, njit_inline

__all__ = ["REFRESH_KEY", "enqueue", "step_controller"]

KEY_BITS = 40
"""Bits of a candidate's key: its class and 2^38 bursts in all. A candidate is compared by clocks
from now, below 2^16, then its key, then its slot's place: all in one number."""
REFRESH_KEY = np.int64(1 << 38)
KEY_MASK = np.int64((1 << KEY_BITS) - 1)
ORDER_BITS = np.int64((1 << 38) - 1)
PLACE_MASK = np.int64((1 << PLACE_BITS) - 1)


@njit_inline
def enqueue(s, c, kind, bank, row, request, t):
    """Append a burst to its bank's queue at clock ``t``, and let it change the plan."""
    is_changed = insert(s, c, kind, bank, row, request)
    is_closed = s[IS_CLOSED] != 0
    if is_closed:  # a last access of either kind to a row may be none now
        update_slot(s, c, bank)
    if kind != s[c + DRAINING]:
        if kind == WRITE and s[c + COUNT + WRITE] == 1:
            s[c + WRITE_SINCE] = t  # a clock to look again follows from it
        elif not is_closed and not must_switch(s, c, t):
            return
        drop_plan(s, c, t)
    elif is_closed or s[IS_FCFS] != 0 or s[c + PLAN_COMMAND] < 0:
        if is_changed:
            update_slot(s, c, bank)
        drop_plan(s, c, t)
    elif is_changed:
        update_slot(s, c, bank)
        revise_plan(s, c, bank, t)


@njit_inline
def drop_plan(s, c, t):
    """Find another plan when it is ``t``."""
    s[c + PLAN_TIME] = min(s[c + PLAN_TIME], t)
    s[c + PLAN_COMMAND] = NONE


@njit_inline
def revise_plan(s, c, bank, t):
    """Let another need of ``bank`` change the plan."""
    if s[c + PLAN_BANK] == bank:
        drop_plan(s, c, t)
        return
    slot = s[bank + SLOT]
    if slot < 0 or (s[c + SOONEST_DUE] <= t and is_refreshing(s, bank, t)):
        return
    slot = as_index(slot)
    key, need = s[slot + KEY] >> PLACE_BITS, s[slot + NEED]
    time = max(earliest(s, need, bank), t)
    if time < s[c + PLAN_TIME] or (time == s[c + PLAN_TIME] and key < s[c + PLAN_KEY]):
        s[c + PLAN_TIME] = time
        s[c + PLAN_KEY] = key
        s[c + PLAN_COMMAND] = need
        s[c + PLAN_BANK] = bank
        s[c + PLAN_ENTRY] = s[slot + SLOT_ENTRY]


@njit_inline
def must_switch(s, c, t):
    """Return whether the watermarks ask for the other kind."""
    reads, writes = s[c + COUNT + READ], s[c + COUNT + WRITE]
    if s[c + DRAINING] == READ:
        is_high = writes >= s[HIGH] or reads == 0
        return writes > 0 and (is_high or t - s[c + WRITE_SINCE] >= s[WRITE_AGE])
    return writes == 0 or (s[c + DRAIN_LEFT] <= 0 and reads > 0)


@njit_inline
def choose_kind(s, c, t):
    """Switch between reads and writes by the watermarks; return the clock to look again."""
    if must_switch(s, c, t):
        s[c + TURNAROUNDS] += 1
        if s[c + DRAINING] == WRITE:
            s[c + DRAINING] = READ
            s[c + WRITE_SINCE] = min(s[c + WRITE_SINCE], t)
        else:
            writes = s[c + COUNT + WRITE]
            is_old = t - s[c + WRITE_SINCE] >= s[WRITE_AGE]
            s[c + DRAINING] = WRITE
            s[c + DRAIN_LEFT] = writes if is_old else writes - s[LOW]
            if is_old or writes >= s[HIGH]:  # writes wait anew from its end on
                s[c + WRITE_SINCE] = NEVER
        list_banks(s, c)
    if s[c + DRAINING] == READ and s[c + COUNT + WRITE] > 0:
        return s[c + WRITE_SINCE] + s[WRITE_AGE]
    return NEVER


@njit_apart
def refresh_candidate(s, c, t):
    """Return what a due refresh needs next (time, command, bank) and when another is due."""
    best, command, bank, wake = NEVER, NONE, NONE, NEVER
    rank = as_index(s[c + CONTROLLER_RANK])
    for _ in range(s[RANKS]):
        target = as_index(s[rank + NEXT_BANK])
        if s[rank + DUE] > t:
            wake = min(wake, s[rank + DUE])
        elif not is_waiting(s, rank, target):
            if s[IS_PER_BANK] != 0:
                need = PRE if s[target + OPEN_ROW] >= 0 else REFPB
            else:
                need = PREA if s[rank + OPEN_BANKS] > 0 else REFAB
            time = max(earliest(s, need, target), t)
            if time < best:
                best, command, bank = time, need, target
        rank = as_index(rank + RANK_WIDTH)
    return best, command, bank, wake


@njit_inline
def is_waiting(s, rank, target):
    """Return whether bursts whose rows were opened for them hold up a refresh of ``rank``."""
    if s[IS_PER_BANK] != 0:
        return s[target + OPENER] >= 0
    return s[rank + WAITING] > 0


@njit_inline
def is_refreshing(s, bank, t):
    """Return whether a due refresh keeps other commands from ``bank``."""
    rank = as_index(s[bank + BANK_RANK])
    if s[rank + DUE] > t:
        return False
    return s[IS_PER_BANK] == 0 or s[rank + NEXT_BANK] == bank


@njit_inline
def least_opener(s, c, t, best):
    """Return the least of ``best`` and the bursts whose rows are open; and bank and command."""
    chosen, command = NONE, NONE
    for k in range(s[c + OPENERS]):
        bank = as_index(s[as_index(s[c + FIRST_OPENER] + k)])
        e = as_index(s[bank + OPENER])
        kind = as_index(s[as_index(s[e + REQUEST]) + KIND])
        need = RD + kind
        if s[IS_CLOSED] != 0 and is_last_hit(s, bank, kind, e):
            need += RDA - RD
        value = packed(max(earliest(s, need, bank) - t, 0), s[e + ORDER])
        if value < best:
            best, chosen, command = value, bank, need
    return best, chosen, command


@njit_inline
def packed(clocks, key):
    """Return a candidate as one number."""
    return (clocks << KEY_BITS | key) << PLACE_BITS


@njit_inline
def candidate(s, slot, t):
    """Return what ``slot`` needs as one number; NEVER if it is free."""
    # As unsigned numbers positions need no test of their sign.
    group, rank = np.uint64(s[slot + GROUP_WORD]), np.uint64(s[slot + RANK_WORD])
    outer = max(s[group], s[rank])
    clocks = max(max(outer, s[slot + OWN_READY]), t) - t
    return clocks << (KEY_BITS + PLACE_BITS) | s[slot + KEY]


@njit_inline
def scan_slots(s, c, t, best):
    """Return the least of ``best`` and what slots need, with the place of its slot.

    Two at once: neither waits for the other, and half as often the loop may end. The slot behind
    the last one is free.
    """
    slot, other = as_index(s[c + FIRST_SLOT]), NEVER
    end = as_index(slot + s[c + SLOTS] * SLOT_WIDTH)
    while slot < end:
        best = min(best, candidate(s, slot, t))
        other = min(other, candidate(s, slot + SLOT_WIDTH, t))
        slot = as_index(slot + 2 * SLOT_WIDTH)
    return min(best, other)


@njit_apart
def scan_checked(s, c, t, best):
    """Return the same if not all banks may have a command: a refresh is due, or with FCFS."""
    first, oldest = as_index(s[c + FIRST_SLOT]), NEVER
    slots = range(first, first + s[c + SLOTS] * SLOT_WIDTH, SLOT_WIDTH)
    if s[IS_FCFS] != 0:
        for slot in slots:
            oldest = min(oldest, s[slot + KEY] >> PLACE_BITS & ORDER_BITS)
    for slot in slots:
        bank, key = s[slot + SLOT_BANK], s[slot + KEY]
        order = key >> PLACE_BITS & ORDER_BITS
        if is_refreshing(s, bank, t) or (oldest != NEVER and order != oldest):
            continue
        clocks = max(earliest(s, s[slot + NEED], bank), t) - t
        best = min(best, clocks << (KEY_BITS + PLACE_BITS) | key)
    return best


@njit_inline
def make_plan(s, c, t):
    """Find what controller ``c`` does next, at clock ``t`` or later, if nothing arrives."""
    wake, due = choose_kind(s, c, t), s[c + SOONEST_DUE]
    best, command, bank, entry = NEVER, NONE, NONE, NONE
    if due <= t:
        time, command, bank, due = refresh_candidate(s, c, t)
        if command >= 0:
            best = packed(time - t, REFRESH_KEY)
    wake = min(wake, due)
    if s[c + OPENERS] > 0:
        best, opened, need = least_opener(s, c, t, best)
        if opened >= 0:
            command, bank, entry = need, opened, s[as_index(opened) + OPENER]
    unlisted = best
    if s[c + SOONEST_DUE] <= t or s[IS_FCFS] != 0:
        best = scan_checked(s, c, t, best)
    else:
        best = scan_slots(s, c, t, best)
    if best < unlisted:
        slot = as_index(s[c + FIRST_SLOT] + (best & PLACE_MASK) * SLOT_WIDTH)
        command, bank, entry = s[slot + NEED], s[slot + SLOT_BANK], s[slot + SLOT_ENTRY]
    key = best >> PLACE_BITS
    time = t + (key >> KEY_BITS) if best != NEVER else NEVER
    s[c + PLAN_TIME] = min(time, wake)
    s[c + PLAN_KEY] = key & KEY_MASK if best != NEVER else NEVER
    s[c + PLAN_COMMAND] = command if time < wake else NONE  # look again: something may come first
    s[c + PLAN_BANK] = bank
    s[c + PLAN_ENTRY] = entry


@njit_inline
def issue(s, c, t):
    """Issue the planned command at clock ``t``."""
    command, bank, e = as_index(s[c + PLAN_COMMAND]), as_index(s[c + PLAN_BANK]), s[c + PLAN_ENTRY]
    apply_rules(s, command, bank, t)
    s[c + COUNTS + command] += 1
    if s[HAS_TRACE] != 0:
        row = s[as_index(e) + ROW] if e >= 0 else NONE
        request = s[as_index(e) + REQUEST] if e >= 0 else NONE
        record_command(s, command, bank, row, request, t)
    if command >= PREA:
        refresh(s, c, command, bank)
        return
    e = as_index(e)
    if command >= RD:
        transfer(s, c, command & 1, bank, e, t)
    elif command == ACT:
        open_bank(s, c, bank, e)
    elif s[c + PLAN_ENTRY] >= 0:  # not for a refresh
        s[e + OUTCOME] = CONFLICT
    if command >= RDA or command == PRE:
        close_bank(s, bank)
    write_slot(s, c, bank)


@njit_apart
def refresh(s, c, command, bank):
    """Note that ``command`` of a refresh was issued, and when the next refresh is due."""
    rank, end = as_index(s[bank + BANK_RANK]), bank + BANK_WIDTH
    first = as_index(s[rank + FIRST_BANK])
    last = as_index(first + (s[BANKS_PER_RANK] - 1) * BANK_WIDTH)
    if command != REFPB:
        bank, end = first, last + BANK_WIDTH
    for each in range(bank, end, BANK_WIDTH):
        close_bank(s, as_index(each))
        update_slot(s, c, each)
    if command == PREA:
        return
    s[rank + DUE] += s[REFRESH_INTERVAL]
    if command == REFPB:
        s[rank + NEXT_BANK] = first if bank == last else bank + BANK_WIDTH
    set_soonest_due(s, c)


@njit_apart
def set_soonest_due(s, c):
    """Note when the first refresh of the ranks of ``c`` is due."""
    rank = as_index(s[c + CONTROLLER_RANK])
    s[c + SOONEST_DUE] = s[rank + DUE]
    for _ in range(s[RANKS] - 1):
        rank = as_index(rank + RANK_WIDTH)
        s[c + SOONEST_DUE] = min(s[c + SOONEST_DUE], s[rank + DUE])


@njit_inline
def step_controller(s, c, t):
    """Do all that controller ``c`` does at clock ``t``, at which its plan is due."""
    while s[c + PLAN_TIME] == t:
        command = s[c + PLAN_COMMAND]
        # The other data buses of the channel may have taken the command bus since.
        if command >= 0 and (
            s[PSEUDO_CHANNELS] == 1 or earliest(s, command, s[c + PLAN_BANK]) <= t
        ):
            issue(s, c, t)
        make_plan(s, c, t)
