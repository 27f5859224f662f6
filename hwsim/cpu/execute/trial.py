"""Run a kernel on a layer drawn at random and compare its output with the golden model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.units import ceil_div
from hwsim.cpu import golden
from hwsim.cpu.execute.calls import (
    Call,
    depthwise_call,
    depthwise_rows_call,
    first_conv_call,
    gemm_call,
    global_pool_call,
    igemm_call,
    spmm_call,
)
from hwsim.cpu.microkernel.catalogue import parse
from hwsim.cpu.microkernel.target import Target
from hwsim.cpu.packing import ELEM_BYTES

__all__ = ["MOST_BYTES", "Trial", "TrialShape", "draw_trial"]

MOST_BYTES = 1 << 29
"""Of the arrays of a trial: all must lie in one 32-bit address space."""


@dataclass(frozen=True)
class TrialShape:
    """Extents of the layer: ``co`` x ``ci`` weights on ``height`` x ``width`` pixels.

    ``sparsity`` is the fraction of zero weights; sparse kernels only.
    """

    co: int = 64
    ci: int = 64
    height: int = 14
    width: int = 14
    sparsity: float = 0.8

    def __post_init__(self) -> None:
        for name in ("co", "ci", "height", "width"):
            if getattr(self, name) < 1:
                raise InputError(f"--{name}", "at least 1", str(getattr(self, name)))
        pixels = self.height * self.width
        size = ELEM_BYTES * (self.co * self.ci + (self.co + self.ci) * pixels)
        if size > MOST_BYTES:
            need = f"at most {MOST_BYTES >> 20} MiB of weights, inputs and outputs"
            raise InputError("layer", need, f"{size >> 20} MiB")
        if not 0 <= self.sparsity <= 1:
            raise InputError("--sparsity", "a fraction of zeros from 0 to 1", str(self.sparsity))


@dataclass(frozen=True)
class Trial:
    """A call, what it must give, and how far rounding may take it from that."""

    call: Call
    expected: NDArray[np.float64]
    bound: NDArray[np.float64]

    def worst(self, output: NDArray[np.float32]) -> float:
        """Return the largest error as a share of its bound; up to 1 is rounding."""
        ratio = np.abs(output.astype(np.float64) - self.expected) / self.bound
        return float(np.nan_to_num(ratio, nan=np.inf).max())


def draw_trial(name: str, target: Target, shape: TrialShape, rng: np.random.Generator) -> Trial:
    """Return a trial of kernel ``name``: normal weights, inputs and biases."""
    family, sizes, form = parse(name)

    def draw(*extents: int) -> NDArray[np.float32]:
        return rng.standard_normal(extents).astype(np.float32)

    pixels, bias = shape.height * shape.width, draw(shape.co)
    if family in ("spmm", "gemm"):
        weights, x = draw(shape.co, shape.ci), draw(shape.ci, pixels)
        if family == "spmm":
            weights = np.where(_zero_blocks(weights.shape, sizes[1], shape, rng), 0, weights)
            call = spmm_call(target, weights, bias, x, mr=sizes[0], nr=sizes[1], form=form)
        else:
            call = gemm_call(target, weights, bias, x.T, mr=sizes[0])
        both = [golden.spmm(*terms) for terms in _with_magnitudes(weights, bias, x)]
        turned = [value.T if family == "gemm" else value for value in both]
        return Trial(call, turned[0], golden.rounding_bound(turned[1], shape.ci + 1))
    if family == "dw":
        size, stride = sizes
        weights, x = draw(shape.co, size, size), draw(shape.co, shape.height, shape.width)
        call = depthwise_call(weights, bias, x, stride=stride)
        exact, magnitude = (
            golden.depthwise(x_, w_, b_, stride)
            for w_, b_, x_ in _with_magnitudes(weights, bias, x)
        )
        return Trial(call, exact, golden.rounding_bound(magnitude, size * size + 1))
    if family in ("igemm", "dw-rows"):
        return _draw_rows(family, sizes, target, shape, draw, bias)
    if family == "first-conv":
        weights, x = draw(shape.co, 3, 3, 3), draw(shape.height, shape.width, 3)
        exact, magnitude = (
            golden.conv_first(x_, w_, b_) for w_, b_, x_ in _with_magnitudes(weights, bias, x)
        )
        call = first_conv_call(weights, bias, x)
        return Trial(call, exact, golden.rounding_bound(magnitude, 28))
    x = draw(shape.co, pixels)
    exact, magnitude = golden.global_mean(x), golden.global_mean(np.abs(x))
    return Trial(global_pool_call(x), exact, golden.rounding_bound(magnitude, pixels + 1))


def _draw_rows(
    family: str,
    sizes: tuple[int, ...],
    target: Target,
    shape: TrialShape,
    draw: Callable[..., NDArray[np.float32]],
    bias: NDArray[np.float32],
) -> Trial:
    """Return the trial of a kernel that finds its rows through a table, padding half its kernel."""
    if family == "igemm":
        weights, x = draw(shape.co, 3, 3, shape.ci), draw(shape.height, shape.width, shape.ci)
        both = [golden.conv(x_, w_, b_) for w_, b_, x_ in _with_magnitudes(weights, bias, x)]
        call = igemm_call(target, weights, bias, x, mr=sizes[0])
        return Trial(call, both[0], golden.rounding_bound(both[1], 9 * shape.ci + 1))
    size = isqrt(sizes[0])
    if size % 2 == 0 or size * size != sizes[0]:
        raise InputError("KERNEL", "taps of an odd square kernel (9, 25, 49)", str(sizes[0]))
    weights, x = draw(shape.co, size, size), draw(shape.height, shape.width, shape.co)
    both = [
        golden.depthwise(x_.transpose(2, 0, 1), w_, b_, 1).transpose(1, 2, 0)
        for w_, b_, x_ in _with_magnitudes(weights, bias, x)
    ]
    call = depthwise_rows_call(weights, bias, x)
    return Trial(call, both[0], golden.rounding_bound(both[1], sizes[0] + 1))


def _zero_blocks(
    extents: tuple[int, ...], nr: int, shape: TrialShape, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Return which weights are zero, whole blocks of ``nr`` output channels at a time."""
    zero = rng.random((ceil_div(extents[0], nr), extents[1])) < shape.sparsity
    return np.repeat(zero, nr, axis=0)[: extents[0]]


def _with_magnitudes(
    *arrays: NDArray[np.float32],
) -> tuple[tuple[NDArray[np.float32], ...], tuple[NDArray[np.float32], ...]]:
    return arrays, tuple(np.abs(array) for array in arrays)
