"""Compiled rows of PEs for fast stepping: one call advances all rows by one cycle.

All lanes run the same schedule, each a fixed delay after lane 0. Lane 0 is stepped with banks,
beats and the scoreboard of its adder (``pe_lane_kernels``); what it issues is kept in rings, and
PE (r, c) executes in cycle t what lane 0 issued in cycle u = t − delay of row r − c. Shift
registers are rings indexed by time, so that nothing moves and a row is one loop over columns.

Rings of ``Track``, W a power of two. The first group runs backwards and is stored twice, so that
the window of a row (u, u − 1, … for columns 0, 1, …) is contiguous at position(u):

* ``base`` uint32 : start of lane 0's activation group in the flat A;
* ``slot`` uint32 : offset of the weights of the slot; ``weight`` uint32 : start of the weights in
  the flat weight array (output-stationary);
* ``source`` int32 : what the product is added to: 0 nothing or no product, 1 the first sum (north,
  or the last step's own), 2 the sum of the slot before;
* ``ages`` int32[2, ·] : cycles since the additions that made those two sums;
* ``target`` int64 : start of the row of the flat output that a weight-stationary entry adds to;
  ``flow`` int32 : 1 if the product opens an entry with a stored sum, 2 if it opens one with +0,
  plus 4 if it is the last one of its entry.

The second group is indexed by u mod W:

* ``op`` int64[W, 4] : unit, step, slot, entry; unit −1 is a bubble;
* ``latest`` int64[W, 3] : latest cycle ≤ u with a product, with a last product of its entry, and
  the first cycle since which the ages have been what they are.

``lines`` float32[D·(R + 1)·C] : adder results; line (t mod D, r + 1) holds what the PEs of row r
compute with the products they issue in cycle t, line (·, 0) the sums fed into row 0.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from hwsim.components.jit import njit
from hwsim.sat.pe_lane_kernels import activation_row, entries_of

__all__ = ["Track", "new_track", "record", "step_rows"]

PRODUCT, LAST, SAME = range(3)
NEVER = -(1 << 60)


class Track(NamedTuple):
    """What lane 0 issued, and the adder results of all PEs; see the module's docstring."""

    base: Any
    slot: Any
    weight: Any
    source: Any
    ages: Any
    target: Any
    flow: Any
    op: Any
    latest: Any
    lines: Any
    depth: int
    scratch: Any
    west: Any
    issued_at: Any
    first_at: Any


@njit
def _power_of_two(least):
    size = 1
    while size < least:
        size *= 2
    return size


@njit
def new_track(job, span, depth):
    """Return empty rings for windows reaching ``span`` cycles and ages below ``depth`` cycles."""
    size = _power_of_two(span + 1)
    deep = _power_of_two(depth + 1)
    return Track(
        np.zeros(2 * size, np.uint32),
        np.zeros(2 * size, np.uint32),
        np.zeros(2 * size, np.uint32),
        np.zeros(2 * size, np.int32),
        np.ones((2, 2 * size), np.int32),
        np.zeros(2 * size, np.int64),
        np.zeros(2 * size, np.int32),
        np.full((size, 4), -1, np.int64),
        np.full((size, 3), NEVER, np.int64),
        np.zeros(deep * (job.rows + 1) * job.cols, np.float32),
        deep,
        np.zeros(job.cols, np.float32),
        np.zeros(job.rows * 2 * _power_of_two(job.cols), np.float32),
        np.full(job.interleave, NEVER, np.int64),
        np.full(job.interleave, NEVER, np.int64),
    )


@njit
def place(track, cycle):
    """Return where the reversed rings keep ``cycle``; column c is c places further."""
    size = track.op.shape[0]
    return size - 1 - (cycle & (size - 1))


@njit
def is_active(job, track, cycle, kind):
    """Return whether a row whose column 0 runs lane 0's ``cycle`` holds an operation of a kind."""
    size = track.op.shape[0]
    return cycle >= 0 and track.latest[cycle & (size - 1), kind] > cycle - job.cols


@njit
def _age_from_north(job, track, cycle, step, slot, entry):
    """Return how old a sum from the north is when an entry's first product needs it.

    The PE above made it with the last product of the entry. The control expects the slots of a
    step to be ``spacing`` apart; that is checked here when they are issued.
    """
    span = (job.nm_n - 1) * max(entries_of(job, 0, step), job.adder)
    if slot == 0:
        track.first_at[entry] = cycle
    if slot == job.nm_n - 1 and cycle - track.first_at[entry] != span:
        raise RuntimeError("a lane did not issue a step in the rhythm of the rows below")
    if job.rows > 1 and job.hop - span < job.adder:
        raise RuntimeError("a partial sum from the north had not arrived when it was needed")
    return job.hop - span


@njit
def _source_of(job, track, cycle, step, slot, entry):
    """Return what an operation adds to (0, 1, 2) and the age of that sum."""
    own = cycle - track.issued_at[entry]
    track.issued_at[entry] = cycle
    source, age = 2, own
    if job.is_stationary:
        north = _age_from_north(job, track, cycle, step, slot, entry)
        if slot == 0:
            return 1, north
    elif slot == 0:
        source = 1
        if step == 0:
            return 0, 1
    if age < job.adder:
        raise RuntimeError("a partial sum was not back from the adder when it was needed")
    if age >= track.depth:
        raise RuntimeError("the ring of adder results is too short")
    return source, age


@njit
def _set_both(ring, position, value):
    ring[position] = value
    ring[position + ring.shape[0] // 2] = value


@njit
def record(job, track, op, cycle, width):
    """Keep what lane 0 issues in ``cycle``; ``width`` is the length of a row of A in elements."""
    size = track.op.shape[0]
    here, before, position = cycle & (size - 1), (cycle - 1) & (size - 1), place(track, cycle)
    behind = place(track, cycle - 1)
    first, own = track.ages[0, behind], track.ages[1, behind]
    for field in range(4):
        track.op[here, field] = op[field]
    for kind in range(3):
        track.latest[here, kind] = track.latest[before, kind]
    _set_both(track.flow, position, np.int32(0))
    source = 0
    if op[0] >= 0:
        step, slot, entry = op[1], op[2], op[3]
        source, age = _source_of(job, track, cycle, step, slot, entry)
        track.latest[here, PRODUCT] = cycle
        if slot == job.nm_n - 1 and (job.is_stationary or step == job.steps - 1):
            track.latest[here, LAST] = cycle
        first = np.int32(age) if source == 1 else first
        own = np.int32(age) if source == 2 else own
        _record_addresses(job, track, op, position, width)
    if first != track.ages[0, behind] or own != track.ages[1, behind]:
        track.latest[here, SAME] = cycle
    _set_both(track.source, position, np.int32(source))
    for copy in (position, position + size):
        track.ages[0, copy], track.ages[1, copy] = first, own


@njit
def _record_addresses(job, track, op, position, width):
    """Keep where lane 0's activation group and the weights of the operation begin."""
    unit, step, slot, entry = op[0], op[1], op[2], op[3]
    row = activation_row(job, unit, step, entry, 0)
    base = row * width
    if job.is_stationary:
        k_tile, col_tile = unit % job.k_tiles, unit // job.k_tiles
        base += k_tile * job.rows * job.nm_m
        columns = job.units // job.k_tiles * job.cols
        flow = (1 if k_tile > 0 else 2) if slot == 0 else 0
        flow += 4 if slot == job.nm_n - 1 else 0
        _set_both(track.flow, position, np.int32(flow))
        _set_both(track.target, position, row * columns + col_tile * job.cols)
        _set_both(track.slot, position, np.uint32(slot * job.cols))
    else:
        base += step * job.nm_m
        columns = job.tiles // job.row_tiles * job.cols
        col_tile = (unit * job.interleave + entry) // job.row_tiles
        weight = (step * job.nm_n + slot) * columns + col_tile * job.cols
        _set_both(track.weight, position, np.uint32(weight))
    _set_both(track.base, position, np.uint32(base))


@njit
def _multiply_groups(product, base, slot, position, values, indices, first, a, offset, cols):
    """Select one operand of each column's group and multiply it; all offsets are uint64."""
    for col in range(cols):
        weight = first + slot[position + col] + col
        product[col] = a[base[position + col] + indices[weight] + offset] * values[weight]


@njit
def _multiply_values(product, west, position, values, first, cols):
    """Multiply each column's activation; groups of one element need no selection."""
    for col in range(cols):
        product[col] = west[position + col] * values[first + col]


@njit
def _add_alike(lines, line, north, own, source, position, product, cols):
    """Add a row's products to their sums; all columns find theirs in the same two lines."""
    for col in range(cols):
        first = lines[north + col]
        second = lines[own + col]
        kind = source[position + col]
        before = first if kind == 1 else second
        before = before if kind > 0 else np.float32(0)
        lines[line + col] = before + product[col]


@njit
def _add_each(lines, cycle, mask, stride, own, north, source, ages, position, product, is_edge):
    """Add a row's products to their sums, each column with ages of its own."""
    target = (cycle & mask) * stride + own
    for col in range(product.size):
        kind = source[position + col]
        before = np.float32(0)
        if kind == 1:
            age = 0 if is_edge else ages[0, position + col]
            before = lines[((cycle - age) & mask) * stride + north + col]
        elif kind == 2:
            age = ages[1, position + col]
            before = lines[((cycle - age) & mask) * stride + own + col]
        lines[target + col] = before + product[col]


@njit
def _take_in(west, row, half, issued, value):
    """Put a row's newest activation into its ring and return where its window begins."""
    head = row * 2 * half + half - 1 - (issued & (half - 1))
    west[head] = value
    west[head + half] = value
    return np.uint64(head)


@njit
def step_rows(
    job, delay, cycle, latest, lines, base, slot, source, ages, west, product, a, width,
    values, indices, first, pitch, turn,
):  # fmt: skip
    """Advance every row that holds an operation by one cycle: multiply, add, keep the sums.

    Row r runs ``delay`` · r cycles behind lane 0, its activations lie r · ``width`` elements
    behind lane 0's, and its weights begin at ``first`` + r · ``pitch`` modulo ``turn``. The other
    arrays are the rings of :class:`Track`; they come one by one, because a tuple of arrays costs
    more to pass than a row costs to step.
    """
    rows, cols, size = job.rows, job.cols, latest.shape[0]
    stride = (rows + 1) * cols
    mask = lines.size // stride - 1
    for row in range(rows):
        issued = cycle - row * delay
        here = issued & (size - 1)
        if issued < 0 or latest[here, PRODUCT] <= issued - cols:
            continue
        position, offset = np.uint64(size - 1 - here), np.uint64(row * width)
        weights = np.uint64((first + row * pitch) % turn)
        if job.nm_m > 1:
            _multiply_groups(
                product, base, slot, position, values, indices, weights, a, offset, np.uint64(cols)
            )
        else:
            value = a[np.uint64(base[position]) + offset]
            head = _take_in(west, row, west.size // rows // 2, issued, value)
            _multiply_values(product, west, head, values, weights, np.uint64(cols))
        own = (row + 1) * cols
        north = own - cols if job.is_stationary else own
        # Row 0 of a weight-stationary array gets its sums from the buffer when it needs them.
        is_edge = job.is_stationary and row == 0
        if latest[here, SAME] > issued - cols + 1:
            _add_each(
                lines,
                cycle,
                mask,
                stride,
                own,
                north,
                source,
                ages,
                size - 1 - here,
                product,
                is_edge,
            )
            continue
        age = 0 if is_edge else ages[0, position]
        _add_alike(
            lines,
            np.uint64((cycle & mask) * stride + own),
            np.uint64(((cycle - age) & mask) * stride + north),
            np.uint64(((cycle - ages[1, position]) & mask) * stride + own),
            source,
            position,
            product,
            np.uint64(cols),
        )
