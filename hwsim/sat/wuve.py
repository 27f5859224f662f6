"""Say what the weight update engine (WUVE) computes and when: golden model and cycle model.

SGD with momentum in the manner of mixed-precision training: FP16 gradients come in, weights and
momentum are FP32 masters, an FP16 copy of the new weights goes out. That precision flow is
third-party: reading notes on Fang et al. 2023. The order of operations and the places of rounding
are this project's own: every product and every sum is rounded to FP32 by itself, none is fused::

    g = fp32(dw) * inv_scale + wd * w
    v' = mu * v + g
    w' = w - lr * v'
    w16 = fp16(w')

All rounding is to nearest, ties to even; subnormals count in full. Infinities and NaN propagate
(a gradient that overflowed poisons its own weight only), and every NaN is the canonical one:
whether to skip such an update is the recipe's business, :func:`count_nonfinite` tells it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.machine import UnitTiming
from hwsim.sat.float_units import (
    CANONICAL_NAN,
    CANONICAL_NAN_FP16,
    adder_timing,
    converter_timing,
    multiplier_timing,
)
from hwsim.sat.spec import SatSpec

__all__ = ["count_nonfinite", "play_wuve", "update_weights", "wuve_timing"]


def update_weights(
    dw16: NDArray[np.float16],
    w32: NDArray[np.float32],
    v32: NDArray[np.float32],
    *,
    lr: float,
    mu: float,
    wd: float = 0.0,
    inv_scale: float = 1.0,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float16]]:
    """Return new weights, new momentum and the FP16 copy of the weights, bit by bit as WUVE does.

    Parameters
    ----------
    dw16 : float16[*shape]
        Gradients, multiplied by the loss scale.
    w32, v32 : float32[*shape]
        Master weights and momentum.
    lr, mu, wd, inv_scale : float
        Learning rate, momentum, weight decay and 1 / loss scale, each rounded to FP32 first.

    Returns
    -------
    w32, v32 : float32[*shape]
    w16 : float16[*shape]

    Raises
    ------
    InputError
        If dtypes or shapes differ from that.
    """
    _check("dw16", dw16, np.float16, w32.shape)
    _check("w32", w32, np.float32, w32.shape)
    _check("v32", v32, np.float32, w32.shape)
    with np.errstate(all="ignore"):
        gradient = dw16.astype(np.float32) * np.float32(inv_scale) + np.float32(wd) * w32
        velocity = np.float32(mu) * v32 + gradient
        weights = w32 - np.float32(lr) * velocity
        copy = weights.astype(np.float16)
    # Only whether a value is NaN travels through the sums, so canonical ones at the end suffice.
    fp32_nan = np.uint32(CANONICAL_NAN).view(np.float32)
    fp16_nan = np.uint16(CANONICAL_NAN_FP16).view(np.float16)
    return (
        np.where(np.isnan(weights), fp32_nan, weights),
        np.where(np.isnan(velocity), fp32_nan, velocity),
        np.where(np.isnan(copy), fp16_nan, copy),
    )


def count_nonfinite(values: NDArray[np.floating]) -> int:
    """Return how many of ``values`` are infinite or NaN."""
    return int(values.size - np.count_nonzero(np.isfinite(values)))


def wuve_timing(spec: SatSpec) -> UnitTiming:
    """Return the cycle contract; a transfer is one weight per lane.

    The longest path: widen, multiply by ``inv_scale``, add the decay, add the momentum, multiply by
    ``lr``, subtract, narrow. Raises :class:`SpecError` for a multiplier latency of 0.
    """
    convert = converter_timing(spec.array).latency_cycles
    multiply = multiplier_timing(spec.array).latency_cycles
    add = adder_timing(spec.array).latency_cycles
    return UnitTiming(2 * convert + 2 * multiply + 3 * add, 1)


def play_wuve(
    timing: UnitTiming,
    transfers: int,
    source_gaps: Sequence[NDArray[np.bool_]],
    sink_stalls: Sequence[NDArray[np.bool_]],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return accept and emit cycles under any stalls.

    All inputs are accepted together, in the cycles in which the stages move; these move when the
    last one is empty or each output has emitted its word of it by then, at its own time.

    Parameters
    ----------
    timing : UnitTiming
        Interval 1; the latency is the number of stages.
    transfers : int
        Transfers offered per input, in order.
    source_gaps, sink_stalls : bool[cycles] per input, per output
        True where a producer begins no offer, a consumer refuses; never after their end.

    Returns
    -------
    accept_cycles : int64[transfers]
    emit_cycles : int64[outputs, transfers]
    """
    ages: list[int] = []  # moves since acceptance of each transfer in flight, oldest first
    accepts: list[int] = []
    emits: list[list[int]] = [[] for _ in sink_stalls]
    offered = [0] * len(source_gaps)
    cycle, moved_out = 0, 0
    while moved_out < transfers:
        for port, gaps in enumerate(source_gaps):
            is_gap = cycle < len(gaps) and gaps[cycle]
            if offered[port] == len(accepts) < transfers and not is_gap:
                offered[port] += 1
        is_waiting = bool(ages) and ages[0] == timing.latency_cycles
        if is_waiting:
            for port, stalls in enumerate(sink_stalls):
                is_stalled = cycle < len(stalls) and stalls[cycle]
                if len(emits[port]) == moved_out and not is_stalled:
                    emits[port].append(cycle)
        if not is_waiting or all(len(words) > moved_out for words in emits):
            if is_waiting:
                ages.pop(0)
                moved_out += 1
            if all(count > len(accepts) for count in offered):
                accepts.append(cycle)
                ages.append(0)
            ages = [age + 1 for age in ages]
        cycle += 1
    return np.array(accepts, dtype=np.int64), np.array(emits, dtype=np.int64)


def _check(
    field: str, values: NDArray[np.generic], dtype: type[np.floating], shape: tuple[int, ...]
) -> None:
    if values.dtype != dtype or values.shape != shape:
        need = f"{dtype.__name__}{list(shape)}, the shape of w32"
        raise InputError(field, need, f"{values.dtype}{list(values.shape)}")
