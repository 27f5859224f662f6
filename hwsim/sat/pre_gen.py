"""Say what the pre-generation chain makes of new weights, and when: golden model, cycle model.

Right after an update the FP16 weights pass SORE along both directions, so that the next iteration
reads compact weights only. That pre-generation hides the selection behind the update is third-party
(reading notes on Fang et al. 2023); the order in which weights pass, the two engines or the shared
one and all cycles are this project's own.

Weights pass in panels of ``lanes`` output channels; within a panel, input channel by input channel,
one row of ``lanes`` values per cycle. ``nm_m`` rows are a block, from which ``lanes`` groups of
either direction leave. A kernel of kh x kw positions passes as kh * kw matrices. Ragged edges
are padded with zeros, whose groups or slots are then dropped.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.formats import NMCompact
from hwsim.core.machine import UnitTiming
from hwsim.core.units import ceil_div, round_up
from hwsim.sat import data_provider
from hwsim.sat.data_provider import provide_rows
from hwsim.sat.sorter import engine_timing, reduce_rows
from hwsim.sat.spec import PreGenSpec, SoreSpec

__all__ = [
    "Groups",
    "collect_bp",
    "collect_ff",
    "pregen_schedule",
    "pregenerate",
    "timing",
    "weight_rows",
]

Groups = tuple[NDArray[np.uint16], NDArray[np.uint8]]
"""Values uint16[sets, lanes, nm_n] and their positions uint8[sets, lanes, nm_n]."""


def timing(spec: PreGenSpec) -> UnitTiming:
    """Return the cycle contract; a transfer is a block of ``nm_m`` rows.

    The latency is that of the BP groups, which leave last: the transposer offers the block after
    its last row, and SORE takes another ``nm_m`` cycles. One engine for both directions takes every
    block twice.
    """
    nm_m = spec.sore.sorter.nm_m
    turned = data_provider.timing(spec.sore)
    latency = turned.latency_cycles + (nm_m - 1) + engine_timing(spec.sore).latency_cycles
    return UnitTiming(latency, nm_m * (2 // spec.engines))


def pregen_schedule(
    spec: PreGenSpec, blocks: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return when rows are accepted and groups of FF and BP leave, if nobody stalls.

    Returns
    -------
    accept_cycles : int64[blocks * nm_m]
    ff_cycles, bp_cycles : int64[blocks]
        Emit cycle of each set of groups.
    """
    nm_m = spec.sore.sorter.nm_m
    contract = timing(spec)
    starts = np.arange(blocks, dtype=np.int64) * contract.interval_cycles
    accepts = (starts[:, None] + np.arange(nm_m)).ravel()
    lasts = starts + nm_m - 1
    return accepts, lasts + engine_timing(spec.sore).latency_cycles, lasts + contract.latency_cycles


def pregenerate(spec: PreGenSpec, rows: NDArray[np.uint16]) -> tuple[Groups, Groups]:
    """Return the compact groups of FF and of BP for ``rows`` uint16[blocks * nm_m, lanes]."""
    is_transposed = np.ones(len(rows) // spec.sore.sorter.nm_m, dtype=np.bool_)
    turned = provide_rows(spec.sore, rows, is_transposed)
    return reduce_rows(spec.sore, rows), reduce_rows(spec.sore, turned)


def weight_rows(spec: SoreSpec, weights: NDArray[np.float16]) -> NDArray[np.uint16]:
    """Return the FP16 words of ``weights`` [ci, co] in the order in which they pass.

    Returns
    -------
    uint16[panels * round_up(ci, nm_m), lanes]

    Raises
    ------
    InputError
        If ``weights`` is not float16[ci, co].
    """
    if weights.ndim != 2 or weights.dtype != np.float16:
        raise InputError("weights", "float16[ci, co]", f"{weights.dtype}{list(weights.shape)}")
    ci, co = weights.shape
    padding = (round_up(ci, spec.sorter.nm_m) - ci, round_up(co, spec.lanes) - co)
    bits = np.pad(weights.view(np.uint16), [(0, extra) for extra in padding])
    panels = bits.reshape(len(bits), -1, spec.lanes).transpose(1, 0, 2)
    return panels.reshape(-1, spec.lanes)


def collect_ff(spec: SoreSpec, shape: tuple[int, int], groups: Groups) -> NMCompact:
    """Return the compact weights [ci, co], grouped along ci, that all FF ``groups`` hold."""
    ci, co = shape
    nm_m = spec.sorter.nm_m

    def place(field: NDArray[np.generic]) -> NDArray[np.generic]:
        # [panel, ci group, lane, slot] -> [ci group, slot, co]
        panels = field.reshape(-1, ceil_div(ci, nm_m), *field.shape[1:])
        placed = panels.transpose(1, 3, 0, 2)
        return placed.reshape(*placed.shape[:2], -1)[:, :, :co]

    values, indices = groups
    return NMCompact(place(values).view(np.float16), place(indices).astype(np.uint8), ci, nm_m)


def collect_bp(spec: SoreSpec, shape: tuple[int, int], groups: Groups) -> NMCompact:
    """Return the transposed compact weights [co, ci], grouped along co, that ``groups`` hold."""
    ci, co = shape
    nm_m = spec.sorter.nm_m

    def place(field: NDArray[np.generic]) -> NDArray[np.generic]:
        # [panel, block of ci, group in the row, ci in the block, slot] -> [co group, slot, ci]
        tiles = field.reshape(
            -1, ceil_div(ci, nm_m), spec.lanes // nm_m, nm_m, spec.sorter.nm_n
        ).transpose(0, 2, 4, 1, 3)
        placed = tiles.reshape(-1, spec.sorter.nm_n, tiles.shape[3] * nm_m)
        return placed[: ceil_div(co, nm_m), :, :ci]

    values, indices = groups
    return NMCompact(place(values).view(np.float16), place(indices).astype(np.uint8), co, nm_m)
