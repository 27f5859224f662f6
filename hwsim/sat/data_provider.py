"""Say what SORE's data provider delivers and when: golden permutation and cycle model.

Rows of ``lanes`` weights arrive one per cycle: one input channel and kernel position, consecutive
output channels; ``nm_m`` rows of consecutive input channels are a block. For FF, groups run along
the input channels: lane l follows column l, so rows pass unchanged. For BP they run along the
output channels, inside a row: every ``nm_m`` x ``nm_m`` tile of the block is transposed, so that
lane ``g * nm_m + r`` receives group g of row r. Groups then come in the order in which the
transposed weights are stored: group first, column within it.

That BP needs the other direction follows from the reduction axes of the two products; the tile
order, the two half buffers and the one-cycle latency are this project's own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError, SpecError
from hwsim.core.machine import UnitTiming
from hwsim.sat.spec import SoreSpec

__all__ = ["play_provider", "provide_rows", "timing"]

LATENCY_CYCLES = 1
"""From accepting the row that completes a transfer to offering its first row (output register)."""


def timing(spec: SoreSpec, *, is_transposed: bool = True) -> UnitTiming:
    """Return the cycle contract: both directions sustain one row of ``lanes`` values per cycle.

    A transfer is a block of ``nm_m`` rows if transposed, else one row.

    Raises :class:`SpecError` if tiles of ``nm_m`` columns do not fill the lanes.
    """
    nm_m = spec.sorter.nm_m
    if nm_m < 2 or spec.lanes % nm_m:
        found = f"lanes={spec.lanes}, nm_m={nm_m}"
        raise SpecError("sore.lanes", "nm_m >= 2 that divides lanes", found)
    return UnitTiming(LATENCY_CYCLES, nm_m if is_transposed else 1)


def provide_rows(
    spec: SoreSpec, rows: NDArray[np.uint16], is_transposed: NDArray[np.bool_]
) -> NDArray[np.uint16]:
    """Return what the lanes receive, one row per cycle.

    Parameters
    ----------
    spec : SoreSpec
        Lanes and group length.
    rows : uint16[blocks * nm_m, lanes]
        FP16 words as they arrive.
    is_transposed : bool[blocks]
        Direction of each block: True for BP, along the output channels.

    Returns
    -------
    uint16[blocks * nm_m, lanes]
        Word for lane l in column l; ``nm_m`` consecutive rows hold one group per lane.

    Raises
    ------
    InputError
        If ``rows`` is no whole number of blocks.
    """
    nm_m = spec.sorter.nm_m
    timing(spec)
    if rows.dtype != np.uint16 or rows.shape != (len(is_transposed) * nm_m, spec.lanes):
        need = f"uint16[{len(is_transposed) * nm_m}, {spec.lanes}]"
        raise InputError("rows", need, f"{rows.dtype}{list(rows.shape)}")
    tiles = rows.reshape(-1, nm_m, spec.lanes // nm_m, nm_m)
    turned = tiles.transpose(0, 3, 2, 1)
    return np.where(is_transposed[:, None, None, None], turned, tiles).reshape(rows.shape)


def play_provider(
    spec: SoreSpec,
    is_transposed: NDArray[np.bool_],
    source_gaps: NDArray[np.bool_],
    sink_stalls: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return accept and emit cycles of all rows under any stalls.

    The rows of a block to be transposed wait in one half buffer, its last one excepted. That one,
    like any row that passes unchanged, is accepted in the cycle in which the other half buffer
    emits its last row, or later.

    Parameters
    ----------
    spec : SoreSpec
        Lanes and group length.
    is_transposed : bool[blocks]
        Direction of each block.
    source_gaps, sink_stalls : bool[cycles]
        True where the producer begins no offer, the consumer refuses; never after their end.

    Returns
    -------
    accept_cycles, emit_cycles : int64[blocks * nm_m]
    """
    latency = timing(spec).latency_cycles
    nm_m = spec.sorter.nm_m
    accepts: list[int] = []
    emits: list[int] = []
    cycle = emitted = 0
    for is_turned in is_transposed.tolist():
        for row in range(nm_m):
            cycle = _first_clear(cycle, source_gaps)
            is_stored = is_turned and row < nm_m - 1
            cycle = cycle if is_stored else max(cycle, emitted)
            accepts.append(cycle)
            if not is_stored:
                emitted = cycle + latency - 1
                for _ in range(nm_m if is_turned else 1):
                    emitted = _first_clear(emitted + 1, sink_stalls)
                    emits.append(emitted)
            cycle += 1
    return np.array(accepts, dtype=np.int64), np.array(emits, dtype=np.int64)


def _first_clear(cycle: int, pattern: NDArray[np.bool_]) -> int:
    while cycle < len(pattern) and pattern[cycle]:
        cycle += 1
    return cycle
