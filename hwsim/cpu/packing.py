"""Pack the sparse weights of a 1x1 convolution the way the SpMM kernels stream them.

Three arrays per layer (Fast Sparse ConvNets' kernels, repository fastconvnets/cvpr2020, and
XNNPACK's ``f32-spmm``): how many nonzero blocks each block of output channels has, by how many
bytes the input pointer moves after each of them, and one stream of biases and weights. A block is
``nr`` output channels that share an input channel; zeros inside a block are stored. The output
channels left over (``co % nr``) follow one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError

__all__ = ["BLOCK_CHANNELS", "OVER_READ_ELEMS", "PackedWeights", "pack", "packed_elems"]

BLOCK_CHANNELS = (1, 2, 4, 8, 16)
"""Channels per block: 1, 2, 4 as in XNNPACK; 8 and 16 for groups of channels that share a mask."""

OVER_READ_ELEMS = 1
"""Elements behind the increments and behind the stream that a pipelined kernel reads and drops."""

ELEM_BYTES = 4


@dataclass(frozen=True)
class PackedWeights:
    """The three arrays of a layer.

    Attributes
    ----------
    ci, co, nr : int
        Input channels, output channels, output channels per block.
    plane_bytes : int
        Distance of two input channels: pixels x 4.
    first_channel : int
        Input channel of the first nonzero block; kernels are entered with the input pointer there.
    nnzmap : uint32[co // nr + co % nr]
        Nonzero blocks of each block of output channels.
    dmap : int32[blocks + OVER_READ_ELEMS]
        Bytes from the input channel of a nonzero block to that of the next; the last one leads
        back to the first. Over-read elements are 0.
    stream : float32[packed_elems + OVER_READ_ELEMS]
        For each block of output channels its biases, then its weights, input channel after input
        channel. Over-read elements are 0.
    """

    ci: int
    co: int
    nr: int
    plane_bytes: int
    first_channel: int
    nnzmap: NDArray[np.uint32]
    dmap: NDArray[np.int32]
    stream: NDArray[np.float32]

    @property
    def blocks(self) -> int:
        """Return the nonzero blocks of the layer."""
        return len(self.dmap) - OVER_READ_ELEMS

    @property
    def whole_blocks(self) -> int:
        """Return how many leading entries of ``nnzmap`` stand for ``nr`` channels."""
        return self.co // self.nr

    @cached_property
    def block_widths(self) -> NDArray[np.int64]:
        """Return the output channels behind each entry of ``nnzmap``: nr, then ones."""
        widths = np.ones(len(self.nnzmap), dtype=np.int64)
        widths[: self.whole_blocks] = self.nr
        return widths

    @property
    def strip_bytes(self) -> int:
        """Return the bytes of indices, weights and counts that one strip of pixels reads."""
        elems = len(self.nnzmap) + self.blocks + len(self.stream) - OVER_READ_ELEMS
        return ELEM_BYTES * elems

    def unpack(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return (weights float32[co, ci], bias float32[co]) by following the three arrays."""
        weights = np.zeros((self.co, self.ci), dtype=np.float32)
        bias = np.zeros(self.co, dtype=np.float32)
        channel, at, block, row = self.first_channel * self.plane_bytes, 0, 0, 0
        for count, width in zip(self.nnzmap.tolist(), self.block_widths.tolist(), strict=True):
            bias[row : row + width] = self.stream[at : at + width]
            at += width
            for _ in range(count):
                column = channel // self.plane_bytes
                weights[row : row + width, column] = self.stream[at : at + width]
                at += width
                channel += int(self.dmap[block])
                block += 1
            row += width
        return weights, bias


def pack(
    weights: NDArray[np.floating],
    bias: NDArray[np.floating] | None = None,
    *,
    pixels: int,
    nr: int = 1,
) -> PackedWeights:
    """Return the packed form of a 1x1 convolution's weights.

    Parameters
    ----------
    weights : float[co, ci]
        Zeros are dropped; a block stays if any of its ``nr`` weights is not zero.
    bias : float[co], optional
        Default zeros.
    pixels : int
        H x W of the input: increments are multiples of ``4 * pixels`` bytes.
    nr : int
        Output channels per block, one of ``BLOCK_CHANNELS``.

    Raises
    ------
    InputError
        If a shape does not fit or an increment leaves the range of int32.
    """
    co, ci = _check(weights, bias, pixels, nr)
    values = np.ascontiguousarray(weights, dtype=np.float32)
    biases = np.zeros(co, np.float32) if bias is None else np.asarray(bias, dtype=np.float32)
    plane_bytes = ELEM_BYTES * pixels
    starts = [*range(0, co - co % nr, nr), *range(co - co % nr, co)]
    parts: list[NDArray[np.float32]] = []
    columns: list[NDArray[np.int64]] = []
    for start in starts:
        width = nr if start < co - co % nr else 1
        rows = values[start : start + width]
        kept = np.flatnonzero((rows != 0).any(axis=0))
        columns.append(kept)
        parts += [biases[start : start + width], rows[:, kept].T.reshape(-1)]
    order = np.concatenate(columns)
    padding = np.zeros(OVER_READ_ELEMS, dtype=np.float32)
    return PackedWeights(
        ci=ci,
        co=co,
        nr=nr,
        plane_bytes=plane_bytes,
        first_channel=int(order[0]) if len(order) else 0,
        nnzmap=np.array([len(kept) for kept in columns], dtype=np.uint32),
        dmap=_increments(order, plane_bytes),
        stream=np.concatenate([*parts, padding]),
    )


def _check(
    weights: NDArray[np.floating], bias: NDArray[np.floating] | None, pixels: int, nr: int
) -> tuple[int, int]:
    if weights.ndim != 2 or 0 in weights.shape:
        raise InputError("weights", "a matrix [co, ci] of at least 1x1", str(weights.shape))
    if bias is not None and bias.shape != weights.shape[:1]:
        raise InputError("bias", f"shape ({weights.shape[0]},)", str(bias.shape))
    if nr not in BLOCK_CHANNELS:
        raise InputError("nr", f"one of {', '.join(map(str, BLOCK_CHANNELS))}", str(nr))
    if pixels < 1:
        raise InputError("pixels", "at least 1", str(pixels))
    return int(weights.shape[0]), int(weights.shape[1])


def _increments(order: NDArray[np.int64], plane_bytes: int) -> NDArray[np.int32]:
    """Return the steps between the input channels ``order``, in bytes, the last one back."""
    steps = (np.roll(order, -1) - order) * plane_bytes
    widest = int(np.abs(steps).max(initial=0))
    if widest > np.iinfo(np.int32).max:
        raise InputError("pixels", "input increments within int32", f"{widest} bytes")
    return np.concatenate([steps, np.zeros(OVER_READ_ELEMS, np.int64)]).astype(np.int32)


def packed_elems(co: int, nr: int, whole: int, single: int) -> int:
    """Return the elements of nnzmap, dmap and stream together, without over-read padding.

    Parameters
    ----------
    co, nr : int
        Output channels, and per block.
    whole, single : int
        Nonzero blocks of ``nr`` channels, and nonzeros of the channels left over.

    Notes
    -----
    A nonzero block streams 1 + nr elements (increment, weights); a block of output channels
    1 + nr (count, biases).
    """
    return (1 + nr) * (whole + co // nr) + 2 * (single + co % nr)
