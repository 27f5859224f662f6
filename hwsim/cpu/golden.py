"""Compute every layer of the sparse kernels in plain numpy; shares no code with them.

Everything is summed in float64 and rounded once, so that a result may differ from a kernel's by the
rounding of its float32 sum only: at most about ``terms * 2**-24`` of the sum of magnitudes, which
:func:`rounding_bound` gives per element.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "clamp",
    "conv",
    "conv_first",
    "depthwise",
    "gemm",
    "global_mean",
    "rounding_bound",
    "spmm",
]

Values = NDArray[np.floating]
Result = NDArray[np.float64]


def clamp(values: Values, low: float, high: float) -> Result:
    """Return ``values`` limited to [low, high], as every kernel does before it stores."""
    return np.asarray(np.minimum(np.maximum(values.astype(np.float64), low), high))


def spmm(weights: Values, bias: Values, x: Values) -> Result:
    """Return weights[co, ci] @ x[ci, pixels] + bias[co] : float64[co, pixels]."""
    product = weights.astype(np.float64) @ x.astype(np.float64)
    return np.asarray(product + bias.astype(np.float64)[:, None])


def gemm(a: Values, weights: Values, bias: Values) -> Result:
    """Return a[m, k] @ weights[co, k].T + bias[co] : float64[m, co], channels last."""
    return np.asarray(a.astype(np.float64) @ weights.astype(np.float64).T + bias)


def conv_first(x: Values, weights: Values, bias: Values) -> Result:
    """Return the 3x3 stride-2 pad-1 convolution of x[ih, iw, ci] : float64[co, oh, ow].

    ``weights`` [co, ci, 3, 3]; oh = ceil(ih / 2), ow = ceil(iw / 2).
    """
    padded = np.pad(x.astype(np.float64), ((1, 1), (1, 1), (0, 0)))
    oh, ow = (x.shape[0] + 1) // 2, (x.shape[1] + 1) // 2
    out = np.zeros((len(weights), oh, ow))
    for row in range(3):
        for col in range(3):
            window = padded[row : row + 2 * oh - 1 : 2, col : col + 2 * ow - 1 : 2]
            out += np.einsum("hwc,oc->ohw", window, weights[:, :, row, col].astype(np.float64))
    return out + bias[:, None, None]


def conv(x: Values, weights: Values, bias: Values, stride: int = 1) -> Result:
    """Return the convolution of x[ih, iw, ci], padding kernel // 2 : float64[oh, ow, co].

    ``weights`` [co, kh, kw, ci] with odd kernels; ``stride`` in both directions.
    """
    kh, kw = weights.shape[1:3]
    padded = np.pad(x.astype(np.float64), ((kh // 2, kh // 2), (kw // 2, kw // 2), (0, 0)))
    oh, ow = ((extent - 1) // stride + 1 for extent in x.shape[:2])
    out = np.zeros((oh, ow, len(weights)))
    for row in range(kh):
        for col in range(kw):
            rows = slice(row, row + stride * (oh - 1) + 1, stride)
            columns = slice(col, col + stride * (ow - 1) + 1, stride)
            out += padded[rows, columns] @ weights[:, row, col].astype(np.float64).T
    return out + bias


def depthwise(x: Values, weights: Values, bias: Values, stride: int) -> Result:
    """Return the depthwise convolution of x[c, ih, iw], padding kernel // 2 : float64[c, oh, ow].

    ``weights`` [c, kernel, kernel] with an odd kernel; ``stride`` in both directions.
    """
    size = weights.shape[-1]
    pad = size // 2
    padded = np.pad(x.astype(np.float64), ((0, 0), (pad, pad), (pad, pad)))
    oh, ow = ((extent - 1) // stride + 1 for extent in x.shape[1:])
    out = np.zeros((len(x), oh, ow))
    for row in range(size):
        for col in range(size):
            rows = slice(row, row + stride * (oh - 1) + 1, stride)
            columns = slice(col, col + stride * (ow - 1) + 1, stride)
            out += padded[:, rows, columns] * weights[:, row, col].astype(np.float64)[:, None, None]
    return out + bias[:, None, None]


def global_mean(x: Values) -> Result:
    """Return the mean of each row of x[c, pixels] : float64[c]."""
    return np.asarray(x.astype(np.float64).mean(axis=1))


def rounding_bound(magnitudes: Values, terms: int) -> Result:
    """Return how far a float32 sum of ``terms`` products may be from the exact one.

    ``magnitudes`` is the same sum over absolute values. First order in the unit roundoff
    2**-24: a product and an addition round once each per term (Higham 2002, 3.1).
    """
    return np.asarray((2 * terms + 2) * 2.0**-24 * magnitudes.astype(np.float64) + 1e-38)
