"""Run what threads hand over: DMA descriptors, hardware queues, barriers and sums.

State layout: :mod:`hwsim.piuma.state`.
"""

from __future__ import annotations

import numpy as np

from hwsim.components.jit import njit_apart, njit_inline
from hwsim.piuma.access_kernels import (
    HALF_WORD,
    LINE,
    NOTHING,
    READ,
    UPDATE,
    WORD,
    WRITE,
    dram_access,
    dram_block,
    route,
    schedule,
    spad_access,
)
from hwsim.piuma.opcodes import (
    BAR,
    BROADCAST,
    COPY,
    DMA,
    FBARSUM,
    FILL,
    FLUSH,
    GATHER,
    LD8,
    SCATTER_ADD,
    STRIDED,
    SWAP,
)
from hwsim.piuma.state import (
    ARRIVED,
    BAD_ADDRESS,
    BLOCKS,
    BUSY,
    DEPENDENCY,
    DMA_ACCOUNT,
    DMA_AT,
    DMA_BUSY,
    DMA_ENTRIES,
    DMA_HEAD,
    DMA_LAST,
    DMA_LENGTH,
    DMA_OUTSTANDING,
    DMA_READ,
    DMA_SETUP,
    DMA_STEPS,
    DMA_WRITTEN,
    DRAM,
    DRAM_BYTES,
    ENGINE_AT,
    ERROR,
    ERROR_THREAD,
    IN_BLOCK,
    INFLIGHT,
    IS_STP,
    LANE,
    LAST_DMA,
    MEMORY_BYTES,
    NEED,
    NEVER,
    OF_PIPE,
    PC,
    POPPERS,
    POPPERS_TAIL,
    PUSHERS,
    PUSHERS_TAIL,
    QUEUE_ENTRIES,
    QUEUE_FULL,
    QUEUE_HEAD,
    QUEUE_LATENCY,
    QUEUE_LENGTH,
    QUEUE_MOST,
    QUEUE_OPS,
    QUEUES,
    REASON,
    REG_REASON,
    RELEASE_CYCLES,
    SLOTS,
    SPAD_BYTES,
    STP_OUTSTANDING,
    SYNC,
    TOKENS,
    WAIT_NEXT,
    WAITERS,
)

__all__ = ["arrive", "dma_step", "pop", "post_dma", "push", "stp_ready", "wake"]

# Columns of a descriptor.
D_OP, D_SOURCE, D_TARGET, D_COUNT, D_STRIDE, D_INDEX, D_FLAG, D_START = range(8)


@njit_apart
def stp_ready(m, thread, t):
    """Set when a single-threaded pipeline's next instruction has its operands: from ``t`` on."""
    lane = m.thread[thread, LANE]
    row = m.thread[thread, PC]
    op = m.code[row, 0]
    reason = m.thread[thread, REASON]
    last = m.code[row, 2] if op != DMA else m.code[row, 2] + 5
    for k in range(2):
        register = m.code[row, 1 + 2 * k]
        if m.stp[lane, register] > t:
            t = m.stp[lane, register]
            reason = m.stp[lane, REG_REASON + register]
    for register in range(m.code[row, 2], last + 1):
        if m.stp[lane, register] > t:
            t = m.stp[lane, register]
            reason = m.stp[lane, REG_REASON + register]
    if LD8 <= op <= SWAP:
        best = 0
        for k in range(m.scalar[STP_OUTSTANDING]):
            if m.stp[lane, SLOTS + k] < m.stp[lane, SLOTS + best]:
                best = k
        if m.stp[lane, SLOTS + best] > t:
            t = m.stp[lane, SLOTS + best]
            reason = m.stp[lane, SLOTS + m.scalar[STP_OUTSTANDING] + best]
    elif op in (DMA, FLUSH) or op >= BAR:  # everything before them has to be done
        for k in range(m.scalar[STP_OUTSTANDING]):
            if m.stp[lane, SLOTS + k] > t:
                t = m.stp[lane, SLOTS + k]
                reason = m.stp[lane, SLOTS + m.scalar[STP_OUTSTANDING] + k]
    m.ready[thread] = t
    m.thread[thread, REASON] = reason


@njit_apart
def wake(m, thread, t, reason, now):
    """Let a waiting thread issue from cycle ``t`` on."""
    m.ready[thread] = t
    m.thread[thread, REASON] = reason
    if m.pipe[m.thread[thread, OF_PIPE], IS_STP]:
        stp_ready(m, thread, t)
    schedule(m, m.scalar[BLOCKS] + thread, m.ready[thread], now)


@njit_inline
def give(m, thread, value, t, reason, now):
    """Finish the instruction that ``thread`` waits in: set its target register and wake it."""
    rd = m.code[m.thread[thread, PC] - 1, 1]
    m.regs[thread, rd] = value
    if m.pipe[m.thread[thread, OF_PIPE], IS_STP]:
        lane = m.thread[thread, LANE]
        m.stp[lane, rd] = t
        m.stp[lane, REG_REASON + rd] = reason
    wake(m, thread, t, reason, now)


@njit_inline
def append_waiter(m, table, row, head, tail, thread):
    """Put ``thread`` at the end of the list of ``table[row]``."""
    m.thread[thread, WAIT_NEXT] = -1
    if table[row, head] < 0:
        table[row, head] = thread
    else:
        m.thread[table[row, tail], WAIT_NEXT] = thread
    table[row, tail] = thread


@njit_inline
def queue_time(m, p, q, there_bytes, back_bytes, now):
    """Reserve the queue engine of queue ``q``; return when it answers."""
    block = q // m.scalar[QUEUES]
    start = max(now, m.servers[m.scalar[ENGINE_AT] + block])
    m.servers[m.scalar[ENGINE_AT] + block] = start + 1
    m.scalar[QUEUE_OPS] += 1
    way = route(m, m.pipe[p, IN_BLOCK], block, there_bytes, back_bytes, now)
    return start + m.scalar[QUEUE_LATENCY] + way


@njit_inline
def push(m, p, thread, q, value, now):
    """Put ``value`` into queue ``q``; return when the thread goes on, NEVER if it has to wait."""
    queue = m.queue
    t = queue_time(m, p, q, WORD, NOTHING, now)
    waiter = queue[q, POPPERS]
    if waiter >= 0:
        queue[q, POPPERS] = m.thread[waiter, WAIT_NEXT]
        give(m, waiter, value, t, DEPENDENCY, now)
        return t
    capacity = m.scalar[QUEUE_ENTRIES]
    length = queue[q, QUEUE_LENGTH]
    if length == capacity:
        append_waiter(m, queue, q, PUSHERS, PUSHERS_TAIL, thread)
        return NEVER
    queue[q, TOKENS + (queue[q, QUEUE_HEAD] + length) % capacity] = value
    queue[q, QUEUE_LENGTH] = length + 1
    queue[q, QUEUE_MOST] = max(queue[q, QUEUE_MOST], length + 1)
    return t


@njit_inline
def pop(m, p, thread, rd, q, now):
    """Take a token of queue ``q`` into ``rd``; return when it is there, NEVER if it waits."""
    queue = m.queue
    t = queue_time(m, p, q, NOTHING, WORD, now)
    if queue[q, QUEUE_LENGTH] == 0:
        append_waiter(m, queue, q, POPPERS, POPPERS_TAIL, thread)
        return NEVER
    capacity = m.scalar[QUEUE_ENTRIES]
    head = queue[q, QUEUE_HEAD]
    m.regs[thread, rd] = queue[q, TOKENS + head]
    queue[q, QUEUE_HEAD] = head + 1 if head + 1 < capacity else 0
    waiter = queue[q, PUSHERS]
    if waiter >= 0:
        queue[q, PUSHERS] = m.thread[waiter, WAIT_NEXT]
        value = m.regs[waiter, m.code[m.thread[waiter, PC] - 1, 3]]
        queue[q, TOKENS + (head + queue[q, QUEUE_LENGTH]) % capacity] = value
        wake(m, waiter, t, QUEUE_FULL, now)
    else:
        queue[q, QUEUE_LENGTH] -= 1
    return t


@njit_inline
def arrive(m, thread, group, op, now):
    """Let ``thread`` arrive at a barrier; the last one releases all and hands out the sum."""
    barrier = m.barrier
    barrier[group, ARRIVED] += 1
    m.thread[thread, WAIT_NEXT] = barrier[group, WAITERS]
    barrier[group, WAITERS] = thread
    m.ready[thread] = NEVER
    if barrier[group, ARRIVED] < barrier[group, NEED]:
        return
    release = now + barrier[group, RELEASE_CYCLES]
    total, float_total = NOTHING, 0.0
    waiter = barrier[group, WAITERS]
    while waiter >= 0:
        rs2 = m.code[m.thread[waiter, PC] - 1, 3]
        total += m.regs[waiter, rs2]
        float_total += m.fregs[waiter, rs2]
        waiter = m.thread[waiter, WAIT_NEXT]
    waiter = barrier[group, WAITERS]
    while waiter >= 0:
        following = m.thread[waiter, WAIT_NEXT]
        if op == BAR:
            wake(m, waiter, release, SYNC, now)
        else:
            give(m, waiter, total, release, SYNC, now)
            if op == FBARSUM:
                m.fregs[waiter, m.code[m.thread[waiter, PC] - 1, 1]] = float_total
        waiter = following
    barrier[group, WAITERS] = -1
    barrier[group, ARRIVED] = 0


@njit_inline
def post_dma(m, p, thread, operation, first, now):
    """Queue the descriptor in registers ``first`` to ``first + 5``; say if there is room."""
    block = m.pipe[p, IN_BLOCK]
    dma = m.block
    if dma[block, DMA_LENGTH] == m.scalar[DMA_ENTRIES]:
        return False
    row = (dma[block, DMA_HEAD] + dma[block, DMA_LENGTH]) % m.scalar[DMA_ENTRIES]
    entry = block * m.scalar[DMA_ENTRIES] + row
    m.descriptors[entry, D_OP] = operation
    for field in range(6):
        m.descriptors[entry, D_SOURCE + field] = m.regs[thread, first + field]
    start = now + m.scalar[DMA_SETUP]
    m.descriptors[entry, D_START] = start
    dma[block, DMA_LENGTH] += 1
    if dma[block, DMA_LENGTH] == 1:
        m.scalar[DMA_BUSY] += 1
        dma[block, DMA_AT] = 0
        schedule(m, block, max(start, now + 1), now)
    return True


@njit_apart
def end_time(m, block, address, size_bytes, kind, now):
    """Return when up to a line at ``address`` has been read or written by a block's DMA engine."""
    if address < m.scalar[DRAM_BYTES]:
        owner = dram_block(m, address)
        done = dram_access(m, owner, address, size_bytes, kind, now)
        if kind != WRITE:
            m.scalar[DMA_READ] += size_bytes
        if kind != READ:
            m.scalar[DMA_WRITTEN] += size_bytes
    else:
        # A port as wide as a line: one bank is charged, all are read (assumed).
        offset = address - m.scalar[DRAM_BYTES]
        owner = offset // m.scalar[SPAD_BYTES] if m.scalar[BLOCKS] > 1 else NOTHING
        done = spad_access(m, address, kind, now)
    if kind == READ:
        return done + route(m, block, owner, NOTHING, size_bytes, now)
    return done + route(m, block, owner, size_bytes, NOTHING, now)


@njit_inline
def move_chunk(m, block, entry, at, now):
    """Move the chunk that begins at ``at``; return (its size, when it has arrived)."""
    op = m.descriptors[entry, D_OP]
    source, target, count = (
        m.descriptors[entry, D_SOURCE],
        m.descriptors[entry, D_TARGET],
        m.descriptors[entry, D_COUNT],
    )
    if op in (COPY, FILL, BROADCAST):
        place = at % count if op == BROADCAST else at
        to = target + place
        if op == BROADCAST:
            to += at // count * m.descriptors[entry, D_STRIDE]
        size = min(LINE - (to & 63), count - place)
        done = now
        if op == FILL and (to | size) & 7 == 0:
            for word in range(to >> 3, to + size >> 3):
                m.mem[word] = source
        elif op == FILL:
            for half in range(size >> 2):
                m.mem4[(to >> 2) + half] = np.int32(source >> 32 * (half & 1))
        else:
            start = source + place
            for half in range(size >> 2):
                m.mem4[(to >> 2) + half] = m.mem4[(start >> 2) + half]
            done = end_time(m, block, start, size, READ, now)
        return size, done + end_time(m, block, to, size, WRITE, now) - now
    start, to, kind = source, target, WRITE
    if op == STRIDED:
        start, to = source + at * m.descriptors[entry, D_STRIDE], target + 8 * at
    elif op == GATHER:
        start, to = (
            source + 8 * np.int64(m.mem4[(m.descriptors[entry, D_INDEX] >> 2) + at]),
            target + 8 * at,
        )
    else:
        start, to = (
            source + 8 * at,
            target + 8 * np.int64(m.mem4[(m.descriptors[entry, D_INDEX] >> 2) + at]),
        )
        kind = UPDATE if op == SCATTER_ADD else WRITE
    if min(start, to) < 0 or max(start, to) + 8 > m.scalar[MEMORY_BYTES]:
        m.scalar[ERROR] = BAD_ADDRESS
        m.scalar[ERROR_THREAD] = -1
        return np.int64(1), now
    if op == SCATTER_ADD:
        m.fmem[to >> 3] += m.fmem[start >> 3]
    else:
        m.mem[to >> 3] = m.mem[start >> 3]
    done = end_time(m, block, start, WORD, READ, now)
    if op != STRIDED:  # the list of indices is read half a word at a time
        done = max(
            done, end_time(m, block, m.descriptors[entry, D_INDEX] + 4 * at, HALF_WORD, READ, now)
        )
    return np.int64(1), done + end_time(m, block, to, WORD, kind, now) - now


@njit_inline
def descriptor_end(m, entry):
    """Return the position at which a descriptor is finished."""
    return (
        m.descriptors[entry, D_COUNT] * m.descriptors[entry, D_INDEX]
        if m.descriptors[entry, D_OP] == BROADCAST
        else m.descriptors[entry, D_COUNT]
    )


@njit_inline
def charge_wait(m, block, now):
    """Charge the engine's cycles since its last step to memory."""
    last = m.block[block, DMA_LAST]
    if last >= 0 and now - last > 1:
        m.block[block, DMA_ACCOUNT + DRAM] += now - last - 1
    m.block[block, DMA_LAST] = now


@njit_inline
def finish_descriptor(m, block, now):
    """Drop the finished descriptor; return when to look at the next one."""
    dma = m.block
    row = dma[block, DMA_HEAD] + 1
    dma[block, DMA_HEAD] = row if row < m.scalar[DMA_ENTRIES] else 0
    dma[block, DMA_LENGTH] -= 1
    dma[block, DMA_AT] = 0
    if dma[block, DMA_LENGTH] > 0:
        return max(
            now + 1, m.descriptors[block * m.scalar[DMA_ENTRIES] + dma[block, DMA_HEAD], D_START]
        )
    last = now
    for k in range(m.scalar[DMA_OUTSTANDING]):
        last = max(last, m.block[block, INFLIGHT + k])
    m.scalar[DMA_BUSY] -= 1
    m.scalar[LAST_DMA] = max(m.scalar[LAST_DMA], last)
    dma[block, DMA_LAST] = -1
    return NEVER


@njit_apart
def dma_step(m, block, now):
    """Let a DMA engine move its next chunk, or finish a descriptor, in cycle ``now``."""
    dma = m.block
    entry = block * m.scalar[DMA_ENTRIES] + dma[block, DMA_HEAD]
    free = 0
    latest = NOTHING
    for k in range(m.scalar[DMA_OUTSTANDING]):
        if m.block[block, INFLIGHT + k] < m.block[block, INFLIGHT + free]:
            free = k
        latest = max(latest, m.block[block, INFLIGHT + k])
    if dma[block, DMA_AT] >= descriptor_end(m, entry):
        if m.descriptors[entry, D_FLAG] != 0:
            if latest > now:
                schedule(m, block, latest, now)
                return
            charge_wait(m, block, now)
            m.block[block, DMA_ACCOUNT + BUSY] += 1
            m.mem[m.descriptors[entry, D_FLAG] >> 3] += 1
        schedule(m, block, finish_descriptor(m, block, now), now)
        return
    if m.block[block, INFLIGHT + free] > now:
        schedule(m, block, m.block[block, INFLIGHT + free], now)
        return
    charge_wait(m, block, now)
    m.block[block, DMA_ACCOUNT + BUSY] += 1
    m.scalar[DMA_STEPS] += 1
    size, done = move_chunk(m, block, entry, dma[block, DMA_AT], now)
    dma[block, DMA_AT] += size
    m.block[block, INFLIGHT + free] = done
    schedule(m, block, now + 1, now)
