"""Compiled parts that weight- and output-stationary stepping share: west lanes and PE pipelines.

Everything here is hardware state that changes once per cycle; nothing computes a cycle count.

* ``lanes.state`` int64[R, 8] : one row of registers per west lane, columns named below;
* ``lanes.bank_step`` int64[R, 2] : step whose groups a bank holds, -1 if the bank is free;
* ``lanes.bank_beats`` int64[R, 2, I] : beats received of each entry's group;
* ``lanes.bank`` float32[R, 2, I, M] : the groups themselves;
* ``lanes.returns`` int64[R, I] : cycle from which an entry's last sum can be added to again;
* ``pipes.op`` int64[R, C, 4] : operation a PE issues in this cycle (unit, step, slot, entry),
  unit -1 is a bubble; it moves one column east per cycle together with
  ``pipes.group`` float32[R, C, M], the activation group;
* ``pipes.product``, ``product_op`` [R, C, Lm + 1(, 4)] : multiplier stages, indexed by the cycle
  of issue; ``pipes.total``, ``total_op`` [R, C, L(, 4)] : adder stages, indexed by the cycle of
  entry;
* ``pipes.issued`` int64[R, C] : products issued by each PE.

A *unit* is what the lanes work through without a new start: a tile (weight-stationary) or a block
of interleaved tiles (output-stationary).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from hwsim.components.jit import njit

__all__ = ["Job", "Lanes", "Pipes", "copy_op", "new_lanes", "new_pipes", "njit_part"]

UNIT, STEP, SLOT, ENTRY, PHASE, FILL_STEP, FILL_ENTRY, FILL_BEAT = range(8)
IDLE, WAITING, ISSUING, RETURNING = range(4)


def njit_part(function: Callable[..., Any]) -> Any:
    """Compile a part of a kernel: called by compiled code only, works on arrays it is given.

    Without entry points for Python and without reference counts (no slice may be assigned to
    another) the kernels of this package compile in half the time.
    """
    options = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "_nrt": False}
    return njit(function, error_model="numpy", **options)


class Job(NamedTuple):
    """Scalars of one product on one array; lengths in elements or counts, latencies in cycles."""

    is_stationary: bool
    rows: int
    cols: int
    nm_n: int
    nm_m: int
    interleave: int
    multiplier: int
    adder: int
    edge: int
    beats: int
    hop: int
    m: int
    k_tiles: int
    row_tiles: int
    units: int
    steps: int
    tiles: int


class Lanes(NamedTuple):
    """Registers of the west lanes; see the module's docstring."""

    state: Any
    bank_step: Any
    bank_beats: Any
    bank: Any
    returns: Any


class Pipes(NamedTuple):
    """Registers of the PEs' data paths; see the module's docstring."""

    op: Any
    group: Any
    product: Any
    product_op: Any
    total: Any
    total_op: Any
    issued: Any


@njit
def new_lanes(job):
    """Return idle lanes with free banks."""
    state = np.zeros((job.rows, 8), np.int64)
    state[:, UNIT] = -1
    return Lanes(
        state,
        np.full((job.rows, 2), -1, np.int64),
        np.zeros((job.rows, 2, job.interleave), np.int64),
        np.zeros((job.rows, 2, job.interleave, job.nm_m), np.float32),
        np.zeros((job.rows, job.interleave), np.int64),
    )


@njit
def new_pipes(job):
    """Return empty PE pipelines."""
    shape = (job.rows, job.cols)
    return Pipes(
        np.full((job.rows, job.cols, 4), -1, np.int64),
        np.zeros((job.rows, job.cols, job.nm_m), np.float32),
        np.zeros((job.rows, job.cols, job.multiplier + 1), np.float32),
        np.full((job.rows, job.cols, job.multiplier + 1, 4), -1, np.int64),
        np.zeros((job.rows, job.cols, job.adder), np.float32),
        np.full((job.rows, job.cols, job.adder, 4), -1, np.int64),
        np.zeros(shape, np.int64),
    )


@njit_part
def copy_op(target, source):
    """Copy (unit, step, slot, entry)."""
    for field in range(4):
        target[field] = source[field]


@njit_part
def entries_of(job, unit, step):
    """Return the entries that a lane interleaves in ``step`` of ``unit``."""
    if job.is_stationary:
        return min(job.interleave, job.m - step * job.interleave)
    return min(job.interleave, job.tiles - unit * job.interleave)


@njit_part
def activation_row(job, unit, step, entry, row):
    """Return the row of A that ``entry`` stands for on lane ``row``."""
    if job.is_stationary:
        return step * job.interleave + entry
    return ((unit * job.interleave + entry) % job.row_tiles) * job.rows + row


@njit_part
def activation_group(job, unit, step, row):
    """Return the group of k that lane ``row`` handles in ``step`` of ``unit``."""
    if job.is_stationary:
        return (unit % job.k_tiles) * job.rows + row
    return step


@njit_part
def start_unit(job, lanes, row, unit):
    """Let lane ``row`` begin ``unit`` with empty banks; it must have issued everything before."""
    lane = lanes.state[row]
    if lane[PHASE] != IDLE:
        raise RuntimeError("a west lane was started while it was still issuing")
    for field in range(lane.size):
        lane[field] = 0
    lane[UNIT], lane[PHASE] = unit, WAITING
    for bank in range(2):
        lanes.bank_step[row, bank] = -1
        for entry in range(job.interleave):
            lanes.bank_beats[row, bank, entry] = 0


@njit_part
def receive_beat(job, lanes, row, a):
    """Receive one beat from the west into the bank whose turn it is, if that bank is free."""
    lane = lanes.state[row]
    step = lane[FILL_STEP]
    if lane[PHASE] == IDLE or step == job.steps:
        return
    bank = step & 1
    if lanes.bank_step[row, bank] == -1:
        lanes.bank_step[row, bank] = step
        for entry in range(job.interleave):
            lanes.bank_beats[row, bank, entry] = 0
    elif lanes.bank_step[row, bank] != step:
        return
    entry, beat = lane[FILL_ENTRY], lane[FILL_BEAT]
    source = activation_row(job, lane[UNIT], step, entry, row)
    base = activation_group(job, lane[UNIT], step, row) * job.nm_m
    for element in range(beat * job.edge, min((beat + 1) * job.edge, job.nm_m)):
        lanes.bank[row, bank, entry, element] = a[source, base + element]
    lanes.bank_beats[row, bank, entry] += 1
    lane[FILL_BEAT] += 1
    if lane[FILL_BEAT] == job.beats:
        lane[FILL_BEAT] = 0
        lane[FILL_ENTRY] += 1
        if lane[FILL_ENTRY] == entries_of(job, lane[UNIT], step):
            lane[FILL_ENTRY] = 0
            lane[FILL_STEP] += 1


@njit_part
def can_begin(job, lanes, row):
    """Return whether every group of the waiting step will be there when its entry's turn comes.

    Entry i is issued i cycles after the first one, and the feeder delivers one beat per cycle.
    """
    lane = lanes.state[row]
    bank = lane[STEP] & 1
    if lanes.bank_step[row, bank] != lane[STEP]:
        return False
    missing = 0
    for entry in range(entries_of(job, lane[UNIT], lane[STEP])):
        missing += job.beats - lanes.bank_beats[row, bank, entry]
        if missing > entry:
            return False
    return True


@njit_part
def finish_step(job, lanes, row, cycle):
    """Free the bank of a step that is issued, once its partial sums can be added to again.

    Weight-stationary steps use fresh partial sums, so that the lane need not wait for any.
    """
    lane = lanes.state[row]
    if lane[PHASE] == RETURNING and (job.is_stationary or lanes.returns[row, 0] <= cycle):
        lanes.bank_step[row, lane[STEP] & 1] = -1
        lane[STEP] += 1
        lane[PHASE] = WAITING


@njit_part
def issue(job, lanes, pipes, row, cycle):
    """Issue the lane's next product into column 0, or a bubble."""
    lane = lanes.state[row]
    pipes.op[row, 0, 0] = -1
    if lane[PHASE] != ISSUING:
        return
    slot, entry, bank = lane[SLOT], lane[ENTRY], lane[STEP] & 1
    is_fresh = slot == 0 and (job.is_stationary or lane[STEP] == 0)
    if not is_fresh and lanes.returns[row, entry] > cycle:
        if entry > 0:
            raise RuntimeError("an interleaved entry lost its turn to the adder")
        return
    if lanes.bank_beats[row, bank, entry] != job.beats:
        raise RuntimeError("a product was issued before its activation group was complete")
    pipes.op[row, 0, 0], pipes.op[row, 0, 1] = lane[UNIT], lane[STEP]
    pipes.op[row, 0, 2], pipes.op[row, 0, 3] = slot, entry
    for element in range(job.nm_m):
        pipes.group[row, 0, element] = lanes.bank[row, bank, entry, element]
    lanes.returns[row, entry] = cycle + job.adder
    lane[ENTRY] += 1
    if lane[ENTRY] == entries_of(job, lane[UNIT], lane[STEP]):
        lane[ENTRY] = 0
        lane[SLOT] += 1
        if lane[SLOT] == job.nm_n:
            lane[SLOT] = 0
            lane[PHASE] = IDLE if lane[STEP] + 1 == job.steps else RETURNING


@njit_part
def step_lane(job, lanes, pipes, row, cycle, a):
    """Advance lane ``row`` by one cycle."""
    finish_step(job, lanes, row, cycle)
    receive_beat(job, lanes, row, a)
    if lanes.state[row, PHASE] == WAITING and can_begin(job, lanes, row):
        lanes.state[row, PHASE] = ISSUING
    issue(job, lanes, pipes, row, cycle)


@njit_part
def shift_east(job, pipes):
    """Move every operation and its activation group one column east."""
    for row in range(job.rows):
        for col in range(job.cols - 1, 0, -1):
            copy_op(pipes.op[row, col], pipes.op[row, col - 1])
            if pipes.op[row, col, 0] >= 0:
                for element in range(job.nm_m):
                    pipes.group[row, col, element] = pipes.group[row, col - 1, element]


@njit_part
def multiply(job, pipes, row, col, cycle, value, index):
    """Select the operand, multiply, and put the product into the first multiplier stage."""
    stage = cycle % (job.multiplier + 1)
    pipes.product[row, col, stage] = pipes.group[row, col, index] * value
    copy_op(pipes.product_op[row, col, stage], pipes.op[row, col])
    pipes.issued[row, col] += 1


@njit_part
def add(job, pipes, row, col, cycle, addend):
    """Let the product that leaves the multiplier enter the adder together with ``addend``."""
    stage = (cycle + 1) % (job.multiplier + 1)
    total = cycle % job.adder
    pipes.total[row, col, total] = addend + pipes.product[row, col, stage]
    copy_op(pipes.total_op[row, col, total], pipes.product_op[row, col, stage])
    pipes.product_op[row, col, stage, 0] = -1
