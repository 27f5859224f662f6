"""Compiled rows of PEs for fast stepping: one call advances all rows by one cycle.

All lanes run the same schedule, each a fixed delay after lane 0. Lane 0 is stepped with banks,
beats and the scoreboard of its adder (``pe_lane_kernels``); what it issues is kept in rings, and
PE (r, c) executes in cycle t what lane 0 issued in cycle u = t − delay of row r − c. Shift
registers are rings indexed by time, so that nothing moves and a row is one loop over columns.

* ``ring`` uint32[8, 2·W], W a power of two: what lane 0 issued in cycle u, at ``place`` (u) and
  again W further. It runs backwards, so that a row's window (u, u − 1, … for columns 0, 1, …) is
  contiguous. Rows:

  - ``BASE`` : start of lane 0's activation group in the flat A;
  - ``SLOT`` : offset of the slot's weights in a PE row; ``WEIGHT`` : start of the weights in the
    flat weight array (output-stationary);
  - ``TARGET`` : start of the row of the flat output that a weight-stationary entry adds to;
  - ``FLOW`` : 1 if the product opens an entry with a stored sum, 2 if it opens one with +0, plus
    4 if it is the last one of its entry (weight-stationary);
  - ``SOURCE`` : what the product is added to: 0 nothing, or there is no product; 1 the first sum
    (north, or the last step's own); 2 the sum of the slot before;
  - ``FIRST_AGE``, ``OWN_AGE`` : cycles since the additions that made those two sums;

* ``past`` int64[W, 7], indexed by u mod W : unit, step, slot, entry (unit −1 is a bubble), then
  the latest cycle ≤ u with a product (``PRODUCT``), with the last product of an entry (``LAST``),
  and with a change of the two ages (``CHANGE``);
* ``marks`` int64[2, I] : cycle in which each entry was issued last, and its first slot was;
* ``lines`` float32[D·(R + 1)·C], D a power of two : adder results; line (t mod D, r + 1) holds
  what the PEs of row r compute with the products they issue in cycle t, line (·, 0) the sums fed
  into row 0;
* ``west`` float32[R·2·Cw] : activations in the row registers (groups of one element);
  ``product`` float32[C] : scratch.
"""

from __future__ import annotations

import numpy as np

from hwsim.components.jit import njit
from hwsim.sat.pe_lane_kernels import activation_row, entries_of

__all__ = ["is_active", "new_rings", "place", "record", "step_rows"]

BASE, SLOT, WEIGHT, TARGET, FLOW, SOURCE, FIRST_AGE, OWN_AGE = range(8)
UNIT, PRODUCT, LAST, CHANGE = 0, 4, 5, 6
NEVER = -(1 << 60)


@njit
def _power_of_two(least):
    size = 1
    while size < least:
        size *= 2
    return size


@njit
def new_rings(job, span, depth):
    """Return (ring, past, marks, lines, west, product) for windows of ``span`` cycles.

    ``depth`` is the greatest age in cycles of a sum that is still needed.
    """
    size, deep = _power_of_two(span + 1), _power_of_two(depth + 1)
    past = np.full((size, 7), NEVER, np.int64)
    past[:, :4] = -1
    # An age of 0 would make a line overlap itself and keep the compiler's vector loop from it.
    ring = np.zeros((8, 2 * size), np.uint32)
    ring[FIRST_AGE:] = 1
    return (
        ring,
        past,
        np.full((2, job.interleave), NEVER, np.int64),
        np.zeros(deep * (job.rows + 1) * job.cols, np.float32),
        np.zeros(job.rows * 2 * _power_of_two(job.cols), np.float32),
        np.zeros(job.cols, np.float32),
    )


@njit(forceinline=True)
def place(past, cycle):
    """Return where the ring keeps ``cycle``; column c is c places further."""
    size = past.shape[0]
    return size - 1 - (cycle & (size - 1))


@njit(forceinline=True)
def is_active(past, cycle, kind, cols):
    """Return whether a row whose column 0 runs lane 0's ``cycle`` holds an operation of a kind."""
    return cycle >= 0 and past[cycle & (past.shape[0] - 1), kind] > cycle - cols


@njit(forceinline=True)
def _age_from_north(job, marks, cycle, step, slot, entry):
    """Return how old a sum from the north is when an entry's first product needs it.

    The PE above made it with the last product of the entry. The control expects the slots of a
    step to be ``spacing`` apart; that is checked here when they are issued.
    """
    span = (job.nm_n - 1) * max(entries_of(job, 0, step), job.adder)
    if slot == 0:
        marks[1, entry] = cycle
    if slot == job.nm_n - 1 and cycle - marks[1, entry] != span:
        raise RuntimeError("a lane did not issue a step in the rhythm of the rows below")
    if job.rows > 1 and job.hop - span < job.adder:
        raise RuntimeError("a partial sum from the north had not arrived when it was needed")
    return job.hop - span


@njit(forceinline=True)
def _source_of(job, marks, depth, cycle, step, slot, entry):
    """Return what an operation adds to (0, 1, 2) and the age of that sum."""
    age = cycle - marks[0, entry]
    marks[0, entry] = cycle
    if job.is_stationary:
        north = _age_from_north(job, marks, cycle, step, slot, entry)
        if slot == 0:
            return 1, north
    elif slot == 0 and step == 0:
        return 0, age
    if age < job.adder:
        raise RuntimeError("a partial sum was not back from the adder when it was needed")
    if age >= depth:
        raise RuntimeError("the ring of adder results is too short")
    return (1 if slot == 0 else 2), age


@njit(forceinline=True)
def _put(ring, name, position, value):
    ring[name, position] = value
    ring[name, position + ring.shape[1] // 2] = value


@njit
def _put_addresses(job, ring, position, unit, step, slot, entry, width):
    """Keep where the operation's activations, weights and sums begin."""
    row = activation_row(job, unit, step, entry, 0)
    if job.is_stationary:
        k_tile, col_tile = unit % job.k_tiles, unit // job.k_tiles
        columns = job.units // job.k_tiles * job.cols
        flow = (1 if k_tile > 0 else 2) if slot == 0 else 0
        _put(ring, FLOW, position, flow + (4 if slot == job.nm_n - 1 else 0))
        _put(ring, TARGET, position, row * columns + col_tile * job.cols)
        _put(ring, SLOT, position, slot * job.cols)
        _put(ring, BASE, position, row * width + k_tile * job.rows * job.nm_m)
    else:
        columns = job.tiles // job.row_tiles * job.cols
        col_tile = (unit * job.interleave + entry) // job.row_tiles
        _put(ring, WEIGHT, position, (step * job.nm_n + slot) * columns + col_tile * job.cols)
        _put(ring, BASE, position, row * width + step * job.nm_m)


@njit
def record(job, ring, past, marks, depth, op, cycle, width):
    """Keep what lane 0 issues in ``cycle``; ``width`` is the length of a row of A in elements."""
    size = past.shape[0]
    here, before = cycle & (size - 1), (cycle - 1) & (size - 1)
    position, behind = place(past, cycle), place(past, cycle - 1)
    for field in range(7):
        past[here, field] = op[0, 0, field] if field < 4 else past[before, field]
    first, own = np.int64(ring[FIRST_AGE, behind]), np.int64(ring[OWN_AGE, behind])
    old_first, old_own, source = first, own, 0
    _put(ring, FLOW, position, 0)
    unit, step, slot, entry = past[here, 0], past[here, 1], past[here, 2], past[here, 3]
    if unit >= 0:
        source, age = _source_of(job, marks, depth, cycle, step, slot, entry)
        past[here, PRODUCT] = cycle
        if slot == job.nm_n - 1 and (job.is_stationary or step == job.steps - 1):
            past[here, LAST] = cycle
        if source == 1:
            first = age
        elif source == 2:
            own = age
        _put_addresses(job, ring, position, unit, step, slot, entry, width)
    if first != old_first or own != old_own:
        past[here, CHANGE] = cycle
    _put(ring, SOURCE, position, source)
    _put(ring, FIRST_AGE, position, first)
    _put(ring, OWN_AGE, position, own)


@njit
def _multiply_groups(product, ring, position, values, indices, first, a, offset):
    """Select one operand of each column's group and multiply it; all offsets are uint64."""
    for col in range(np.uint64(product.size)):
        weight = first + ring[SLOT, position + col] + col
        operand = a[ring[BASE, position + col] + indices[weight] + offset]
        product[col] = operand * values[weight]


@njit
def _multiply_values(product, west, position, values, first):
    """Multiply each column's activation; groups of one element need no selection."""
    for col in range(np.uint64(product.size)):
        product[col] = west[position + col] * values[first + col]


@njit
def _add_alike(lines, line, north, own, ring, position, product):
    """Add a row's products to their sums; all columns find theirs in the same two lines."""
    for col in range(np.uint64(product.size)):
        first = lines[north + col]
        second = lines[own + col]
        kind = ring[SOURCE, position + col]
        before = first if kind == 1 else second
        before = before if kind > 0 else np.float32(0)
        lines[line + col] = before + product[col]


@njit(forceinline=True)
def _add_each(lines, cycle, mask, stride, own, north, ring, position, product, is_edge):
    """Add a row's products to their sums, each column with ages of its own."""
    target = (cycle & mask) * stride + own
    for col in range(product.size):
        kind = ring[SOURCE, position + col]
        before = np.float32(0)
        if kind == 1:
            age = 0 if is_edge else np.int64(ring[FIRST_AGE, position + col])
            before = lines[((cycle - age) & mask) * stride + north + col]
        elif kind == 2:
            age = np.int64(ring[OWN_AGE, position + col])
            before = lines[((cycle - age) & mask) * stride + own + col]
        lines[target + col] = before + product[col]


@njit(forceinline=True)
def _take_in(west, row, half, issued, value):
    """Put a row's newest activation into its ring and return where its window begins."""
    head = row * 2 * half + half - 1 - (issued & (half - 1))
    west[head] = value
    west[head + half] = value
    return np.uint64(head)


@njit
def step_rows(
    job, delay, cycle, ring, past, lines, west, product, a, width, values, indices, first, pitch,
    turn,
):  # fmt: skip
    """Advance every row that holds an operation by one cycle: multiply, add, keep the sums.

    Row r runs ``delay`` · r cycles behind lane 0, its activations lie r · ``width`` elements
    behind lane 0's, and its weights begin at ``first`` + r · ``pitch`` modulo ``turn``.
    """
    rows, cols, size = job.rows, job.cols, past.shape[0]
    stride = (rows + 1) * cols
    mask = lines.size // stride - 1
    half, weights = west.size // rows // 2, first - pitch
    for row in range(rows):
        issued, weights = cycle - row * delay, weights + pitch
        weights -= turn if weights >= turn else 0
        here = issued & (size - 1)
        if issued < 0 or past[here, PRODUCT] <= issued - cols:
            continue
        position, offset = np.uint64(size - 1 - here), np.uint64(row * width)
        start = np.uint64(weights)
        if job.nm_m > 1:
            _multiply_groups(product, ring, position, values, indices, start, a, offset)
        else:
            value = a[np.uint64(ring[BASE, position]) + offset]
            head = _take_in(west, row, half, issued, value)
            _multiply_values(product, west, head, values, start)
        own = (row + 1) * cols
        north = own - cols if job.is_stationary else own
        # Row 0 of a weight-stationary array gets its sums from the buffer when it needs them.
        is_edge = job.is_stationary and row == 0
        if past[here, CHANGE] > issued - cols + 1:
            back = size - 1 - here
            _add_each(lines, cycle, mask, stride, own, north, ring, back, product, is_edge)
            continue
        age = 0 if is_edge else np.int64(ring[FIRST_AGE, position])
        line = np.uint64((cycle & mask) * stride + own)
        above = np.uint64(((cycle - age) & mask) * stride + north)
        age = np.int64(ring[OWN_AGE, position])
        before = np.uint64(((cycle - age) & mask) * stride + own)
        _add_alike(lines, line, above, before, ring, position, product)
