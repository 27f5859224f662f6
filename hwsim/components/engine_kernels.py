"""Step in-order units that are fed by instruction queues and synchronised by tokens.

State layout: one :class:`Engine` of int64 arrays, rows and columns named by the constants below.
Everything is advanced in place; :func:`run_steps` does a bounded number of time steps per call.

Tie rule within one cycle, which makes a run a function of the program alone:

1. compute instructions that end in this cycle complete, by unit index;
2. until nothing changes: requests that the memory has finished complete, in the memory's order;
   each unit, by index, starts every instruction that it can; the frontend dispatches, once.

So a token released in a cycle can be taken in it, a queue slot left in a cycle can be filled in
it, and an instruction dispatched in a cycle can start in it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwsim.components.dram import (
    NEVER,
    memory_data_cycles,
    memory_next_time,
    memory_pop,
    memory_shift,
    memory_snapshot,
    memory_submit,
)
from hwsim.components.jit import njit_inline, njit_outline
from hwsim.core.program import END, LOOP
from hwsim.core.result import STALL_REASONS

# Engine.code columns. COUNT is repeated at a loop's END.
UNIT, CYCLES, BYTES, WAIT, RELEASE, OP, COUNT, LOST, IS_WRITE, MACS = range(10)
# Engine.units columns: STATUS has held since LAST_TIME; INSTR runs in [BEGIN_TIME, END_TIME).
STATUS, LAST_TIME, HEAD, LENGTH, INSTR, BEGIN_TIME, END_TIME, OUTSTANDING = range(8)
# Engine.loops columns: iterations left, first instruction, iterations done, and the saved state:
# its length (0: none), its time, its iteration, and the iteration to save at next.
LEFT, FIRST, DONE, SAVED_LENGTH, SAVED_TIME, SAVED_DONE, SAVE_NEXT = range(7)
# Engine.now entries.
NOW, PC, DEPTH, NEXT_DISPATCH, AVAILABLE, DONE_OPS, STEPS, SKIPPED, EVENTS = range(9)
# Engine.fixed entries.
MAX_OUTSTANDING, HAS_FAST_FORWARD, HAS_TRACE, MAX_EVENTS = range(4)
# Engine.tally columns.
COMPLETIONS, READ_BYTES, WRITE_BYTES, OP_MACS = range(4)

REASONS = len(STALL_REASONS)
DRAM = STALL_REASONS.index("dram")
# A unit's STATUS: a stall reason below REASONS, or one of these. As np.int64 they are no literal
# types to numba, which would compile each function that takes one anew for each.
IDLE, RUNNING, TRANSFERRING = np.int64(REASONS), np.int64(REASONS + 1), np.int64(REASONS + 2)
# Account columns: 0 busy, 1 + reason stalled, last idle.
ACCOUNTS = REASONS + 2

CONTINUE, FINISHED, DEADLOCK = range(3)
"""What :func:`run_steps` returns."""

REQUEST_REQUESTER, REQUEST_TAG = 0, 1


class Engine(NamedTuple):
    """All state of a run, int64 throughout."""

    code: np.ndarray  # [instruction, 10]
    lost: np.ndarray  # [instruction, REASONS] part of the duration stalled inside, by reason
    units: np.ndarray  # [unit, 8]
    queue: np.ndarray  # [unit, depth] instruction indices, a ring from HEAD
    tokens: np.ndarray  # [channel]
    reasons: np.ndarray  # [channel] index of the stall reason of a wait
    account: np.ndarray  # [unit, ACCOUNTS] cycles so far
    window: np.ndarray  # [unit, ACCOUNTS] ``account`` when the last window closed
    remaining: np.ndarray  # [op] instructions not yet completed
    op_start: np.ndarray  # [op] first start, -1 before
    op_end: np.ndarray  # [op] close of the op's window
    op_account: np.ndarray  # [op, unit, ACCOUNTS] cycles inside the op's window
    loops: np.ndarray  # [depth, 7]
    saved: np.ndarray  # [depth, snapshot]
    saved_account: np.ndarray  # [depth, unit, ACCOUNTS]
    scratch: np.ndarray  # [snapshot]
    memory: np.ndarray  # see dram.py
    ring: np.ndarray  # see dram.py; tag = instruction + instructions * trace row
    now: np.ndarray  # [9]
    fixed: np.ndarray  # [4]
    trace: np.ndarray  # [MAX_EVENTS + 1, 3] instruction, start, end; the last row is a dump


@njit_outline
def tally_program(code, tally):
    """Add up per op over all repetitions: completions, bytes read, bytes written, macs."""
    factor = 1
    for pc in range(code.shape[0]):
        if code[pc, UNIT] == LOOP:
            factor *= code[pc, COUNT]
        elif code[pc, UNIT] == END:
            factor //= code[pc, COUNT]
        else:
            op = code[pc, OP]
            tally[op, COMPLETIONS] += factor
            column = WRITE_BYTES if code[pc, IS_WRITE] != 0 else READ_BYTES
            tally[op, column] += factor * code[pc, BYTES]
            tally[op, OP_MACS] += factor * code[pc, MACS]


@njit_outline
def charge_running(e, u, t):
    """Account [LAST_TIME, t) of a running unit: lost cycles in enum order first, then busy."""
    i = e.units[u, INSTR]
    length = t - e.units[u, LAST_TIME]
    if e.code[i, LOST] == 0:
        e.account[u, 0] += length
        return
    since = e.units[u, LAST_TIME] - e.units[u, BEGIN_TIME]
    until = since + length
    begin = 0
    for reason in range(REASONS):
        end = begin + e.lost[i, reason]
        part = min(end, until) - max(begin, since)
        if part > 0:
            e.account[u, 1 + reason] += part
        begin = end
    e.account[u, 0] += max(until - max(begin, since), 0)


@njit_inline
def charge(e, u, t):
    """Account the unit's cycles up to ``t`` to the status it has held."""
    length = t - e.units[u, LAST_TIME]
    if length <= 0:
        return
    status = e.units[u, STATUS]
    if status == RUNNING:
        charge_running(e, u, t)
    elif status == TRANSFERRING:
        moved = memory_data_cycles(e.memory, e.ring, u, e.units[u, LAST_TIME], t)
        e.account[u, 0] += moved
        e.account[u, 1 + DRAM] += length - moved
    else:
        e.account[u, 1 + status] += length
    e.units[u, LAST_TIME] = t


@njit_inline
def set_status(e, u, status):
    """Change what the unit's cycles are charged to from now on."""
    if e.units[u, STATUS] != status:
        charge(e, u, e.now[NOW])
        e.units[u, STATUS] = status


@njit_outline
def close_windows(e):
    """Close the windows of all ops whose instructions, and those of all before, are done."""
    t = e.now[NOW]
    op = e.now[DONE_OPS]
    while op < e.remaining.shape[0] and e.remaining[op] == 0:
        for u in range(e.units.shape[0]):
            charge(e, u, t)
            for column in range(ACCOUNTS):
                e.op_account[op, u, column] = e.account[u, column] - e.window[u, column]
                e.window[u, column] = e.account[u, column]
        e.op_end[op] = t
        op += 1
    e.now[DONE_OPS] = op


@njit_inline
def add_tokens(e, channels):
    """Put one token into each channel of the bitmask."""
    e.now[AVAILABLE] |= channels
    channel = 0
    while channels != 0:
        if channels & 1:
            e.tokens[channel] += 1
        channels >>= 1
        channel += 1


@njit_inline
def take_tokens(e, channels):
    """Take one token from each channel of the bitmask; all must have one."""
    channel = 0
    while channels != 0:
        if channels & 1:
            e.tokens[channel] -= 1
            if e.tokens[channel] == 0:
                e.now[AVAILABLE] &= ~(np.int64(1) << channel)
        channels >>= 1
        channel += 1


@njit_inline
def lowest_channel(channels):
    """Return the index of the lowest set bit."""
    channel = 0
    while not channels & 1:
        channels >>= 1
        channel += 1
    return channel


@njit_inline
def complete(e, i):
    """Release the instruction's tokens and close windows that waited for it."""
    add_tokens(e, e.code[i, RELEASE])
    op = e.code[i, OP]
    e.remaining[op] -= 1
    if e.remaining[op] == 0 and op == e.now[DONE_OPS]:
        close_windows(e)


@njit_inline
def finish_running(e):
    """Complete the compute instructions that end now, by unit index."""
    t = e.now[NOW]
    for u in range(e.units.shape[0]):
        if e.units[u, STATUS] == RUNNING and e.units[u, END_TIME] == t:
            set_status(e, u, IDLE)
            complete(e, e.units[u, INSTR])


@njit_inline
def finish_requests(e):
    """Complete the requests that the memory has finished, in its order."""
    t = e.now[NOW]
    while memory_next_time(e.memory, e.ring) <= t:
        # Charge before the request leaves the ring: its data phase is read from there.
        for u in range(e.units.shape[0]):
            if e.units[u, STATUS] == TRANSFERRING:
                charge(e, u, t)
        row = memory_pop(e.memory, e.ring, t)
        tag = e.ring[row, REQUEST_TAG]
        e.units[e.ring[row, REQUEST_REQUESTER], OUTSTANDING] -= 1
        if e.fixed[HAS_TRACE]:
            e.trace[tag // e.code.shape[0], 2] = t
            tag %= e.code.shape[0]
        complete(e, tag)


@njit_inline
def blocking_status(e, u, i):
    """Return what keeps instruction ``i`` from starting, -1 if nothing.

    Requests in flight come first: while data moves the unit is busy, whatever its head awaits.
    Other instructions wait until the unit's requests are done, so that a unit stays in order.
    """
    outstanding = e.units[u, OUTSTANDING]
    if outstanding > 0:
        is_request = e.code[i, BYTES] > 0
        if not is_request or outstanding >= e.fixed[MAX_OUTSTANDING]:
            return TRANSFERRING
    missing = e.code[i, WAIT] & ~e.now[AVAILABLE]
    if missing == 0:
        return -1
    return TRANSFERRING if outstanding > 0 else e.reasons[lowest_channel(missing)]


@njit_inline
def record_start(e, i, end):
    """Append a trace event and return its row; beyond the bound, the dump row."""
    row = min(e.now[EVENTS], e.fixed[MAX_EVENTS])
    e.now[EVENTS] += 1
    e.trace[row, 0] = i
    e.trace[row, 1] = e.now[NOW]
    e.trace[row, 2] = end
    return row


@njit_inline
def start(e, u, i):
    """Start the unit's head instruction ``i``; return whether others may now go on."""
    t = e.now[NOW]
    take_tokens(e, e.code[i, WAIT])
    head = e.units[u, HEAD] + 1
    e.units[u, HEAD] = head if head < e.queue.shape[1] else 0
    e.units[u, LENGTH] -= 1
    if e.op_start[e.code[i, OP]] < 0:
        e.op_start[e.code[i, OP]] = t
    row = 0
    if e.fixed[HAS_TRACE]:
        row = record_start(e, i, t + e.code[i, CYCLES])
    if e.code[i, BYTES] > 0:
        tag = i + row * e.code.shape[0]
        memory_submit(e.memory, e.ring, u, tag, e.code[i, BYTES], t)
        e.units[u, OUTSTANDING] += 1
        set_status(e, u, TRANSFERRING)
        return True
    if e.code[i, CYCLES] == 0:
        complete(e, i)
        return e.code[i, RELEASE] != 0
    set_status(e, u, RUNNING)
    e.units[u, INSTR] = i
    e.units[u, BEGIN_TIME] = t
    e.units[u, END_TIME] = t + e.code[i, CYCLES]
    return False


@njit_inline
def start_ready(e, u):
    """Start all that the unit can start now; return whether others may now go on."""
    has_effect = False
    while e.units[u, STATUS] != RUNNING and e.units[u, LENGTH] > 0:
        i = e.queue[u, e.units[u, HEAD]]
        blocked = blocking_status(e, u, i)
        if blocked >= 0:
            set_status(e, u, blocked)
            return has_effect
        has_effect |= start(e, u, i)
    if e.units[u, STATUS] != RUNNING:
        set_status(e, u, TRANSFERRING if e.units[u, OUTSTANDING] > 0 else IDLE)
    return has_effect


@njit_inline
def has_room(e):
    """Return whether the next instruction exists and its unit's queue can take it."""
    pc = e.now[PC]
    return pc < e.code.shape[0] and e.units[e.code[pc, UNIT], LENGTH] < e.queue.shape[1]


@njit_inline
def dispatch(e):
    """Put the next instruction into its unit's queue if there is room; return whether so."""
    if e.now[NEXT_DISPATCH] > e.now[NOW] or not has_room(e):
        return False
    pc = e.now[PC]
    u = e.code[pc, UNIT]
    slot = e.units[u, HEAD] + e.units[u, LENGTH]
    e.queue[u, slot if slot < e.queue.shape[1] else slot - e.queue.shape[1]] = pc
    e.units[u, LENGTH] += 1
    e.now[NEXT_DISPATCH] = e.now[NOW] + 1
    e.now[PC] = pc + 1
    follow_loops(e)
    return True


@njit_inline
def follow_loops(e):
    """Move the frontend over LOOP and END, which cost nothing, to the next instruction."""
    pc = e.now[PC]
    while pc < e.code.shape[0] and e.code[pc, UNIT] < 0:
        depth = e.now[DEPTH]
        if e.code[pc, UNIT] == LOOP:
            e.loops[depth, LEFT] = e.code[pc, COUNT]
            e.loops[depth, FIRST] = pc + 1
            e.loops[depth, DONE] = 0
            e.loops[depth, SAVED_LENGTH] = 0
            e.loops[depth, SAVE_NEXT] = 1
            e.now[DEPTH] = depth + 1
            pc += 1
            continue
        e.loops[depth - 1, LEFT] -= 1
        e.loops[depth - 1, DONE] += 1
        if e.loops[depth - 1, LEFT] > 0:
            pc = e.loops[depth - 1, FIRST]
            e.now[PC] = pc
            if e.fixed[HAS_FAST_FORWARD]:
                fast_forward(e, depth - 1)
        else:
            e.now[DEPTH] = depth - 1
            pc += 1
    e.now[PC] = pc


@njit_outline
def snapshot(e):
    """Write all state that the future depends on, relative to now; return its length.

    Loop counters are left out: of this loop they only bound how far to skip, of outer loops they
    cannot change before it ends. Counted-out prefixes make the encoding unambiguous.
    """
    t = e.now[NOW]
    out = e.scratch
    out[0] = e.now[DONE_OPS]
    at = 1
    for u in range(e.units.shape[0]):
        is_running = e.units[u, STATUS] == RUNNING
        out[at] = e.units[u, STATUS]
        out[at + 1] = e.units[u, INSTR] if is_running else 0
        out[at + 2] = e.units[u, END_TIME] - t if is_running else 0
        out[at + 3] = e.units[u, LENGTH]
        at += 4
        slot = e.units[u, HEAD]
        for _ in range(e.units[u, LENGTH]):
            out[at] = e.queue[u, slot]
            at += 1
            slot = slot + 1 if slot + 1 < e.queue.shape[1] else 0
    for channel in range(e.tokens.shape[0]):
        out[at] = e.tokens[channel]
        at += 1
    return memory_snapshot(e.memory, e.ring, t, out, at)


@njit_outline
def is_saved_state(e, depth, length):
    """Return whether the state in ``scratch`` equals the one saved for this loop."""
    if e.loops[depth, SAVED_LENGTH] != length:
        return False
    for at in range(length):  # noqa: SIM110 (a plain loop compiles to the fastest code)
        if e.scratch[at] != e.saved[depth, at]:
            return False
    return True


@njit_outline
def fast_forward(e, depth):
    """Skip whole periods of a loop whose state recurs; exact, by construction.

    At each return to the loop's first instruction the state is compared with the one saved at
    the latest power of two (Brent 1980: finds a cycle of any length with one saved state). At
    least one iteration is left to run plainly, so that no op of the body completes in a skip.
    """
    t = e.now[NOW]
    for u in range(e.units.shape[0]):
        charge(e, u, t)
    length = snapshot(e)
    if is_saved_state(e, depth, length):
        period = e.loops[depth, DONE] - e.loops[depth, SAVED_DONE]
        skip_periods(e, depth, period, (e.loops[depth, LEFT] - 1) // period)
    elif e.loops[depth, DONE] == e.loops[depth, SAVE_NEXT]:
        e.loops[depth, SAVED_LENGTH] = length
        e.loops[depth, SAVED_TIME] = t
        e.loops[depth, SAVED_DONE] = e.loops[depth, DONE]
        e.loops[depth, SAVE_NEXT] *= 2
        for at in range(length):
            e.saved[depth, at] = e.scratch[at]
        for u in range(e.units.shape[0]):
            for column in range(ACCOUNTS):
                e.saved_account[depth, u, column] = e.account[u, column]


@njit_outline
def skip_periods(e, depth, period, periods):
    """Add ``periods`` times what happened since the saved state of this loop."""
    if periods == 0:
        return
    dt = periods * (e.now[NOW] - e.loops[depth, SAVED_TIME])
    for u in range(e.units.shape[0]):
        for column in range(ACCOUNTS):
            grown = e.account[u, column] - e.saved_account[depth, u, column]
            e.account[u, column] += periods * grown
        e.units[u, LAST_TIME] += dt
        e.units[u, BEGIN_TIME] += dt
        e.units[u, END_TIME] += dt
    memory_shift(e.memory, e.ring, dt)
    e.now[NOW] += dt
    e.now[NEXT_DISPATCH] += dt
    e.loops[depth, LEFT] -= periods * period
    e.loops[depth, SAVED_LENGTH] = 0
    e.loops[depth, SAVE_NEXT] = -1
    count_skipped(e, depth, periods * period)


@njit_outline
def count_skipped(e, depth, iterations):
    """Count the instructions of ``iterations`` of the loop's body as completed."""
    factor = iterations
    pc = e.loops[depth, FIRST]
    inside = 0
    while e.code[pc, UNIT] != END or inside > 0:
        if e.code[pc, UNIT] == LOOP:
            factor *= e.code[pc, COUNT]
            inside += 1
        elif e.code[pc, UNIT] == END:
            factor //= e.code[pc, COUNT]
            inside -= 1
        else:
            e.remaining[e.code[pc, OP]] -= factor
            e.now[SKIPPED] += factor
        pc += 1


@njit_inline
def settle(e):
    """Do everything that happens in the present cycle."""
    finish_running(e)
    is_changed = True
    while is_changed:
        is_changed = False
        finish_requests(e)
        for u in range(e.units.shape[0]):
            is_changed |= start_ready(e, u)
        is_changed |= dispatch(e)


@njit_inline
def next_time(e):
    """Return the next cycle in which anything can happen."""
    t = memory_next_time(e.memory, e.ring)
    for u in range(e.units.shape[0]):
        if e.units[u, STATUS] == RUNNING:
            t = min(t, e.units[u, END_TIME])
    return min(t, e.now[NEXT_DISPATCH]) if has_room(e) else t


@njit_outline
def run_steps(e, steps):
    """Advance by at most ``steps`` cycles in which something happens."""
    if e.now[STEPS] == 0:
        close_windows(e)
        follow_loops(e)
    for _ in range(steps):
        settle(e)
        e.now[STEPS] += 1
        t = next_time(e)
        if t == NEVER:
            is_done = e.now[DONE_OPS] == e.remaining.shape[0]
            return FINISHED if is_done else DEADLOCK
        e.now[NOW] = t
    return CONTINUE
