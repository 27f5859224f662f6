"""Step a whole matrix product through the SAT array, cycle by cycle and PE by PE.

The cycle count is what is observed when the last result leaves; docs/sat_microarchitecture.md
states the hardware. Static control constants are the delay between rows and the tile order;
everything else is decided by what has arrived: groups in banks, sums back from the adder, weights
in the shadow registers, results shifted out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.formats import NMCompact
from hwsim.core.units import ceil_div, round_up
from hwsim.sat.pe_fast_kernels import run_output_fast, run_stationary_fast
from hwsim.sat.pe_lane_kernels import Job
from hwsim.sat.pe_os_kernels import run_output
from hwsim.sat.pe_ws_kernels import BROADCAST, NO_SHADOW, WAVE, run_stationary
from hwsim.sat.spec import ArraySpec

__all__ = ["PeRun", "hop_cycles", "step_gemm"]


@dataclass(frozen=True)
class PeRun:
    """What stepping one product showed.

    Attributes
    ----------
    cycles : int
        Cycles until the last result has left the array.
    output : float32[m, n]
        The product.
    issued : int64[rows, cols]
        Products that each PE issued, padding included.
    """

    cycles: int
    output: NDArray[np.float32]
    issued: NDArray[np.int64]

    @property
    def busy_slots(self) -> int:
        """Return the cycles in which lane 0 issues a product."""
        return int(self.issued[0, 0])

    @property
    def issued_slots(self) -> int:
        """Return the products issued by all PEs, padding included."""
        return int(self.issued.sum())


def hop_cycles(array: ArraySpec, m: int, nm_n: int) -> int:
    """Return the cycles by which a weight-stationary row runs behind the row above it."""
    spacing = max(min(array.interleave, m), array.adder_latency_cycles)
    return (nm_n - 1) * spacing + array.adder_latency_cycles


def step_gemm(
    array: ArraySpec,
    dataflow: Literal["ws", "os"],
    a: NDArray[np.float16],
    b: NMCompact,
    *,
    max_cycles: int,
    is_plain: bool = False,
    row_delay_cycles: int | None = None,
) -> PeRun:
    """Step A · B through the array and return its cycles, its output and the products issued.

    Parameters
    ----------
    array : ArraySpec
        Sizes, latencies and options; ``timing`` is ignored.
    dataflow : "ws" or "os"
        Weight- or output-stationary.
    a : float16[m, k]
        Activations.
    b : NMCompact
        Weights [k, n]; dense is one slot per group of one element.
    max_cycles : int
        Give up after this many cycles.
    is_plain : bool
        Keep every register of every PE and check every transfer, instead of stepping PEs one after
        another over runs of cycles with checks in lane 0: the slow reference of the tests.
    row_delay_cycles : int, optional
        Delay between rows in place of :func:`hop_cycles` (weight-stationary).

    Raises
    ------
    InputError
        If shapes disagree, the dataflow is unknown, or ``max_cycles`` is too small.
    RuntimeError
        If something is used before it has arrived (a control constant is wrong).
    """
    m, k = a.shape
    if k != b.k or min(m, k, b.values.shape[2]) < 1:
        raise InputError("a", f"at least one row and k = {b.k} columns", f"{m} x {k}")
    if dataflow not in ("ws", "os"):
        raise InputError("dataflow", "ws or os", repr(dataflow))
    job = _job(array, dataflow, m, b, row_delay_cycles)
    left, values, indices = _operands(job, a, b)
    columns = values.shape[2]
    runs = []
    for mode in _modes(array, dataflow):
        options = (mode,) if dataflow == "ws" else (array.overlap_skew, array.overlap_drain)
        if is_plain:
            out = np.zeros((left.shape[0], columns), dtype=np.float32)
            step = run_stationary if dataflow == "ws" else run_output
            cycles, issued = step(job, *options, left, values, indices, out, max_cycles)
        else:
            out = np.zeros((columns, left.shape[0]), dtype=np.float32)
            flat = (left.T.ravel(), values.ravel(), indices.ravel(), out.ravel())
            step = run_stationary_fast if dataflow == "ws" else run_output_fast
            cycles, issued = step(job, *options, left, *flat, max_cycles)
            out = out.T
        issued = np.broadcast_to(issued.reshape(array.rows, -1), (array.rows, array.cols)).copy()
        if cycles >= 0:
            runs.append(PeRun(int(cycles), out[:m, : b.values.shape[2]], issued))
    if not runs:
        raise InputError("max_cycles", "more cycles to finish the product", str(max_cycles))
    return min(runs, key=lambda run: run.cycles)


def _modes(array: ArraySpec, dataflow: str) -> tuple[int, ...]:
    """Return the ways of taking over weights that the control chooses from, per product."""
    if dataflow == "os" or not array.has_double_buffered_weights:
        return (NO_SHADOW,)
    return (BROADCAST, WAVE) if array.overlap_skew else (BROADCAST,)


def _job(
    array: ArraySpec, dataflow: str, m: int, b: NMCompact, row_delay_cycles: int | None
) -> Job:
    groups, nm_n, n = b.values.shape
    is_stationary = dataflow == "ws"
    k_tiles, row_tiles = ceil_div(groups, array.rows), ceil_div(m, array.rows)
    tiles = (k_tiles if is_stationary else row_tiles) * ceil_div(n, array.cols)
    hop = hop_cycles(array, m, nm_n) if row_delay_cycles is None else row_delay_cycles
    return Job(
        is_stationary=is_stationary,
        rows=array.rows,
        cols=array.cols,
        nm_n=nm_n,
        nm_m=b.nm_m,
        interleave=array.interleave,
        multiplier=array.multiplier_latency_cycles,
        adder=array.adder_latency_cycles,
        edge=array.edge_elems_per_cycle,
        beats=ceil_div(b.nm_m, array.edge_elems_per_cycle),
        hop=hop,
        m=m,
        k_tiles=k_tiles,
        row_tiles=row_tiles,
        units=tiles if is_stationary else ceil_div(tiles, array.interleave),
        steps=ceil_div(m, array.interleave) if is_stationary else groups,
        tiles=tiles,
    )


def _operands(job: Job, a: NDArray[np.float16], b: NMCompact) -> tuple[Any, Any, Any]:
    """Return A, values and indices padded with zeros to whole tiles, as the kernels take them."""
    groups, nm_n, n = b.values.shape
    m, k = a.shape
    padded_groups = job.k_tiles * job.rows if job.is_stationary else groups
    padded_m = m if job.is_stationary else job.row_tiles * job.rows
    left = np.zeros((padded_m, padded_groups * b.nm_m), dtype=np.float32)
    left[:m, :k] = a
    values = np.zeros((padded_groups, nm_n, round_up(n, job.cols)), dtype=np.float32)
    indices = np.zeros(values.shape, dtype=np.int64)
    values[:groups, :, :n] = b.values
    indices[:groups, :, :n] = b.indices
    return left, values, indices
