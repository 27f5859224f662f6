"""State the sums of a layer's three products in plain numpy.

Every product is written down on the layer's own axes, tap by tap and channel by channel, in the
order of additions that :mod:`hwsim.sat.training_state` promises; nothing is lowered to matrices.
Sums are float32 and start at +0. What lies outside an image contributes nothing (a finite number
times zero changes no sum); nor does what a mask leaves out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.graph import Op

__all__ = [
    "Window",
    "add_overlaps",
    "conv_forward",
    "conv_input_gradient",
    "conv_weight_gradient",
]

Array = NDArray[Any]


@dataclass(frozen=True)
class Window:
    """Geometry of a convolution: extents, stride, dilation and upper left padding per axis."""

    groups: int
    image: tuple[int, int]
    out: tuple[int, int]
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int]

    @classmethod
    def of(cls, op: Op) -> Window:
        """Return the window of a convolution; of a transposed one, that of its input gradient."""
        dims, attrs = op.dims, op.attrs
        image, out = (dims["ih"], dims["iw"]), (dims["oh"], dims["ow"])
        if op.kind.value == "conv_transpose":
            image, out = out, image
        kernel = (dims["kh"], dims["kw"])
        strides, dilations = tuple(attrs["strides"]), tuple(attrs["dilations"])
        return cls(dims["groups"], image, out, kernel, strides, dilations, tuple(attrs["pads"][:2]))

    def taps(self) -> list[tuple[int, int]]:
        """Return all taps, rows outermost, ascending."""
        return [(row, col) for row in range(self.kernel[0]) for col in range(self.kernel[1])]

    def seen(self, tap: tuple[int, int]) -> tuple[Array, Array]:
        """Return, per axis, the image position that each output sees through ``tap``."""
        rows, cols = (
            np.arange(self.out[i]) * self.strides[i] + tap[i] * self.dilations[i] - self.pads[i]
            for i in range(2)
        )
        return rows, cols


def _at(planes: Array, rows: Array, cols: Array) -> Array:
    """Return float32 ``planes`` [..., rows, cols] at given positions, 0 outside."""
    inside = [
        (at >= 0) & (at < size) for at, size in zip((rows, cols), planes.shape[-2:], strict=True)
    ]
    height, width = planes.shape[-2:]
    found = planes[..., rows.clip(0, height - 1)[:, None], cols.clip(0, width - 1)[None, :]]
    return np.where(inside[0][:, None] & inside[1][None, :], found, 0).astype(np.float32)


def _by_group(values: Array, groups: int, axis: int) -> Array:
    """Return float32 ``values`` with the channel ``axis`` split into (groups, channels)."""
    shape = (*values.shape[:axis], groups, -1, *values.shape[axis + 1 :])
    return values.astype(np.float32).reshape(shape)


def conv_forward(x: Array, w: Array, mask: Array, window: Window) -> NDArray[np.float32]:
    """Return float32[batch, co, oh, ow] of x and w[co, ci / groups, kh, kw] where ``mask``.

    Order: taps, then input channels.
    """
    g = window.groups
    images, weights, kept = (
        _by_group(x, g, 1),
        _by_group(w, g, 0),
        mask.reshape(g, -1, *w.shape[1:]),
    )
    total = np.zeros((len(x), g, weights.shape[1], *window.out), dtype=np.float32)
    for row, col in window.taps():
        planes = _at(images, *window.seen((row, col)))
        for ci in range(w.shape[1]):
            part = (slice(None), slice(None), ci, row, col)
            _add_products(total, planes[:, :, ci, None], weights[part], kept[part])
    return total.reshape(len(x), -1, *window.out)


def _add_products(total: Array, planes: Array, weights: Array, kept: Array) -> None:
    """Add planes[batch, g, 1, h, w] · weights[g, c] to ``total`` where ``kept``."""
    product = np.zeros_like(total)
    where = np.broadcast_to(kept[None, :, :, None, None], total.shape)
    np.multiply(planes, weights[None, :, :, None, None], out=product, where=where)
    total += product


def conv_input_gradient(dy: Array, w: Array, mask: Array, window: Window) -> NDArray[np.float32]:
    """Return float32[batch, ci, ih, iw] of dY and w[co, ci / groups, kh, kw] where ``mask``.

    Order: taps from the last to the first, then output channels; a pixel has only the taps
    through which some output sees it.
    """
    g = window.groups
    grads, weights = _by_group(dy, g, 1), _by_group(w, g, 0)
    kept = mask.reshape(weights.shape)
    total = np.zeros((len(dy), g, w.shape[1], *window.image), dtype=np.float32)
    for row, col in reversed(window.taps()):
        planes = _at(grads, *_outputs_that_see(window, (row, col)))
        for co in range(weights.shape[1]):
            part = (slice(None), co, slice(None), row, col)
            _add_products(total, planes[:, :, co, None], weights[part], kept[part])
    return total.reshape(len(dy), -1, *window.image)


def _outputs_that_see(window: Window, tap: tuple[int, int]) -> tuple[Array, Array]:
    """Return, per axis and image position, the output that sees it through ``tap``, or -1."""
    found = []
    for i in range(2):
        shift = np.arange(window.image[i]) + window.pads[i] - tap[i] * window.dilations[i]
        quotient, rest = np.divmod(shift, window.strides[i])
        found.append(np.where(rest == 0, quotient, -1))
    return found[0], found[1]


def conv_weight_gradient(x: Array, dy: Array, window: Window) -> NDArray[np.float32]:
    """Return float32[co, ci / groups, kh, kw] of x and dY; order: images, output rows, columns."""
    g = window.groups
    images, grads = _by_group(x, g, 1), _by_group(dy, g, 1)
    taps = np.stack([_at(images, *window.seen(tap)) for tap in window.taps()], axis=3)
    total = np.zeros((g, grads.shape[2], images.shape[2], taps.shape[3]), dtype=np.float32)
    for image in range(len(x)):
        for row in range(window.out[0]):
            for col in range(window.out[1]):
                pixel = grads[image, :, :, row, col][:, :, None, None]
                total += pixel * taps[image, :, None, :, :, row, col]
    return total.reshape(-1, images.shape[2], *window.kernel)


def add_overlaps(products: Array, window: Window) -> NDArray[np.float32]:
    """Return float32[batch, co, oh, ow] of a transposed convolution; order: taps.

    ``products`` : float32[batch, co, kh, kw, ih, iw], what each pixel sends through each tap.
    """
    total = np.zeros((*products.shape[:2], *window.image), dtype=np.float32)
    for row, col in window.taps():
        total += _at(products[:, :, row, col], *_outputs_that_see(window, (row, col)))
    return total
