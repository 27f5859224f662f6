"""Play the instructions of one layer: in-order units, tokens between every pair of them.

A layer begins with all units free and ends with its barrier, so that times are counted from its
first instruction. ``pool`` holds, per (producer, consumer), the completion times of released
tokens as a ring that never wraps: a producer's n-th release is the consumer's n-th wait.
"""

from __future__ import annotations

import numpy as np

from hwsim.components.jit import njit

UNITS = 6
SYS = 5


@njit
def play(unit, wait, release, ticks, told, gap, pool, pushed, popped, free, busy, lost, start):
    """Return the makespan in ticks, or -1 - i if instruction i of some unit can never start.

    Parameters
    ----------
    unit, wait, release : int8[n]
        In program order; masks by unit.
    ticks : int64[n]
        Occupation of the unit.
    told : int64[n]
        Ticks from its start until its tokens can be taken, if no earlier one delays it.
    gap : int
        Ticks between two completions of a unit at least.
    pool : int64[36, n]
        Scratch: token times per (producer, consumer).
    pushed, popped : int64[36]
        Zero at the start.
    free, busy : int64[6]
        When each unit is free, and how long it worked; zero at the start.
    lost : int64[6, 6]
        Waiting time of each unit by the producer whose token came last; zero at the start.
    start : int64[n]
        Start of every instruction.
    """
    n = len(unit)
    queue = np.zeros((UNITS, n), np.int64)
    length = np.zeros(UNITS, np.int64)
    for i in range(n):
        queue[unit[i], length[unit[i]]] = i
        length[unit[i]] += 1
    head = np.zeros(UNITS, np.int64)
    left = n
    end = np.int64(0)
    done = np.zeros(UNITS, np.int64)
    while left > 0:
        has_moved = False
        for u in range(UNITS):
            while head[u] < length[u]:
                i = queue[u, head[u]]
                is_ready = True
                for p in range(UNITS):
                    if wait[i] >> p & 1 and popped[p * UNITS + u] >= pushed[p * UNITS + u]:
                        is_ready = False
                if not is_ready:
                    break
                begin = free[u]
                latest = -1
                for p in range(UNITS):
                    if wait[i] >> p & 1:
                        slot = p * UNITS + u
                        token = pool[slot, popped[slot]]
                        popped[slot] += 1
                        if token > begin:
                            begin = token
                            latest = p
                if latest >= 0:
                    lost[u, latest] += begin - free[u]
                start[i] = begin
                free[u] = begin + ticks[i]
                busy[u] += ticks[i]
                done[u] = max(begin + told[i], done[u] + gap)
                end = max(end, free[u], done[u])
                for c in range(UNITS):
                    if release[i] >> c & 1:
                        slot = u * UNITS + c
                        pool[slot, pushed[slot]] = done[u]
                        pushed[slot] += 1
                head[u] += 1
                left -= 1
                has_moved = True
        if not has_moved:
            for u in range(UNITS):
                if head[u] < length[u]:
                    return -1 - queue[u, head[u]]
    return end
