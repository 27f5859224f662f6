"""Lower convolutions and linear layers exactly to (grouped) matrix products.

C[g, m, n] = A[g, m, k] · B[g, k, n] for every group g. A convolution's reduction axis is ordered
(kh, kw, ci) with ci fastest, so that N:M groups of consecutive k are consecutive input channels
(the grouping of SR-STE's code, NM-sparsity). Depthwise layers keep groups = ci, k = kh·kw.
A transposed convolution multiplies every input pixel by all (co, kh, kw) weights; the overlapping
results are summed afterwards, which is not part of the product.
A weight gradient (conv_wgrad) has the extents of its forward convolution and two activations, X and
dY; it reduces over batch and output pixels and yields dW in the layout of the forward weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "GEMM_KINDS",
    "GemmDims",
    "activation_matrix",
    "gemm_dims",
    "output_tensor",
    "weight_matrix",
    "weight_tensor",
]

GEMM_KINDS = ("conv", "conv_transpose", "linear", "matmul", "conv_wgrad")
Array = NDArray[Any]


class GemmDims(NamedTuple):
    """Extents in elements: ``groups`` products of [m, k] by [k, n]."""

    groups: int
    m: int
    k: int
    n: int

    @property
    def macs(self) -> int:
        """Return the dense multiply-accumulates."""
        return self.groups * self.m * self.k * self.n

    def output_elems(self, dims: Mapping[str, int], kind: str = "") -> int:
        """Return the elements of the op's output tensor (after a transposed conv's overlap)."""
        if "oh" in dims and kind != "conv_wgrad":
            return dims["batch"] * dims["co"] * dims["oh"] * dims["ow"]
        return self.groups * self.m * self.n

    def to_json(self) -> dict[str, int]:
        """Return the four extents by name."""
        return self._asdict()


def gemm_dims(kind: str, dims: Mapping[str, int]) -> GemmDims:
    """Return the GEMM extents of an op of ``kind`` with extents ``dims``.

    Raises KeyError for a kind that is not a matrix product.
    """
    if kind == "conv":
        g = dims["groups"]
        return GemmDims(
            g,
            dims["batch"] * dims["oh"] * dims["ow"],
            dims["ci"] // g * dims["kh"] * dims["kw"],
            dims["co"] // g,
        )
    if kind == "conv_wgrad":
        g = dims["groups"]
        return GemmDims(
            g,
            dims["ci"] // g * dims["kh"] * dims["kw"],
            dims["batch"] * dims["oh"] * dims["ow"],
            dims["co"] // g,
        )
    if kind == "conv_transpose":
        g = dims["groups"]
        return GemmDims(
            g,
            dims["batch"] * dims["ih"] * dims["iw"],
            dims["ci"] // g,
            dims["co"] // g * dims["kh"] * dims["kw"],
        )
    if kind == "linear":
        return GemmDims(1, dims["batch"] * dims["m"], dims["k"], dims["n"])
    if kind == "matmul":
        return GemmDims(dims["batch"], dims["m"], dims["k"], dims["n"])
    raise KeyError(kind)


def weight_matrix(
    kind: str, dims: Mapping[str, int], weights: Array, attrs: Mapping[str, Any] | None = None
) -> Array:
    """Return the GEMM view [groups, k, n] of ``weights`` in the layout of ``kind``.

    For conv_wgrad they are dY [batch, co, oh, ow]; a matmul with ``attrs["transpose_b"]`` stores
    them as [batch, n, k].
    """
    if kind == "conv_wgrad":
        g = dims["groups"]
        pixels = weights.reshape(dims["batch"], g, dims["co"] // g, dims["oh"] * dims["ow"])
        return pixels.transpose(1, 0, 3, 2).reshape(g, -1, dims["co"] // g)
    if kind == "matmul" and attrs and attrs.get("transpose_b"):
        return weights.reshape(-1, dims["n"], dims["k"]).transpose(0, 2, 1)
    if kind == "conv":
        g = dims["groups"]
        shaped = weights.reshape(g, dims["co"] // g, dims["ci"] // g, dims["kh"], dims["kw"])
        return shaped.transpose(0, 3, 4, 2, 1).reshape(g, -1, dims["co"] // g)
    if kind == "conv_transpose":
        g = dims["groups"]
        return weights.reshape(g, dims["ci"] // g, -1)
    return weights.reshape(-1, dims["k"], dims["n"])


def weight_tensor(kind: str, dims: Mapping[str, int], matrix: Array) -> Array:
    """Invert :func:`weight_matrix`."""
    if kind == "conv":
        g, kh, kw = dims["groups"], dims["kh"], dims["kw"]
        shaped = matrix.reshape(g, kh, kw, dims["ci"] // g, dims["co"] // g)
        return shaped.transpose(0, 4, 3, 1, 2).reshape(dims["co"], dims["ci"] // g, kh, kw)
    if kind == "conv_transpose":
        g = dims["groups"]
        return matrix.reshape(dims["ci"], dims["co"] // g, dims["kh"], dims["kw"])
    return matrix.reshape(dims["k"], dims["n"])


def activation_matrix(
    kind: str, dims: Mapping[str, int], attrs: Mapping[str, Any], x: Array
) -> Array:
    """Return A[groups, m, k] for activations ``x`` (im2col for convolutions).

    Conv inputs are [batch, ci, ih, iw]; ``attrs`` has strides, dilations (pairs) and pads
    (top, left, bottom, right), all in elements; negative pads crop. ``input_dilations`` (pair,
    optional) spreads the input first: i - 1 zeros between its elements, none in ih and iw.
    A matmul with ``attrs["transpose_a"]`` stores its activations as [batch, k, m].
    """
    if kind == "conv_wgrad":
        return _im2col(dims, attrs, x).transpose(0, 2, 1)
    if kind == "matmul" and attrs.get("transpose_a"):
        return x.reshape(-1, dims["k"], dims["m"]).transpose(0, 2, 1)
    if kind == "conv":
        return _im2col(dims, attrs, x)
    if kind == "conv_transpose":
        g = dims["groups"]
        pixels = x.transpose(0, 2, 3, 1).reshape(-1, g, dims["ci"] // g)
        return np.ascontiguousarray(pixels.transpose(1, 0, 2))
    if kind == "linear":
        return x.reshape(1, -1, dims["k"])
    return x.reshape(-1, dims["m"], dims["k"])


def _im2col(dims: Mapping[str, int], attrs: Mapping[str, Any], x: Array) -> Array:
    top, left, bottom, right = attrs["pads"]
    stride_h, stride_w = attrs["strides"]
    dil_h, dil_w = attrs["dilations"]
    g, kh, kw = dims["groups"], dims["kh"], dims["kw"]
    if "input_dilations" in attrs:
        x = _spread(x, attrs["input_dilations"])
    x = x[:, :, max(-top, 0) :, max(-left, 0) :]
    x = x[:, :, : x.shape[2] + min(bottom, 0), : x.shape[3] + min(right, 0)]
    padded = np.pad(
        x, ((0, 0), (0, 0), (max(top, 0), max(bottom, 0)), (max(left, 0), max(right, 0)))
    )
    span_h, span_w = dil_h * (kh - 1) + 1, dil_w * (kw - 1) + 1
    windows = np.lib.stride_tricks.sliding_window_view(padded, (span_h, span_w), axis=(2, 3))
    windows = windows[:, :, ::stride_h, ::stride_w, ::dil_h, ::dil_w]
    windows = windows[:, :, : dims["oh"], : dims["ow"]]
    batch, ci, oh, ow = windows.shape[:4]
    shaped = windows.reshape(batch, g, ci // g, oh, ow, kh, kw)
    return shaped.transpose(1, 0, 3, 4, 5, 6, 2).reshape(g, batch * oh * ow, -1)


def _spread(x: Array, dilations: Sequence[int]) -> Array:
    """Return ``x`` with ``dilations`` - 1 zeros between neighbours of the last two axes."""
    rows, cols = dilations
    shape = (*x.shape[:2], (x.shape[2] - 1) * rows + 1, (x.shape[3] - 1) * cols + 1)
    out = np.zeros(shape, dtype=x.dtype)
    out[:, :, ::rows, ::cols] = x
    return out


def output_tensor(
    kind: str, dims: Mapping[str, int], attrs: Mapping[str, Any], product: Array
) -> Array:
    """Return the op's output from C[groups, m, n]: [batch, co, oh, ow] for convolutions.

    A conv_wgrad gives dW [co, ci / groups, kh, kw].
    Transposed convolutions scatter-add their overlapping windows here.
    """
    if kind == "conv":
        batch, oh, ow = dims["batch"], dims["oh"], dims["ow"]
        shaped = product.reshape(dims["groups"], batch, oh, ow, -1)
        return shaped.transpose(1, 0, 4, 2, 3).reshape(batch, dims["co"], oh, ow)
    if kind == "conv_transpose":
        return _col2im(dims, attrs, product)
    if kind == "conv_wgrad":
        return weight_tensor("conv", dims, product)
    if kind == "linear":
        return product.reshape(-1, dims["n"])
    return product


def _col2im(dims: Mapping[str, int], attrs: Mapping[str, Any], product: Array) -> Array:
    batch, ih, iw, kh, kw = (dims[key] for key in ("batch", "ih", "iw", "kh", "kw"))
    oh, ow, co = dims["oh"], dims["ow"], dims["co"]
    stride_h, stride_w = attrs["strides"]
    dil_h, dil_w = attrs["dilations"]
    top, left = attrs["pads"][:2]
    cols = product.reshape(dims["groups"], batch, ih, iw, -1, kh, kw)
    cols = cols.transpose(1, 0, 4, 2, 3, 5, 6).reshape(batch, co, ih, iw, kh, kw)
    full_h = max((ih - 1) * stride_h + (kh - 1) * dil_h + 1, top + oh)
    full_w = max((iw - 1) * stride_w + (kw - 1) * dil_w + 1, left + ow)
    out = np.zeros((batch, co, full_h, full_w), dtype=product.dtype)
    for row in range(kh):
        for col in range(kw):
            rows = slice(row * dil_h, row * dil_h + ih * stride_h, stride_h)
            columns = slice(col * dil_w, col * dil_w + iw * stride_w, stride_w)
            out[:, :, rows, columns] += cols[..., row, col]
    return out[:, :, top : top + oh, left : left + ow]
