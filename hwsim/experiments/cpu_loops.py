"""Inner loops of sparse and dense kernels, as micro-ops and as AArch64 text, cycle for cycle.

One row per instruction. Which loads, prefetches and multiply-accumulates a loop has is that of
XNNPACK's kernels (google/XNNPACK, f32-spmm and f32-gemm); their order is ours. The text is what
``python -m benchmarks.llvm_mca`` hands to llvm-mca.
"""

from __future__ import annotations

from dataclasses import dataclass

from hwsim.core.units import ceil_div
from hwsim.cpu.isa import GENERAL, UopBuilder, UopKernel
from hwsim.cpu.spec import PRESETS

__all__ = ["LOOPS", "Loop", "steady_state_cycles"]

X = GENERAL
_ADDRESSES = {"in": 0, "w": 1 << 20, "dmap": 2 << 20, "a": 3 << 20, "b": 4 << 20}
_WARM_UP_TRIPS, _MEASURED_TRIPS = 500, 1000


@dataclass(frozen=True)
class Loop:
    """One inner loop: ``mr`` pixels by ``nr`` output channels, sparse or a dense product."""

    name: str
    mr: int
    nr: int
    is_dense: bool = False

    def kernel(self, trips: int) -> UopKernel:
        """Return ``trips`` trips as micro-ops."""
        return _gemm(trips) if self.is_dense else _spmm(self, trips)

    def assembly(self) -> str:
        """Return one trip as AArch64 text."""
        return "\n".join(_gemm_text() if self.is_dense else _spmm_text(self)) + "\n"


LOOPS = {
    loop.name: loop
    for loop in (
        Loop("spmm-16x1", 16, 1),
        Loop("spmm-32x1", 32, 1),
        Loop("spmm-16x2", 16, 2),
        Loop("spmm-16x4", 16, 4),
        Loop("gemm-6x8", 6, 8, is_dense=True),
    )
}
"""A trip is one nonzero block; of the dense product, two steps of the reduction."""


def _spmm(loop: Loop, trips: int) -> UopKernel:
    b = UopBuilder(loop.name)
    vectors = loop.mr // 4
    weight = {1: "load_dup", 2: "load_s", 4: "load_q"}[loop.nr]
    with b.loop(trips):
        b.op("load_x", (X + 15,), (X + 11,), pointer="dmap", size=4, has_write_back=True)
        for i in range(0, vectors, 2):
            b.op("load_pair_q", (16 + i, 17 + i), (X + 2,), pointer="in", offset=16 * i, size=32)
        for line in range(ceil_div(vectors, 4)):
            b.op("prefetch", (), (X + 2,), pointer="in", offset=64 * (line + 1), size=4)
        b.op(weight, (31,), (X + 12,), pointer="w", size=4 * loop.nr, has_write_back=True)
        b.op("alu", (X + 2,), (X + 15, X + 2))
        b.op("prefetch", (), (X + 12,), pointer="w", offset=128, size=4)
        for r in range(loop.nr):
            for i in range(vectors):
                b.op("fma_q", (r * vectors + i,), (r * vectors + i, 16 + i, 31), macs=4)
        b.op("alu", (X + 13,), (X + 13,))
        b.op("branch", (), (X + 13,))
    return b.build()


def _spmm_text(loop: Loop) -> list[str]:
    vectors = loop.mr // 4
    weight = {
        1: "ld1r {v31.4s}, [x12], #4",
        2: "ldr d31, [x12], #8",
        4: "ldr q31, [x12], #16",
    }[loop.nr]
    lines = ["ldrsw x15, [x11], #4"]
    lines += [f"ldp q{16 + i}, q{17 + i}, [x2, #{16 * i}]" for i in range(0, vectors, 2)]
    lines += [f"prfm pldl1keep, [x2, #{64 * (i + 1)}]" for i in range(ceil_div(vectors, 4))]
    lines += [weight, "add x2, x15, x2", "prfm pldl1keep, [x12, #128]"]
    for r in range(loop.nr):
        by = "v31.4s" if loop.nr == 1 else f"v31.s[{r}]"
        lines += [f"fmla v{r * vectors + i}.4s, v{16 + i}.4s, {by}" for i in range(vectors)]
    return [*lines, "subs w13, w13, #1", "b.ne 0"]


def _gemm(trips: int) -> UopKernel:
    b = UopBuilder("gemm-6x8")
    with b.loop(trips):
        for i in range(6):
            b.op("load_s", (i,), (X + 3 + i,), pointer="a", size=8, has_write_back=True)
        for _ in range(2):
            b.op("load_pair_q", (6, 7), (X + 12,), pointer="b", size=32, has_write_back=True)
            for j in range(2):
                for i in range(6):
                    acc = 8 + i * 2 + j
                    b.op("fma_q", (acc,), (acc, 6 + j, i), macs=4)
        b.op("alu", (X + 13,), (X + 13,))
        b.op("branch", (), (X + 13,))
    return b.build()


def _gemm_text() -> list[str]:
    lines = [f"ldr d{i}, [x{3 + i}], #8" for i in range(6)]
    for lane in range(2):
        lines.append("ldp q6, q7, [x12], #32")
        for j in range(2):
            lines += [f"fmla v{8 + i * 2 + j}.4s, v{6 + j}.4s, v{i}.s[{lane}]" for i in range(6)]
    return [*lines, "subs x13, x13, #8", "b.hs 0"]


def steady_state_cycles(loop: Loop, rules: str) -> float:
    """Return the cycles per trip of ``loop`` under a rule table, every access in the L1."""
    from hwsim.cpu.core_state import Core  # numba is imported only when something runs

    spec = PRESETS["sd835"].override([f"core.rules={rules}"])
    cycles = [
        Core(spec, is_ideal=True).run(loop.kernel(trips), _ADDRESSES).cycles
        for trips in (_WARM_UP_TRIPS, _WARM_UP_TRIPS + _MEASURED_TRIPS)
    ]
    return (cycles[1] - cycles[0]) / _MEASURED_TRIPS
