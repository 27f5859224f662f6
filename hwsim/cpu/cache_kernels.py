"""Caches, miss queue, prefetcher, translation and memory of one core, compiled.

State, all int64 and persistent between kernels:

- ``tags[level]``, ``stamps[level]``, ``fill[level]``, ``flags[level]``: one entry per way, sets one
  after the other, levels in one flat array each (``geometry`` has the offsets). A tag is the line
  number or -1; a stamp orders uses, the smallest is replaced; ``fill`` is the cycle in which the
  line's data are there; flags: 1 dirty, 2 filled from memory.
- ``geometry[level] = (first entry, sets, ways, latency_cycles)`` for L1, L2, L3; no sets: absent.
- ``miss_queue``: cycles in which the L1's misses in flight are done, a ring.
- ``walk``: scalars at the ``W_`` indices; ``pages`` and ``page_stamps``: the two levels of page
  entries; ``strides[row] = (last address, stride, confidence, last prefetched line)``.
- ``counts``: bytes and events at the ``C_`` indices.

Accesses come in program order, each with the cycle in which it issues. An out-of-order core issues
them in another order; replacement and the memory's queue see program order (see docs/cpu.md).
"""

from __future__ import annotations

from hwsim.components.jit import njit_inline, njit_outline

__all__ = [
    "COUNTS",
    "LINE_BYTES",
    "WALKS",
    "access_lines",
    "stride_prefetch",
]

LINE_BYTES = 64
_SHIFT = 6

(
    C_LOAD,
    C_STORE,
    C_HIT,
    C_MISS,
    C_FILL1,
    C_EVICT1,
    C_FILL2,
    C_EVICT2,
    C_FILL3,
    C_EVICT3,
    C_READ,
    C_WRITE,
    C_PREFETCH,
    C_WALKS,
    C_L2_HIT,
    C_L3_HIT,
    COUNTS,
) = range(17)
"""Loaded and stored bytes; L1 hits and misses (lines); lines filled and dirty lines evicted per
level; lines read from and written to memory; prefetched lines; page walks; hits below."""

(
    W_TICK,
    W_MISS,
    W_MEMORY,
    W_LATENCY,
    W_TRANSFER,
    W_AHEAD,
    W_HAS_TLB,
    W_ENTRIES,
    W_ENTRIES2,
    W_CYCLES2,
    W_CYCLES,
    W_PAGE_SHIFT,
    WALKS,
) = range(13)
"""LRU counter; position in the miss queue; when the memory is free, in 1/256 cycle; its latency in
cycles; cycles/256 per line; lines the stride prefetcher runs ahead; translation."""

_TICKS = 256


@njit_inline
def _find(tags, first, ways, line):
    """Return the entry of ``line`` among ``ways`` from ``first`` on, or -1."""
    for entry in range(first, first + ways):
        if tags[entry] == line:
            return entry
    return -1


@njit_inline
def _victim(stamps, first, ways):
    """Return the least recently used entry; empty ones have stamp -1."""
    best = first
    for entry in range(first + 1, first + ways):
        if stamps[entry] < stamps[best]:
            best = entry
    return best


@njit_inline
def _memory_write(t, walk, counts):
    """Book one line written to memory at cycle ``t``."""
    counts[C_WRITE] += 1
    start = max(t * _TICKS, walk[W_MEMORY])
    walk[W_MEMORY] = start + walk[W_TRANSFER]


@njit_outline
def _write_back(level, line, t, geometry, tags, stamps, flags, walk, counts):
    """Put a dirty ``line`` evicted above into ``level`` (1: L2, 2: L3) or below it."""
    while level < 3 and geometry[level, 1] > 0:
        first = geometry[level, 0] + (line & (geometry[level, 1] - 1)) * geometry[level, 2]
        entry = _find(tags, first, geometry[level, 2], line)
        if entry >= 0:
            flags[entry] |= 1
            return
        entry = _victim(stamps, first, geometry[level, 2])
        old, was_dirty = tags[entry], flags[entry] & 1
        walk[W_TICK] += 1
        tags[entry], stamps[entry], flags[entry] = line, walk[W_TICK], 1
        if was_dirty == 0:
            return
        counts[C_EVICT1 + 2 * level] += 1
        line = old
        level += 1
    _memory_write(t, walk, counts)


@njit_inline
def _install(level, line, t, flag, geometry, tags, stamps, fill, flags, walk, counts):
    """Put ``line`` into ``level``, evicting the oldest; return its entry."""
    first = geometry[level, 0] + (line & (geometry[level, 1] - 1)) * geometry[level, 2]
    entry = _victim(stamps, first, geometry[level, 2])
    if tags[entry] >= 0 and flags[entry] & 1:
        counts[C_EVICT1 + 2 * level] += 1
        _write_back(level + 1, tags[entry], t, geometry, tags, stamps, flags, walk, counts)
    counts[C_FILL1 + 2 * level] += 1
    walk[W_TICK] += 1
    tags[entry], stamps[entry], flags[entry], fill[entry] = line, walk[W_TICK], flag, t
    return entry


@njit_outline
def _miss(line, t, is_write, geometry, tags, stamps, fill, flags, miss_queue, walk, counts):
    """Fetch ``line`` into the L1 for an access at cycle ``t``; return its L1 entry."""
    position = walk[W_MISS]
    start = max(t, miss_queue[position])
    done = start
    found = -1
    for level in range(1, 3):
        sets = geometry[level, 1]
        if sets == 0:
            continue
        ways = geometry[level, 2]
        done = start + geometry[level, 3]
        entry = _find(tags, geometry[level, 0] + (line & (sets - 1)) * ways, ways, line)
        if entry >= 0:
            walk[W_TICK] += 1
            stamps[entry] = walk[W_TICK]
            done = max(done, fill[entry])
            counts[C_L2_HIT + level - 1] += 1
            found = level
            break
    is_from_memory = found < 0
    if is_from_memory:
        begin = max(done * _TICKS, walk[W_MEMORY])
        walk[W_MEMORY] = begin + walk[W_TRANSFER]
        done = begin // _TICKS + walk[W_LATENCY]
        counts[C_READ] += 1
        found = 3
    flag = 2 if is_from_memory else 0
    for level in range(found - 1, 0, -1):
        if geometry[level, 1] > 0:
            _install(level, line, done, flag, geometry, tags, stamps, fill, flags, walk, counts)
    entry = _install(0, line, done, flag, geometry, tags, stamps, fill, flags, walk, counts)
    flags[entry] |= is_write
    miss_queue[position] = done
    walk[W_MISS] = position + 1 if position + 1 < len(miss_queue) else 0
    return entry


@njit_inline
def _touch(
    line, t, is_write, geometry, tags, stamps, fill, flags, recent, miss_queue, walk, counts
):
    """Return the L1 entry of ``line`` after an access at cycle ``t``."""
    index = line & (geometry[0, 1] - 1)
    entry = recent[index]
    if tags[entry] != line:
        entry = _find(tags, index * geometry[0, 2], geometry[0, 2], line)
    if entry >= 0:
        counts[C_HIT] += 1
        walk[W_TICK] += 1
        stamps[entry] = walk[W_TICK]
        flags[entry] |= is_write
    else:
        counts[C_MISS] += 1
        entry = _miss(
            line, t, is_write, geometry, tags, stamps, fill, flags, miss_queue, walk, counts
        )
    recent[index] = entry
    return entry


@njit_outline
def _translate(page, pages, page_stamps, walk, counts):
    """Return the cycles that translating ``page`` adds: L1 hit 0, L2 hit, or a walk."""
    walk[W_TICK] += 1
    tick = walk[W_TICK]
    entry = _find(pages, 0, walk[W_ENTRIES], page)
    if entry >= 0:
        page_stamps[entry] = tick
        return 0
    second = walk[W_ENTRIES]
    entry = _find(pages, second, walk[W_ENTRIES2], page)
    cycles = walk[W_CYCLES2]
    if entry < 0:
        counts[C_WALKS] += 1
        cycles += walk[W_CYCLES]
        entry = _victim(page_stamps, second, walk[W_ENTRIES2])
        pages[entry] = page
    page_stamps[entry] = tick
    entry = _victim(page_stamps, 0, walk[W_ENTRIES])
    pages[entry], page_stamps[entry] = page, tick
    return cycles


@njit_inline
def access_lines(
    address,
    size,
    t,
    is_write,
    geometry,
    tags,
    stamps,
    fill,
    flags,
    recent,
    miss_queue,
    walk,
    counts,
    pages,
    page_stamps,
):
    """Access ``size`` bytes at cycle ``t``; return (cycle the data are there, 2 if from memory).

    An access over the end of a line needs both lines.
    """
    if walk[W_HAS_TLB]:
        t += _translate(address >> walk[W_PAGE_SHIFT], pages, page_stamps, walk, counts)
    line = address >> _SHIFT
    entry = _touch(
        line, t, is_write, geometry, tags, stamps, fill, flags, recent, miss_queue, walk, counts
    )
    ready, source = fill[entry], flags[entry] & 2
    last = (address + size - 1) >> _SHIFT
    if last != line:
        entry = _touch(
            last, t, is_write, geometry, tags, stamps, fill, flags, recent, miss_queue, walk, counts
        )
        if fill[entry] > ready:
            ready, source = fill[entry], flags[entry] & 2
    return max(ready, t), source


@njit_outline
def _prefetch(line, t, geometry, tags, stamps, fill, flags, miss_queue, walk, counts):
    """Fetch ``line`` into the L1 unless it is there or no miss can be taken at cycle ``t``."""
    index = line & (geometry[0, 1] - 1)
    if _find(tags, index * geometry[0, 2], geometry[0, 2], line) >= 0:
        return
    if miss_queue[walk[W_MISS]] > t:
        return
    counts[C_PREFETCH] += 1
    _miss(line, t, 0, geometry, tags, stamps, fill, flags, miss_queue, walk, counts)


@njit_inline
def stride_prefetch(
    row, address, t, strides, geometry, tags, stamps, fill, flags, miss_queue, walk, counts
):
    """Watch the addresses of one load instruction and fetch ahead of a steady stride."""
    stride = address - strides[row, 0]
    strides[row, 0] = address
    if stride != strides[row, 1]:
        strides[row, 1] = stride
        strides[row, 2] = 0
    elif stride != 0:
        if strides[row, 2] < 2:
            strides[row, 2] += 1
        else:
            step = stride
            if -LINE_BYTES < stride < LINE_BYTES:
                step = LINE_BYTES if stride > 0 else -LINE_BYTES
            line = (address + step * walk[W_AHEAD]) >> _SHIFT
            if line != strides[row, 3] and line >= 0:
                strides[row, 3] = line
                _prefetch(line, t, geometry, tags, stamps, fill, flags, miss_queue, walk, counts)
