"""Compiled PEs of fast stepping: what each of them computes with a run of lane 0's issues.

All lanes run the same schedule and every operation moves one column east per cycle: PE (r, c)
executes r · delay + c cycles later what lane 0 issues. Lane 0 is stepped in every cycle
(``pe_lane_kernels``); :func:`follow` checks the hazards of each issue. PEs are stepped one after
another, a run of cycles each, on what their neighbours had sent before: a PE needs nothing from the
east or the south. A run's operations with the same weight are then one loop over contiguous sums
and activations. Every PE executes every operation that it would be sent; cycles without one change
nothing in it.

* ``at`` float32[K · m] : A transposed, element k of row i at k · m + i (m padded for
  output-stationary); ``out`` float32[n · m] : the product transposed, likewise;
* ``sums`` float32[C · width] : weight-stationary partial sums on their way south, one line of
  ``width`` entries per column; float32[blocks · C · I · R] : output-stationary results,
  entry i of PE (r, c) at ((block · C + c) · I + i) · R + r;
* ``marks`` int64[2, I] : cycle in which each entry was issued last, and its first slot was;
* ``stored`` int64[2, m] : tile whose sum of a row of A was stored last, and the cycle from which
  column 0 can add to it (weight-stationary).
"""

from __future__ import annotations

import numpy as np

from hwsim.components.jit import njit
from hwsim.sat.pe_lane_kernels import entries_of, njit_part

__all__ = ["NEVER", "add_run", "follow", "new_marks", "new_ring", "pass_rows"]

NEVER = -(1 << 60)


@njit
def new_ring(span):
    """Return zeros for a ring that is indexed by cycle modulo its size and spans ``span``."""
    size = 1
    while size <= span:
        size *= 2
    return np.zeros(size, np.int64)


@njit
def new_marks(job):
    """Return (marks, stored) before the first issue."""
    return np.full((2, job.interleave), NEVER), np.full((2, job.m), -1)


@njit_part
def _check_north(job, marks, stored, cycle, unit, step, slot, entry):
    """Check that the sums from the north are there when an entry's first product needs them.

    The PE above makes them with the last product of the entry; the delay between rows expects the
    slots of a step to be ``spacing`` apart, which is checked when the last one is issued.
    """
    span = (job.nm_n - 1) * max(entries_of(job, 0, step), job.adder)
    row, k_tile = step * job.interleave + entry, unit % job.k_tiles
    if slot == 0:
        marks[1, entry] = cycle
        if k_tile > 0 and (stored[0, row] != unit - 1 or stored[1, row] > cycle):
            raise RuntimeError("a stored partial sum was read before it was written")
    if slot == job.nm_n - 1:
        if cycle - marks[1, entry] != span:
            raise RuntimeError("a lane did not issue a step in the rhythm of the rows below")
        stored[0, row], stored[1, row] = unit, cycle + (job.rows - 1) * job.hop + job.adder
    if job.rows > 1 and job.hop - span < job.adder:
        raise RuntimeError("a partial sum from the north had not arrived when it was needed")


@njit_part
def follow(job, marks, stored, op, cycle):
    """Check the hazards of what lane 0 issues; return 1 if it is the last product of a sum."""
    unit, step, slot, entry = op[0, 0, 0], op[0, 0, 1], op[0, 0, 2], op[0, 0, 3]
    if unit < 0:
        return 0
    is_first = slot == 0 and (job.is_stationary or step == 0)
    if not is_first and cycle - marks[0, entry] < job.adder:
        raise RuntimeError("a partial sum was not back from the adder when it was needed")
    marks[0, entry] = cycle
    if job.is_stationary:
        _check_north(job, marks, stored, cycle, unit, step, slot, entry)
    return int(slot == job.nm_n - 1 and (job.is_stationary or step == job.steps - 1))


@njit_part
def _accumulate(sums, first, at, source, weight, count):
    """Let one PE (or a column of them) multiply and add in ``count`` of its cycles."""
    for place in range(np.uint64(count)):
        sums[first + place] += at[source + place] * weight


@njit_part
def pass_rows(job, tile, first, end, at, value, index, out, sums, issued):
    """Let the sums of rows ``first`` to ``end`` of A pass all PEs of ``tile`` from north to south.

    ``value``, ``index`` [R · N · C] are the weights in use. Row 0 takes +0 or the stored sums in,
    the last row stores them.
    """
    cols, count, width = job.cols, end - first, sums.size // job.cols
    k_tile, column = tile % job.k_tiles, tile // job.k_tiles * job.cols
    for col in range(cols):
        for place in range(count):
            stored = out[(column + col) * job.m + first + place]
            sums[col * width + place] = stored if k_tile > 0 else np.float32(0)
    for row in range(job.rows):
        group = (k_tile * job.rows + row) * job.nm_m
        for slot in range(job.nm_n):
            weights = (row * job.nm_n + slot) * cols
            for col in range(cols):
                source = (group + index[weights + col]) * job.m + first
                line, weight = np.uint64(col * width), value[weights + col]
                _accumulate(sums, line, at, np.uint64(source), weight, count)
            issued[row] += count
    for col in range(cols):
        for place in range(count):
            out[(column + col) * job.m + first + place] = sums[col * width + place]


@njit_part
def add_run(job, block, buffer, step, slot, at, values, indices, sums, issued):
    """Let all PEs add their products of one step and slot to the entries of ``block``.

    ``values``, ``indices`` [groups · N · n] move south through the columns. Entries of one column
    tile take the same weights, and their rows of A follow each other.
    """
    height, entry, entries = job.row_tiles * job.rows, 0, entries_of(job, block, step)
    columns = job.tiles // job.row_tiles * job.cols
    while entry < entries:
        tile = block * job.interleave + entry
        row_tile, col_tile = tile % job.row_tiles, tile // job.row_tiles
        alike = min(entries - entry, job.row_tiles - row_tile)
        weights = (step * job.nm_n + slot) * columns + col_tile * job.cols
        for col in range(job.cols):
            element = step * job.nm_m + indices[weights + col]
            source = np.uint64(element * height + row_tile * job.rows)
            line = ((buffer * job.cols + col) * job.interleave + entry) * job.rows
            weight = values[weights + col]
            _accumulate(sums, np.uint64(line), at, source, weight, alike * job.rows)
        entry += alike
    for row in range(job.rows):
        issued[row] += entries
