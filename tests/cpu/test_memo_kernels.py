"""Hold runs that remember the pipeline to runs that step every instruction."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.cpu import memo as memo_module
from hwsim.cpu.core_state import Core
from hwsim.cpu.isa import GENERAL, UopBuilder, UopKernel
from hwsim.cpu.memo_kernels import E_CYCLES
from hwsim.cpu.spec import PRESETS, CpuSpec

X = GENERAL
SPECS = {
    **{name: PRESETS[name] for name in ("sd835", "sd855", "sd835-little", "wasm-x86")},
    "few misses, translation": PRESETS["rpi4"].override(
        ["tlb.is_modelled=true", "tlb.entries=2", "tlb.second_entries=3", "misses_in_flight=1"]
    ),
    "small L1": PRESETS["sd835"].override(["l1.size_bytes=512", "l1.ways=2", "core.load_queue=2"]),
}
PLAIN = ("alu", "fma_q", "fadd_q", "branch", "dup_x", "fdiv_q")
MEMORY = ("load_q", "load_x", "load_dup", "store_q", "prefetch", "load_pair_q")


def add_row(draw: st.DrawFn, b: UopBuilder) -> None:
    name = draw(st.sampled_from(PLAIN + MEMORY))
    registers = st.integers(0, 3)
    if name in MEMORY:
        pointer = draw(st.sampled_from("pq"))
        step = draw(st.sampled_from([None, 0, 16, 64, 192, 4096, -64, "steps"]))
        is_store = name.startswith("store")
        dst = () if is_store or name == "prefetch" else (draw(registers),)
        read = (X, draw(registers)) if is_store else (X,)
        b.op(
            *(name, dst, read),
            pointer=pointer,
            offset=draw(st.sampled_from([0, 4, 60])),
            size=32 if "pair" in name else 16,
            has_write_back=draw(st.booleans()),
            step=None if step is None else (pointer, step),
        )
    elif name == "fma_q":
        dst = draw(registers)
        b.op(name, (dst,), (dst, draw(registers)), macs=4)
    elif name == "branch":
        b.op(name, (), (X,))
    else:
        b.op(name, (draw(registers),), (draw(registers),))


@st.composite
def loops(draw: st.DrawFn) -> UopKernel:
    """Return two nested loops with code before, inside and after; the inner takes a stream."""
    b = UopBuilder("random")
    with b.loop(draw(st.integers(1, 12))):
        for _ in range(draw(st.integers(0, 4))):
            add_row(draw, b)
        with b.loop(draw(st.sampled_from(["trips", 1, 5, 30]))):
            for _ in range(draw(st.integers(1, 8))):
                add_row(draw, b)
        if draw(st.booleans()):
            b.rewind("steps")
        for _ in range(draw(st.integers(0, 3))):
            add_row(draw, b)
    return b.build()


def outcome(kernel: UopKernel, spec: CpuSpec, *, is_stepping: bool, calls: int = 3) -> list[object]:
    """Return all that can be seen of a core after a few calls, and of its caches."""
    core = Core(spec, is_stepping=is_stepping)
    rng = np.random.default_rng(1)
    streams = {"trips": rng.integers(0, 25, 12), "steps": 64 * rng.integers(-3, 5, 40)}
    found: list[object] = []
    for _ in range(calls):
        places = {name: 1 << 20 + i for i, name in enumerate(kernel.pointers)}
        run = core.run(kernel, places, {name: streams[name] for name in kernel.streams})
        found += [run.end_cycle, run.instructions, run.uops, run.macs, run.counts]
        found += [run.slots.tolist(), core.drained_cycle]
    return [*found, [array.tolist() for array in core._memory if array is not None]]


@pytest.mark.evidence("cpu", "T2")
@settings(max_examples=40, deadline=None)
@given(loops(), st.sampled_from(sorted(SPECS)))
def test_remembering_changes_nothing(kernel: UopKernel, name: str) -> None:
    expected = outcome(kernel, SPECS[name], is_stepping=True)
    assert outcome(kernel, SPECS[name], is_stepping=False) == expected


@settings(max_examples=20, deadline=None)
@given(loops(), st.sampled_from(sorted(SPECS)))
def test_forgetting_changes_nothing(kernel: UopKernel, name: str) -> None:
    expected = outcome(kernel, SPECS[name], is_stepping=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memo_module, "_STATES", 4)
        patch.setattr(memo_module, "_EDGES", 4)
        assert outcome(kernel, SPECS[name], is_stepping=False) == expected


def streaming_loop() -> UopKernel:
    b = UopBuilder("stream")
    with b.loop(400):
        b.op("load_q", (0,), (X,), pointer="p", size=16, step=("p", 16))
        b.op("fadd_q", (1,), (0, 0))
        b.op("branch", (), (X,))
    return b.build()


def test_a_loop_that_repeats_is_not_stepped_again() -> None:
    core = Core(PRESETS["sd835"])
    core.run(streaming_loop(), {"p": 0})
    run = core.run(streaming_loop(), {"p": 0})
    assert core.memo.followed_instructions > 1000
    assert run.instructions == 1200
    stepping = Core(PRESETS["sd835"], is_stepping=True)
    stepping.run(streaming_loop(), {"p": 0})
    assert stepping.memo.followed_instructions == 0


def test_the_comparison_notices_an_edge_that_is_a_cycle_too_long() -> None:
    def cycles(error: int) -> int:
        core = Core(PRESETS["sd835"])
        kernel = streaming_loop()
        core.run(kernel, {"p": 0})
        edges = core.memo.tables[5]
        edges[: 1 << 10, E_CYCLES] += error
        return core.run(kernel, {"p": 0}).cycles

    assert cycles(1) > cycles(0)
