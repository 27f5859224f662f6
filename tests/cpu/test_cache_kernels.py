"""Hold the compiled caches to a plain model of least-recently-used sets, and to their timing."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.cpu.core_state import Core
from hwsim.cpu.isa import GENERAL, UopBuilder, UopKernel
from hwsim.cpu.spec import PRESETS, CacheSpec, CpuSpec, MemorySpec

X = GENERAL


def small(**changes: object) -> CpuSpec:
    spec = PRESETS["sd835"].model_copy(
        update={
            "l1": CacheSpec(size_bytes=512, ways=2, latency_cycles=0),
            "l2": CacheSpec(size_bytes=1024, ways=4, latency_cycles=10),
            "prefetch_lines": 0,
            "stream_lines": 0,
            "memory": MemorySpec(latency_ns=50),
        }
    )
    return spec.model_copy(update=changes)


def walk(kind: str, steps: int) -> UopKernel:
    """One access per step of a stream of byte distances."""
    b = UopBuilder("walk")
    with b.loop(steps):
        registers = ((0,), (X,)) if kind == "load_q" else ((), (X, 0))
        b.op(kind, *registers, pointer="p", size=16, step=("p", "by"))
    return b.build()


class Lru:
    """One level: sets of ordered lines with dirty marks."""

    def __init__(self, cache: CacheSpec) -> None:
        self.sets = [OrderedDict() for _ in range(cache.sets)]
        self.ways = cache.ways

    def find(self, line: int, is_write: bool) -> bool:
        lines = self.sets[line % len(self.sets)]
        if line not in lines:
            return False
        lines.move_to_end(line)
        lines[line] |= is_write
        return True

    def put(self, line: int, is_dirty: bool) -> int | None:
        lines = self.sets[line % len(self.sets)]
        victim = None
        if len(lines) == self.ways:
            old, was_dirty = lines.popitem(last=False)
            victim = old if was_dirty else None
        lines[line] = is_dirty
        return victim


def plain_counts(spec: CpuSpec, addresses: list[int], is_write: bool) -> dict[str, int]:
    """Count as the contract says: stores fetch nothing until a half-written line is evicted."""
    l1, l2 = Lru(spec.l1), Lru(spec.l2)
    written: dict[int, set[int]] = {}
    counts = dict.fromkeys(("l1_misses", "l2_hits", "memory_reads", "memory_writes"), 0)

    def fetch(line: int) -> None:
        if l2.find(line, False):
            counts["l2_hits"] += 1
        else:
            counts["memory_reads"] += 1
            counts["memory_writes"] += l2.put(line, False) is not None

    def write_back(line: int | None) -> None:
        if line is None:
            return
        if len(written.pop(line)) < 16:
            fetch(line)
        lines = l2.sets[line % len(l2.sets)]
        if line in lines:
            lines[line] = True  # a write back does not refresh the line's age
        elif l2.put(line, True) is not None:
            counts["memory_writes"] += 1

    for address in addresses:
        words = range(address // 4, (address + 15) // 4 + 1)
        for line in range(address // 64, (address + 15) // 64 + 1):
            if not l1.find(line, is_write):
                counts["l1_misses"] += 1
                if not is_write:
                    fetch(line)
                write_back(l1.put(line, is_write))
            if is_write:
                here = {word % 16 for word in words if word // 16 == line}
                written.setdefault(line, set()).update(here)
    return counts


@settings(max_examples=60)
@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=120),
    st.booleans(),
    st.integers(0, 15),
)
def test_hits_and_evictions_are_those_of_plain_lru(
    lines: list[int], is_write: bool, word: int
) -> None:
    spec = small()
    addresses = [64 * line + 4 * word for line in lines]
    by = np.diff(addresses, append=0)
    kernel = walk("store_q" if is_write else "load_q", len(lines))
    counts = Core(spec).run(kernel, {"p": addresses[0]}, {"by": by}).counts
    expected = plain_counts(spec, addresses, is_write)
    assert {key: counts[key] for key in expected} == expected
    assert counts["store_bytes" if is_write else "load_bytes"] == 16 * len(lines)
    assert counts["l2_fills"] == counts["memory_reads"]


def test_a_line_stored_whole_is_never_read_from_memory() -> None:
    by = np.array([16, 16, 16, 1024 - 48] * 64)
    whole = Core(small()).run(walk("store_q", len(by)), {"p": 0}, {"by": by}).counts
    assert whole["memory_reads"] == 0
    assert whole["memory_writes"] > 0
    part = Core(small()).run(walk("store_q", 64), {"p": 0}, {"by": np.full(64, 1024)}).counts
    assert part["memory_reads"] > 0


def test_rising_lines_are_followed_up_to_their_page() -> None:
    reads = {}
    for ahead in (0, 8):
        by = np.full(8, 64)
        spec = small(stream_lines=ahead)
        reads[ahead] = Core(spec).run(walk("load_q", 8), {"p": 0}, {"by": by}).counts
    assert reads[0]["memory_reads"] == 8
    assert reads[8]["memory_reads"] == 8 + 8  # the last access fetches eight lines ahead
    last = Core(small(stream_lines=8)).run(
        walk("load_q", 8), {"p": 4096 - 8 * 64}, {"by": np.full(8, 64)}
    )
    assert last.counts["memory_reads"] == 8  # nothing beyond the page


def cycles_of(spec: CpuSpec, addresses: list[int]) -> int:
    """Return the cycles of dependent loads: each waits for the one before."""
    b = UopBuilder("chase")
    with b.loop(len(addresses)):
        b.op("load_x", (X,), (X,), pointer="p", size=8, step=("p", "by"))
    by = np.diff(addresses, append=0)
    return Core(spec).run(b.build(), {"p": addresses[0]}, {"by": by}).cycles


@pytest.mark.evidence("cpu", "T2")
def test_latencies_of_every_level_add_up() -> None:
    spec = small()
    beyond = spec.memory_latency_cycles + 10  # the L2 is asked first
    one, two = cycles_of(spec, [0]), cycles_of(spec, [0, 0])
    assert two - one == 4  # load to use in the L1
    assert cycles_of(spec, [0, 4096]) - one == 4 + beyond
    # Lines 0, 4, 8 share a set of two ways: the first is back in the L2 by the fourth load.
    assert cycles_of(spec, [0, 256, 512, 0]) - cycles_of(spec, [0, 256, 512]) == 4 + 10


def test_a_third_level_is_asked_before_memory() -> None:
    l3 = CacheSpec(size_bytes=8192, ways=8, latency_cycles=25)
    spec = small(l3=l3)
    lines = [1024 * i for i in range(5)] + [0]  # five lines of one L2 set of four ways
    assert cycles_of(spec, lines) - cycles_of(spec, lines[:-1]) == 4 + 25


def test_a_prefetch_hides_what_lies_between_it_and_the_use() -> None:
    def run(distance: int) -> int:
        b = UopBuilder("stream")
        b.op("prefetch", (), (X,), pointer="p", size=4)
        for _ in range(distance):
            b.op("alu", (X + 1,), (X + 1,))
        b.op("load_x", (X + 1,), (X + 1,), pointer="p", size=8)
        return Core(small()).run(b.build(), {"p": 0}).cycles

    # Hidden cycle by cycle: each instruction more in between takes nothing until all is hidden.
    assert run(20) == run(21)
    beyond = small().memory_latency_cycles
    assert run(beyond + 20) > run(20)


def test_a_steady_stride_is_fetched_ahead() -> None:
    addresses = [64 * i for i in range(64)]
    slow = cycles_of(small(), addresses)
    fast = cycles_of(small(prefetch_lines=4), addresses)
    assert fast < slow / 2


def test_translation_costs_a_walk_per_new_page() -> None:
    tlb = PRESETS["sd835"].tlb.model_copy(update={"is_modelled": True, "entries": 2})
    plain, paged = small(), small(tlb=tlb)
    same_page, new_page = [0, 8], [0, 1 << 20]
    assert cycles_of(paged, same_page) - cycles_of(paged, [0]) == 4
    walk_cycles = tlb.walk_cycles + tlb.second_cycles
    without = cycles_of(plain, new_page) - cycles_of(plain, [0])
    assert cycles_of(paged, new_page) - cycles_of(paged, [0]) == without + walk_cycles
