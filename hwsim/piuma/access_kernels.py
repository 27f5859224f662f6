"""Time accesses to scratchpads, off-chip memories, caches and links between blocks.

State layout: :mod:`hwsim.piuma.state`. Every shared resource is a first-in-first-out server that is
reserved when the access is issued, so that requests are served in order of issue; the way to
another block adds its hops to the answer (assumed: it does not reorder requests).
"""

from __future__ import annotations

import numpy as np

from hwsim.components.dram.arrival_call import call_arrival
from hwsim.components.jit import njit_apart, njit_inline
from hwsim.piuma.state import (
    AGE,
    ATOMIC,
    BANKS,
    BLOCK_SHIFT,
    BLOCKS,
    CACHE,
    CACHE_HITS,
    CACHE_MISSES,
    DATA_WAIT,
    DEVICE_SHIFT,
    DIRECT_READ,
    DIRECT_WRITE,
    DIRTY,
    DRAM,
    DRAM_AT,
    DRAM_ATOMIC,
    DRAM_BUS,
    DRAM_BYTES,
    DRAM_DEN,
    DRAM_LATENCY,
    DRAM_MIN,
    DRAM_NUM,
    DRAM_READ,
    DRAM_WRITE,
    FILLED,
    HIT,
    HOP,
    IN_BLOCK,
    INTERLEAVE,
    LINK_AT,
    LINK_BYTES,
    MEMORY_BYTES,
    MESH_COLS,
    NET_BYTES,
    NET_MESSAGES,
    NETWORK,
    NEVER,
    SETS,
    SPAD_ATOMIC,
    SPAD_ATOMICS,
    SPAD_BYTES,
    SPAD_LOAD,
    SPAD_READ,
    SPAD_WRITE,
    STAMP,
    TAG,
    WAYS,
    WHEEL,
    WRITTEN_BACK,
)

__all__ = [
    "access",
    "cached_line",
    "cached_slot",
    "dram_access",
    "flush",
    "route",
    "schedule",
    "spad_access",
]

READ, WRITE, UPDATE = (np.int64(i) for i in range(3))
"""Kinds of access; an update is an atomic."""
NOTHING, HALF_WORD, WORD, LINE = (np.int64(size) for size in (0, 4, 8, 64))
"""Sizes in bytes."""
_HEADER_BYTES = 8


@njit_inline
def schedule(m, actor, t, now):
    """Let ``actor`` be looked at in cycle ``t`` > ``now``."""
    m.next_time[actor] = t
    if t < NEVER:
        t = min(t, now + WHEEL - 1)
        m.wheel[t & WHEEL - 1, 0] = 1
        m.wheel[t & WHEEL - 1, 1 + (actor >> 6)] |= np.int64(1) << (actor & 63)


@njit_apart
def send(m, source, target, size_bytes, t):
    """Reserve the links from block to block for a message; return when its head has passed all."""
    scalar = m.scalar
    cols = scalar[MESH_COLS]
    flits = (size_bytes + scalar[LINK_BYTES] - 1) // scalar[LINK_BYTES]
    row, col = source // cols, source % cols
    to_row, to_col = target // cols, target % cols
    hops = 0
    while row != to_row or col != to_col:
        link = scalar[LINK_AT] + (row * cols + col) * 4
        if col < to_col:
            col += 1
        elif col > to_col:
            link += 1
            col -= 1
        elif row < to_row:
            link += 2
            row += 1
        else:
            link += 3
            row -= 1
        t = max(t, m.servers[link])
        m.servers[link] = t + flits
        hops += 1
    m.scalar[NET_MESSAGES] += 1
    m.scalar[NET_BYTES] += size_bytes * hops
    return t + hops * scalar[HOP] + flits - 1


@njit_inline
def route(m, source, target, there_bytes, back_bytes, now):
    """Return the cycles that the way to another block and back adds."""
    if source == target:
        return NOTHING
    there = send(m, source, target, _HEADER_BYTES + there_bytes, now)
    back = send(m, target, source, _HEADER_BYTES + back_bytes, now)
    return there + back - 2 * now


@njit_inline
def spad_access(m, address, kind, now):
    """Reserve a bank for one word; return when the answer leaves the scratchpad."""
    scalar = m.scalar
    offset = address - scalar[DRAM_BYTES]
    block = offset // scalar[SPAD_BYTES] if scalar[BLOCKS] > 1 else NOTHING
    bank = block * scalar[BANKS] + ((offset >> 3) & scalar[BANKS] - 1)
    start = max(now, m.servers[bank])
    m.servers[bank] = start + 1
    if kind == UPDATE:
        m.block[block, SPAD_ATOMICS] += 1
        return start + scalar[SPAD_ATOMIC]
    if kind == READ:
        m.block[block, SPAD_READ] += 8
    else:
        m.block[block, SPAD_WRITE] += 8
    return start + scalar[SPAD_LOAD]


@njit_inline
def dram_block(m, address):
    """Return the block whose memory holds ``address``."""
    return (address >> m.scalar[INTERLEAVE]) & m.scalar[BLOCKS] - 1


@njit_inline
def dram_access(m, block, address, size_bytes, kind, now):
    """Reserve a block's memory and move the bursts of an access; return when it is answered."""
    scalar = m.scalar
    extra, times = NOTHING, np.int64(1)
    if kind != WRITE:
        m.block[block, DRAM_READ] += size_bytes
    if kind != READ:
        m.block[block, DRAM_WRITE] += size_bytes
    if kind == UPDATE:
        extra, times = scalar[DRAM_ATOMIC], np.int64(2)
    if m.dram_place[0] != 0:
        return dram_commands(m, block, address, size_bytes, kind, now) + extra
    bus = (size_bytes + scalar[DRAM_MIN] - 1 & -scalar[DRAM_MIN]) * times
    m.block[block, DRAM_BUS] += bus
    server = scalar[DRAM_AT] + block
    free = max(m.servers[server], now * scalar[DRAM_NUM]) + bus * scalar[DRAM_DEN]
    m.servers[server] = free
    return (free + scalar[DRAM_NUM] - 1) // scalar[DRAM_NUM] + scalar[DRAM_LATENCY] + extra


@njit_apart
def dram_commands(m, block, address, size_bytes, kind, now):
    """Let a block's DRAM serve an access in order of arrival; return when it is answered.

    An atomic's write waits with the others. Addresses in the block's memory are those that fall to
    it, without gaps.
    """
    scalar = m.scalar
    shortest, times = scalar[DRAM_MIN], np.int64(2) if kind == UPDATE else np.int64(1)
    bursts = (address + size_bytes - 1) // shortest - address // shortest + 1
    m.block[block, DRAM_BUS] += bursts * shortest * times
    low = address & (np.int64(1) << scalar[INTERLEAVE]) - 1
    high = address >> scalar[INTERLEAVE] + scalar[BLOCK_SHIFT]
    local = (high << scalar[INTERLEAVE] | low) & (np.int64(1) << scalar[DEVICE_SHIFT]) - 1
    place = block << scalar[DEVICE_SHIFT] | local
    if kind != UPDATE:
        return call_arrival(m.dram_place, place, size_bytes, kind, now)
    done = call_arrival(m.dram_place, place, size_bytes, READ, now)
    call_arrival(m.dram_place, place, size_bytes, WRITE, now)
    return done


@njit_inline
def access(m, p, address, size_bytes, kind, now):
    """Return (cycle of the answer, reason for waiting) of an access that passes by the cache."""
    scalar = m.scalar
    home = m.pipe[p, IN_BLOCK]
    back_bytes = NOTHING if kind == WRITE else size_bytes
    there_bytes = NOTHING if kind == READ else size_bytes
    if address < scalar[DRAM_BYTES]:
        block = dram_block(m, address)
        done = dram_access(m, block, address, size_bytes, kind, now)
        reason = DRAM
        if kind != WRITE:
            m.scalar[DIRECT_READ] += size_bytes
        if kind != READ:
            m.scalar[DIRECT_WRITE] += size_bytes
    else:
        block = (
            (address - scalar[DRAM_BYTES]) // scalar[SPAD_BYTES] if scalar[BLOCKS] > 1 else NOTHING
        )
        done = spad_access(m, address, kind, now)
        reason = ATOMIC if kind == UPDATE else DATA_WAIT
    if block != home:
        done += route(m, home, block, there_bytes, back_bytes, now)
        reason = NETWORK
    return done, reason


@njit_inline
def cached_line(m, slot):
    """Return the line of ``Chip.mem`` that holds the contents of a cache's slot."""
    return (m.scalar[MEMORY_BYTES] >> 6) + slot


@njit_apart
def evict(m, slot, now):
    """Write the dirty half words of a cached line back; return when memory has them."""
    line = m.cache[slot, TAG]
    dirty = m.cache[slot, DIRTY]
    m.cache[slot, DIRTY] = 0
    moved = NOTHING
    copy = cached_line(m, slot)
    for half in range(16):
        if dirty >> half & 1:
            m.mem4[line * 16 + half] = m.mem4[copy * 16 + half]
            moved += HALF_WORD
    m.scalar[WRITTEN_BACK] += moved
    return dram_access(m, dram_block(m, line << 6), line << 6, moved, WRITE, now)


@njit_inline
def cached_slot(m, p, address, now):
    """Return (slot of the line in the cache, cycle of the answer, reason), fetched if need be."""
    scalar = m.scalar
    line = address >> 6
    ways = scalar[WAYS]
    first = (p * scalar[SETS] + (line & scalar[SETS] - 1)) * ways
    m.pipe[p, STAMP] += 1
    oldest = first
    for slot in range(first, first + ways):
        if m.cache[slot, TAG] == line:
            m.cache[slot, AGE] = m.pipe[p, STAMP]
            m.scalar[CACHE_HITS] += 1
            return slot, now + scalar[HIT], DATA_WAIT
        if m.cache[slot, AGE] < m.cache[oldest, AGE]:
            oldest = slot
    m.scalar[CACHE_MISSES] += 1
    done, reason = fetch(m, p, oldest, line, now)
    return oldest, done, reason


@njit_apart
def fetch(m, p, slot, line, now):
    """Replace the line in ``slot``; return when the new one is there, and why one waits."""
    if m.cache[slot, DIRTY] != 0:
        evict(m, slot, now)
    m.cache[slot, TAG] = line
    m.cache[slot, AGE] = m.pipe[p, STAMP]
    copy = cached_line(m, slot)
    for word in range(8):
        m.mem[copy * 8 + word] = m.mem[line * 8 + word]
    home = m.pipe[p, IN_BLOCK]
    address = line << 6
    m.scalar[FILLED] += 64
    if address < m.scalar[DRAM_BYTES]:
        block = dram_block(m, address)
        done = dram_access(m, block, address, LINE, READ, now) + m.scalar[HIT]
    else:
        block = (address - m.scalar[DRAM_BYTES]) // m.scalar[SPAD_BYTES]
        done = spad_access(m, address, READ, now) + m.scalar[HIT]
    reason = CACHE
    if block != home:
        done += route(m, home, block, NOTHING, LINE, now)
        reason = NETWORK
    return done, reason


@njit_inline
def flush(m, p, now):
    """Write back and forget everything in the cache of ``p``; return when memory has it."""
    lines = m.scalar[SETS] * m.scalar[WAYS]
    done = now + 1
    for slot in range(p * lines, (p + 1) * lines):
        if m.cache[slot, DIRTY] != 0:
            done = max(done, evict(m, slot, now))
        m.cache[slot, TAG] = -1
        m.cache[slot, AGE] = 0
    m.pipe[p, STAMP] = 0
    return done
