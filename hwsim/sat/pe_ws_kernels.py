"""Compiled cycle-by-cycle stepping of a weight-stationary array, every register of every PE.

State besides that of ``pe_lane_kernels``:

* ``chain_value``, ``chain_index`` [R·N, C] : shadow registers, one shift chain per column; value
  j of PE (r, c) is in place at r·N + j after R·N shifts;
* ``value``, ``index`` [R, N, C] : weights in use; ``held`` int64[R, C] : the tile they belong to;
  ``token`` int64[R, C] : take-over tokens moving east, -1 if none;
* ``sums`` float32[R, C, I], ``done`` int64[R, C, I, 3] : partial sums inside a PE and the
  (tile, step, slots added) they stand for;
* ``north``, ``north_op`` [R, C, I(, 3)] : queue of sums that came from the PE above, with
  (tile, step, entry); ``queue`` int64[R, C, 2] : its read position and length;
* ``out`` float32[m, columns], ``version`` int64[m, columns] : the partial-sum buffer and the
  reduction tiles summed so far;
* ``control`` int64[6] : columns named below; ``starts`` int64[tiles + 1] : cycle in which lane 0
  started each tile, -1 before.

Order within a cycle: control, load, lanes, take-over, PEs (multiply, add, retire), count.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from hwsim.components.jit import njit
from hwsim.sat.pe_lane_kernels import (
    IDLE,
    PHASE,
    add,
    multiply,
    new_lanes,
    new_pipes,
    njit_part,
    shift_east,
    start_unit,
    step_lane,
)

__all__ = ["Stationary", "run_stationary"]

NEXT, LOADED, LOAD_POSITION, TAKEN, LEFT, LOAD_FREE = range(6)
NO_SHADOW, BROADCAST, WAVE = range(3)


class Stationary(NamedTuple):
    """Registers of a weight-stationary array; see the module's docstring."""

    chain_value: Any
    chain_index: Any
    value: Any
    index: Any
    held: Any
    token: Any
    sums: Any
    done: Any
    north: Any
    north_op: Any
    queue: Any
    out: Any
    version: Any
    control: Any
    starts: Any
    lane_next: Any


@njit
def _new_stationary(job, out):
    shape = (job.rows, job.cols)
    chain = (job.rows * job.nm_n, job.cols)
    sums = (job.rows, job.cols, job.interleave)
    control = np.zeros(6, np.int64)
    control[LOAD_FREE] = 1
    return Stationary(
        np.zeros(chain, np.float32),
        np.zeros(chain, np.int64),
        np.zeros((job.rows, job.nm_n, job.cols), np.float32),
        np.zeros((job.rows, job.nm_n, job.cols), np.int64),
        np.full(shape, -1, np.int64),
        np.full(shape, -1, np.int64),
        np.zeros(sums, np.float32),
        np.full((job.rows, job.cols, job.interleave, 3), -1, np.int64),
        np.zeros(sums, np.float32),
        np.full((job.rows, job.cols, job.interleave, 3), -1, np.int64),
        np.zeros((job.rows, job.cols, 2), np.int64),
        out,
        np.zeros(out.shape, np.int64),
        control,
        np.full(job.units + 1, -1, np.int64),
        np.zeros(job.rows, np.int64),
    )


@njit_part
def _is_empty(job, s, tile):
    """Return whether every sum of the tiles before ``tile`` has left the array."""
    return s.control[LEFT] == tile * job.m * job.cols


@njit_part
def _can_start(job, s, lanes, mode, cycle):
    """Return whether lane 0 may start the next tile in this cycle."""
    tile = s.control[NEXT]
    if tile == job.units or s.control[LOADED] <= tile:
        return False
    if mode != WAVE:
        return _is_empty(job, s, tile)
    # The start of a tile travels down the rows, hop by hop; behind the last row it reports that
    # the first stored sum is about to be back.
    has_returned = tile == 0 or cycle >= s.starts[tile - 1] + job.rows * job.hop
    return lanes.state[0, PHASE] == IDLE and has_returned


@njit_part
def _take_over(job, s, row, col, tile):
    """Copy the shadow weights of one PE into the registers in use."""
    for slot in range(job.nm_n):
        s.value[row, slot, col] = s.chain_value[row * job.nm_n + slot, col]
        s.index[row, slot, col] = s.chain_index[row * job.nm_n + slot, col]
    s.held[row, col] = tile
    s.control[TAKEN] += 1
    if s.control[TAKEN] == job.rows * job.cols:
        s.control[TAKEN] = 0
        s.control[LOAD_FREE] = 1


@njit_part
def _take_over_everywhere(job, s, tile):
    for row in range(job.rows):
        for col in range(job.cols):
            _take_over(job, s, row, col, tile)


@njit_part
def _load(job, s, mode, values, indices):
    """Shift one value per column into the shadow chains, the last row's last value first."""
    tile = s.control[LOADED]
    is_blocked = mode == NO_SHADOW and not _is_empty(job, s, tile)
    if tile == job.units or s.control[LOAD_FREE] == 0 or is_blocked:
        return
    for position in range(job.rows * job.nm_n - 1, 0, -1):
        for col in range(job.cols):
            s.chain_value[position, col] = s.chain_value[position - 1, col]
            s.chain_index[position, col] = s.chain_index[position - 1, col]
    source = job.rows * job.nm_n - 1 - s.control[LOAD_POSITION]
    group = (tile % job.k_tiles) * job.rows + source // job.nm_n
    first = (tile // job.k_tiles) * job.cols
    for col in range(job.cols):
        s.chain_value[0, col] = values[group, source % job.nm_n, first + col]
        s.chain_index[0, col] = indices[group, source % job.nm_n, first + col]
    s.control[LOAD_POSITION] += 1
    if s.control[LOAD_POSITION] == job.rows * job.nm_n:
        s.control[LOAD_POSITION] = 0
        s.control[LOADED] += 1
        s.control[LOAD_FREE] = 0


@njit_part
def _start_lanes(job, s, lanes, cycle):
    """Start each lane a fixed number of cycles after lane 0; send its take-over token."""
    for row in range(job.rows):
        for col in range(job.cols - 1, 0, -1):
            s.token[row, col] = s.token[row, col - 1]
        tile = s.lane_next[row]
        s.token[row, 0] = -1
        if s.starts[tile] >= 0 and cycle == s.starts[tile] + row * job.hop:
            start_unit(job, lanes, row, tile)
            s.token[row, 0] = tile
            s.lane_next[row] += 1


@njit_part
def _addend(job, s, pipes, row, col, op):
    """Return the partial sum that the product ``op`` is added to; it must have arrived."""
    tile, step, slot, entry = op[0], op[1], op[2], op[3]
    if slot > 0:
        done = s.done[row, col, entry]
        if done[0] != tile or done[1] != step or done[2] != slot:
            raise RuntimeError("a partial sum was not back from the adder when it was needed")
        return s.sums[row, col, entry]
    if row > 0:
        head = s.queue[row, col, 0]
        came = s.north_op[row, col, head]
        is_there = came[0] == tile and came[1] == step and came[2] == entry
        if s.queue[row, col, 1] == 0 or not is_there:
            raise RuntimeError("a partial sum from the north had not arrived when it was needed")
        s.queue[row, col, 0] = (head + 1) % job.interleave
        s.queue[row, col, 1] -= 1
        return s.north[row, col, head]
    if tile % job.k_tiles == 0:
        return np.float32(0)
    source = step * job.interleave + entry
    target = (tile // job.k_tiles) * job.cols + col
    if s.version[source, target] != tile % job.k_tiles:
        raise RuntimeError("a stored partial sum was read before it was written")
    return s.out[source, target]


@njit_part
def _retire(job, s, pipes, row, col, cycle):
    """Send the sum that leaves the adder back to the PE, to the south or out of the array."""
    stage = (cycle + 1) % job.adder
    op = pipes.total_op[row, col, stage]
    if op[0] < 0:
        return
    tile, step, slot, entry = op[0], op[1], op[2], op[3]
    total = pipes.total[row, col, stage]
    op[0] = -1
    if slot + 1 < job.nm_n:
        s.sums[row, col, entry] = total
        done = s.done[row, col, entry]
        done[0], done[1], done[2] = tile, step, slot + 1
    elif row + 1 < job.rows:
        _send_south(job, s, row + 1, col, tile, step, entry, total)
    else:
        source = step * job.interleave + entry
        target = (tile // job.k_tiles) * job.cols + col
        s.out[source, target] = total
        s.version[source, target] = tile % job.k_tiles + 1
        s.control[LEFT] += 1


@njit_part
def _send_south(job, s, row, col, tile, step, entry, total):
    queue = s.queue[row, col]
    if queue[1] == job.interleave:
        raise RuntimeError("the partial-sum queue of a PE overflowed")
    tail = (queue[0] + queue[1]) % job.interleave
    s.north[row, col, tail] = total
    came = s.north_op[row, col, tail]
    came[0], came[1], came[2] = tile, step, entry
    queue[1] += 1


@njit_part
def _step_pe(job, s, pipes, row, col, cycle):
    """Advance one PE by one cycle."""
    if s.token[row, col] >= 0:
        _take_over(job, s, row, col, s.token[row, col])
    op = pipes.op[row, col]
    if op[0] >= 0:
        if s.held[row, col] != op[0]:
            raise RuntimeError("a PE does not hold the weights of the tile it works on")
        value, index = s.value[row, op[2], col], s.index[row, op[2], col]
        multiply(job, pipes, row, col, cycle, value, index)
    product = pipes.product_op[row, col, (cycle + 1) % (job.multiplier + 1)]
    if product[0] >= 0:
        add(job, pipes, row, col, cycle, _addend(job, s, pipes, row, col, product))


@njit_part
def _control(job, s, lanes, mode, cycle):
    if _can_start(job, s, lanes, mode, cycle):
        tile = s.control[NEXT]
        s.starts[tile] = cycle
        s.control[NEXT] += 1
        if mode != WAVE:
            _take_over_everywhere(job, s, tile)


@njit
def run_stationary(job, mode, a, values, indices, out, max_cycles):
    """Step until the last sum has left the array; return (cycles, products issued [R, C]).

    ``a`` float32[m, padded k], ``values`` float32 and ``indices`` int64 [padded groups, N, padded
    n], ``out`` float32[m, padded n] is written; cycles -1 means that ``max_cycles`` was too few.
    """
    lanes, pipes = new_lanes(job), new_pipes(job)
    s = _new_stationary(job, out)
    for cycle in range(max_cycles):
        _control(job, s, lanes, mode, cycle)
        _load(job, s, mode, values, indices)
        shift_east(job, pipes)
        _start_lanes(job, s, lanes, cycle)
        for row in range(job.rows if mode != WAVE else 0):
            s.token[row, 0] = -1
        for row in range(job.rows):
            step_lane(job, lanes, pipes, row, cycle, a)
        for row in range(job.rows):
            for col in range(job.cols):
                _step_pe(job, s, pipes, row, col, cycle)
        for row in range(job.rows):
            for col in range(job.cols):
                _retire(job, s, pipes, row, col, cycle)
        if _is_empty(job, s, job.units):
            return cycle + 1, pipes.issued
    return -1, pipes.issued
