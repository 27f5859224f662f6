"""Compiled loops of the SAT simulator.

Arrays and scalars in and out. Layouts:

* ``a`` : float32[m, groups * nm_m], activations holding FP16 values, padded with zeros;
* ``values`` : float32[groups, nm_n, n] and ``indices`` : uint8[groups, nm_n, n], the compact
  weights of :class:`hwsim.core.formats.NMCompact`;
* ``out`` : float32[m, n], partial sums, read and written.

``step_*`` count cycles tile by tile and step by step (int64), with the recurrences of
docs/sat_microarchitecture.md instead of their closed forms.
"""

from __future__ import annotations

import numpy as np

from hwsim.components.jit import njit

__all__ = ["multiply_compact", "step_output_stationary", "step_weight_stationary"]


@njit
def multiply_compact(a, values, indices, nm_m, out):
    """Add A · B to ``out``, one FP32 addition per slot, in the order of k."""
    groups, nm_n, n = values.shape
    m = a.shape[0]
    for row in range(m):
        for group in range(groups):
            base = group * nm_m
            for slot in range(nm_n):
                for col in range(n):
                    product = a[row, base + indices[group, slot, col]] * values[group, slot, col]
                    out[row, col] = np.float32(out[row, col] + product)


@njit
def _step_lane(steps, entries, tail, nm_n, adder, beats, is_stationary):
    """Step one lane through ``steps`` full steps and a tail; return the cycle after its end."""
    total = steps + (1 if tail > 0 else 0)
    fill_start, previous_fill_entries = np.int64(0), np.int64(0)
    start, occupied = np.int64(0), np.int64(0)
    free_before = np.int64(0)  # when the bank used two steps ago is free again
    end = np.int64(0)
    for step in range(total):
        now = entries if step < steps else tail
        spacing = max(now, adder)
        bank_free = free_before
        free_before = start + occupied
        if step > 0:
            fill_start = max(fill_start + previous_fill_entries * beats, bank_free)
        begin = free_before if step > 0 else np.int64(0)
        for entry in range(now):
            ready = fill_start + (entry + 1) * beats - 1
            begin = max(begin, ready - entry)
        start = begin
        occupied = (nm_n - 1) * spacing + now if is_stationary else nm_n * spacing
        previous_fill_entries = np.int64(now)
        end = start + (nm_n - 1) * spacing + now
    return end


@njit
def step_weight_stationary(
    m, tiles, nm_n, beats, rows, cols, multiplier, adder, interleave, is_double, early_start
):
    """Return the cycles of a weight-stationary GEMM, tile after tile.

    ``early_start`` < 0: a tile starts when the one before has left; else: at the earliest
    ``early_start`` cycles after it, once its stream has ended (skew overlap).
    """
    load = np.int64(rows * nm_n)
    loaded, end, start = load, np.int64(0), np.int64(0)
    entries = min(interleave, m)
    hop = (nm_n - 1) * max(entries, adder) + adder
    for tile in range(tiles):
        stream = _step_lane(m // entries, entries, m % entries, nm_n, adder, beats, True)
        if tile == 0:
            start = loaded
        elif early_start >= 0:
            start = max(start + stream, start + early_start)
        elif is_double:
            start = max(end, loaded)
        else:
            start = end + load
        end = start + stream + (rows - 1) * hop + (cols - 1) + multiplier + adder - 1
        loaded = start + load  # the shadow registers are free once a tile has started
    return end


@njit
def step_output_stationary(
    tiles, groups, nm_n, beats, rows, cols, multiplier, adder, interleave, is_skewed, is_shadowed
):
    """Return the cycles of an output-stationary GEMM, block of tiles after block of tiles."""
    skew, latency = np.int64(rows + cols - 2), np.int64(multiplier + adder - 1)
    time, drained, left = np.int64(0), np.int64(0), np.int64(tiles)
    while left > 0:
        entries = min(left, interleave)
        left -= entries
        stream = _step_lane(groups, entries, 0, nm_n, adder, beats, False)
        time += stream
        if not (is_skewed and is_shadowed):
            time += latency
        if not is_skewed:
            time += skew
        if is_shadowed:
            time = max(time, drained)  # the drain port still shifts out the last block
            drained = time + entries * rows
        else:
            time += entries * rows
    tail = np.int64(0)
    if is_skewed:
        tail += skew
        if is_shadowed:
            tail += latency
    return max(time, drained) + tail
