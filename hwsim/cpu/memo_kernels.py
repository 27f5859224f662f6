"""Remember what straight code does to a pipeline, compiled.

What a run of instructions without a branch target inside (a *segment*) does to the pipeline
depends on the pipeline's state relative to the clock and on the *outcome* of each access: how much
later than a hit it is served, and why. From the same state and with the same outcomes it takes the
same cycles, loses the same slots and ends in the same state. So states are kept with a number
each, and *edges* from (state, segment, outcomes) to the next state. Following an edge still makes
every access to the caches, in program order and each at its cycle. Where an outcome differs from
the edge's, another edge that branches off there is taken; if there is none, the state is put back
and the segment is stepped with the outcomes found so far, and a new edge kept. Nothing is guessed:
a run that remembers equals one that steps, bit by bit (tests/cpu/test_memo_kernels.py).

Two states are equal if nothing that follows can tell them apart: cycles are kept relative to the
dispatch cycle, and what lies before it (operands ready, room in a queue) as 0.

- ``words[first[n] : first[n + 1]]``: state ``n``: scalars, registers, window, queues and the
  calendar's booked cycles, one word each.
- ``edges[e]`` has the ``E_`` columns; ``offsets[edges[e, E_OFFSETS] + i]``: cycle of access ``i``
  after the dispatch cycle at the start, and its outcome; ``edge_lost[e]``: what ``lost`` gains.
- ``state_slots``, ``edge_slots``: hash tables of numbers, linear probing, -1 is free.
- ``segments[s]`` has the ``G_`` columns; ``actions``: rows that access memory or step a pointer.
- ``memo``: the ``M_`` scalars.
"""

from __future__ import annotations

from hwsim.components.jit import njit_apart, njit_inline
from hwsim.cpu.pipeline_state import (
    CALENDAR,
    P_IS_IN_ORDER,
    P_LOADS,
    P_STORES,
    P_WINDOW,
    PORT_BITS,
    RING,
    S_BOOKED,
    S_CYCLE,
    S_DRAINED,
    S_FLOOR,
    S_INSTRUCTIONS,
    S_LOADS,
    S_MACS,
    S_RETIRED,
    S_SLOTS,
    S_STORES,
    S_UOPS,
    S_USED,
    S_WHY,
)

__all__ = [
    "EDGE_COLUMNS",
    "MEMO_SCALARS",
    "SEGMENT_COLUMNS",
    "account_edges",
    "add_edge",
    "branch_key",
    "find_edge",
    "forget",
    "keep_state",
    "restore_state",
]

(G_END, G_ACTIONS, G_ACTIONS_END, G_INSTRUCTIONS, G_UOPS, G_MACS, SEGMENT_COLUMNS) = range(7)
"""Row after a segment, its actions, and what running it once counts."""

(E_STATE, E_LABEL, E_NEXT, E_CYCLES, E_BRANCH, E_OFFSETS, E_TIMES, E_SEGMENT, EDGE_COLUMNS) = range(
    9
)
"""From a state by a label (segment and front-end refill; or from an edge that it branches off, by
access and outcome) to the next state and cycles later; when its last branch issues, -1 if it has
none; its accesses; how often it was followed in this run; its segment."""

(M_STATES, M_WORDS, M_EDGES, M_OFFSETS, M_TOUCHED, M_FORGOTTEN, M_FOLLOWED, MEMO_SCALARS) = range(8)
"""States, words, edges, offsets in use; edges followed in this run; times that all was forgotten;
instructions that were not stepped."""

QUIET_CYCLES = 128
"""States that reach further beyond the dispatch cycle are not kept: they do not come back."""
_FIXED = 6
_REGISTERS = 64
_BITS = 20
_BRANCHES = 1 << 24
"""Beyond all numbers of states."""
_FIELD = (1 << _BITS) - 1
_MIX = 0x2545F4914F6CDD1D
_STEP = 0x1E3779B97F4A7C15


@njit_inline
def _beyond(value, cycle):
    """Return the cycles that ``value`` lies beyond ``cycle``; 0 if it does not."""
    return value - cycle if value > cycle else 0


@njit_inline
def _slot(value, mask):
    """Return where a hash table looks first for ``value``."""
    value = value * _MIX
    return (value ^ (value >> 29) ^ (value >> 43)) & mask


@njit_inline
def _write_state(at, core):
    """Write the pipeline's state, relative to its clock, from ``words[at]`` on; return its end."""
    params, state, registers, words = core.params, core.state, core.registers, core.words
    cycle = state[S_CYCLE]
    is_retired = state[S_RETIRED] < cycle
    words[at] = state[S_USED]
    words[at + 1] = _beyond(state[S_FLOOR], cycle)
    words[at + 2] = -1 if is_retired else state[S_RETIRED] - cycle
    words[at + 3] = 0 if is_retired else state[S_WHY]
    words[at + 4] = max(state[S_DRAINED] - cycle, -1)
    booked = _beyond(state[S_BOOKED], cycle)
    words[at + 5] = booked
    at += _FIXED
    for register in range(_REGISTERS):
        first = _beyond(registers[0, register], cycle)
        second = _beyond(registers[1, register], cycle)
        why = registers[2, register] if first | second else 0
        words[at + register] = first | second << _BITS | why << 2 * _BITS
    at += _REGISTERS
    if params[P_IS_IN_ORDER] == 0:
        for i in range(params[P_WINDOW] + 1):
            slot = (state[S_SLOTS] - 1 - i) & (RING - 1)
            value = _beyond(core.window[slot], cycle)
            words[at + i] = value | (core.window_why[slot] if value else 0) << _BITS
        at += params[P_WINDOW] + 1
        for i in range(params[P_LOADS]):
            words[at + i] = _beyond(core.loads[(state[S_LOADS] - 1 - i) & (RING - 1)], cycle)
        at += params[P_LOADS]
    for i in range(params[P_STORES]):
        words[at + i] = _beyond(core.stores[(state[S_STORES] - 1 - i) & (RING - 1)], cycle)
    at += params[P_STORES]
    for i in range(booked):
        entry = core.calendar[(cycle + i) & (CALENDAR - 1)]
        is_now = entry >> PORT_BITS == cycle + i
        words[at + i] = entry & ((1 << PORT_BITS) - 1) if is_now else 0
    return at + booked


@njit_apart
def keep_state(core):
    """Return the number of the pipeline's present state, a new one if it is not known.

    -1 if it reaches too far ahead, -2 if there is no room for it.
    """
    params, state, words, first = core.params, core.state, core.words, core.first
    state_slots, memo = core.state_slots, core.memo
    cycle = state[S_CYCLE]
    furthest = max(state[S_RETIRED], state[S_BOOKED], state[S_DRAINED])
    if furthest - cycle > QUIET_CYCLES:
        return -1
    number, at = memo[M_STATES], memo[M_WORDS]
    queues = params[P_LOADS] + params[P_STORES]
    longest = _FIXED + _REGISTERS + params[P_WINDOW] + 1 + queues
    if number + 1 >= len(first) or at + longest + QUIET_CYCLES > len(words):
        return -2
    end = _write_state(at, core)
    mixed, factor = 0, _STEP
    for i in range(at, end):
        mixed += (words[i] + 1) * factor
        factor += 2 * _STEP
    slot = _slot(mixed, len(state_slots) - 1)
    while state_slots[slot] >= 0:
        other = state_slots[slot]
        begin = first[other]
        if first[other + 1] - begin == end - at:
            i = 0
            while i < end - at and words[begin + i] == words[at + i]:
                i += 1
            if i == end - at:
                return other
        slot = (slot + 1) & (len(state_slots) - 1)
    state_slots[slot] = number
    first[number + 1] = end
    memo[M_STATES], memo[M_WORDS] = number + 1, end
    return number


@njit_apart
def restore_state(number, core):
    """Put state ``number`` into the pipeline's arrays, relative to the present dispatch cycle."""
    params, state, registers, hints = core.params, core.state, core.registers, core.hints
    words = core.words
    cycle, at = state[S_CYCLE], core.first[number]
    state[S_USED] = words[at]
    state[S_FLOOR] = cycle + words[at + 1]
    state[S_RETIRED] = cycle + words[at + 2]
    state[S_WHY] = words[at + 3]
    state[S_DRAINED] = cycle + words[at + 4]
    booked = words[at + 5]
    state[S_BOOKED] = cycle + booked
    at += _FIXED
    for register in range(_REGISTERS):
        word = words[at + register]
        registers[0, register] = cycle + (word & _FIELD)
        registers[1, register] = cycle + (word >> _BITS & _FIELD)
        registers[2, register] = word >> 2 * _BITS
    at += _REGISTERS
    if params[P_IS_IN_ORDER] == 0:
        for i in range(params[P_WINDOW] + 1):
            slot = (state[S_SLOTS] - 1 - i) & (RING - 1)
            core.window[slot] = cycle + (words[at + i] & _FIELD)
            core.window_why[slot] = words[at + i] >> _BITS
        at += params[P_WINDOW] + 1
        for i in range(params[P_LOADS]):
            core.loads[(state[S_LOADS] - 1 - i) & (RING - 1)] = cycle + words[at + i]
        at += params[P_LOADS]
    for i in range(params[P_STORES]):
        core.stores[(state[S_STORES] - 1 - i) & (RING - 1)] = cycle + words[at + i]
    at += params[P_STORES]
    for i in range(booked):
        core.calendar[(cycle + i) & (CALENDAR - 1)] = (cycle + i) << PORT_BITS | words[at + i]
    for hint in range(hints.shape[0]):
        hints[hint, 0] = hints[hint, 1] = 0


@njit_inline
def find_edge(number, label, core):
    """Return the edge from state ``number`` by ``label``, or -1."""
    edges, edge_slots = core.edges, core.edge_slots
    slot = _slot(number * 65599 + label, len(edge_slots) - 1)
    while True:
        edge = edge_slots[slot]
        if edge < 0 or (edges[edge, E_STATE] == number and edges[edge, E_LABEL] == label):
            return edge
        slot = (slot + 1) & (len(edge_slots) - 1)


@njit_apart
def add_edge(number, label, following, cycles, branch, segment, accesses, core):
    """Keep a new edge with ``accesses`` at ``times``; what it loses is already in place."""
    edges, edge_slots, offsets, memo = core.edges, core.edge_slots, core.offsets, core.memo
    edge = memo[M_EDGES]
    for i in range(accesses):
        offsets[memo[M_OFFSETS] + i, 0] = core.times[i]
        offsets[memo[M_OFFSETS] + i, 1] = core.outcomes[i]
    edges[edge, E_STATE], edges[edge, E_LABEL] = number, label
    edges[edge, E_NEXT] = following
    edges[edge, E_CYCLES], edges[edge, E_BRANCH] = cycles, branch
    edges[edge, E_OFFSETS], edges[edge, E_TIMES] = memo[M_OFFSETS], 0
    edges[edge, E_SEGMENT] = segment
    slot = _slot(number * 65599 + label, len(edge_slots) - 1)
    while edge_slots[slot] >= 0:
        slot = (slot + 1) & (len(edge_slots) - 1)
    edge_slots[slot] = edge
    memo[M_EDGES], memo[M_OFFSETS] = edge + 1, memo[M_OFFSETS] + accesses


@njit_inline
def branch_key(edge, access, outcome):
    """Return (number, label) of the edge that leaves ``edge`` at ``access`` with ``outcome``."""
    return _BRANCHES + edge, access << 40 | outcome


@njit_apart
def account_edges(core):
    """Count what the edges followed since the last call stand for."""
    state, lost, segments, edges = core.state, core.lost, core.segments, core.edges
    memo = core.memo
    for i in range(memo[M_TOUCHED]):
        edge = core.touched[i]
        times, segment = edges[edge, E_TIMES], edges[edge, E_SEGMENT]
        edges[edge, E_TIMES] = 0
        state[S_INSTRUCTIONS] += times * segments[segment, G_INSTRUCTIONS]
        state[S_UOPS] += times * segments[segment, G_UOPS]
        state[S_MACS] += times * segments[segment, G_MACS]
        memo[M_FOLLOWED] += times * segments[segment, G_INSTRUCTIONS]
        for reason in range(lost.shape[0]):
            for used in range(lost.shape[1]):
                lost[reason, used] += times * core.edge_lost[edge, reason, used]
    memo[M_TOUCHED] = 0


@njit_apart
def forget(core):
    """Drop all states and edges; those followed must have been accounted for."""
    state_slots, edge_slots, memo = core.state_slots, core.edge_slots, core.memo
    memo[M_STATES] = memo[M_WORDS] = memo[M_EDGES] = memo[M_OFFSETS] = 0
    memo[M_FORGOTTEN] += 1
    for i in range(len(state_slots)):
        state_slots[i] = -1
    for i in range(len(edge_slots)):
        edge_slots[i] = -1
