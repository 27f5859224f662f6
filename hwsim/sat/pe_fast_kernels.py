"""Compiled fast stepping of whole products; the same hardware as pe_ws_ and pe_os_kernels.

Lane 0 and the control are stepped in every cycle; the PEs compute in runs (``pe_kernels``). The
control is the plain kernels' own: a tile or block starts when the lanes are idle, the sums have
left, the weights are loaded, the results shifted out. What the plain kernels check for every PE
is checked here for lane 0, which all others follow at fixed distances.

Additional state: ``last`` int64[2^x] : whether lane 0 issued the last product of a sum, by cycle;
``ended`` int64[2^x] : results that became final in row 0, by cycle; ``port`` int64[C + 1, 4] :
(next block, shifts left, row and entry of the next shift) per column, then of PE (0, 0);
``places`` int64[2, tiles] : row of the transposed product and offset in it of each tile.
"""

from __future__ import annotations

import numpy as np

from hwsim.components.jit import njit
from hwsim.sat.pe_kernels import add_run, follow, new_marks, new_ring, pass_rows
from hwsim.sat.pe_lane_kernels import (
    IDLE,
    PHASE,
    entries_of,
    new_lanes,
    new_pipes,
    njit_part,
    start_unit,
)
from hwsim.sat.pe_lane_kernels import step_lane as step_first_lane
from hwsim.sat.pe_os_kernels import FINAL, FIRST_FINAL, HANDED, PORT, STARTED
from hwsim.sat.pe_os_kernels import LEFT as LEFT_OUTPUTS
from hwsim.sat.pe_ws_kernels import LEFT, LOAD_FREE, LOAD_POSITION, LOADED, NEXT, NO_SHADOW, WAVE

__all__ = ["run_output_fast", "run_stationary_fast"]

RUN_ENTRIES = 128
"""Sums that pass the array at a time: those of 32 columns fit into 16 KiB of first-level cache."""


@njit_part
def _can_start(job, control, starts, lanes, mode, cycle):
    """Return whether lane 0 may start the next tile in this cycle."""
    tile = control[NEXT]
    if tile == job.units or control[LOADED] <= tile:
        return False
    if mode != WAVE:
        return control[LEFT] == tile * job.m * job.cols
    has_returned = tile == 0 or cycle >= starts[tile - 1] + job.rows * job.hop
    return lanes.state[0, PHASE] == IDLE and has_returned


@njit_part
def _load(job, control, mode, chain, chain_index, values, indices):
    """Bring one value per column into the shadow registers, the last row's last value first."""
    tile = control[LOADED]
    is_blocked = mode == NO_SHADOW and control[LEFT] != tile * job.m * job.cols
    if tile == job.units or control[LOAD_FREE] == 0 or is_blocked:
        return
    length = job.rows * job.nm_n
    place = length - 1 - control[LOAD_POSITION]
    columns = job.units // job.k_tiles * job.cols
    source = (tile % job.k_tiles * length + place) * columns + tile // job.k_tiles * job.cols
    for col in range(job.cols):
        chain[place * job.cols + col] = values[source + col]
        chain_index[place * job.cols + col] = indices[source + col]
    control[LOAD_POSITION] += 1
    if control[LOAD_POSITION] == length:
        control[LOAD_POSITION], control[LOAD_FREE] = 0, 0
        control[LOADED] += 1


@njit
def run_stationary_fast(job, mode, a, at, values, indices, out, max_cycles):
    """Step as ``run_stationary`` does; return (cycles, products issued in column 0 [R])."""
    lanes, pipes = new_lanes(job), new_pipes(job)
    size = job.rows * job.nm_n * job.cols
    chain, chain_index = np.zeros(size, np.float32), np.zeros(size, np.int64)
    value, index = np.zeros(size, np.float32), np.zeros(size, np.int64)
    sums = np.zeros(job.cols * (RUN_ENTRIES + job.interleave), np.float32)
    marks, stored = new_marks(job)
    control, starts = np.zeros(6, np.int64), np.full(job.units, -1)
    issued = np.zeros(job.rows, np.int64)
    way = (job.rows - 1) * job.hop + job.adder + job.multiplier
    last = new_ring(way + job.cols)
    mask, leaving, first, wave = last.size - 1, 0, 0, -1
    control[LOAD_FREE] = 1
    for cycle in range(max_cycles + 1):
        # One sum leaves per column; column c's is the one that left column 0 c cycles ago.
        leaving += last[(cycle - way) & mask] - last[(cycle - way - job.cols) & mask]
        control[LEFT] += leaving
        if control[LEFT] == job.units * job.m * job.cols:
            return cycle, issued
        if _can_start(job, control, starts, lanes, mode, cycle):
            starts[control[NEXT]] = cycle
            start_unit(job, lanes, 0, control[NEXT])
            for place in range(size):
                value[place], index[place] = chain[place], chain_index[place]
            wave = cycle + ((job.rows - 1) * job.hop + job.cols - 1 if mode == WAVE else -1)
            control[LOAD_FREE] = int(mode != WAVE)
            control[NEXT] += 1
        _load(job, control, mode, chain, chain_index, values, indices)
        if cycle == wave:  # the last PE takes its weights over; its shadow can be filled again
            control[LOAD_FREE] = 1
        step_first_lane(job, lanes, pipes, 0, cycle, a)
        op = pipes.op
        last[cycle & mask] = follow(job, marks, stored, op, cycle)
        entries = entries_of(job, 0, op[0, 0, 1])
        if last[cycle & mask] and op[0, 0, 3] == entries - 1:
            end = op[0, 0, 1] * job.interleave + entries
            if end == job.m or end - first >= RUN_ENTRIES:
                pass_rows(job, op[0, 0, 0], first, end, at, value, index, out, sums, issued)
                first = end % job.m
    return -1, issued


@njit_part
def _can_hand_over(job, control, lanes, is_skewed, is_shadowed):
    """Return whether the block in the lanes may go to the drain in this cycle."""
    if control[HANDED] == control[STARTED]:
        return False
    if is_skewed and is_shadowed:
        return lanes.state[0, PHASE] == IDLE and control[PORT] == 0
    begun = min(control[STARTED] * job.interleave, job.tiles)
    if is_skewed:
        return control[FIRST_FINAL] == begun
    return control[FINAL] == begun * job.rows * job.cols and _is_drained(job, control)


@njit_part
def _is_drained(job, control):
    """Return whether all results handed over have been shifted out."""
    handed = min(control[HANDED] * job.interleave, job.tiles)
    return control[LEFT_OUTPUTS] == handed * job.rows * job.cols


@njit_part
def _can_start_block(job, control, port, is_skewed, is_shadowed):
    """Return whether lane 0 may start the next block in this cycle."""
    if control[STARTED] == job.units or control[HANDED] < control[STARTED]:
        return False
    if is_shadowed:
        return True
    return port[job.cols, 1] == 0 if is_skewed else _is_drained(job, control)


@njit_part
def _reach_ports(job, control, ends, port, cycle, is_skewed, is_shadowed):
    """Begin to shift where a hand-over has arrived; the last entry of ``port`` is PE (0, 0)."""
    if port[job.cols - 1, 0] == control[HANDED]:
        return
    latency = job.multiplier + job.adder - 1 if is_skewed and is_shadowed else 0
    for col in range(job.cols + 1):
        block = port[col, 0]
        is_first = col == job.cols
        delay = latency + (job.rows - 1 + col if is_skewed and not is_first else 0)
        if block == job.units or ends[block] < 0 or cycle != ends[block] + delay:
            continue
        if port[col, 1] != 0:
            raise RuntimeError("results were handed over before the last ones had been shifted out")
        if is_first and control[FIRST_FINAL] < min((block + 1) * job.interleave, job.tiles):
            raise RuntimeError("a result was handed over before its last addition")
        entries = entries_of(job, block, 0)
        port[col, 0], port[col, 1] = block + 1, entries * job.rows
        port[col, 2], port[col, 3] = job.rows - 1, entries - 1


@njit_part
def _drain(job, control, port, places, sums, buffers, out):
    """Shift every draining column by one place: one result leaves it, the last row's first."""
    if _is_drained(job, control):
        return
    height = job.row_tiles * job.rows
    for col in range(job.cols + 1):
        if port[col, 1] == 0:
            continue
        port[col, 1] -= 1
        if col == job.cols:
            continue
        block, row, entry = port[col, 0] - 1, port[col, 2], port[col, 3]
        tile = block * job.interleave + entry
        source = (block % buffers * job.cols + col) * job.interleave + entry
        result = sums[source * job.rows + row]
        out[(places[0, tile] + col) * height + places[1, tile] + row] = result
        control[LEFT_OUTPUTS] += 1
        port[col, 3] -= 1
        if entry == 0:
            port[col, 2], port[col, 3] = row - 1, entries_of(job, block, 0) - 1


@njit_part
def _clear(job, control, buffers, sums):
    """Let the next block begin with sums of +0 where an older block's results have left."""
    block, size = control[STARTED], sums.size // buffers
    old = min((block - buffers + 1) * job.interleave, job.tiles)
    if control[LEFT_OUTPUTS] < old * job.rows * job.cols:
        raise RuntimeError("a result was overwritten before it was shifted out")
    for place in range(size):
        sums[block % buffers * size + place] = 0


@njit
def _tile_places(job):
    """Return the column and the row of the product at which each tile begins."""
    places = np.zeros((2, job.tiles), np.int64)
    for tile in range(job.tiles):
        places[0, tile] = tile // job.row_tiles * job.cols
        places[1, tile] = tile % job.row_tiles * job.rows
    return places


@njit
def run_output_fast(job, is_skewed, is_shadowed, a, at, values, indices, out, max_cycles):
    """Step as ``run_output`` does; return (cycles, products issued in column 0 [R])."""
    lanes, pipes = new_lanes(job), new_pipes(job)
    latency = job.multiplier + job.adder
    # A block's results leave the array within a few blocks, which follow by a port's shifts.
    buffers = 3 + (latency + job.rows + job.cols) // (job.interleave * job.rows)
    sums = np.zeros(buffers * job.cols * job.interleave * job.rows, np.float32)
    marks, stored = new_marks(job)
    port, places = np.zeros((job.cols + 1, 4), np.int64), _tile_places(job)
    control, ends = np.zeros(6, np.int64), np.full(job.units, -1)
    issued = np.zeros(job.rows, np.int64)
    last, ended = new_ring(latency + job.cols), new_ring(job.rows)
    mask, end_mask, row_finals, finals = last.size - 1, ended.size - 1, 0, 0
    for cycle in range(max_cycles):
        # Column c is final c cycles after column 0, and a row one cycle after the row above.
        is_final = last[(cycle - latency) & mask]
        row_finals += is_final - last[(cycle - latency - job.cols) & mask]
        finals += row_finals - ended[(cycle - job.rows) & end_mask]
        ended[cycle & end_mask] = row_finals
        control[FIRST_FINAL] += is_final
        control[FINAL] += finals
        control[PORT] = max(0, control[PORT] - 1)
        if _can_hand_over(job, control, lanes, is_skewed, is_shadowed):
            ends[control[HANDED]] = cycle
            control[PORT] = entries_of(job, control[HANDED], 0) * job.rows
            control[HANDED] += 1
        _reach_ports(job, control, ends, port, cycle, is_skewed, is_shadowed)
        if _can_start_block(job, control, port, is_skewed, is_shadowed):
            _clear(job, control, buffers, sums)
            start_unit(job, lanes, 0, control[STARTED])
            control[STARTED] += 1
        step_first_lane(job, lanes, pipes, 0, cycle, a)
        op = pipes.op
        last[cycle & mask] = follow(job, marks, stored, op, cycle)
        block, step, slot = op[0, 0, 0], op[0, 0, 1], op[0, 0, 2]
        if block >= 0 and op[0, 0, 3] == entries_of(job, block, step) - 1:
            add_run(
                job, block, block % buffers, step, slot, at, values, indices, sums, issued
            )  # fmt: skip
        _drain(job, control, port, places, sums, buffers, out)
        if control[LEFT_OUTPUTS] == job.tiles * job.rows * job.cols:
            return cycle + 1, issued
    return -1, issued
