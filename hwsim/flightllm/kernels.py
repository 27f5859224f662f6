"""Play the instructions of one layer: in-order units, tokens between every pair of them.

A layer begins with all units free and ends with its barrier, so that times are counted from its
first instruction. ``pool`` holds, per (producer, consumer), the completion times of released
tokens as a ring that never wraps: a producer's n-th release is the consumer's n-th wait.

With ``depth`` a pair holds so many tokens: a completion waits until the token so many before its
own was taken. With ``flights`` a unit's instruction is taken only once the one so many before it
has completed. An instruction is taken, and takes its tokens, as soon as they are there and the one
before it has started: one cycle or more before it starts itself. As every time follows from
earlier ones of the same few units, the order in which units are looked at changes nothing.
"""

from __future__ import annotations

import numpy as np

from hwsim.components.jit import njit

UNITS = 6
SYS = 5


@njit
def play(
    unit, wait, release, ticks, told, cycle, depth, flights, pool, pushed, popped, free, busy, lost,
    start, told_at,
):  # fmt: skip
    """Return the makespan in ticks, or -1 - i if instruction i of some unit can never start.

    Parameters
    ----------
    unit, wait, release : int8[n]
        In program order; masks by unit.
    ticks : int64[n]
        Occupation of the unit.
    told : int64[n]
        Ticks from its start until its tokens can be taken, if no earlier one delays it.
    cycle : int
        Ticks between two completions of a unit at least, and from taking an instruction to its
        start; a token can be used three of them after the one that made room for it was taken.
    depth, flights : int
        Tokens of a pair and instructions of a unit at most; 0 for any number.
    pool : int64[36, n]
        Scratch: token times per (producer, consumer).
    pushed, popped : int64[36]
        Zero at the start.
    free, busy : int64[6]
        When each unit is free, and how long it worked; zero at the start.
    lost : int64[6, 6]
        Waiting time of each unit by the producer whose token came last, on the diagonal that for
        its own completions; zero at the start.
    start, told_at : int64[n]
        Start of every instruction, and when its tokens can be taken.
    """
    n = len(unit)
    queue = np.zeros((UNITS, n), np.int64)
    length = np.zeros(UNITS, np.int64)
    for i in range(n):
        queue[unit[i], length[unit[i]]] = i
        length[unit[i]] += 1
    head, tail = np.zeros(UNITS, np.int64), np.zeros(UNITS, np.int64)
    before = np.full(UNITS, -cycle, np.int64)  # start of the instruction before
    taken = np.zeros((UNITS * UNITS, max(depth, 1)), np.int64)  # when tokens were, by number
    left = n
    end = np.int64(0)
    done = np.zeros(UNITS, np.int64)
    while left > 0:
        has_moved = False
        for u in range(UNITS):
            while True:
                has_completed = False
                while tail[u] < head[u]:
                    i = queue[u, tail[u]]
                    when = max(start[i] + told[i], done[u] + cycle)
                    has_room = True
                    for c in range(UNITS):
                        slot = u * UNITS + c
                        if depth > 0 and release[i] >> c & 1 and pushed[slot] >= depth:
                            if popped[slot] <= pushed[slot] - depth:
                                has_room = False
                            else:
                                room = taken[slot, pushed[slot] % depth] + 3 * cycle
                                when = max(when, room)
                    if not has_room:
                        break
                    done[u] = when
                    told_at[i] = when
                    end = max(end, when)
                    for c in range(UNITS):
                        if release[i] >> c & 1:
                            slot = u * UNITS + c
                            pool[slot, pushed[slot]] = when
                            pushed[slot] += 1
                    tail[u] += 1
                    left -= 1
                    has_completed = True
                has_moved |= has_completed
                if head[u] == length[u] or (flights > 0 and head[u] - tail[u] >= flights):
                    break
                i = queue[u, head[u]]
                is_ready = True
                for p in range(UNITS):
                    if wait[i] >> p & 1 and popped[p * UNITS + u] >= pushed[p * UNITS + u]:
                        is_ready = False
                if not is_ready:
                    break
                begin = max(free[u], before[u] + cycle)
                latest = -1
                accept = before[u]
                if flights > 0 and head[u] >= flights:
                    landed = told_at[queue[u, head[u] - flights]]
                    accept = max(accept, landed - cycle)
                    if landed > begin:
                        begin = landed
                        latest = u
                for p in range(UNITS):
                    if wait[i] >> p & 1:
                        token = pool[p * UNITS + u, popped[p * UNITS + u]]
                        accept = max(accept, token - cycle)
                        if token > begin:
                            begin = token
                            latest = p
                for p in range(UNITS):
                    if wait[i] >> p & 1:
                        slot = p * UNITS + u
                        if depth > 0:
                            taken[slot, popped[slot] % depth] = accept
                        popped[slot] += 1
                if latest >= 0:
                    lost[u, latest] += begin - free[u]
                start[i] = begin
                before[u] = begin
                free[u] = begin + ticks[i]
                busy[u] += ticks[i]
                end = max(end, free[u])
                head[u] += 1
                has_moved = True
        if not has_moved:
            for u in range(UNITS):
                if head[u] < length[u]:
                    return -1 - queue[u, head[u]]
            for u in range(UNITS):
                if tail[u] < head[u]:
                    return -1 - queue[u, tail[u]]
    return end
