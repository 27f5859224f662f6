"""Execute thread programs: pipelines pick threads, threads execute instructions, time passes.

State layout: :mod:`hwsim.piuma.state`. An instruction takes effect in the cycle in which it is
issued; what waits for it (its thread, or on a single-threaded pipeline the next user of its result)
goes on when the answer is back. In one cycle DMA engines act first, then pipelines, each in order
of number.
"""

from __future__ import annotations

import math

import numpy as np
from numba.cpython.unsafe.numbers import trailing_zeros

from hwsim.components.jit import as_index, njit_apart, njit_entry, njit_inline
from hwsim.piuma.access_kernels import (
    HALF_WORD,
    NOTHING,
    READ,
    UPDATE,
    WORD,
    WRITE,
    access,
    cached_line,
    cached_slot,
    flush,
    schedule,
)
from hwsim.piuma.chip_table import chip_of
from hwsim.piuma.offload_kernels import arrive, dma_step, pop, post_dma, push, stp_ready
from hwsim.piuma.opcodes import (
    AADD,
    ADD,
    ADDI,
    AFADD,
    AMAX,
    AMIN,
    AND,
    ANDI,
    AOR,
    BEQ,
    BGE,
    BLT,
    BNE,
    CAS,
    DIV,
    DMA,
    FADD,
    FBLT,
    FDIV,
    FLOAT,
    FLUSH,
    FMAX,
    FMUL,
    FSQRT,
    FSUB,
    HALT,
    JMP,
    LD4,
    LD8,
    LDC4,
    LDC8,
    LI,
    MAX,
    MIN,
    MUL,
    MULI,
    OR,
    QPOP,
    QPUSH,
    SHL,
    SHLI,
    SHR,
    SHRI,
    ST4,
    ST8,
    STC8,
    SUB,
    SWAP,
    XOR,
)
from hwsim.piuma.state import (
    ALU,
    BAD_ADDRESS,
    BAD_BARRIER,
    BAD_QUEUE,
    BLOCKS,
    CAS_MERGED,
    CAS_WON,
    CHAIN,
    CHAIN_MAX,
    COUNT,
    DEADLOCK,
    DEPENDENCY,
    DIRTY,
    DMA_BUSY,
    DMA_SETUP,
    DRAM,
    ERROR,
    ERROR_THREAD,
    FIRST,
    HALTED,
    HAZARD,
    IS_STP,
    ISSUED_AT,
    LANE,
    LAST,
    LAST_HALT,
    LIVE,
    MEMORY_BYTES,
    NEVER,
    NOW,
    OF_PIPE,
    OP_COUNT,
    PC,
    PIPE_ACCOUNT,
    QUEUE_FULL,
    QUIET,
    REASON,
    REG_REASON,
    RESOURCE,
    RETRIES,
    SLOTS,
    SOON,
    STP_OUTSTANDING,
    THREAD_ACCOUNT,
    TURN,
    WHEEL,
)

__all__ = ["run_events", "run_plainly"]

MOST_AHEAD = np.int64(64)
"""Instructions done at once, so that a loop of them without an end does not stop the clock."""


@njit_inline
def fail(m, thread, error):
    """Stop the run: the thread did what cannot be done."""
    m.scalar[ERROR] = error
    m.scalar[ERROR_THREAD] = thread


@njit_inline
def note_cas(m, thread, has_won, has_merged):
    """Count compare-and-swaps: how many until one found an empty slot or its own key."""
    m.thread[thread, CHAIN] += 1
    if has_won or has_merged:
        m.scalar[CAS_WON if has_won else CAS_MERGED] += 1
        m.scalar[CHAIN_MAX] = max(m.scalar[CHAIN_MAX], m.thread[thread, CHAIN])
        m.thread[thread, CHAIN] = 0


@njit_inline
def atomic(m, thread, op, rd, word, rs2):
    """Do the atomic ``op`` on a word of memory; ``rd`` becomes the old value."""
    old = m.mem[word]
    value = m.regs[thread, rs2]
    if op == CAS:
        has_won = old == m.regs[thread, rd]
        if has_won:
            m.mem[word] = value
        note_cas(m, thread, has_won, old == value)
    elif op == AADD:
        m.mem[word] = old + value
    elif op == AFADD:
        m.fmem[word] += m.fregs[thread, rs2]
    elif op == AMIN:
        m.mem[word] = min(old, value)
    elif op == AMAX:
        m.mem[word] = max(old, value)
    elif op == AOR:
        m.mem[word] = old | value
    else:
        m.mem[word] = value
    m.regs[thread, rd] = old


@njit_inline
def through_cache(m, p, thread, op, rd, rs2, address, now):
    """Do a load or store through the cache; return (cycle of the answer, reason for waiting)."""
    slot, done, reason = cached_slot(m, p, address, now)
    line = cached_line(m, slot)
    if op == LDC8:
        m.regs[thread, rd] = m.mem[line * 8 + (address >> 3 & 7)]
    elif op == LDC4:
        m.regs[thread, rd] = m.mem4[line * 16 + (address >> 2 & 15)]
    else:
        m.mem[line * 8 + (address >> 3 & 7)] = m.regs[thread, rs2]
        m.cache[slot, DIRTY] |= np.int64(3) << (address >> 2 & 14)
    return done, reason


@njit_inline
def memory(m, p, thread, op, rd, rs2, address, now):
    """Do a load, store or atomic; return (cycle of the answer, reason for waiting)."""
    size = HALF_WORD if op in (LD4, ST4, LDC4) else WORD
    if address < 0 or address + size > m.scalar[MEMORY_BYTES] or address & (size - 1):
        fail(m, thread, BAD_ADDRESS)
        return NEVER, HAZARD
    if LDC8 <= op <= STC8:
        return through_cache(m, p, thread, op, rd, rs2, address, now)
    kind = READ
    if op == LD8:
        m.regs[thread, rd] = m.mem[address >> 3]
    elif op == LD4:
        m.regs[thread, rd] = m.mem4[address >> 2]
    elif op == ST8:
        m.mem[address >> 3] = m.regs[thread, rs2]
        kind = WRITE
    elif op == ST4:
        m.mem4[address >> 2] = np.int32(m.regs[thread, rs2])
        kind = WRITE
    else:
        atomic(m, thread, op, rd, address >> 3, rs2)
        kind = UPDATE
    return access(m, p, address, size, kind, now)


@njit_inline
def calculate(regs, fregs, thread, op, rd, rs1, rs2, imm, row):
    """Do an arithmetic instruction or a jump in ``row``; return the row of the next."""
    a, b = regs[thread, rs1], regs[thread, rs2]
    following = row + 1
    if op == LI:
        regs[thread, rd] = imm
    elif op == ADD:
        regs[thread, rd] = a + b
    elif op == ADDI:
        regs[thread, rd] = a + imm
    elif op == SUB:
        regs[thread, rd] = a - b
    elif op == MUL:
        regs[thread, rd] = a * b
    elif op == MULI:
        regs[thread, rd] = a * imm
    elif op == AND:
        regs[thread, rd] = a & b
    elif op == ANDI:
        regs[thread, rd] = a & imm
    elif op == OR:
        regs[thread, rd] = a | b
    elif op == XOR:
        regs[thread, rd] = a ^ b
    elif op == SHLI:
        regs[thread, rd] = a << imm
    elif op == SHRI:
        regs[thread, rd] = a >> imm
    elif op == SHL:
        regs[thread, rd] = a << (b & 63)
    elif op == SHR:
        regs[thread, rd] = a >> (b & 63)
    elif op == MIN:
        regs[thread, rd] = min(a, b)
    elif op == MAX:
        regs[thread, rd] = max(a, b)
    elif op == DIV:
        regs[thread, rd] = a // b if b != 0 else -1
    elif op == FADD:
        fregs[thread, rd] = fregs[thread, rs1] + fregs[thread, rs2]
    elif op == FSUB:
        fregs[thread, rd] = fregs[thread, rs1] - fregs[thread, rs2]
    elif op == FMUL:
        fregs[thread, rd] = fregs[thread, rs1] * fregs[thread, rs2]
    elif op == FDIV:
        fregs[thread, rd] = fregs[thread, rs1] / fregs[thread, rs2]
    elif op == FMAX:
        fregs[thread, rd] = max(fregs[thread, rs1], fregs[thread, rs2])
    elif op == FSQRT:
        fregs[thread, rd] = math.sqrt(fregs[thread, rs1])
    elif op == FLOAT:
        fregs[thread, rd] = np.float64(a)
    elif op == JMP:
        following = imm
    elif op == BEQ:
        following = imm if a == b else following
    elif op == BNE:
        following = imm if a != b else following
    elif op == BLT:
        following = imm if a < b else following
    elif op == BGE:
        following = imm if a >= b else following
    elif op == FBLT:
        following = imm if fregs[thread, rs1] < fregs[thread, rs2] else following
    return following


@njit_inline
def run_registers(code, regs, fregs, scalar, thread, row, limit):
    """Do instructions from ``row`` on, at most ``limit``, that concern a thread's registers alone.

    Return (how many, the row of the next). Nobody else sees these registers, so that it makes no
    difference when, between two other instructions of the thread, their values change.
    """
    count = NOTHING
    while count < limit:
        op = as_index(code[row, 0])
        if op >= LD8:
            break
        rd, rs1 = as_index(code[row, 1]), as_index(code[row, 2])
        rs2, imm = as_index(code[row, 3]), code[row, 4]
        scalar[OP_COUNT + op] += 1
        row = as_index(calculate(regs, fregs, thread, op, rd, rs1, rs2, imm, row))
        count += 1
    return count, row


@njit_apart
def offload(m, p, thread, op, row, a, now):
    """Do an instruction of the engines beside the pipelines; return (ready, reason)."""
    done, reason = now + m.pipe[p, ALU], HAZARD
    rd, rs1, rs2, imm = m.code[row, 1], m.code[row, 2], m.code[row, 3], m.code[row, 4]
    if op in (QPUSH, QPOP):
        if a < 0 or a >= m.queue.shape[0]:
            fail(m, thread, BAD_QUEUE)
            return NEVER, HAZARD
        if op == QPUSH:
            return push(m, p, thread, a, m.regs[thread, rs2], now), QUEUE_FULL
        return pop(m, p, thread, rd, a, now), DEPENDENCY
    if op == DMA:
        if not post_dma(m, p, thread, imm, rs1, now):
            m.thread[thread, PC] = row  # try again
            m.scalar[RETRIES] += 1
            return now + m.scalar[DMA_SETUP] + 1, QUEUE_FULL
    elif op == FLUSH:
        return max(done, flush(m, p, now)), DRAM
    elif op == HALT:
        m.thread[thread, HALTED] = 1
        m.scalar[LIVE] -= 1
        m.scalar[LAST_HALT] = now
        return NEVER, HAZARD
    else:
        group = a + imm
        if group < 0 or group >= m.barrier.shape[0]:
            fail(m, thread, BAD_BARRIER)
        else:
            arrive(m, thread, group, op, now)
        return m.ready[thread], m.thread[thread, REASON]
    return done, reason


@njit_inline
def execute(m, p, thread, now, limit):
    """Execute the next instruction of ``thread`` and set when the one after may be issued.

    Of what follows, up to ``limit`` instructions that concern its registers alone are done too,
    and ``Chip.ahead`` says how many of them are still to be issued.
    """
    row = m.thread[thread, PC]
    op = m.code[row, 0]
    done, reason = now + m.pipe[p, ALU], HAZARD
    is_stp = m.pipe[p, IS_STP] != 0
    is_own = op < LD8
    is_followed = is_own
    if not is_own:
        a = m.regs[thread, m.code[row, 2]]
        m.thread[thread, PC] = row + 1
        m.scalar[OP_COUNT + op] += 1
        if op <= SWAP:
            rd = m.code[row, 1]
            answered, reason = memory(m, p, thread, op, rd, m.code[row, 3], a + m.code[row, 4], now)
            if is_stp:
                note_answer(m, thread, op, rd, answered, reason)
                reason = HAZARD
            else:
                done = max(done, answered)
                is_followed = limit > 1 and done < NEVER
            row += 1
        else:
            done, reason = offload(m, p, thread, op, row, a, now)
            if op == QPOP and is_stp and done < NEVER:
                lane, rd = m.thread[thread, LANE], m.code[row, 1]
                m.stp[lane, rd] = done
                m.stp[lane, REG_REASON + rd] = reason
    if is_followed:
        count, m.thread[thread, PC] = run_registers(
            m.code, m.regs, m.fregs, m.scalar, thread, row, np.int64(1) if is_stp else limit
        )
        m.ahead[thread] = count - 1 if is_own else count
    m.ready[thread] = done
    m.thread[thread, REASON] = reason
    if is_stp and done < NEVER:
        stp_ready(m, thread, done)


@njit_inline
def note_answer(m, thread, op, rd, answered, reason):
    """Note when a memory instruction of a single-threaded pipeline is answered, and its result."""
    lane, slots = m.thread[thread, LANE], m.scalar[STP_OUTSTANDING]
    free = 0
    for k in range(slots):
        if m.stp[lane, SLOTS + k] < m.stp[lane, SLOTS + free]:
            free = k
    m.stp[lane, SLOTS + free] = answered
    m.stp[lane, SLOTS + slots + free] = reason
    if op != ST8 and op != ST4 and op != STC8:
        m.stp[lane, rd] = answered
        m.stp[lane, REG_REASON + rd] = reason


@njit_inline
def pick(m, p, now):
    """Return the thread that pipeline ``p`` issues from in cycle ``now``, or -1; take turns."""
    first, count, turn = m.pipe[p, FIRST], m.pipe[p, COUNT], m.pipe[p, TURN]
    for k in range(count):
        lane = turn + k
        if lane >= count:
            lane -= count
        if m.ready[first + lane] <= now:
            m.pipe[p, TURN] = lane + 1 if lane + 1 < count else 0
            return first + lane
    return np.int64(-1)


@njit_inline
def pick_waiting(m, p):
    """Take out and return the thread whose turn it is of those that wait for ``p`` to issue."""
    return take_turn(m, p, m.waiting[p])


@njit_inline
def take_turn(m, p, waiting):
    """Do :func:`pick_waiting` with the set of waiting threads at hand."""
    low = waiting & (np.int64(-1) << m.pipe[p, TURN])
    if low == 0:
        low = waiting
    low &= -low
    m.waiting[p] = waiting ^ low
    lane = trailing_zeros(low)
    m.pipe[p, TURN] = lane + 1 if lane + 1 < m.pipe[p, COUNT] else 0
    return as_index(m.pipe[p, FIRST] + lane)


@njit_inline
def issue(m, p, thread, now, limit):
    """Let pipeline ``p`` issue the next instruction of ``thread``, and account for it."""
    reason = m.thread[thread, REASON]
    m.pipe[p, as_index(PIPE_ACCOUNT + reason)] += now - m.pipe[p, LAST] - 1
    m.pipe[p, LAST] = now
    m.pipe[p, PIPE_ACCOUNT] += 1
    since, ready = m.thread[thread, ISSUED_AT] + 1, m.ready[thread]
    waited = max(ready - since, 0)
    m.thread[thread, as_index(THREAD_ACCOUNT + reason)] += waited
    m.thread[thread, THREAD_ACCOUNT + RESOURCE] += now - since - waited
    m.thread[thread, THREAD_ACCOUNT] += 1
    m.thread[thread, ISSUED_AT] = now
    if m.ahead[thread] > 0:
        m.ahead[thread] -= 1
        m.thread[thread, REASON] = HAZARD
        m.ready[thread] = now + m.pipe[p, ALU]
    else:
        execute(m, p, thread, now, limit)


@njit_inline
def look(m, actor, now):
    """Do what the wheel holds for ``actor`` in cycle ``now``: step an engine, ready a thread."""
    due = m.next_time[actor]
    thread = actor - m.scalar[BLOCKS]
    if due > now:  # put off, or no longer true
        schedule(m, actor, due, now)
    elif thread < 0:
        dma_step(m, actor, now)
    else:
        p = m.thread[thread, OF_PIPE]
        m.waiting[p] |= np.int64(1) << (thread - m.pipe[p, FIRST])


@njit_inline
def look_at_wheel(m, slot, now):
    """Look at all actors that a slot of the wheel holds, of which there are some."""
    m.wheel[slot, 0] = 0
    for w in range(1, m.wheel.shape[1]):
        bits = m.wheel[slot, w]
        if bits != 0:
            m.wheel[slot, w] = 0
            while bits != 0:
                look(m, (w - 1) * 64 + trailing_zeros(bits), now)
                bits &= bits - 1


@njit_inline
def return_thread(m, p, thread, now):
    """Let ``thread``, which ``p`` has just issued from, come back when it is ready."""
    ready = m.ready[thread]
    if ready - now < SOON:
        lane = thread - m.pipe[p, FIRST]
        m.soon[ready & SOON - 1, p] |= np.int64(1) << lane
    else:
        schedule(m, m.scalar[BLOCKS] + thread, ready, now)


@njit_entry
def run_events(table, until):
    """Run from event to event up to cycle ``until``; return whether everything is done."""
    m = chip_of(table)
    now = m.scalar[NOW]
    quiet = m.scalar[QUIET]
    while now < until and m.scalar[ERROR] == 0:
        if m.scalar[LIVE] == 0 and m.scalar[DMA_BUSY] == 0:
            break
        quiet += 1
        if m.wheel[now & WHEEL - 1, 0] != 0:
            quiet = 0
            look_at_wheel(m, now & WHEEL - 1, now)
        soon = now & SOON - 1
        for p in range(m.waiting.shape[0]):
            waiting = m.waiting[p] | m.soon[soon, p]
            if waiting != 0:
                m.soon[soon, p] = 0
                quiet = 0
                thread = take_turn(m, p, waiting)
                issue(m, p, thread, now, MOST_AHEAD)
                return_thread(m, p, thread, now)
        if quiet > WHEEL:
            m.scalar[ERROR] = DEADLOCK
        now += 1
    m.scalar[NOW], m.scalar[QUIET] = now, quiet
    return m.scalar[ERROR] != 0 or (m.scalar[LIVE] == 0 and m.scalar[DMA_BUSY] == 0)


@njit_entry
def run_plainly(table, until):
    """Do what :func:`run_events` does by looking at every engine and pipeline in every cycle."""
    m = chip_of(table)
    blocks = m.scalar[BLOCKS]
    now = m.scalar[NOW]
    quiet = m.scalar[QUIET]
    while now < until and m.scalar[ERROR] == 0:
        if m.scalar[LIVE] == 0 and m.scalar[DMA_BUSY] == 0:
            break
        quiet += 1
        for block in range(blocks):
            if m.next_time[block] <= now:
                quiet = 0
                dma_step(m, block, now)
        for p in range(m.pipe.shape[0]):
            thread = pick(m, p, now)
            if thread >= 0:
                quiet = 0
                issue(m, p, thread, now, np.int64(1))
        if quiet > 1 << 20:
            m.scalar[ERROR] = DEADLOCK
        now += 1
    m.scalar[NOW], m.scalar[QUIET] = now, quiet
    return m.scalar[ERROR] != 0 or (m.scalar[LIVE] == 0 and m.scalar[DMA_BUSY] == 0)
