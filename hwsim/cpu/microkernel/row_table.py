"""Tables of rows: where a channels-last kernel finds each tap of each output pixel.

XNNPACK keeps a pointer per tap and pixel (its *indirection buffer*); here a table holds int32 byte
steps, as ``dmap`` does for sparse kernels: from where a kernel's pointer stands to where it is
needed next. Taps in the padding lie at a pixel of zeros.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.units import ceil_div

__all__ = ["TAPS_PER_PASS", "depthwise_passes", "depthwise_table", "igemm_table", "tap_places"]

TAPS_PER_PASS = 9
"""Taps that a depthwise kernel sums at once: XNNPACK's 9p."""

Places = NDArray[np.int64]
Table = NDArray[np.int32]


def tap_places(
    extents: tuple[int, int, int],
    outputs: tuple[int, int],
    kernel: tuple[int, int],
    *,
    strides: tuple[int, int] = (1, 1),
    dilations: tuple[int, int] = (1, 1),
    pads: tuple[int, int] = (0, 0),
    zeros_at: int,
) -> Places:
    """Return the byte of each tap of each output pixel : int64[oh * ow, kh * kw].

    ``extents`` (ih, iw, channels) of the image, whose first byte is 0; ``pads`` above and to the
    left; taps outside the image lie at ``zeros_at``.
    """
    ih, iw, channels = extents
    lines = _coordinates(outputs[0], kernel[0], strides[0], dilations[0], pads[0])
    columns = _coordinates(outputs[1], kernel[1], strides[1], dilations[1], pads[1])
    y, x = lines[:, None, :, None], columns[None, :, None, :]
    inside = (y >= 0) & (y < ih) & (x >= 0) & (x < iw)
    places = np.where(inside, 4 * channels * (y * iw + x), zeros_at)
    return np.asarray(places.reshape(outputs[0] * outputs[1], -1), dtype=np.int64)


def _coordinates(outputs: int, size: int, stride: int, dilation: int, pad: int) -> Places:
    """Return the input coordinate of each output's taps : int64[outputs, size]."""
    first = np.arange(outputs, dtype=np.int64)[:, None] * stride - pad
    return np.asarray(first + np.arange(size, dtype=np.int64) * dilation)


def igemm_table(places: Places, mr: int, depth: int) -> Table:
    """Return the steps of ``mr`` row pointers over tiles of ``mr``, then 4, 2 and 1 pixels.

    ``places`` int64[pixels, taps], ``depth`` input channels. Per tile: a step per row to its first
    tap, then per tap and row one from behind that tap to the next, the last one back to the first.
    """
    whole = len(places) // mr * mr
    counts = [(whole, mr)] + [
        (count, count) for count in (4, 2, 1) if count < mr and (len(places) - whole) & count
    ]
    at = np.zeros(mr, dtype=np.int64)
    parts, first = [], 0
    for pixels, rows in counts:
        tiles = places[first : first + pixels].reshape(-1, rows, places.shape[1])
        first += pixels
        if pixels:
            parts.append(_tile_steps(tiles, at[:rows], depth))
            at[:rows] = tiles[-1, :, 0]
    return _as_table(np.concatenate(parts))


def _tile_steps(tiles: Places, at: Places, depth: int) -> Places:
    starts = np.diff(tiles[:, :, 0], axis=0, prepend=at[None])
    onward = np.roll(tiles, -1, axis=2) - tiles - 4 * depth
    steps = np.concatenate([starts[:, None, :], onward.transpose(0, 2, 1)], axis=1)
    return np.asarray(steps.reshape(-1))


def depthwise_passes(taps: int) -> tuple[int, ...]:
    """Return the taps of each pass over the channels of a pixel, at most nine."""
    count = ceil_div(taps, TAPS_PER_PASS)
    return tuple(taps // count + (turn < taps % count) for turn in range(count))


def depthwise_table(places: Places, channels: int) -> Table:
    """Return the steps of a depthwise kernel's row pointers, tap by tap of every pixel.

    Pointer ``i`` serves tap ``i`` of every pass, and has moved over all channels in between.
    """
    passes = depthwise_passes(places.shape[1])
    firsts = np.cumsum([0, *passes[:-1]])
    steps = np.empty_like(places)
    for i in range(max(passes)):
        taps = [int(first) + i for first, count in zip(firsts, passes, strict=True) if i < count]
        visited = places[:, taps].reshape(-1)
        moved = np.diff(visited, prepend=0)
        moved[1:] -= 4 * channels
        steps[:, taps] = moved.reshape(len(places), -1)
    return _as_table(steps.reshape(-1))


def _as_table(steps: Places) -> Table:
    """Return ``steps`` as int32; raise :class:`InputError` if rows are too far apart."""
    if len(steps) and np.abs(steps).max() >= 1 << 31:
        raise InputError("row table", "steps below 2 GiB", f"{np.abs(steps).max()} bytes")
    return steps.astype(np.int32)
