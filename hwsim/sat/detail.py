"""Replace the closed-form cycles of a program by stepped ones, and insist that they agree."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hwsim.core.errors import HwsimError
from hwsim.core.formats import encode_nm
from hwsim.core.program import Program
from hwsim.core.sparsity import NM
from hwsim.core.units import ceil_div
from hwsim.sat.golden import golden_gemm
from hwsim.sat.kernels import step_output_stationary, step_weight_stationary
from hwsim.sat.pe import step_gemm
from hwsim.sat.spec import ArraySpec
from hwsim.sat.timing import ArrayGemm, gemm_timing

__all__ = ["step_pes", "step_tiles", "stepped_program"]


def stepped_program(program: Program, array: ArraySpec, detail: str) -> Program:
    """Return ``program`` with every GEMM's cycles stepped tile by tile or PE by PE.

    Equal GEMM shapes are stepped once. Raises :class:`HwsimError` if a stepped count differs
    from the closed form or, PE by PE, if stepped values differ from golden.
    """
    if array.timing == "scalesim":
        return program  # SCALE-Sim's counts have no microarchitecture to step
    rows = program.instructions
    is_gemm = (rows["unit"] == program.units.index("stce")) & (rows["cycles"] > 0)
    stepped = rows["cycles"].copy()
    for index, (dataflow, *shape) in enumerate(program.meta["gemm_shapes"]):
        gemm = ArrayGemm(*shape)
        step = step_tiles if detail == "tile" else step_pes
        cycles = step(array, dataflow, gemm)
        mine = is_gemm & (rows["operand"] == index)
        stepped[mine] = cycles
        if (rows["cycles"][mine] != cycles).any():
            expected = sorted(set(rows["cycles"][mine].tolist()))
            raise HwsimError(f"{detail} stepping of {dataflow} {gemm}", f"{expected}", f"{cycles}")
    instructions = rows.copy()
    instructions["cycles"] = stepped
    return replace(program, instructions=instructions)


def step_tiles(array: ArraySpec, dataflow: str, gemm: ArrayGemm) -> int:
    """Return the cycles of ``gemm`` with every array tile and interleave step stepped."""
    beats = ceil_div(gemm.nm_m, array.edge_elems_per_cycle)
    latencies = (array.multiplier_latency_cycles, array.adder_latency_cycles)
    size = (array.rows, array.cols)
    n_tiles = ceil_div(gemm.n, array.cols)
    if dataflow == "os":
        tiles = ceil_div(gemm.m, array.rows) * n_tiles
        flags = (array.overlap_skew, array.overlap_drain)
        work = (tiles, gemm.k_groups, gemm.nm_n, beats)
        fixed = (*size, *latencies, array.interleave, *flags)
        return int(step_output_stationary(*work, *fixed)) + _shift_in(array, gemm, tiles)
    work = (gemm.m, ceil_div(gemm.k_groups, array.rows) * n_tiles, gemm.nm_n, beats)
    fixed = (*size, *latencies, array.interleave, array.has_double_buffered_weights)
    plain = int(step_weight_stationary(*work, *fixed, -1))
    if not (array.overlap_skew and array.has_double_buffered_weights):
        return plain
    adder = array.adder_latency_cycles
    hop = (gemm.nm_n - 1) * max(min(array.interleave, gemm.m), adder) + adder
    wave = (array.rows - 1) * hop + max(array.cols + array.rows * gemm.nm_n, hop)
    return min(plain, int(step_weight_stationary(*work, *fixed, wave)))


def step_pes(array: ArraySpec, dataflow: str, gemm: ArrayGemm) -> int:
    """Return the cycles of ``gemm`` stepped PE by PE on random values, checked against golden."""
    rng = np.random.default_rng(gemm.m * 7919 + gemm.k * 104729 + gemm.n)
    a = rng.standard_normal((gemm.m, gemm.k)).astype(np.float16)
    b = rng.standard_normal((gemm.k, gemm.n)).astype(np.float16)
    mask = NM(nm_n=gemm.nm_n, nm_m=gemm.nm_m).sample_mask(b.shape, rng)
    limit = 2 * gemm_timing(array, dataflow, gemm).cycles + 64  # only stops a run that hangs
    compact = encode_nm(b, mask, gemm.nm_n, gemm.nm_m)
    run = step_gemm(array, dataflow, a, compact, max_cycles=limit)
    if not np.array_equal(run.output, golden_gemm(a, b, mask)):
        worst = float(np.abs(run.output - golden_gemm(a, b, mask)).max())
        raise HwsimError(f"pe stepping of {dataflow} {gemm}", "golden outputs", f"off by {worst}")
    tiles = ceil_div(gemm.m, array.rows) * ceil_div(gemm.n, array.cols)
    return run.cycles + (_shift_in(array, gemm, tiles) if dataflow == "os" else 0)


def _shift_in(array: ArraySpec, gemm: ArrayGemm, tiles: int) -> int:
    """Return the cycles that bring stored sums into the PEs of output-stationary tiles."""
    return tiles * array.rows if gemm.is_continued else 0
