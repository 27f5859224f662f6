"""Compiled cycle-by-cycle stepping of an output-stationary array, every register of every PE.

State besides that of ``pe_lane_kernels``:

* ``weight`` float32[R, C], ``index`` int64[R, C], ``weight_op`` int64[R, C, 4] : the weight at
  each PE, moving one row south per cycle, and the operation it is meant for;
* ``sums`` float32[R, C, I], ``done`` int64[R, C, I, 2] : partial sums and (block, products added);
* ``result`` float32[R, C, I] : the results being shifted out; ``shifts`` int64[R, C] : shifts
  left; ``hop`` float32[R, C] : what the PE above shifted out, one cycle old;
* ``draining`` int64[R, C] : the block that a PE shifts out, -1 before the first;
* ``control`` int64[6] : columns named below; ``starts``, ``ends`` int64[blocks + 1] : cycles in
  which lane 0 started a block and in which the control handed it over to the drain, -1 before.

Order within a cycle: control, hand-over, lanes, PEs (multiply, add, retire), drain, count.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from hwsim.components.jit import njit
from hwsim.sat.pe_lane_kernels import (
    IDLE,
    PHASE,
    add,
    copy_op,
    entries_of,
    multiply,
    new_lanes,
    new_pipes,
    njit_part,
    shift_east,
    start_unit,
    step_lane,
)

__all__ = ["Outputs", "run_output"]

STARTED, HANDED, FINAL, FIRST_FINAL, LEFT, PORT = range(6)


class Outputs(NamedTuple):
    """Registers of an output-stationary array; see the module's docstring."""

    weight: Any
    index: Any
    weight_op: Any
    sums: Any
    done: Any
    result: Any
    shifts: Any
    hop: Any
    draining: Any
    out: Any
    control: Any
    starts: Any
    ends: Any
    lane_next: Any


@njit
def _new_outputs(job, out):
    shape = (job.rows, job.cols)
    sums = (job.rows, job.cols, job.interleave)
    return Outputs(
        np.zeros(shape, np.float32),
        np.zeros(shape, np.int64),
        np.full((job.rows, job.cols, 4), -1, np.int64),
        np.zeros(sums, np.float32),
        np.full((job.rows, job.cols, job.interleave, 2), -1, np.int64),
        np.zeros(sums, np.float32),
        np.zeros(shape, np.int64),
        np.zeros(shape, np.float32),
        np.full(shape, -1, np.int64),
        out,
        np.zeros(6, np.int64),
        np.full(job.units + 1, -1, np.int64),
        np.full(job.units + 1, -1, np.int64),
        np.zeros(job.rows, np.int64),
    )


@njit_part
def _begun_entries(job, s):
    """Return the entries of all blocks started so far."""
    return min(s.control[STARTED] * job.interleave, job.tiles)


@njit_part
def _is_drained(job, s):
    """Return whether no PE has anything left to shift out."""
    for row in range(job.rows):
        for col in range(job.cols):
            if s.shifts[row, col] != 0:
                return False
    return True


@njit_part
def _can_hand_over(job, s, lanes, is_skewed, is_shadowed):
    """Return whether the block in the lanes may go to the drain in this cycle."""
    if s.control[HANDED] == s.control[STARTED]:
        return False
    if is_skewed and is_shadowed:
        return lanes.state[0, PHASE] == IDLE and s.control[PORT] == 0
    if is_skewed:
        return s.control[FIRST_FINAL] == _begun_entries(job, s)
    is_final = s.control[FINAL] == _begun_entries(job, s) * job.rows * job.cols
    return is_final and _is_drained(job, s)


@njit_part
def _can_start(job, s, is_skewed, is_shadowed):
    """Return whether lane 0 may start the next block in this cycle."""
    if s.control[STARTED] == job.units or s.control[HANDED] < s.control[STARTED]:
        return False
    if is_shadowed:
        return True
    return s.shifts[0, 0] == 0 if is_skewed else _is_drained(job, s)


@njit_part
def _control(job, s, lanes, is_skewed, is_shadowed, cycle):
    """Hand over the finished block, then start the next one.

    ``PORT`` counts down the shifts that the blocks handed over still need of the drain port.
    """
    s.control[PORT] = max(0, s.control[PORT] - 1)
    if _can_hand_over(job, s, lanes, is_skewed, is_shadowed):
        block = s.control[HANDED]
        s.ends[block] = cycle
        s.control[HANDED] += 1
        s.control[PORT] = entries_of(job, block, 0) * job.rows
    _transfer(job, s, is_skewed, is_shadowed, cycle)
    if _can_start(job, s, is_skewed, is_shadowed):
        s.starts[s.control[STARTED]] = cycle
        s.control[STARTED] += 1


@njit_part
def _transfer(job, s, is_skewed, is_shadowed, cycle):
    """Move finished sums to the result registers where the hand-over has arrived.

    With skew it runs through the array like the operations do, and if the next block follows at
    once, behind the last product by the latency of multiplier and adder.
    """
    latency = job.multiplier + job.adder - 1 if is_skewed and is_shadowed else 0
    for row in range(job.rows):
        for col in range(job.cols):
            block = s.draining[row, col] + 1
            delay = latency + (row + col if is_skewed else 0)
            if s.ends[block] >= 0 and cycle == s.ends[block] + delay:
                _transfer_pe(job, s, row, col, block)


@njit_part
def _transfer_pe(job, s, row, col, block):
    if s.shifts[row, col] != 0:
        raise RuntimeError("results were handed over before the last ones had been shifted out")
    entries = entries_of(job, block, 0)
    for entry in range(entries):
        done = s.done[row, col, entry]
        if done[0] != block or done[1] != job.steps * job.nm_n:
            raise RuntimeError("a result was handed over before its last addition")
        s.result[row, col, entry] = s.sums[row, col, entry]
    s.draining[row, col] = block
    s.shifts[row, col] = entries * job.rows


@njit_part
def _drain(job, s, is_skewed):
    """Shift every draining column by one place; the last row's last result leaves the array."""
    for col in range(job.cols):
        for row in range(job.rows - 1, -1, -1):
            if s.shifts[row, col] == 0:
                continue
            last = entries_of(job, s.draining[row, col], 0) - 1
            leaving = s.result[row, col, last]
            above = np.float32(0)
            if row > 0:
                above = s.hop[row, col] if is_skewed else s.result[row - 1, col, last]
            for entry in range(last, 0, -1):
                s.result[row, col, entry] = s.result[row, col, entry - 1]
            s.result[row, col, 0] = above
            if row + 1 < job.rows:
                s.hop[row + 1, col] = leaving
            else:
                _store(job, s, col, leaving)
            s.shifts[row, col] -= 1


@njit_part
def _store(job, s, col, leaving):
    """Put the result that leaves column ``col`` where the order of leaving says it belongs."""
    row = job.rows - 1
    block = s.draining[row, col]
    entries = entries_of(job, block, 0)
    place = s.shifts[row, col] - 1  # results leave in falling order of row, then entry
    tile = block * job.interleave + place % entries
    target_row = (tile % job.row_tiles) * job.rows + place // entries
    s.out[target_row, (tile // job.row_tiles) * job.cols + col] = leaving
    s.control[LEFT] += 1


@njit_part
def _start_lanes(job, s, lanes, cycle):
    """Start each lane one cycle after the lane above it."""
    for row in range(job.rows):
        block = s.lane_next[row]
        if s.starts[block] >= 0 and cycle == s.starts[block] + row:
            start_unit(job, lanes, row, block)
            s.lane_next[row] += 1


@njit_part
def _shift_south(job, s, pipes, values, indices):
    """Move the weights one row south and feed the top row what its operations ask for."""
    for row in range(job.rows - 1, 0, -1):
        for col in range(job.cols):
            s.weight[row, col] = s.weight[row - 1, col]
            s.index[row, col] = s.index[row - 1, col]
            copy_op(s.weight_op[row, col], s.weight_op[row - 1, col])
    for col in range(job.cols):
        op = pipes.op[0, col]
        copy_op(s.weight_op[0, col], op)
        if op[0] >= 0:
            tile = op[0] * job.interleave + op[3]
            target = (tile // job.row_tiles) * job.cols + col
            s.weight[0, col] = values[op[1], op[2], target]
            s.index[0, col] = indices[op[1], op[2], target]


@njit_part
def _addend(job, s, row, col, op):
    """Return the partial sum that the product ``op`` is added to; it must be back."""
    added = op[1] * job.nm_n + op[2]
    if added == 0:
        return np.float32(0)
    done = s.done[row, col, op[3]]
    if done[0] != op[0] or done[1] != added:
        raise RuntimeError("a partial sum was not back from the adder when it was needed")
    return s.sums[row, col, op[3]]


@njit_part
def _step_pe(job, s, pipes, row, col, cycle):
    """Advance one PE by one cycle."""
    op = pipes.op[row, col]
    if op[0] >= 0:
        meant = s.weight_op[row, col]
        for field in range(4):
            if op[field] != meant[field]:
                raise RuntimeError("a weight met the wrong operation")
        multiply(job, pipes, row, col, cycle, s.weight[row, col], s.index[row, col])
    product = pipes.product_op[row, col, (cycle + 1) % (job.multiplier + 1)]
    if product[0] >= 0:
        add(job, pipes, row, col, cycle, _addend(job, s, row, col, product))


@njit_part
def _retire(job, s, pipes, row, col, cycle):
    """Put the sum that leaves the adder back into the PE's partial sums."""
    stage = (cycle + 1) % job.adder
    op = pipes.total_op[row, col, stage]
    if op[0] < 0:
        return
    added = op[1] * job.nm_n + op[2] + 1
    s.sums[row, col, op[3]] = pipes.total[row, col, stage]
    s.done[row, col, op[3], 0] = op[0]
    s.done[row, col, op[3], 1] = added
    if added == job.steps * job.nm_n:
        s.control[FINAL] += 1
        if row == 0 and col == 0:
            s.control[FIRST_FINAL] += 1
    op[0] = -1


@njit
def run_output(job, is_skewed, is_shadowed, a, values, indices, out, max_cycles):
    """Step until the last result has left the array; return (cycles, products issued [R, C]).

    ``a`` float32[padded m, padded k], ``values`` float32 and ``indices`` int64 [groups, N, padded
    n], ``out`` float32[padded m, padded n] is written; cycles -1 means that ``max_cycles`` was
    too few.
    """
    lanes, pipes = new_lanes(job), new_pipes(job)
    s = _new_outputs(job, out)
    for cycle in range(max_cycles):
        _control(job, s, lanes, is_skewed, is_shadowed, cycle)
        shift_east(job, pipes)
        _start_lanes(job, s, lanes, cycle)
        for row in range(job.rows):
            step_lane(job, lanes, pipes, row, cycle, a)
        _shift_south(job, s, pipes, values, indices)
        for row in range(job.rows):
            for col in range(job.cols):
                _step_pe(job, s, pipes, row, col, cycle)
        for row in range(job.rows):
            for col in range(job.cols):
                _retire(job, s, pipes, row, col, cycle)
        _drain(job, s, is_skewed)
        if s.control[LEFT] == job.tiles * job.rows * job.cols:
            return cycle + 1, pipes.issued
    return -1, pipes.issued
