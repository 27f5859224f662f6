"""Play the instructions of one layer, loads and stores served by HBM command by command.

Units and tokens are those of :mod:`kernels`, limits included. Every channel is a DRAM memory of
:mod:`hwsim.components.dram.arrival_call`: it answers when it is asked, so that a completion is
known at the start. Requests reach it in order of time: a load and a store that could both start are
started earliest first, all other units before either; nothing that waits for one starts earlier.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwsim.components.dram.arrival_call import call_arrival
from hwsim.components.dram.layout import READ, WRITE
from hwsim.components.jit import njit_apart, njit_entry

__all__ = ["DramPlay", "play_dram"]

UNITS = 6
LD, ST, SYS = 0, 1, 5
NEVER = 1 << 62
FINISH = -1
"""In place of a kind of access: all waiting writes are served."""

HEAD, TAIL, LENGTH, FREE, BEFORE, DONE, UNTIL, BUSY, EXPANDED = range(9)
"""Of a unit: next to start and to complete, instructions; when free, the start before, the last
completion; until when it has worked, and for how long; when what expands its loads is free."""
CYCLE, DEPTH, FLIGHTS = range(3)
"""Of the limits, as :func:`hwsim.flightllm.kernels.play` has them."""
FIRST, CHANNELS, ADDRESS, BYTES, PIECES, STRIDE = range(6)
"""Of what a transfer moves: on as many channels from the first on, the same pieces on each."""


class DramPlay(NamedTuple):
    """All state of a layer, int64 throughout but for the masks."""

    wait: np.ndarray  # int8[n], by unit
    release: np.ndarray  # int8[n]
    ticks: np.ndarray  # [n]: cycles that the unit is occupied for
    told: np.ndarray  # [n]: from the start until tokens can be taken; of a transfer, behind memory
    expand: np.ndarray  # [n]: cycles of what expands a load, one load after the other
    moves: np.ndarray  # [n, 6]: what a transfer moves; 0 pieces: nothing in memory
    start: np.ndarray  # [n]
    told_at: np.ndarray  # [n]: when tokens can be taken
    queue: np.ndarray  # [6, n]: a unit's instructions
    units: np.ndarray  # [6, 9]
    limits: np.ndarray  # [3]
    pool: np.ndarray  # [36, n + 1]: when tokens can be taken, per (producer, consumer)
    pushed: np.ndarray  # [36]
    popped: np.ndarray  # [36]
    taken: np.ndarray  # [36, depth]: when tokens were taken, a ring
    lost: np.ndarray  # [6, 6]: waiting time by whom was waited for last
    words: np.ndarray  # [8, words]: a memory each
    places: np.ndarray  # [8, 2]: where these are (arrival_call)


@njit_apart
def complete(p, u):
    """Pass on the tokens of what unit ``u`` has completed; return of how many instructions."""
    unit, depth, found = p.units[u], p.limits[DEPTH], 0
    while unit[TAIL] < unit[HEAD]:
        i = p.queue[u, unit[TAIL]]
        when = max(p.start[i] + p.told[i], unit[DONE] + p.limits[CYCLE])
        for c in range(UNITS):
            slot = u * UNITS + c
            if depth > 0 and p.release[i] >> c & 1 and p.pushed[slot] >= depth:
                if p.popped[slot] <= p.pushed[slot] - depth:
                    return found
                when = max(when, p.taken[slot, p.pushed[slot] % depth] + 3 * p.limits[CYCLE])
        unit[DONE] = when
        p.told_at[i] = when
        for c in range(UNITS):
            if p.release[i] >> c & 1:
                slot = u * UNITS + c
                p.pool[slot, p.pushed[slot]] = when
                p.pushed[slot] += 1
        unit[TAIL] += 1
        found += 1
    return found


@njit_apart
def ready(p, u):
    """Return when the next instruction of unit ``u`` may start, NEVER if that is not known."""
    unit, flights = p.units[u], p.limits[FLIGHTS]
    if unit[HEAD] == unit[LENGTH] or (flights > 0 and unit[HEAD] - unit[TAIL] >= flights):
        return NEVER
    i = p.queue[u, unit[HEAD]]
    begin = max(unit[FREE], unit[BEFORE] + p.limits[CYCLE])
    if flights > 0 and unit[HEAD] >= flights:
        begin = max(begin, p.told_at[p.queue[u, unit[HEAD] - flights]])
    for c in range(UNITS):
        if p.wait[i] >> c & 1:
            slot = c * UNITS + u
            if p.popped[slot] >= p.pushed[slot]:
                return NEVER
            begin = max(begin, p.pool[slot, p.popped[slot]])
    return begin


@njit_apart
def take_tokens(p, u, begin):
    """Take the tokens of unit ``u``'s next instruction, which starts at ``begin``."""
    unit, cycle = p.units[u], p.limits[CYCLE]
    depth, flights = p.limits[DEPTH], p.limits[FLIGHTS]
    i = p.queue[u, unit[HEAD]]
    accept, latest, last = unit[BEFORE], -1, max(unit[FREE], unit[BEFORE] + cycle)
    if flights > 0 and unit[HEAD] >= flights:
        landed = p.told_at[p.queue[u, unit[HEAD] - flights]]
        accept = max(accept, landed - cycle)
        if landed > last:
            last, latest = landed, u
    for c in range(UNITS):
        if p.wait[i] >> c & 1:
            token = p.pool[c * UNITS + u, p.popped[c * UNITS + u]]
            accept = max(accept, token - cycle)
            if token > last:
                last, latest = token, c
    for c in range(UNITS):
        if p.wait[i] >> c & 1:
            slot = c * UNITS + u
            if depth > 0:
                p.taken[slot, p.popped[slot] % depth] = accept
            p.popped[slot] += 1
    if latest >= 0:
        p.lost[u, latest] += begin - max(unit[FREE], min(unit[UNTIL], begin))


@njit_apart
def move(p, i, kind, begin):
    """Return when all that instruction ``i`` moves has moved; of writes, when it is taken."""
    what, done = p.moves[i], begin
    for channel in range(what[FIRST], what[FIRST] + what[CHANNELS]):
        place, address = p.places[channel], what[ADDRESS]
        for _ in range(what[PIECES]):
            done = max(done, call_arrival(place, address, what[BYTES], np.int64(kind), begin))
            address += what[STRIDE]
    return done


@njit_apart
def settle(p, begin):
    """Return when all writes have moved, if nothing is asked after ``begin``."""
    done = begin
    none = np.int64(0)
    for channel in range(p.places.shape[0]):
        done = max(done, call_arrival(p.places[channel], none, none, np.int64(FINISH), begin))
    return done


@njit_apart
def start_next(p, u, begin):
    """Start the next instruction of unit ``u`` at ``begin``; a barrier once all is in memory."""
    take_tokens(p, u, begin)
    unit = p.units[u]
    i = p.queue[u, unit[HEAD]]
    if u == SYS:
        begin = settle(p, begin)
    end = begin + p.ticks[i]
    unit[FREE] = end
    if p.moves[i, PIECES] > 0:
        end = move(p, i, READ if u == LD else WRITE, begin)
        if p.expand[i] > 0:
            unit[EXPANDED] = max(begin, unit[EXPANDED]) + p.expand[i]
            end = max(end, unit[EXPANDED])
        unit[FREE] = begin + p.limits[CYCLE]
        p.told[i] += end - begin
    unit[BUSY] += max(0, end - max(begin, unit[UNTIL]))
    unit[UNTIL] = max(unit[UNTIL], end)
    p.start[i] = begin
    unit[BEFORE] = begin
    unit[HEAD] += 1


@njit_entry
def play_dram(p):
    """Return the cycles of the layer, or -1 - i if instruction i of some unit can never start."""
    left = p.wait.shape[0]
    while left > 0:
        has_moved = False
        for u in range(UNITS):
            while True:
                found = complete(p, u)
                left -= found
                has_moved |= found > 0
                begin = ready(p, u) if u > ST else NEVER
                if begin == NEVER:
                    break
                start_next(p, u, begin)
                has_moved = True
        if has_moved:
            continue
        load, store = ready(p, LD), ready(p, ST)
        if min(load, store) == NEVER:
            break
        if load <= store:
            start_next(p, LD, load)
        else:
            start_next(p, ST, store)
    end = 0
    for u in range(UNITS):
        unit = p.units[u]
        if unit[TAIL] < unit[HEAD]:
            return -1 - p.queue[u, unit[TAIL]]
        if unit[HEAD] < unit[LENGTH]:
            return -1 - p.queue[u, unit[HEAD]]
        end = max(end, max(unit[FREE], max(unit[DONE], unit[UNTIL])))
    return end
