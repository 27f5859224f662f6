"""Serve bursts in order of arrival: place their commands at once, so that the answer is known.

State layout: :mod:`arrival_state`. A burst's precharge, activate and column command are placed when
it arrives, each at the earliest clock that all rules and the command bus allow. On each data bus
column commands keep the order of arrival, on each rank activates and, apart, precharges do;
nothing else is ordered, so that a later burst's row opens while earlier data still move: its row
commands take clocks of the command bus that earlier bursts' column commands left free.

Writes wait in a queue of each data bus and are answered when that has taken them; so many at once
are served when it fills, or all of them when the oldest has waited long (``Controller``'s numbers).
Reads are served at once, in front of waiting writes.

The rules are the tables of :mod:`rules`. Rules between commands whose order is kept are applied as
the other scheduler does, forward in time. The command bus, whose order is not kept, is a set of
clocks that are taken. Refreshes are due at the same times as there; a burst whose commands would
reach beyond one comes after it, and no command of an earlier burst is later than that.
"""

from __future__ import annotations

import numpy as np

from hwsim.components.dram.arrival_state import (
    BACK_CLOCKS,
    BITS,
    BUS,
    ENTRIES_FIRST,
    HELD,
    LAST_DATA,
    LENGTH,
    NEXT_DUE,
    OLDEST,
    SERVED,
    WORD,
    WRITE_BANK,
    WRITE_CLOCK,
    WRITE_REQUEST,
    WRITE_ROW,
)
from hwsim.components.dram.layout import (
    ACT,
    BANKS_PER_RANK,
    BL,
    BURST_SHIFT,
    BURSTS,
    CL,
    CLOCK_DEN,
    CLOCK_NUM,
    CONFLICT,
    CONTROLLER_SHIFT,
    COUNTS,
    CWL,
    DUE,
    FIRST_BANK,
    HAS_TRACE,
    HIGH,
    HIT,
    IS_CLOSED,
    IS_PER_BANK,
    LONG_AGO,
    LOW,
    MISS,
    NEVER,
    NEXT_BANK,
    NONE,
    NOW,
    OUTCOMES,
    PATH_CYCLES,
    PENDING_BANK,
    PENDING_ROW,
    PRE,
    PREA,
    PSEUDO_CHANNELS,
    RANK_SHIFT,
    RD,
    READ,
    READ_ENTRIES,
    REFAB,
    REFPB,
    REFRESH_INTERVAL,
    TURNAROUNDS,
    WRITE,
    WRITE_AGE,
)
from hwsim.components.dram.memory_kernels import decode
from hwsim.components.dram.timing_kernels import apply_rules, earliest, record_command
from hwsim.components.dram.transfer_kernels import convert
from hwsim.components.jit import njit_apart, njit_entry, njit_inline

__all__ = [
    "arrival_access",
    "arrival_finish",
    "finish_arrivals",
    "play_arrivals",
]

PLAY_CLOCK, PLAY_ADDRESS, PLAY_BYTES, PLAY_KIND, PLAY_DONE = range(5)
"""Columns of the requests that :func:`play_arrivals` gets and of what it returns about each."""


@njit_inline
def free_slot(a, command, channel, t):
    """Return the first clock from ``t`` on at which the command bus is free for ``command``."""
    slots, last = a.slots, a.slots.shape[1] - 1
    bus = 2 * channel + a.bus_use[command, BUS]
    clock, end = t, t + a.bus_use[command, LENGTH]
    while clock < end:
        word = clock >> 6
        at = word & last
        if slots[bus, at, WORD] == word and slots[bus, at, BITS] >> (clock & 63) & 1:
            end += clock + 1 - t
            t = clock + 1
        clock += 1
    return t


@njit_inline
def take_slot(a, command, channel, t):
    """Note that ``command`` is on the command bus from ``t`` on."""
    slots, last = a.slots, a.slots.shape[1] - 1
    bus = 2 * channel + a.bus_use[command, BUS]
    for clock in range(t, t + a.bus_use[command, LENGTH]):
        word = clock >> 6
        at = word & last
        if slots[bus, at, WORD] != word:
            slots[bus, at, WORD] = word
            slots[bus, at, BITS] = 0
        slots[bus, at, BITS] |= np.int64(1) << (clock & 63)


@njit_inline
def issue(a, command, bank, row, request, t):
    """Issue ``command`` at clock ``t``."""
    g = bank >> a.fixed[CONTROLLER_SHIFT]
    take_slot(a, command, g // a.fixed[PSEUDO_CHANNELS], t)
    apply_rules(a, command, bank, t)
    a.controllers[g, COUNTS + command] += 1
    if a.fixed[HAS_TRACE] != 0:
        record_command(a, command, bank, row, request, t)


@njit_apart
def place(a, command, bank, t):
    """Issue a command of a refresh at ``t`` or the first clock after it that all allow."""
    channel = (bank >> a.fixed[CONTROLLER_SHIFT]) // a.fixed[PSEUDO_CHANNELS]
    issue(
        a,
        command,
        bank,
        NONE,
        NONE,
        free_slot(a, command, channel, max(t, earliest(a, command, bank))),
    )


@njit_apart
def refresh_rank(a, rank):
    """Refresh a rank, or its next bank, as soon as possible after that is due."""
    due, first = a.ranks[rank, DUE], a.ranks[rank, FIRST_BANK]
    if a.fixed[IS_PER_BANK] != 0:
        bank = a.ranks[rank, NEXT_BANK]
        if a.rows[bank] >= 0:
            place(a, PRE, bank, due)
            a.rows[bank] = NONE
        place(a, REFPB, bank, due)
        is_last = bank + 1 == first + a.fixed[BANKS_PER_RANK]
        a.ranks[rank, NEXT_BANK] = first if is_last else bank + 1
    else:
        is_open = False
        for bank in range(first, first + a.fixed[BANKS_PER_RANK]):
            is_open |= a.rows[bank] >= 0
            a.rows[bank] = NONE
        if is_open:
            place(a, PREA, first, due)
        place(a, REFAB, first, due)
    a.ranks[rank, DUE] = due + a.fixed[REFRESH_INTERVAL]


@njit_apart
def refresh_channel(a, rank, until):
    """Refresh all ranks on the channel of ``rank`` that are due at or before ``until``."""
    per_channel = a.ranks.shape[0] // a.front.shape[0]
    first = rank // per_channel * per_channel
    for other in range(first, first + per_channel):
        while a.ranks[other, DUE] <= until:
            refresh_rank(a, other)


@njit_apart
def refresh_all(a, until):
    """Refresh all ranks that are due at or before ``until``, in order of time.

    Of a long time without accesses only the last refreshes can still matter: others are counted.
    """
    ranks, interval = a.ranks, a.fixed[REFRESH_INTERVAL]
    while a.now[NEXT_DUE] <= until:
        due = NEVER
        for rank in range(ranks.shape[0]):
            if ranks[rank, DUE] <= a.now[NEXT_DUE]:
                refresh_rank(a, rank)
            due = min(due, ranks[rank, DUE])
        skipped = (until - due) // interval - 2
        if a.fixed[IS_PER_BANK] != 0:
            skipped -= skipped % a.fixed[BANKS_PER_RANK]
        if skipped > 0 and a.fixed[HAS_TRACE] == 0:
            due += skipped * interval
            command = REFPB if a.fixed[IS_PER_BANK] != 0 else REFAB
            for rank in range(ranks.shape[0]):
                ranks[rank, DUE] += skipped * interval
                g = ranks[rank, FIRST_BANK] >> a.fixed[CONTROLLER_SHIFT]
                a.controllers[g, COUNTS + command] += skipped
        a.now[NEXT_DUE] = due


@njit_inline
def plan(a, bank, row, column, t):
    """Return the clocks of precharge, activate (-1: not needed) and column command."""
    channel = (bank >> a.fixed[CONTROLLER_SHIFT]) // a.fixed[PSEUDO_CHANNELS]
    precharge = activate = NONE
    if a.rows[bank] != row:
        start = t
        if a.rows[bank] >= 0:
            precharge = free_slot(a, PRE, channel, max(t, earliest(a, PRE, bank)))
            start = precharge + a.after[PRE, ACT]
        activate = free_slot(a, ACT, channel, max(start, earliest(a, ACT, bank)))
        t = activate + a.after[ACT, column]
    return precharge, activate, free_slot(a, column, channel, max(t, earliest(a, column, bank)))


@njit_inline
def must_refresh_first(a, rank, bank, activate, clock):
    """Return whether a burst with commands up to ``clock`` comes after the rank's next refresh."""
    due = a.ranks[rank, DUE]
    if a.fixed[IS_PER_BANK] != 0 and bank != a.ranks[rank, NEXT_BANK]:
        clock = activate  # rows of other banks stay open
    return clock >= due


@njit_apart
def serve(a, kind, bank, row, request, clock):
    """Serve a burst from ``clock`` on; return the clock at which its data have moved."""
    fixed, is_closed = a.fixed, a.fixed[IS_CLOSED]
    g, rank = bank >> fixed[CONTROLLER_SHIFT], bank >> fixed[RANK_SHIFT]
    column = RD + 2 * is_closed + kind
    while True:
        precharge, activate, moves = plan(a, bank, row, column, clock)
        if not must_refresh_first(a, rank, bank, activate, moves):
            break
        refresh_channel(a, rank, a.ranks[rank, DUE])
    outcome = HIT
    if precharge >= 0:
        issue(a, PRE, bank, row, request, precharge)
    if activate >= 0:
        outcome = CONFLICT if precharge >= 0 else MISS
        issue(a, ACT, bank, row, request, activate)
    issue(a, column, bank, row, request, moves)
    a.rows[bank] = NONE if is_closed != 0 else row
    a.controllers[g, OUTCOMES + 3 * kind + outcome] += 1
    if a.buffers[g, SERVED] != kind:
        a.controllers[g, TURNAROUNDS] += 1 if a.buffers[g, SERVED] >= 0 else 0
        a.buffers[g, SERVED] = kind
    leave(a, g, kind, moves)
    end = moves + (fixed[CL] if kind == READ else fixed[CWL]) + fixed[BL]
    a.now[LAST_DATA] = max(a.now[LAST_DATA], end)
    return end


@njit_inline
def leave(a, g, kind, clock):
    """Note that the oldest burst of ``kind`` leaves its queue at ``clock``."""
    queue, position = 2 * g + kind, a.queue[2 * g + kind, 0]
    a.queue[queue, position] = clock
    a.queue[queue, 0] = position + 1 if position < a.fixed[READ_ENTRIES + kind] else ENTRIES_FIRST


@njit_apart
def drain(a, g, remaining, clock):
    """Serve the oldest writes of ``g`` from ``clock`` on until so many remain."""
    first = a.buffers[g, OLDEST]
    while a.buffers[g, HELD] > remaining:
        entry = a.writes[g, first]
        first = first + 1 if first + 1 < a.writes.shape[1] else 0
        a.buffers[g, OLDEST] = first
        a.buffers[g, HELD] -= 1
        serve(a, WRITE, entry[WRITE_BANK], entry[WRITE_ROW], entry[WRITE_REQUEST], clock)


@njit_inline
def drain_old(a, g, clock):
    """Serve all writes of ``g`` if the oldest has waited too long at ``clock``."""
    if a.buffers[g, HELD] > 0:
        due = a.writes[g, a.buffers[g, OLDEST], WRITE_CLOCK] + a.fixed[WRITE_AGE]
        if clock >= due:
            drain(a, g, 0, max(due, a.now[NOW] - BACK_CLOCKS))


@njit_inline
def enter(a, g, kind, clock):
    """Return the clock at which a burst that arrives at ``clock`` enters its queue of ``g``.

    That holds so many bursts; one that finds it full holds up those behind it on its channel.
    """
    a.now[NOW] = max(a.now[NOW], clock)
    drain_old(a, g, clock)
    if a.now[NEXT_DUE] <= a.now[NOW]:
        refresh_all(a, a.now[NOW])
    channel = g // a.fixed[PSEUDO_CHANNELS]
    left = a.queue[2 * g + kind, a.queue[2 * g + kind, 0]] + 1
    a.front[channel] = max(a.front[channel], left)
    return max(max(clock, a.now[NOW] - BACK_CLOCKS), a.front[channel])


@njit_inline
def hold(a, g, bank, row, request, clock):
    """Put a write behind the others of ``g``; serve the oldest if there are too many."""
    at = a.buffers[g, OLDEST] + a.buffers[g, HELD]
    at -= a.writes.shape[1] if at >= a.writes.shape[1] else 0
    a.writes[g, at, WRITE_BANK] = bank
    a.writes[g, at, WRITE_ROW] = row
    a.writes[g, at, WRITE_REQUEST] = request
    a.writes[g, at, WRITE_CLOCK] = clock
    a.buffers[g, HELD] += 1
    if a.buffers[g, HELD] >= a.fixed[HIGH]:
        drain(a, g, a.fixed[LOW], clock)


@njit_apart
def arrival_burst(a, burst, kind, request, clock):
    """Take one burst that arrives at ``clock``; return the clock of the answer.

    That of a read is the clock at which its data have moved, that of a write the one at which a
    queue has taken it.
    """
    decode(a, kind, burst)
    bank, row = a.now[PENDING_BANK + kind], a.now[PENDING_ROW + kind]
    g = bank >> a.fixed[CONTROLLER_SHIFT]
    clock = enter(a, g, kind, clock)
    if kind == READ:
        return serve(a, READ, bank, row, request, clock)
    hold(a, g, bank, row, request, clock)
    return clock


@njit_apart
def arrival_finish(a, cycle):
    """Serve at ``cycle`` all writes that still wait; return the cycle at which all have moved."""
    clock = convert(cycle, a.fixed[CLOCK_NUM], a.fixed[CLOCK_DEN])
    for g in range(a.buffers.shape[0]):
        drain_old(a, g, clock)
        drain(a, g, 0, clock)
    return convert(a.now[LAST_DATA], a.fixed[CLOCK_DEN], a.fixed[CLOCK_NUM])


@njit_inline
def arrival_access(a, address, size_bytes, kind, cycle):
    """Take an access of cycle ``cycle``; return the cycle of its answer.

    Whole bursts move. ``kind`` is READ, answered when all its data have moved, or WRITE, answered
    when a queue has taken it. Calls come in order of service: an access of an earlier cycle than
    the one before it is served after it on the same data bus, in its own time elsewhere.
    """
    fixed = a.fixed
    clock = convert(cycle, fixed[CLOCK_NUM], fixed[CLOCK_DEN])
    last = address + size_bytes - 1 >> fixed[BURST_SHIFT]
    done = LONG_AGO
    for burst in range(address >> fixed[BURST_SHIFT], last + 1):
        done = max(done, arrival_burst(a, burst & fixed[BURSTS] - 1, kind, NONE, clock))
    return convert(done, fixed[CLOCK_DEN], fixed[CLOCK_NUM]) + fixed[PATH_CYCLES]


@njit_entry
def play_arrivals(a, requests):
    """Serve ``requests`` in their order and write into each the cycle in which it was done.

    ``requests`` : int64[n, 5] cycle, address, bytes, kind and the result.
    """
    for i in range(requests.shape[0]):
        address, size = requests[i, PLAY_ADDRESS], requests[i, PLAY_BYTES]
        kind, cycle = requests[i, PLAY_KIND], requests[i, PLAY_CLOCK]
        requests[i, PLAY_DONE] = arrival_access(a, address, size, kind, cycle)


@njit_entry
def finish_arrivals(a, cycle):
    """Do what :func:`arrival_finish` does, for Python."""
    return arrival_finish(a, cycle)
