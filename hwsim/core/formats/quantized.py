"""Quantise weights to integers of a few bits with one scale per group along the reduction.

Symmetric: a group of ``group_elems`` rows of one column shares a scale s = max |w| / (2^(b-1) - 1)
in FP16, and w ~ s q with q in -(2^(b-1) - 1) .. 2^(b-1) - 1, never -2^(b-1), so that products of
eight such INT8 weights stay within 18 bits. Every group may have a number of bits of its own;
FlightLLM's published mix is "3, 4 and 5 bits, 3.5 on average" without a rule, hence
:func:`assign_bits` is this project's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.formats.bits import pack_bits, unpack_bits
from hwsim.core.units import ceil_div

__all__ = [
    "MAX_BITS",
    "SCALE_BITS",
    "WIDTH_BITS",
    "GroupQuantized",
    "assign_bits",
    "dequantize",
    "int8_codes",
    "pack_groups",
    "quantize",
    "quantized_bits",
    "unpack_groups",
]

SCALE_BITS = 16
"""Bits of a group's scale (FP16)."""
WIDTH_BITS = 3
"""Bits that name a group's width where widths are mixed: 2 to 8 less one (assumed)."""
MAX_BITS = 8


@dataclass(frozen=True)
class GroupQuantized:
    """Hold a quantised matrix [k, n].

    Attributes
    ----------
    values : int8[k, n]
    scales : float16[groups, n]
        One per group of ``group_elems`` rows of a column; the last group may be ragged.
    bits : uint8[groups, n]
        Width of each group's values, 2 to 8.
    group_elems : int
    """

    values: NDArray[np.int8]
    scales: NDArray[np.float16]
    bits: NDArray[np.uint8]
    group_elems: int

    @property
    def is_mixed(self) -> bool:
        """Return whether groups differ in width."""
        return bool((self.bits != self.bits.flat[0]).any())


def quantize(
    weights: NDArray[np.floating], bits: int | NDArray[np.uint8], group_elems: int = 128
) -> GroupQuantized:
    """Return ``weights`` [k, n] in groups of ``group_elems`` rows, rounded to the nearest integer.

    Ties go to even. ``bits`` is one width for all, or uint8[groups, n].

    Raises
    ------
    InputError
        For widths outside 2 to 8, groups of no element or weights that are not finite.
    """
    if group_elems < 1:
        raise InputError("group_elems", "at least 1", str(group_elems))
    if not np.isfinite(weights).all():
        raise InputError("weights", "finite values", "NaN or Inf")
    groups = _grouped(np.asarray(weights, dtype=np.float64), group_elems)
    widths = np.broadcast_to(np.asarray(bits, dtype=np.uint8), (groups.shape[0], groups.shape[2]))
    if widths.size and (widths.min() < 2 or widths.max() > MAX_BITS):
        raise InputError("bits", f"2 to {MAX_BITS}", f"{widths.min()} to {widths.max()}")
    limits = _limits(widths)
    peaks = np.abs(groups).max(axis=1, initial=0.0)
    if (peaks / limits > np.finfo(np.float16).max).any():
        raise InputError("weights", "magnitudes whose scale fits FP16", f"{peaks.max():.3g}")
    scales = (peaks / limits).astype(np.float16)
    divisors = np.where(scales > 0, scales.astype(np.float64), 1.0)
    # The rounded scale may be a little small, or 0 for a group of tiny values: clip.
    values = np.clip(np.rint(groups / divisors[:, None]), -limits[:, None], limits[:, None])
    values[np.broadcast_to((scales == 0)[:, None], values.shape)] = 0
    flat = values.reshape(-1, values.shape[2])[: weights.shape[0]]
    return GroupQuantized(flat.astype(np.int8), scales, widths.copy(), group_elems)


def int8_codes(
    values: NDArray[np.floating], axis: int
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return codes of -127 to 127 and the scales they are multiplied by, one along ``axis``.

    The largest magnitude becomes 127; where all values are 0 the scale is 1. Ties go to even.
    """
    scales = np.abs(values).max(axis=axis, keepdims=True).astype(np.float32) / np.float32(127)
    scales = np.where(scales == 0, np.float32(1), scales)
    return np.rint(values / scales).astype(np.int8), scales


def dequantize(quantized: GroupQuantized) -> NDArray[np.float32]:
    """Return the weights float32[k, n] that ``quantized`` stands for."""
    rows = np.arange(quantized.values.shape[0]) // quantized.group_elems
    return quantized.values * quantized.scales.astype(np.float32)[rows]


def assign_bits(
    weights: NDArray[np.floating],
    group_elems: int = 128,
    choices: Sequence[int] = (3, 4, 5),
    mean_bits: float = 3.5,
) -> NDArray[np.uint8]:
    """Return widths uint8[groups, n] of mean at most ``mean_bits`` that keep the error small.

    Starts every group at the smallest width, then widens groups in order of squared error saved
    per bit, as far as the budget goes; ties go to the earlier group.

    Raises
    ------
    InputError
        If ``mean_bits`` lies below the smallest choice.
    """
    widths = sorted(choices)
    if mean_bits < widths[0]:
        raise InputError("mean_bits", f"at least {widths[0]}", str(mean_bits))
    errors = np.stack([_squared_errors(weights, width, group_elems) for width in widths])
    steps = np.diff(np.asarray(widths, dtype=np.float64))
    saved = -np.diff(errors, axis=0) / steps[:, None, None]
    # A later step never goes before an earlier one of the same group.
    saved = np.minimum.accumulate(saved, axis=0)
    order = np.argsort(-saved.reshape(len(steps), -1).T.ravel(), kind="stable")
    costs = np.tile(np.diff(widths), errors[0].size)[order]
    budget = int(np.floor((mean_bits - widths[0]) * errors[0].size + 1e-9))
    chosen = order[np.cumsum(costs) <= budget]
    levels = np.bincount(chosen // len(steps), minlength=errors[0].size)
    return np.asarray(widths, dtype=np.uint8)[levels].reshape(errors[0].shape)


def quantized_bits(quantized: GroupQuantized) -> int:
    """Return the bits that :func:`pack_groups` needs, without its padding of the last byte."""
    rows = _rows_per_group(quantized)
    values = int((quantized.bits.astype(np.int64) * rows[:, None]).sum())
    widths = WIDTH_BITS if quantized.is_mixed else 0
    return values + quantized.scales.size * (SCALE_BITS + widths)


def pack_groups(quantized: GroupQuantized) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return (value bytes, width bytes): groups down each column, columns one after the other.

    Width bytes are empty unless widths are mixed. Scales are stored beside, two bytes each.
    """
    stream = [
        (quantized.values[start:stop, column].astype(np.int64), int(quantized.bits[group, column]))
        for column in range(quantized.values.shape[1])
        for group, (start, stop) in enumerate(_spans(quantized))
    ]
    planes = [((part[:, None] >> np.arange(bits)) & 1).astype(np.uint8) for part, bits in stream]
    joined = np.concatenate([np.zeros(0, np.uint8), *(plane.ravel() for plane in planes)])
    widths = quantized.bits.T - 1 if quantized.is_mixed else np.zeros(0, np.uint8)
    return np.packbits(joined, bitorder="little"), pack_bits(widths, WIDTH_BITS)


def unpack_groups(
    packed: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    scales: NDArray[np.float16],
    k: int,
    group_elems: int,
    bits: int,
) -> GroupQuantized:
    """Return the matrix of ``k`` rows that :func:`pack_groups` wrote.

    ``bits`` is the one width of all groups, and ignored where width bytes say otherwise.
    """
    groups, n = scales.shape
    widths = np.full((groups, n), bits, dtype=np.uint8)
    if packed[1].size:
        stored = unpack_bits(packed[1], WIDTH_BITS, groups * n) + 1
        widths = stored.reshape(n, groups).T.astype(np.uint8)
    planes = np.unpackbits(packed[0], bitorder="little")
    values = np.zeros((k, n), dtype=np.int8)
    result = GroupQuantized(values, scales, widths, group_elems)
    position = 0
    for column in range(n):
        for group, (start, stop) in enumerate(_spans(result)):
            width = int(widths[group, column])
            taken = planes[position : position + (stop - start) * width]
            position += taken.size
            part = np.packbits(taken, bitorder="little")
            values[start:stop, column] = unpack_bits(part, width, stop - start, is_signed=True)
    return result


def _limits(widths: NDArray[np.uint8]) -> NDArray[np.float64]:
    return (2.0 ** (widths.astype(np.float64) - 1)) - 1


def _grouped(weights: NDArray[np.float64], group_elems: int) -> NDArray[np.float64]:
    """Return ``weights`` [k, n] as [groups, group_elems, n], padded with zeros."""
    k, n = weights.shape
    groups = ceil_div(k, group_elems)
    padded = np.pad(weights, ((0, groups * group_elems - k), (0, 0)))
    return padded.reshape(groups, group_elems, n)


def _squared_errors(
    weights: NDArray[np.floating], bits: int, group_elems: int
) -> NDArray[np.float64]:
    """Return the squared error of each group at ``bits`` : float64[groups, n]."""
    difference = np.asarray(weights, np.float64) - dequantize(quantize(weights, bits, group_elems))
    errors: NDArray[np.float64] = (_grouped(difference, group_elems) ** 2).sum(axis=1)
    return errors


def _spans(quantized: GroupQuantized) -> list[tuple[int, int]]:
    k, size = quantized.values.shape[0], quantized.group_elems
    return [(start, min(start + size, k)) for start in range(0, k, size)]


def _rows_per_group(quantized: GroupQuantized) -> NDArray[np.int64]:
    return np.array([stop - start for start, stop in _spans(quantized)], dtype=np.int64)
