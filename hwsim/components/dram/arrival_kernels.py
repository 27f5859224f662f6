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
    AFTER_WIDTH,
    AT_AFTER,
    AT_BUS_USE,
    BACK_CLOCKS,
    BITS,
    BUS,
    BUS_WORDS,
    CHANNEL,
    FIRST_BUS,
    FIRST_WRITE,
    FRONT,
    HELD,
    LAST_DATA,
    LEFT_RING,
    LENGTH,
    NEXT_DUE,
    OLDEST,
    SERVED,
    WORD,
    WRITE_BANK,
    WRITE_CLOCK,
    WRITE_REQUEST,
    WRITE_ROW,
    WRITE_WIDTH,
)
from hwsim.components.dram.layout import (
    ACT,
    AT_CONTROLLERS,
    AT_RANKS,
    BANK_CONTROLLER,
    BANK_RANK,
    BANK_WIDTH,
    BANKS_PER_RANK,
    BL,
    BURST_SHIFT,
    BURSTS,
    BUS_MATES,
    CHANNEL_RANK,
    CL,
    CLOCK_DEN,
    CLOCK_NUM,
    CONFLICT,
    CONTROLLER_WIDTH,
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
    OPEN_ROW,
    OUTCOMES,
    PATH_CYCLES,
    PENDING_BANK,
    PENDING_ROW,
    PRE,
    PREA,
    RANK_CONTROLLER,
    RANK_WIDTH,
    RD,
    READ,
    READ_ENTRIES,
    REFAB,
    REFPB,
    REFRESH_INTERVAL,
    TURNAROUNDS,
    WRITE,
    WRITE_AGE,
    WRITE_ENTRIES,
)
from hwsim.components.dram.memory_kernels import decode
from hwsim.components.dram.timing_kernels import apply_rules, earliest, record_command
from hwsim.components.dram.transfer_kernels import convert
from hwsim.components.jit import as_index, njit_apart, njit_entry, njit_inline

__all__ = [
    "arrival_access",
    "arrival_finish",
    "finish_arrivals",
    "play_arrivals",
]

PLAY_CLOCK, PLAY_ADDRESS, PLAY_BYTES, PLAY_KIND, PLAY_DONE = range(5)
"""Columns of the requests that :func:`play_arrivals` gets and of what it returns about each."""


@njit_inline
def bus_of(s, c, command):
    """Return the position of the words of the bus that takes ``command``."""
    bus = s[as_index(s[AT_BUS_USE] + 2 * command) + BUS]
    return s[as_index(s[c + CHANNEL]) + FIRST_BUS] + bus * 2 * s[BUS_WORDS]


@njit_apart
def free_slot(s, c, command, t):
    """Return the first clock from ``t`` on at which the command bus is free for ``command``."""
    bus, last = bus_of(s, c, command), s[BUS_WORDS] - 1
    length = s[as_index(s[AT_BUS_USE] + 2 * command) + LENGTH]
    clock, end = t, t + length
    while clock < end:
        at = as_index(bus + 2 * (clock >> 6 & last))
        if s[at + WORD] == clock >> 6 and s[at + BITS] >> (clock & 63) & 1:
            end = clock + 1 + length
            t = clock + 1
        clock += 1
    return t


@njit_inline
def take_slot(s, c, command, t):
    """Note that ``command`` is on the command bus from ``t`` on."""
    bus, last = bus_of(s, c, command), s[BUS_WORDS] - 1
    for clock in range(t, t + s[as_index(s[AT_BUS_USE] + 2 * command) + LENGTH]):
        at = as_index(bus + 2 * (clock >> 6 & last))
        if s[at + WORD] != clock >> 6:
            s[at + WORD] = clock >> 6
            s[at + BITS] = 0
        s[at + BITS] |= np.int64(1) << (clock & 63)


@njit_apart
def issue(s, c, command, bank, row, request, t):
    """Issue ``command`` at clock ``t``."""
    bank, c = as_index(bank), as_index(c)
    take_slot(s, c, command, t)
    apply_rules(s, command, bank, t)
    s[c + COUNTS + as_index(command)] += 1
    if s[HAS_TRACE] != 0:
        record_command(s, command, bank, row, request, t)


@njit_apart
def place(s, command, bank, t):
    """Issue a command of a refresh at ``t`` or the first clock after it that all allow."""
    c = as_index(s[bank + BANK_CONTROLLER])
    clock = free_slot(s, c, command, max(t, earliest(s, command, bank)))
    issue(s, c, command, bank, NONE, NONE, clock)


@njit_apart
def refresh_rank(s, rank):
    """Refresh a rank, or its next bank, as soon as possible after that is due."""
    due, first = s[rank + DUE], s[rank + FIRST_BANK]
    end = first + s[BANKS_PER_RANK] * BANK_WIDTH
    if s[IS_PER_BANK] != 0:
        bank = s[rank + NEXT_BANK]
        if s[bank + OPEN_ROW] >= 0:
            place(s, PRE, bank, due)
            s[bank + OPEN_ROW] = NONE
        place(s, REFPB, bank, due)
        bank += BANK_WIDTH
        s[rank + NEXT_BANK] = first if bank == end else bank
    else:
        is_open = False
        for bank in range(first, end, BANK_WIDTH):
            is_open |= s[bank + OPEN_ROW] >= 0
            s[bank + OPEN_ROW] = NONE
        if is_open:
            place(s, PREA, first, due)
        place(s, REFAB, first, due)
    s[rank + DUE] = due + s[REFRESH_INTERVAL]


@njit_apart
def refresh_channel(s, c, until):
    """Refresh all ranks on the channel of ``c`` that are due at or before ``until``."""
    first = s[c + CHANNEL_RANK]
    for rank in range(first, first + s[BUS_MATES] * RANK_WIDTH, RANK_WIDTH):
        while s[rank + DUE] <= until:
            refresh_rank(s, rank)


@njit_apart
def refresh_all(s, until):
    """Refresh all ranks that are due at or before ``until``, in order of time.

    Of a long time without accesses only the last refreshes can still matter: others are counted.
    """
    first, interval = s[AT_RANKS], s[REFRESH_INTERVAL]
    end = first + s[AT_RANKS + 1] * RANK_WIDTH
    while s[NEXT_DUE] <= until:
        due = NEVER
        for rank in range(first, end, RANK_WIDTH):
            if s[rank + DUE] <= s[NEXT_DUE]:
                refresh_rank(s, rank)
            due = min(due, s[rank + DUE])
        skipped = (until - due) // interval - 2
        if s[IS_PER_BANK] != 0:
            skipped -= skipped % s[BANKS_PER_RANK]
        if skipped > 0 and s[HAS_TRACE] == 0:
            due += skipped * interval
            command = REFPB if s[IS_PER_BANK] != 0 else REFAB
            for rank in range(first, end, RANK_WIDTH):
                s[rank + DUE] += skipped * interval
                s[s[rank + RANK_CONTROLLER] + COUNTS + command] += skipped
        s[NEXT_DUE] = due


@njit_inline
def after(s, first, second):
    """Return the least gap between two commands at the same bank."""
    return s[as_index(s[AT_AFTER] + first * AFTER_WIDTH + second)]


@njit_inline
def plan(s, c, bank, row, column, t):
    """Return the clocks of precharge, activate (-1: not needed) and column command."""
    precharge = activate = NONE
    if s[bank + OPEN_ROW] != row:
        start = t
        if s[bank + OPEN_ROW] >= 0:
            precharge = free_slot(s, c, PRE, max(t, earliest(s, PRE, bank)))
            start = precharge + after(s, PRE, ACT)
        activate = free_slot(s, c, ACT, max(start, earliest(s, ACT, bank)))
        t = activate + after(s, ACT, column)
    return precharge, activate, free_slot(s, c, column, max(t, earliest(s, column, bank)))


@njit_inline
def must_refresh_first(s, bank, activate, clock):
    """Return whether a burst with commands up to ``clock`` comes after the rank's next refresh."""
    rank = as_index(s[bank + BANK_RANK])
    if s[IS_PER_BANK] != 0 and bank != s[rank + NEXT_BANK]:
        clock = activate  # rows of other banks stay open
    return clock >= s[rank + DUE]


@njit_apart
def serve(s, c, kind, bank, row, request, clock):
    """Serve a burst from ``clock`` on; return the clock at which its data have moved."""
    c, kind, bank, is_closed = as_index(c), as_index(kind), as_index(bank), s[IS_CLOSED]
    column = RD + 2 * is_closed + kind
    while True:
        precharge, activate, moves = plan(s, c, bank, row, column, clock)
        if not must_refresh_first(s, bank, activate, moves):
            break
        refresh_channel(s, c, s[as_index(s[bank + BANK_RANK]) + DUE])
    outcome = HIT
    if precharge >= 0:
        issue(s, c, PRE, bank, row, request, precharge)
    if activate >= 0:
        outcome = CONFLICT if precharge >= 0 else MISS
        issue(s, c, ACT, bank, row, request, activate)
    issue(s, c, column, bank, row, request, moves)
    s[bank + OPEN_ROW] = NONE if is_closed != 0 else row
    s[c + OUTCOMES + 3 * kind + outcome] += 1
    if s[c + SERVED] != kind:
        s[c + TURNAROUNDS] += 1 if s[c + SERVED] >= 0 else 0
        s[c + SERVED] = kind
    leave(s, c, kind, moves)
    end = moves + (s[CL] if kind == READ else s[CWL]) + s[BL]
    s[LAST_DATA] = max(s[LAST_DATA], end)
    return end


@njit_inline
def leave(s, c, kind, clock):
    """Note that the oldest burst of ``kind`` leaves its queue at ``clock``."""
    ring = as_index(s[c + LEFT_RING + kind])
    place = as_index(s[ring])
    s[place] = clock
    s[ring] = place + 1 if place < ring + s[READ_ENTRIES + kind] else ring + 1


@njit_apart
def drain(s, c, remaining, clock):
    """Serve the oldest writes of ``c`` from ``clock`` on until so many remain."""
    end = s[c + FIRST_WRITE] + s[WRITE_ENTRIES] * WRITE_WIDTH
    while s[c + HELD] > remaining:
        w = as_index(s[c + OLDEST])
        s[c + OLDEST] = w + WRITE_WIDTH if w + WRITE_WIDTH < end else s[c + FIRST_WRITE]
        s[c + HELD] -= 1
        serve(s, c, WRITE, s[w + WRITE_BANK], s[w + WRITE_ROW], s[w + WRITE_REQUEST], clock)


@njit_inline
def drain_old(s, c, clock):
    """Serve all writes of ``c`` if the oldest has waited too long at ``clock``."""
    if s[c + HELD] > 0:
        due = s[as_index(s[c + OLDEST]) + WRITE_CLOCK] + s[WRITE_AGE]
        if clock >= due:
            drain(s, c, np.int64(0), max(due, s[NOW] - BACK_CLOCKS))


@njit_inline
def enter(s, c, kind, clock):
    """Return the clock at which a burst that arrives at ``clock`` enters its queue of ``c``.

    That holds so many bursts; one that finds it full holds up those behind it on its channel.
    """
    s[NOW] = max(s[NOW], clock)
    drain_old(s, c, clock)
    if s[NEXT_DUE] <= s[NOW]:
        refresh_all(s, s[NOW])
    front = as_index(s[c + CHANNEL]) + FRONT
    left = s[as_index(s[as_index(s[c + LEFT_RING + kind])])] + 1
    s[front] = max(s[front], left)
    return max(max(clock, s[NOW] - BACK_CLOCKS), s[front])


@njit_inline
def hold(s, c, bank, row, request, clock):
    """Put a write behind the others of ``c``; serve the oldest if there are too many."""
    w, size = s[c + OLDEST] + s[c + HELD] * WRITE_WIDTH, s[WRITE_ENTRIES] * WRITE_WIDTH
    w = as_index(w - size if w >= s[c + FIRST_WRITE] + size else w)
    s[w + WRITE_BANK] = bank
    s[w + WRITE_ROW] = row
    s[w + WRITE_REQUEST] = request
    s[w + WRITE_CLOCK] = clock
    s[c + HELD] += 1
    if s[c + HELD] >= s[HIGH]:
        drain(s, c, s[LOW], clock)


@njit_apart
def arrival_burst(s, burst, kind, request, clock):
    """Take one burst that arrives at ``clock``; return the clock of the answer.

    That of a read is the clock at which its data have moved, that of a write the one at which a
    queue has taken it.
    """
    kind = as_index(kind)
    decode(s, kind, burst)
    bank, row = as_index(s[PENDING_BANK + kind]), s[PENDING_ROW + kind]
    c = as_index(s[bank + BANK_CONTROLLER])
    clock = enter(s, c, kind, clock)
    if kind == READ:
        return serve(s, c, READ, bank, row, request, clock)
    hold(s, c, bank, row, request, clock)
    return clock


@njit_apart
def arrival_finish(s, cycle):
    """Serve at ``cycle`` all writes that still wait; return the cycle at which all have moved."""
    clock = convert(cycle, s[CLOCK_NUM], s[CLOCK_DEN])
    c = as_index(s[AT_CONTROLLERS])
    for _ in range(s[AT_CONTROLLERS + 1]):
        drain_old(s, c, clock)
        drain(s, c, np.int64(0), clock)
        c = as_index(c + CONTROLLER_WIDTH)
    return convert(s[LAST_DATA], s[CLOCK_DEN], s[CLOCK_NUM])


@njit_inline
def arrival_access(s, address, size_bytes, kind, cycle):
    """Take an access of cycle ``cycle``; return the cycle of its answer.

    Whole bursts move. ``kind`` is READ, answered when all its data have moved, or WRITE, answered
    when a queue has taken it. Calls come in order of service: an access of an earlier cycle than
    the one before it is served after it on the same data bus, in its own time elsewhere.
    """
    clock = convert(cycle, s[CLOCK_NUM], s[CLOCK_DEN])
    last = address + size_bytes - 1 >> s[BURST_SHIFT]
    done = LONG_AGO
    for burst in range(address >> s[BURST_SHIFT], last + 1):
        done = max(done, arrival_burst(s, burst & s[BURSTS] - 1, kind, NONE, clock))
    return convert(done, s[CLOCK_DEN], s[CLOCK_NUM]) + s[PATH_CYCLES]


@njit_entry
def play_arrivals(s, requests):
    """Serve ``requests`` in their order and write into each the cycle in which it was done.

    ``requests`` : int64[n, 5] cycle, address, bytes, kind and the result.
    """
    for i in range(requests.shape[0]):
        address, size = requests[i, PLAY_ADDRESS], requests[i, PLAY_BYTES]
        kind, cycle = requests[i, PLAY_KIND], requests[i, PLAY_CLOCK]
        requests[i, PLAY_DONE] = arrival_access(s, address, size, kind, cycle)


@njit_entry
def finish_arrivals(s, cycle):
    """Do what :func:`arrival_finish` does, for Python."""
    return arrival_finish(s, cycle)
