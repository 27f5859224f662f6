"""Step in-order units that are fed by instruction queues and synchronised by tokens.

State layout: one :class:`Engine` of int64 arrays, rows and columns named by the constants below.
Everything is advanced in place; :func:`run_steps` does a bounded number of time steps per call.

Tie rule within one cycle, which makes a run a function of the program alone:

1. compute instructions that end in this cycle complete, by unit index;
2. until nothing changes: requests that the memory has finished complete, in the memory's order;
   each unit, by index, starts every instruction that it can; the frontend dispatches, once.

So a token released in a cycle can be taken in it, a queue slot left in a cycle can be filled in
it, and an instruction dispatched in a cycle can start in it. A unit's status at the end of a
cycle holds until the next step, and that is when it is charged: once per step, in one place.

The first run on a machine pays for compiling this file, about in proportion to its functions,
its array arguments and the depth of inlining. Hence few wide arrays, and calls at most three deep.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from hwsim.components.dram.port import (
    port_data_cycles,
    port_moved,
    port_next_time,
    port_pop,
    port_queued,
    port_requester,
    port_submit,
    port_tag,
)
from hwsim.components.dram.simple import NEVER, memory_shift, memory_snapshot
from hwsim.components.jit import njit_entry, njit_inline, njit_outline
from hwsim.core.program import END, LOOP
from hwsim.core.result import STALL_REASONS

REASONS = len(STALL_REASONS)
DRAM = STALL_REASONS.index("dram")
# As np.int64 the constants below are no literal types to numba, which would compile each function
# that takes one anew for each. A unit's STATUS: a stall reason below REASONS, or one of these.
IDLE, RUNNING, TRANSFERRING = np.int64(REASONS), np.int64(REASONS + 1), np.int64(REASONS + 2)
# What to do with tokens.
PUT, TAKE = np.int64(1), np.int64(-1)
# Columns of an account: 0 busy, 1 + reason stalled, last idle.
ACCOUNTS = REASONS + 2

# Engine.code columns; COUNT is repeated at a loop's END, LOST is the sum of the LOST_TO columns.
UNIT, CYCLES, BYTES, WAIT, RELEASE, OP, COUNT, LOST, IS_WRITE, MACS, LOST_TO = range(11)
# Engine.units columns: INSTR runs in [BEGIN_TIME, END_TIME); ACCOUNT so far, WINDOW when the last
# window closed; QUEUE holds instruction indices, a ring of the remaining columns from HEAD.
STATUS, HEAD, LENGTH, INSTR, BEGIN_TIME, END_TIME, OUTSTANDING, ACCOUNT = range(8)
WINDOW = ACCOUNT + ACCOUNTS
QUEUE = WINDOW + ACCOUNTS
# Engine.channels columns.
TOKENS, REASON = range(2)
# Engine.ops columns: instructions not yet completed; first start of work, -1 before; close of the
# op's window; cycles inside the window, ACCOUNTS columns per unit.
REMAINING, OP_START, OP_END, OP_ACCOUNT = range(4)
# Engine.loops columns: iterations left, first instruction, iterations done, and the saved state:
# its length (0: none), its time, its iteration, the iteration to save at next, ACCOUNTS columns
# per unit, then the rest of the state. The last row is scratch.
LEFT, FIRST, DONE, SAVED_LENGTH, SAVED_TIME, SAVED_DONE, SAVE_NEXT, SAVED_STATE = range(8)
# Engine.now entries; the last four never change. EVENTS and SAMPLES: rows of the records in use.
NOW, PC, DEPTH, NEXT_DISPATCH, AVAILABLE, DONE_OPS, STEPS, SKIPPED, EVENTS, SAMPLES = range(10)
MAX_OUTSTANDING, HAS_FAST_FORWARD, HAS_TRACE, MAX_EVENTS = range(10, 14)
# Engine.trace columns: when, the instruction that started (~ it: a request that is done), the end
# of a computation (-1: a request), and which of the unit's requests in flight it is.
EVENT_TIME, EVENT_INSTR, EVENT_END, EVENT_LANE = range(4)
PENDING, FIRST_LANE = np.int64(-1), np.int64(0)

# Engine.probe entries: bytes read and written by requests that are done; when the latest sample
# was taken and what had been read and written until then; cycles to the next one; samples in all.
MOVED, SAMPLED_TIME, SAMPLED_MOVED, SAMPLE_CYCLES, SAMPLED = 0, 2, 3, 5, 6
# Engine.samples columns: begin, end, bytes read and written in between, when the levels hold from;
# levels: bursts queued in DRAM by kind, then per unit instructions queued, per unit requests in
# flight, per channel tokens.
SAMPLE_BEGIN, SAMPLE_END, SAMPLE_BYTES, SAMPLE_AT, SAMPLE_LEVELS = 0, 1, 2, 4, 5
SAMPLE_DOUBLING = 1 << 16
"""Samples after which they are taken half as often: a trace's counters stay readable."""

CONTINUE, FINISHED, DEADLOCK = range(3)
"""What :func:`run_steps` returns."""


class Engine(NamedTuple):
    """All state of a run, int64 throughout."""

    code: np.ndarray  # [instruction, LOST_TO + REASONS]
    units: np.ndarray  # [unit, QUEUE + queue depth]
    channels: np.ndarray  # [channel, 2]
    ops: np.ndarray  # [op, OP_ACCOUNT + units * ACCOUNTS]
    loops: np.ndarray  # [depth + 1, SAVED_STATE + snapshot]
    memory: np.ndarray  # see dram/simple.py; tag = instruction + instructions * trace row
    dram: Any  # words of dram/layout.py; None: memory is used
    now: np.ndarray  # [14]
    trace: np.ndarray  # [MAX_EVENTS + all of one cycle, 4]; emptied by the caller
    lanes: np.ndarray  # [unit, max outstanding] whether a request is in flight, if traced
    probe: np.ndarray  # [7] the sampled counters' state, see MOVED
    samples: np.ndarray  # [rows, columns] one per sample; emptied by the caller


@njit_outline
def charge_lost(code, units, u, since, until):
    """Account [since, until) of a running unit: lost cycles in enum order first, then busy."""
    i = units[u, INSTR]
    since -= units[u, BEGIN_TIME]
    until -= units[u, BEGIN_TIME]
    begin = 0
    for reason in range(REASONS):
        end = begin + code[i, LOST_TO + reason]
        part = min(end, until) - max(begin, since)
        if part > 0:
            units[u, ACCOUNT + 1 + reason] += part
        begin = end
    units[u, ACCOUNT] += max(until - max(begin, since), 0)


@njit_inline
def charge_units(code, units, memory, dram, since, until):
    """Account [since, until) of every unit to the status that it held all the while."""
    length = until - since
    for u in range(units.shape[0]):
        status = units[u, STATUS]
        busy = 0
        if status < RUNNING:
            units[u, ACCOUNT + 1 + status] += length
        elif status == TRANSFERRING:
            busy = port_data_cycles(memory, dram, u, since, until)
            units[u, ACCOUNT + 1 + DRAM] += length - busy
        elif code[units[u, INSTR], LOST] == 0:
            busy = length
        else:
            charge_lost(code, units, u, since, until)
        units[u, ACCOUNT] += busy


@njit_outline
def close_windows(units, ops, now):
    """Close the windows of all ops whose instructions, and those of all before, are done."""
    op = now[DONE_OPS]
    while op < ops.shape[0] and ops[op, REMAINING] == 0:
        at = OP_ACCOUNT
        for u in range(units.shape[0]):
            for column in range(ACCOUNT, WINDOW):
                ops[op, at] = units[u, column] - units[u, column + ACCOUNTS]
                units[u, column + ACCOUNTS] = units[u, column]
                at += 1
        ops[op, OP_END] = now[NOW]
        op += 1
    now[DONE_OPS] = op


@njit_inline
def change_tokens(channels, now, mask, change):
    """PUT a token into each channel of the bitmask or TAKE one from each; all must have one."""
    channel = 0
    while mask != 0:
        if mask & 1:
            bit = np.int64(1) << channel
            channels[channel, TOKENS] += change
            if channels[channel, TOKENS] == 0:
                now[AVAILABLE] &= ~bit
            else:
                now[AVAILABLE] |= bit
        mask >>= 1
        channel += 1


@njit_inline
def complete(code, channels, ops, now, i):
    """Release the instruction's tokens and count it as done; its op's window closes later."""
    change_tokens(channels, now, code[i, RELEASE], PUT)
    ops[code[i, OP], REMAINING] -= 1


@njit_inline
def finish_running(e):
    """Complete the compute instructions that end now, by unit index."""
    units = e.units
    t = e.now[NOW]
    for u in range(units.shape[0]):
        if units[u, STATUS] == RUNNING and units[u, END_TIME] == t:
            units[u, STATUS] = IDLE
            complete(e.code, e.channels, e.ops, e.now, units[u, INSTR])


@njit_inline
def finish_requests(e):
    """Complete the requests that the memory has finished, in its order."""
    code, memory, now = e.code, e.memory, e.now
    while True:
        row = port_pop(memory, e.dram, now[NOW])
        if row < 0:
            return
        i = port_tag(memory, e.dram, row)
        u = port_requester(memory, e.dram, row)
        e.units[u, OUTSTANDING] -= 1
        if now[HAS_TRACE]:
            lane = i // code.shape[0]
            i %= code.shape[0]
            e.lanes[u, lane] = 0
            record_event(e.trace, now, ~i, PENDING, lane)
            e.probe[MOVED + code[i, IS_WRITE]] += code[i, BYTES]
        complete(code, e.channels, e.ops, now, i)


@njit_inline
def blocking_status(code, units, channels, now, u, i):
    """Return what keeps instruction ``i`` from starting, -1 if nothing.

    Requests in flight come first: while data moves the unit is busy, whatever its head awaits.
    Other instructions wait until the unit's requests are done, so that a unit stays in order.
    """
    outstanding = units[u, OUTSTANDING]
    missing = code[i, WAIT] & ~now[AVAILABLE]
    if outstanding > 0:
        is_full = code[i, BYTES] == 0 or outstanding >= now[MAX_OUTSTANDING]
        return TRANSFERRING if is_full or missing != 0 else np.int64(-1)
    if missing == 0:
        return np.int64(-1)
    channel = 0
    while not missing & 1:
        missing >>= 1
        channel += 1
    return channels[channel, REASON]


@njit_outline
def record_event(trace, now, instruction, end, lane):
    """Append a row to the record of events."""
    row = now[EVENTS]
    now[EVENTS] += 1
    trace[row, EVENT_TIME] = now[NOW]
    trace[row, EVENT_INSTR] = instruction
    trace[row, EVENT_END] = end
    trace[row, EVENT_LANE] = lane


@njit_inline
def take_lane(lanes, u):
    """Return the first lane in which no request of unit ``u`` is in flight, and take it."""
    lane = np.int64(0)
    while lanes[u, lane] != 0:
        lane += 1
    lanes[u, lane] = 1
    return lane


@njit_inline
def start(e, u, i):
    """Start the unit's head instruction ``i``; return whether others may now go on."""
    code, units, ops, now = e.code, e.units, e.ops, e.now
    t = now[NOW]
    op, size, end = code[i, OP], code[i, BYTES], t + code[i, CYCLES]
    change_tokens(e.channels, now, code[i, WAIT], TAKE)
    head = units[u, HEAD] + 1
    units[u, HEAD] = head if head < units.shape[1] else QUEUE
    units[u, LENGTH] -= 1
    if ops[op, OP_START] < 0 and (size > 0 or end > t):  # a fence is no work
        ops[op, OP_START] = t
    tag = i
    if now[HAS_TRACE]:
        if size > 0:
            lane = take_lane(e.lanes, u)
            record_event(e.trace, now, i, PENDING, lane)
            tag += lane * code.shape[0]
        else:
            record_event(e.trace, now, i, end, FIRST_LANE)
    if size > 0:
        port_submit(e.memory, e.dram, u, tag, size, code[i, IS_WRITE], t)
        units[u, OUTSTANDING] += 1
        return True
    if end == t:
        complete(code, e.channels, ops, now, i)
        return code[i, RELEASE] != 0
    units[u, STATUS] = RUNNING
    units[u, INSTR] = i
    units[u, BEGIN_TIME] = t
    units[u, END_TIME] = end
    return False


@njit_inline
def start_ready(e, u):
    """Start all that the unit can start now; return whether others may now go on."""
    units = e.units
    has_effect = False
    while units[u, STATUS] != RUNNING:
        if units[u, LENGTH] == 0:
            units[u, STATUS] = TRANSFERRING if units[u, OUTSTANDING] > 0 else IDLE
            return has_effect
        i = units[u, units[u, HEAD]]
        blocked = blocking_status(e.code, units, e.channels, e.now, u, i)
        if blocked >= 0:
            units[u, STATUS] = blocked
            return has_effect
        has_effect |= start(e, u, i)
    return has_effect


@njit_inline
def has_room(code, units, now):
    """Return whether the next instruction exists and its unit's queue can take it."""
    pc = now[PC]
    return pc < code.shape[0] and units[code[pc, UNIT], LENGTH] < units.shape[1] - QUEUE


@njit_inline
def dispatch(e):
    """Put the next instruction into its unit's queue if there is room; return whether so."""
    code, units, now = e.code, e.units, e.now
    if now[NEXT_DISPATCH] > now[NOW] or not has_room(code, units, now):
        return False
    pc = now[PC]
    u = code[pc, UNIT]
    slot = units[u, HEAD] + units[u, LENGTH]
    units[u, slot if slot < units.shape[1] else slot - units.shape[1] + QUEUE] = pc
    units[u, LENGTH] += 1
    now[NEXT_DISPATCH] = now[NOW] + 1
    now[PC] = pc + 1
    depth = follow_loops(code, e.loops, now)
    if depth >= 0 and now[HAS_FAST_FORWARD]:
        fast_forward(e, depth)
    return True


@njit_outline
def follow_loops(code, loops, now):
    """Move the frontend over LOOP and END, which cost nothing, to the next instruction.

    Returns the depth of the loop that begins another iteration, -1 if none does: at most one,
    because a loop that repeats has an instruction in its body.
    """
    repeated = np.int64(-1)
    pc = now[PC]
    while pc < code.shape[0] and code[pc, UNIT] < 0:
        depth = now[DEPTH]
        if code[pc, UNIT] == LOOP:
            loops[depth, LEFT] = code[pc, COUNT]
            loops[depth, FIRST] = pc + 1
            loops[depth, DONE] = 0
            loops[depth, SAVED_LENGTH] = 0
            loops[depth, SAVE_NEXT] = 1
            now[DEPTH] = depth + 1
            pc += 1
            continue
        depth -= 1
        loops[depth, LEFT] -= 1
        loops[depth, DONE] += 1
        if loops[depth, LEFT] > 0:
            repeated = depth
            pc = loops[depth, FIRST]
        else:
            now[DEPTH] = depth
            pc += 1
    now[PC] = pc
    return repeated


@njit_inline
def snapshot(e, out):
    """Write the accounts and all state that the future depends on; return where they end.

    Times are relative to now. Loop counters are left out: of this loop they only bound how far to
    skip, of outer loops they cannot change before it ends, of inner loops they have just been set
    anew. Counted-out prefixes make the encoding unambiguous.
    """
    units, channels, loops, now = e.units, e.channels, e.loops, e.now
    at = SAVED_STATE
    for u in range(units.shape[0]):
        for column in range(ACCOUNT, WINDOW):
            loops[out, at] = units[u, column]
            at += 1
    loops[out, at] = now[DONE_OPS]
    at += 1
    for u in range(units.shape[0]):
        is_running = units[u, STATUS] == RUNNING
        loops[out, at] = units[u, STATUS]
        loops[out, at + 1] = units[u, INSTR] if is_running else 0
        loops[out, at + 2] = units[u, END_TIME] - now[NOW] if is_running else 0
        loops[out, at + 3] = units[u, LENGTH]
        at += 4
        slot = units[u, HEAD]
        for _ in range(units[u, LENGTH]):
            loops[out, at] = units[u, slot]
            at += 1
            slot = slot + 1 if slot + 1 < units.shape[1] else QUEUE
    for channel in range(channels.shape[0]):
        loops[out, at] = channels[channel, TOKENS]
        at += 1
    return memory_snapshot(e.memory, now[NOW], loops, out, at)


@njit_outline
def fast_forward(e, depth):
    """Skip whole periods of a loop whose state recurs; exact, by construction.

    At each return to the loop's first instruction the state is compared with the one saved at
    the latest power of two (Brent 1980: finds a cycle of any length with one saved state). At
    least one iteration is left to run plainly, so that no op of the body completes in a skip.
    """
    units, loops, now = e.units, e.loops, e.now
    close_windows(units, e.ops, now)  # an op that ended in this cycle does not end in the skip
    scratch = loops.shape[0] - 1
    length = snapshot(e, scratch)
    is_same = loops[depth, SAVED_LENGTH] == length
    at = SAVED_STATE + units.shape[0] * ACCOUNTS
    while is_same and at < length:
        is_same = loops[scratch, at] == loops[depth, at]
        at += 1
    if is_same:
        period = loops[depth, DONE] - loops[depth, SAVED_DONE]
        periods = (loops[depth, LEFT] - 1) // period
        if periods > 0:
            skip_periods(e, depth, period, periods)
    elif loops[depth, DONE] == loops[depth, SAVE_NEXT]:
        loops[depth, SAVED_LENGTH] = length
        loops[depth, SAVED_TIME] = now[NOW]
        loops[depth, SAVED_DONE] = loops[depth, DONE]
        loops[depth, SAVE_NEXT] *= 2
        for column in range(SAVED_STATE, length):
            loops[depth, column] = loops[scratch, column]


@njit_inline
def skip_periods(e, depth, period, periods):
    """Add ``periods`` times what happened since the saved state of this loop."""
    units, loops, now = e.units, e.loops, e.now
    dt = periods * (now[NOW] - loops[depth, SAVED_TIME])
    at = SAVED_STATE
    for u in range(units.shape[0]):
        for column in range(ACCOUNT, WINDOW):
            units[u, column] += periods * (units[u, column] - loops[depth, at])
            at += 1
        units[u, BEGIN_TIME] += dt
        units[u, END_TIME] += dt
    memory_shift(e.memory, dt)
    now[NOW] += dt
    now[NEXT_DISPATCH] += dt
    loops[depth, LEFT] -= periods * period
    loops[depth, SAVED_LENGTH] = 0
    loops[depth, SAVE_NEXT] = -1
    count_skipped(e.code, e.ops, now, loops[depth, FIRST], periods * period)


@njit_inline
def count_skipped(code, ops, now, pc, factor):
    """Count the instructions of ``factor`` iterations of the body at ``pc`` as completed."""
    inside = 1
    while inside > 0:
        if code[pc, UNIT] == LOOP:
            factor *= code[pc, COUNT]
            inside += 1
        elif code[pc, UNIT] == END:
            inside -= 1
            if inside > 0:
                factor //= code[pc, COUNT]
        else:
            ops[code[pc, OP], REMAINING] -= factor
            now[SKIPPED] += factor
        pc += 1


@njit_inline
def next_time(e):
    """Return the next cycle in which anything can happen."""
    units, now = e.units, e.now
    t = now[NEXT_DISPATCH] if has_room(e.code, units, now) else NEVER
    for u in range(units.shape[0]):
        if units[u, STATUS] == RUNNING:
            t = min(t, units[u, END_TIME])
    return port_next_time(e.memory, e.dram, now[NOW], t)


@njit_outline
def sample(e, now, t):
    """Append a sample of what moved since the latest one, if it is time or the run is over.

    ``t`` is the next cycle in which anything can happen; levels hold until then.
    """
    probe, samples, units = e.probe, e.samples, e.units
    end = now if t == NEVER else t
    since = end - probe[SAMPLED_TIME]
    if since <= 0 or (t != NEVER and since < probe[SAMPLE_CYCLES]):
        return
    row = e.now[SAMPLES]
    e.now[SAMPLES] += 1
    samples[row, SAMPLE_BEGIN] = probe[SAMPLED_TIME]
    samples[row, SAMPLE_END] = end
    samples[row, SAMPLE_AT] = now
    for kind in range(2):
        done, sizes, kinds = probe[MOVED + kind], e.code[:, BYTES], e.code[:, IS_WRITE]
        moved = port_moved(e.memory, e.dram, done, sizes, kinds, kind, end)
        samples[row, SAMPLE_BYTES + kind] = moved - probe[SAMPLED_MOVED + kind]
        probe[SAMPLED_MOVED + kind] = moved
        samples[row, SAMPLE_LEVELS + kind] = port_queued(e.dram, kind)
    at = SAMPLE_LEVELS + 2
    for u in range(units.shape[0]):
        samples[row, at + u] = units[u, LENGTH]
        samples[row, at + units.shape[0] + u] = units[u, OUTSTANDING]
    at += 2 * units.shape[0]
    for channel in range(e.channels.shape[0]):
        samples[row, at + channel] = e.channels[channel, TOKENS]
    probe[SAMPLED_TIME] = end
    probe[SAMPLED] += 1
    if probe[SAMPLED] % SAMPLE_DOUBLING == 0:
        probe[SAMPLE_CYCLES] *= 2


@njit_entry
def run_steps(e, steps):
    """Advance by at most ``steps`` cycles in which something happens."""
    units, ops, now = e.units, e.ops, e.now
    if now[STEPS] == 0:
        follow_loops(e.code, e.loops, now)
    for _ in range(steps):
        if now[HAS_TRACE] and (
            now[EVENTS] >= now[MAX_EVENTS] or now[SAMPLES] == e.samples.shape[0]
        ):
            return CONTINUE
        finish_running(e)
        is_changed = True
        while is_changed:
            is_changed = False
            finish_requests(e)
            for u in range(units.shape[0]):
                is_changed |= start_ready(e, u)
            is_changed |= dispatch(e)
        if now[DONE_OPS] < ops.shape[0] and ops[now[DONE_OPS], REMAINING] == 0:
            close_windows(units, ops, now)
        now[STEPS] += 1
        t = next_time(e)
        if now[HAS_TRACE]:
            sample(e, now[NOW], t)
        if t == NEVER:
            return FINISHED if now[DONE_OPS] == ops.shape[0] else DEADLOCK
        charge_units(e.code, units, e.memory, e.dram, now[NOW], t)
        now[NOW] = t
    return CONTINUE
