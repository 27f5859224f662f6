"""Compiled fast stepping of whole products; the same hardware as pe_ws_ and pe_os_kernels.

Every row is advanced in every cycle in which it holds an operation, through ``pe_kernels``. The
control is the plain kernels' own: a tile or block starts when the lanes are idle, the sums have
left, the weights are loaded, the results shifted out. What the plain kernels check for every PE
(weights in use, sums back from the adder, sums from the north) is checked here for lane 0 and for
column 0 of every row: other columns repeat column 0, a fixed number of cycles later.

Additional state: ``held`` int64[R] : tile of the weights in column 0; ``version`` int32[m·n] :
reduction tiles summed in the first column of each column tile; ``leaving``
int64[Lm + 1] : sums on their way out, by the cycle in which they are out; ``port`` int64[C, 3] :
(next block, shifts left, shifts of its block) per column; ``finals`` float32[3, R, I, C] : results
of the block being summed and of those being shifted out (a PE's have left it before the column's
have left the array, but two blocks are at least R shifts apart).
"""

from __future__ import annotations

import numpy as np

from hwsim.components.jit import njit
from hwsim.sat.pe_kernels import (
    FLOW,
    LAST,
    TARGET,
    UNIT,
    WEIGHT,
    is_active,
    new_rings,
    place,
    record,
    step_rows,
)
from hwsim.sat.pe_lane_kernels import IDLE, PHASE, entries_of, new_lanes, new_pipes, start_unit
from hwsim.sat.pe_lane_kernels import step_lane as step_first_lane
from hwsim.sat.pe_os_kernels import FINAL, FIRST_FINAL, HANDED, PORT, STARTED
from hwsim.sat.pe_os_kernels import LEFT as LEFT_OUTPUTS
from hwsim.sat.pe_ws_kernels import (
    LEFT,
    LOAD_FREE,
    LOAD_POSITION,
    LOADED,
    NEXT,
    NO_SHADOW,
    TAKEN,
    WAVE,
)

__all__ = ["run_output_fast", "run_stationary_fast"]


@njit
def _let_leave(job, ring, past, lines, cycle, out, version, leaving):
    """Store the sums that the last row finished L cycles ago; they count as out Lm later."""
    stride = (job.rows + 1) * job.cols
    entered = cycle - job.adder
    issued = entered - (job.rows - 1) * job.hop
    count = 0
    if is_active(past, issued, LAST, job.cols):
        line = (entered & (lines.size // stride - 1)) * stride + job.rows * job.cols
        position = place(past, issued)
        for col in range(min(job.cols, issued + 1)):
            if ring[FLOW, position + col] >= 4:
                out[np.int64(ring[TARGET, position + col]) + col] = lines[line + col]
                count += 1
        if ring[FLOW, position] >= 4:
            tile = past[issued & (past.shape[0] - 1), UNIT]
            version[ring[TARGET, position]] = tile % job.k_tiles + 1
    leaving[cycle % (job.multiplier + 1)] = count
    return leaving[(cycle + 1) % (job.multiplier + 1)]


@njit
def _feed_north(job, ring, past, lines, cycle, out, version):
    """Put the stored sums that row 0 needs in this cycle on the line above it."""
    stride = (job.rows + 1) * job.cols
    line = (cycle & (lines.size // stride - 1)) * stride
    position = place(past, cycle)
    if ring[FLOW, position] & 1:
        tile = past[cycle & (past.shape[0] - 1), UNIT]
        if version[ring[TARGET, position]] != tile % job.k_tiles:
            raise RuntimeError("a stored partial sum was read before it was written")
    for col in range(min(job.cols, cycle + 1)):
        kind = ring[FLOW, position + col]
        if kind & 1:
            lines[line + col] = out[np.int64(ring[TARGET, position + col]) + col]
        elif kind & 2:
            lines[line + col] = 0


@njit
def _can_start(job, control, starts, lanes, mode, cycle):
    """Return whether lane 0 may start the next tile in this cycle."""
    tile = control[NEXT]
    if tile == job.units or control[LOADED] <= tile:
        return False
    if mode != WAVE:
        return control[LEFT] == tile * job.m * job.cols
    has_returned = tile == 0 or cycle >= starts[tile - 1] + job.rows * job.hop
    return lanes.state[0, PHASE] == IDLE and has_returned


@njit
def _load(job, control, mode, chain, chain_index, values, indices):
    """Bring one value per column into the shadow registers, the last row's last value first."""
    tile = control[LOADED]
    is_blocked = mode == NO_SHADOW and control[LEFT] != tile * job.m * job.cols
    if tile == job.units or control[LOAD_FREE] == 0 or is_blocked:
        return
    source = job.rows * job.nm_n - 1 - control[LOAD_POSITION]
    row, slot = source // job.nm_n, source % job.nm_n
    group = (tile % job.k_tiles) * job.rows + row
    first = (tile // job.k_tiles) * job.cols
    for col in range(job.cols):
        chain[row, slot, col] = values[group, slot, first + col]
        chain_index[row, slot, col] = np.uint32(indices[group, slot, first + col])
    control[LOAD_POSITION] += 1
    if control[LOAD_POSITION] == job.rows * job.nm_n:
        control[LOAD_POSITION], control[LOAD_FREE] = 0, 0
        control[LOADED] += 1


@njit
def _take_over(job, control, starts, cycle, held, chain, chain_index, value, index):
    """Let the PEs that the take-over wave has reached copy their shadow weights."""
    tile = control[NEXT] - 1
    if tile < 0 or cycle >= starts[tile] + (job.rows - 1) * job.hop + job.cols:
        return
    for row in range(job.rows):
        col = cycle - starts[tile] - row * job.hop
        if 0 <= col < job.cols:
            for slot in range(job.nm_n):
                value[row, slot, col] = chain[row, slot, col]
                index[row, slot, col] = chain_index[row, slot, col]
            if col == 0:
                held[row] = tile
            control[TAKEN] += 1
            if control[TAKEN] == job.rows * job.cols:
                control[TAKEN], control[LOAD_FREE] = 0, 1


@njit
def _watch_column_0(job, past, cycle, delay, held, issued):
    """Count what column 0 issues; check that it holds the weights of the tile it works on."""
    size = past.shape[0]
    for row in range(job.rows):
        first = cycle - row * delay
        if first >= 0 and past[first & (size - 1), UNIT] >= 0:
            issued[row] += 1
            if job.is_stationary and held[row] != past[first & (size - 1), UNIT]:
                raise RuntimeError("a PE does not hold the weights of the tile it works on")


@njit
def run_stationary_fast(job, mode, a, values, indices, out, max_cycles):
    """Step as ``run_stationary`` does; return (cycles, products issued in column 0 [R])."""
    lanes, pipes = new_lanes(job), new_pipes(job)
    span = (job.rows - 1) * job.hop + job.cols + job.adder
    depth = job.hop + job.interleave + job.adder
    ring, past, marks, lines, west, product = new_rings(job, span, depth)
    shape = (job.rows, job.nm_n, job.cols)
    chain, chain_index = np.zeros(shape, np.float32), np.zeros(shape, np.uint32)
    value, index = np.zeros(shape, np.float32), np.zeros(shape, np.uint32)
    flat, flat_value, flat_index = a.ravel(), value.ravel(), index.ravel()
    held, issued = np.full(job.rows, -1, np.int64), np.zeros(job.rows, np.int64)
    flat_out, version = out.ravel(), np.zeros(out.size, np.int32)
    leaving = np.zeros(job.multiplier + 1, np.int64)
    control, starts = np.zeros(6, np.int64), np.full(job.units, -1, np.int64)
    control[LOAD_FREE] = 1
    for cycle in range(max_cycles + 1):
        control[LEFT] += _let_leave(job, ring, past, lines, cycle, flat_out, version, leaving)
        if control[LEFT] == job.units * job.m * job.cols:
            return cycle, issued
        if _can_start(job, control, starts, lanes, mode, cycle):
            starts[control[NEXT]] = cycle
            start_unit(job, lanes, 0, control[NEXT])
            if mode != WAVE:
                value[:] = chain
                index[:] = chain_index
                held[:] = control[NEXT]
                control[LOAD_FREE] = 1
            control[NEXT] += 1
        _load(job, control, mode, chain, chain_index, values, indices)
        if mode == WAVE:
            _take_over(job, control, starts, cycle, held, chain, chain_index, value, index)
        step_first_lane(job, lanes, pipes, 0, cycle, a)
        record(job, ring, past, marks, depth, pipes.op, cycle, a.shape[1])
        _feed_north(job, ring, past, lines, cycle, flat_out, version)
        _watch_column_0(job, past, cycle, job.hop, held, issued)
        step_rows(
            job, job.hop, cycle, ring, past, lines, west, product, flat, job.nm_m,
            flat_value, flat_index, 0, job.nm_n * job.cols, value.size,
        )  # fmt: skip
    return -1, issued


@njit
def _capture_finals(job, past, lines, cycle, finals, control, port):
    """Keep the results whose last addition is over: they are back Lm + L cycles after issue."""
    stride, size = (job.rows + 1) * job.cols, past.shape[0]
    mask = lines.size // stride - 1
    entered = cycle - job.multiplier - job.adder
    if not is_active(past, entered, LAST, job.cols + job.rows):
        return
    for row in range(job.rows):
        issued = entered - row
        if not is_active(past, issued, LAST, job.cols):
            continue
        line = (entered & mask) * stride + (row + 1) * job.cols
        for col in range(min(job.cols, issued + 1)):
            here = (issued - col) & (size - 1)
            block, entry = past[here, 0], past[here, 3]
            is_last = past[here, 1] == job.steps - 1 and past[here, 2] == job.nm_n - 1
            if block >= 0 and is_last:
                if port[col, 0] + (port[col, 1] == 0) < block - 1:
                    raise RuntimeError("a result was overwritten before it was shifted out")
                finals[block % 3, row, entry, col] = lines[line + col]
                control[FINAL] += 1
                if row == 0 and col == 0:
                    control[FIRST_FINAL] += 1


@njit
def _can_hand_over(job, control, lanes, port, is_skewed, is_shadowed):
    """Return whether the block in the lanes may go to the drain in this cycle."""
    if control[HANDED] == control[STARTED]:
        return False
    if is_skewed and is_shadowed:
        return lanes.state[0, PHASE] == IDLE and control[PORT] == 0
    begun = min(control[STARTED] * job.interleave, job.tiles)
    if is_skewed:
        return control[FIRST_FINAL] == begun
    return control[FINAL] == begun * job.rows * job.cols and port[:, 1].max() == 0


@njit
def _can_start_block(job, control, port, is_skewed, is_shadowed):
    """Return whether lane 0 may start the next block in this cycle."""
    if control[STARTED] == job.units or control[HANDED] < control[STARTED]:
        return False
    if is_shadowed:
        return True
    return port[job.cols, 1] == 0 if is_skewed else port[:, 1].max() == 0


@njit
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
        port[col, 0] = block + 1
        port[col, 1] = entries_of(job, block, 0) * job.rows


@njit
def _drain(job, control, port, finals, out):
    """Shift every draining column by one place: one result leaves it, the last row's first."""
    handed = min(control[HANDED] * job.interleave, job.tiles)
    if control[LEFT_OUTPUTS] == handed * job.rows * job.cols:
        return
    for col in range(job.cols):
        if port[col, 1] > 0:
            block, place = port[col, 0] - 1, port[col, 1] - 1
            entries = entries_of(job, block, 0)
            row, entry = place // entries, place % entries
            tile = block * job.interleave + entry
            target = (tile % job.row_tiles) * job.rows + row
            column = (tile // job.row_tiles) * job.cols + col
            out[target, column] = finals[block % 3, row, entry, col]
            control[LEFT_OUTPUTS] += 1
            port[col, 1] -= 1
    port[job.cols, 1] = max(0, port[job.cols, 1] - 1)


@njit
def _feed_weights(job, ring, past, cycle, line_value, line_index, values, indices):
    """Put the weights that enter row 0 in this cycle on the line that moves south."""
    line = (cycle % job.rows) * job.cols
    position = place(past, cycle)
    for col in range(job.cols):
        source = np.int64(ring[WEIGHT, position + col]) + col
        line_value[line + col] = values[source]
        line_index[line + col] = indices[source]


@njit
def run_output_fast(job, is_skewed, is_shadowed, a, values, indices, out, max_cycles):
    """Step as ``run_output`` does; return (cycles, products issued in column 0 [R])."""
    lanes, pipes = new_lanes(job), new_pipes(job)
    latency = job.multiplier + job.adder
    rhythm = max(job.nm_n * max(job.interleave, job.adder), job.interleave * job.beats)
    span, depth = job.rows + job.cols + latency, 2 * rhythm + latency
    ring, past, marks, lines, west, product = new_rings(job, span, depth)
    finals = np.zeros((3, job.rows, job.interleave, job.cols), np.float32)
    line_value = np.zeros(job.rows * job.cols, np.float32)
    line_index = np.zeros(job.rows * job.cols, np.uint32)
    flat, flat_values = a.ravel(), values.ravel()
    flat_indices = indices.ravel().astype(np.uint32)
    port, issued = np.zeros((job.cols + 1, 2), np.int64), np.zeros(job.rows, np.int64)
    control, ends = np.zeros(6, np.int64), np.full(job.units, -1, np.int64)
    for cycle in range(max_cycles):
        _capture_finals(job, past, lines, cycle, finals, control, port)
        control[PORT] = max(0, control[PORT] - 1)
        if _can_hand_over(job, control, lanes, port, is_skewed, is_shadowed):
            ends[control[HANDED]] = cycle
            control[PORT] = entries_of(job, control[HANDED], 0) * job.rows
            control[HANDED] += 1
        _reach_ports(job, control, ends, port, cycle, is_skewed, is_shadowed)
        if _can_start_block(job, control, port, is_skewed, is_shadowed):
            start_unit(job, lanes, 0, control[STARTED])
            control[STARTED] += 1
        step_first_lane(job, lanes, pipes, 0, cycle, a)
        record(job, ring, past, marks, depth, pipes.op, cycle, a.shape[1])
        _feed_weights(job, ring, past, cycle, line_value, line_index, flat_values, flat_indices)
        _watch_column_0(job, past, cycle, 1, issued, issued)
        step_rows(
            job, 1, cycle, ring, past, lines, west, product, flat, a.shape[1],
            line_value, line_index, cycle % job.rows * job.cols,
            (job.rows - 1) * job.cols, line_value.size,
        )  # fmt: skip
        _drain(job, control, port, finals, out)
        if control[LEFT_OUTPUTS] == job.tiles * job.rows * job.cols:
            return cycle + 1, issued
    return -1, issued
