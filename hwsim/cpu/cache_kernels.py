"""Caches, miss queue, prefetcher, translation and memory of one core, compiled.

State, all int64 and persistent between kernels:

- ``tags[level]``, ``stamps[level]``, ``fill[level]``, ``flags[level]``: one entry per way, sets one
  after the other, levels in one flat array each (``geometry`` has the offsets). A tag is the line
  number or -1; a stamp orders uses, the smallest is replaced; ``fill`` is the cycle in which the
  line's data are there; flags: 1 dirty, 2 filled from memory, 4 written in parts only.
- ``geometry[level] = (first entry, sets, ways, latency_cycles)`` for L1, L2, L3; no sets: absent.
- ``written[entry]``: words (bit i: bytes 4i to 4i + 3) of an L1 line that stores have put there.
  A store that misses fetches nothing (write-validate): the line counts as fetched once it is
  written whole, and is fetched when something else of it is read or when it is evicted before.
- ``miss_queue``: cycles in which the L1's misses in flight are done, a ring.
- ``followed[i] = (last line, last line fetched, last use, accesses)``: rising sequences that the
  prefetcher of the L2 follows into memory.
- ``walk``: scalars at the ``W_`` indices; ``pages`` and ``page_stamps``: the two levels of page
  entries; ``strides[row] = (last address, stride, confidence, last prefetched line)``.
- ``counts``: bytes and events at the ``C_`` indices.
- ``dram``: place of the DRAM behind the caches (``arrival_call``), or of none: a fixed rate.

Accesses come in program order, each with the cycle in which it issues. An out-of-order core issues
them in another order; replacement and the memory's queue see program order (see docs/cpu.md).
"""

from __future__ import annotations

from hwsim.components.dram.arrival_call import call_arrival
from hwsim.components.dram.layout import READ, WRITE
from hwsim.components.jit import njit_apart, njit_inline

__all__ = [
    "COUNTS",
    "C_MISS",
    "LINE_BYTES",
    "RECENT",
    "WALKS",
    "W_MISS",
    "access_lines",
    "stride_prefetch",
]

LINE_BYTES = 64
RECENT = 1 << 12
"""Guesses of where a line is in the L1, by its lowest bits; a wrong one costs a search."""
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
    W_STREAM,
    WALKS,
) = range(14)
"""LRU counter; position in the miss queue; when the memory is free, in 1/256 cycle (with DRAM, when
that last let a line wait until); its latency in cycles; cycles/256 per line; lines the stride
prefetcher runs ahead; translation; lines that the prefetcher of the L2 runs ahead."""

_TICKS = 256
_PARTIAL = 4
_WHOLE = (1 << 16) - 1


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
def _first(level, line, core):
    """Return the first entry of the set of ``line`` in ``level`` (0: L1)."""
    geometry = core.geometry
    return geometry[level, 0] + (line & (geometry[level, 1] - 1)) * geometry[level, 2]


@njit_inline
def _put(entry, line, flag, done, core):
    """Let ``entry`` hold ``line``, whose data are there at ``done``."""
    walk = core.walk
    walk[W_TICK] += 1
    core.tags[entry], core.stamps[entry] = line, walk[W_TICK]
    core.flags[entry], core.fill[entry] = flag, done


@njit_inline
def _move_line(line, t, kind, core):
    """Move ``line`` from (READ) or to memory at cycle ``t``; return when it is there, or queued."""
    walk, dram = core.walk, core.dram
    if dram[0] == 0:
        begin = max(t * _TICKS, walk[W_MEMORY])
        walk[W_MEMORY] = begin + walk[W_TRANSFER]
        return begin // _TICKS + walk[W_LATENCY]
    done = call_arrival(dram, line << _SHIFT, LINE_BYTES, kind, t)
    walk[W_MEMORY] = max(walk[W_MEMORY], (done - walk[W_LATENCY]) * _TICKS)
    return done


@njit_apart
def _write_back(level, line, t, core):
    """Put a dirty ``line`` evicted above into ``level`` (1: L2, 2: L3) or below it."""
    geometry, tags, flags, counts = core.geometry, core.tags, core.flags, core.counts
    while level < 3 and geometry[level, 1] > 0:
        first = _first(level, line, core)
        entry = _find(tags, first, geometry[level, 2], line)
        if entry >= 0:
            flags[entry] |= 1
            return
        entry = _victim(core.stamps, first, geometry[level, 2])
        old, was_dirty = tags[entry], flags[entry] & 1
        _put(entry, line, 1, t, core)
        if was_dirty == 0:
            return
        counts[C_EVICT1 + 2 * level] += 1
        line = old
        level += 1
    counts[C_WRITE] += 1
    _move_line(line, t, WRITE, core)


@njit_inline
def _room_below(level, line, t, done, flag, core):
    """Put ``line``, asked for at ``t``, into ``level`` (1: L2, 2: L3); it is there at ``done``."""
    tags, counts = core.tags, core.counts
    first = _first(level, line, core)
    entry = _victim(core.stamps, first, core.geometry[level, 2])
    if tags[entry] >= 0 and core.flags[entry] & 1:
        counts[C_EVICT1 + 2 * level] += 1
        _write_back(level + 1, tags[entry], t, core)
    counts[C_FILL1 + 2 * level] += 1
    _put(entry, line, flag, done, core)


@njit_inline
def _from_memory(line, t, core):
    """Read ``line`` from memory into the levels below the L1; return when it is there."""
    done = _move_line(line, t, READ, core)
    core.counts[C_READ] += 1
    for level in range(2, 0, -1):
        if core.geometry[level, 1] > 0:
            _room_below(level, line, t, done, 2, core)
    return done


@njit_apart
def _follow(line, t, core):
    """Let the L2's prefetcher see an access to ``line``: fetch ahead of a rising sequence.

    A sequence is known by its third access, each at most four lines on; it ends with its page.
    """
    walk, followed = core.walk, core.followed
    oldest = 0
    for i in range(followed.shape[0]):
        ahead = line - followed[i, 0]
        if 0 < ahead <= 4:
            followed[i, 0] = line
            followed[i, 2] = walk[W_TICK]
            followed[i, 3] += 1
            if followed[i, 3] < 2:
                return
            wanted = min(line + walk[W_STREAM], line | 63)
            for other in range(max(followed[i, 1], line) + 1, wanted + 1):
                if walk[W_MEMORY] > (t * _TICKS) + 32 * walk[W_TRANSFER]:
                    return
                followed[i, 1] = other
                first = _first(1, other, core)
                if _find(core.tags, first, core.geometry[1, 2], other) < 0:
                    core.counts[C_PREFETCH] += 1
                    _from_memory(other, t, core)
            return
        if ahead == 0:
            return
        if followed[i, 2] < followed[oldest, 2]:
            oldest = i
    followed[oldest, 0] = line
    followed[oldest, 1] = line
    followed[oldest, 2] = walk[W_TICK]
    followed[oldest, 3] = 0


@njit_apart
def _below(line, t, core):
    """Return (cycle, 2 if from memory) in which ``line`` has come up to the L1."""
    geometry, fill, walk = core.geometry, core.fill, core.walk
    done = t
    for level in range(1, 3):
        if geometry[level, 1] == 0:
            continue
        ways = geometry[level, 2]
        done = t + geometry[level, 3]
        entry = _find(core.tags, _first(level, line, core), ways, line)
        if entry >= 0:
            walk[W_TICK] += 1
            core.stamps[entry] = walk[W_TICK]
            core.counts[C_L2_HIT + level - 1] += 1
            source = core.flags[entry] & 2 if fill[entry] > done else 0
            done = max(done, fill[entry])
            if level == 2:
                _room_below(1, line, t, done, 0, core)
            break
    else:
        done, source = _from_memory(line, done, core), 2
    if walk[W_STREAM] > 0:
        _follow(line, t, core)
    return done, source


@njit_inline
def _evict(entry, t, core):
    """Make room in the L1: a dirty line goes down, one written in parts is fetched first."""
    tags, flags, counts = core.tags, core.flags, core.counts
    if tags[entry] >= 0 and flags[entry] & 1:
        counts[C_EVICT1] += 1
        if flags[entry] & _PARTIAL:
            _below(tags[entry], t, core)
            counts[C_FILL1] += 1
        _write_back(1, tags[entry], t, core)


@njit_apart
def _miss(line, t, is_write, core):
    """Give ``line`` a place in the L1 for an access at cycle ``t``; return its entry."""
    miss_queue, walk = core.miss_queue, core.walk
    done, flag = t, _PARTIAL | 1
    if not is_write:
        position = walk[W_MISS]
        done, flag = _below(line, max(t, miss_queue[position]), core)
        core.counts[C_FILL1] += 1
        miss_queue[position] = done
        walk[W_MISS] = position + 1 if position + 1 < len(miss_queue) else 0
    first = _first(0, line, core)
    entry = _victim(core.stamps, first, core.geometry[0, 2])
    _evict(entry, t, core)
    _put(entry, line, flag, done, core)
    core.written[entry] = 0
    return entry


@njit_apart
def _complete(entry, t, core):
    """Fetch the rest of a line that stores have written in parts."""
    counts = core.counts
    counts[C_MISS] += 1
    counts[C_FILL1] += 1
    done, source = _below(core.tags[entry], t, core)
    core.fill[entry] = done
    core.flags[entry] = 1 | source


@njit_inline
def _touch(line, words, t, is_write, core):
    """Return the L1 entry of ``line`` after an access to ``words`` of it at cycle ``t``."""
    tags, flags, written, recent = core.tags, core.flags, core.written, core.recent
    walk, counts = core.walk, core.counts
    guess = line & (RECENT - 1)
    entry = recent[guess]
    if tags[entry] != line:
        entry = _find(tags, _first(0, line, core), core.geometry[0, 2], line)
    if entry >= 0:
        counts[C_HIT] += 1
        walk[W_TICK] += 1
        core.stamps[entry] = walk[W_TICK]
        flags[entry] |= is_write
    else:
        counts[C_MISS] += 1
        entry = _miss(line, t, is_write, core)
    recent[guess] = entry
    if flags[entry] & _PARTIAL:
        if is_write:
            written[entry] |= words
            if written[entry] == _WHOLE:
                flags[entry] = 1
        elif written[entry] & words != words:
            _complete(entry, t, core)
    return entry


@njit_apart
def _translate(page, core):
    """Return the cycles that translating ``page`` adds: L1 hit 0, L2 hit, or a walk."""
    walk, pages, page_stamps = core.walk, core.pages, core.page_stamps
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
        core.counts[C_WALKS] += 1
        cycles += walk[W_CYCLES]
        entry = _victim(page_stamps, second, walk[W_ENTRIES2])
        pages[entry] = page
    page_stamps[entry] = tick
    entry = _victim(page_stamps, 0, walk[W_ENTRIES])
    pages[entry], page_stamps[entry] = page, tick
    return cycles


@njit_inline
def access_lines(address, size, t, is_write, core):
    """Access ``size`` bytes at cycle ``t``; return (cycle the data are there, 2 if from memory).

    An access over the end of a line needs both lines.
    """
    fill, flags, walk = core.fill, core.flags, core.walk
    if walk[W_HAS_TLB]:
        t += _translate(address >> walk[W_PAGE_SHIFT], core)
    line = address >> _SHIFT
    word, count = (address & 63) >> 2, (size + 3) >> 2
    words = ((1 << count) - 1) << word
    entry = _touch(line, words & _WHOLE, t, is_write, core)
    ready, source = fill[entry], flags[entry] & 2
    last = (address + size - 1) >> _SHIFT
    if last != line:
        entry = _touch(last, words >> 16, t, is_write, core)
        if fill[entry] > ready:
            ready, source = fill[entry], flags[entry] & 2
    return max(ready, t), source


@njit_apart
def _prefetch(line, t, core):
    """Fetch ``line`` into the L1 unless it is there or no miss can be taken at cycle ``t``."""
    tags = core.tags
    if tags[core.recent[line & (RECENT - 1)]] == line:
        return
    first = _first(0, line, core)
    if _find(tags, first, core.geometry[0, 2], line) >= 0:
        return
    if core.miss_queue[core.walk[W_MISS]] > t:
        return
    core.counts[C_PREFETCH] += 1
    _miss(line, t, 0, core)


@njit_inline
def stride_prefetch(row, address, t, core):
    """Watch the addresses of one load instruction and fetch ahead of a steady stride."""
    strides = core.strides
    ahead = core.walk[W_AHEAD]
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
            line = (address + step * ahead) >> _SHIFT
            if line != strides[row, 3] and line >= 0:
                strides[row, 3] = line
                _prefetch(line, t, core)
