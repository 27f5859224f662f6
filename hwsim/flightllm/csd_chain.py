"""Say what the configurable sparse DSP chain computes and when: golden and cycle model.

Structure (DSP groups of 2, zero multiplexers, reduction nodes, overflow adjustment behind 8 DSPs):
Zeng et al. 2024, 3.3. Field arithmetic is derived from it; the cut of the overflow adjustment and
all latencies are this project's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.machine import UnitTiming
from hwsim.flightllm.dsp48 import wrap
from hwsim.flightllm.unit_spec import DSP_P_BITS, CsdChainSpec, LaneSpec

__all__ = [
    "ChainWork",
    "chain_sums",
    "chain_timing",
    "dot_products",
    "mux_timing",
    "node_cycle",
    "outputs_per_issue",
    "split_lanes",
    "split_segment",
]

Lanes = NDArray[np.int64]


def chain_timing(spec: CsdChainSpec) -> UnitTiming:
    """Return the cycle contract of the chain; a transfer is an issue, all sums of it in one.

    3 registers before the first P (A and D, AD, M), one P per DSP, the reduction node: 3 + L + 1.
    """
    return UnitTiming(latency_cycles=3 + spec.dsps + 1, interval_cycles=1)


def mux_timing(spec: CsdChainSpec | LaneSpec) -> UnitTiming:
    """Return the cycle contract of a sparse multiplexer, or of overflow adjustment, by itself."""
    del spec
    return UnitTiming(latency_cycles=1, interval_cycles=1)


def node_cycle(spec: CsdChainSpec, group: int) -> int:
    """Return in which cycle after the issue the sum of reduction node ``group`` is registered.

    It then waits for the last one, so that an issue's sums leave together.
    """
    return 3 + spec.dsps_per_group * (group + 1) + 1


def outputs_per_issue(spec: CsdChainSpec, nm_n: int) -> int:
    """Return how many pairs of sums an issue gives: L / N."""
    if nm_n not in spec.modes:
        raise InputError("nm_n", f"one of {', '.join(map(str, spec.modes))}", str(nm_n))
    return spec.dsps // nm_n


@dataclass(frozen=True)
class ChainWork:
    """What one issue brings to the chain.

    Attributes
    ----------
    acts : int[2, choices]
        Activations of the low and of the high lane, signed.
    weights : int[dsps]
        Kept weights, signed; each block column has ``nm_n`` of them, one after the other.
    index : int[dsps]
        Which activation each weight meets.
    nm_n : int
        Kept weights per block column, one of ``spec.modes``.
    """

    acts: NDArray[Any]
    weights: NDArray[Any]
    index: NDArray[Any]
    nm_n: int


def split_lanes(spec: LaneSpec, p: int) -> tuple[int, int]:
    """Return the high and the low sum in ``p``, a signed 48-bit word."""
    low = wrap(p, spec.lane_bits)
    high = (p >> spec.lane_bits) + (p >> (spec.lane_bits - 1) & 1)
    return wrap(high, DSP_P_BITS - spec.lane_bits), low


def split_segment(spec: LaneSpec, p: int) -> tuple[int, int, int]:
    """Return what stays in the cascade and what leaves each lane, in units of 2**lsp_bits."""
    high, low = split_lanes(spec, p)
    cut, ones = spec.lsp_bits, (1 << spec.lsp_bits) - 1
    kept = (low & ones) + ((high & ones) << spec.lane_bits)
    return kept, wrap(high >> cut, spec.msp_bits), wrap(low >> cut, spec.msp_bits)


def dot_products(spec: CsdChainSpec, work: ChainWork) -> tuple[Lanes, Lanes]:
    """Return the exact sums of the high and the low lane, int64[outputs] each, by numpy."""
    chosen = np.asarray(work.acts, dtype=np.int64)[:, np.asarray(work.index)]
    products = (chosen * np.asarray(work.weights, dtype=np.int64)).reshape(2, -1, work.nm_n)
    low, high = products.sum(axis=2)
    return high, low


def chain_sums(spec: CsdChainSpec, work: ChainWork) -> tuple[Lanes, Lanes]:
    """Return the sums of the high and the low lane as the chain computes them, int64[outputs].

    All arithmetic is that of the 48-bit words, so sums that leave their lane come out as wrong as
    they do in hardware. Equal to :func:`dot_products` for weights that are not the most negative
    number.
    """
    lane, outputs = spec.lane, outputs_per_issue(spec, work.nm_n)
    acts = np.asarray(work.acts, dtype=np.int64)
    p, msp_high, msp_low = 0, 0, 0
    highs, lows = [], []
    for dsp in range(spec.dsps):
        low, high = (int(row[work.index[dsp]]) for row in acts)
        is_first = dsp % work.nm_n == 0
        if is_first:
            p, msp_high, msp_low = 0, 0, 0
        elif dsp % lane.segment_dsps == 0:
            p, msp_high, msp_low = split_segment(lane, p)
        p = wrap(((high << lane.lane_bits) + low) * int(work.weights[dsp]) + p, DSP_P_BITS)
        if dsp % work.nm_n == work.nm_n - 1:
            high_sum, low_sum = split_lanes(lane, p)
            highs.append(wrap(high_sum + (msp_high << lane.lsp_bits), spec.sum_bits))
            lows.append(wrap(low_sum + (msp_low << lane.lsp_bits), spec.sum_bits))
    assert len(highs) == outputs
    return np.array(highs, dtype=np.int64), np.array(lows, dtype=np.int64)
