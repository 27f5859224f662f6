"""Compute products in the order and precision of the kernels, compiled.

Every multiply-add rounds once to float32 (product and sum in float64 before that), terms in the
order in which the kernels add them: nonzeros as they stream, or along the reduction.
"""

from __future__ import annotations

import numpy as np

from hwsim.components.jit import njit

__all__ = ["dense_rows", "sparse_strip"]


@njit
def sparse_strip(nnzmap, widths, dmap, stream, first, x, out):
    """Walk the packed arrays over all pixels of ``x`` float32[ci * pixels] (one plane per ci).

    ``first`` and ``dmap`` are in elements; ``out`` float32[co, pixels] is written.
    """
    pixels = out.shape[1]
    for pixel in range(pixels):
        place, block, at, row = first + pixel, 0, 0, 0
        for group in range(len(nnzmap)):
            width = widths[group]
            for r in range(width):
                out[row + r, pixel] = stream[at + r]
            at += width
            for _ in range(nnzmap[group]):
                value = np.float64(x[place])
                for r in range(width):
                    total = np.float64(stream[at + r]) * value + np.float64(out[row + r, pixel])
                    out[row + r, pixel] = np.float32(total)
                at += width
                place += dmap[block]
                block += 1
            row += width


@njit
def dense_rows(a, b, out):
    """Add a float32[m, k] times b float32[k, n] into zeros ``out`` float32[m, n], k in order."""
    for row in range(a.shape[0]):
        for step in range(a.shape[1]):
            value = np.float64(a[row, step])
            for column in range(b.shape[1]):
                total = value * np.float64(b[step, column]) + np.float64(out[row, column])
                out[row, column] = np.float32(total)
