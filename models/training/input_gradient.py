"""Write the input gradient of a convolution as convolutions of the output gradient.

A forward tap r (dilation d, padding p, stride s) joins input i to output o where i = o·s + r·d − p.
The inputs i = q·s + c of one phase c therefore see only the taps with r·d ≡ c + p (mod s), and
their gradient is a convolution of dY with stride 1 by those taps in descending order: every
product meets a real gradient. Spreading dY with s − 1 zeros gives one convolution instead, with
s² times the products.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hwsim.core.units import ceil_div

__all__ = ["GradientConv", "phase_convs", "spread_conv"]


@dataclass(frozen=True)
class GradientConv:
    """One convolution of dY [batch, co, oh, ow] that yields (a phase of) dX.

    Attributes
    ----------
    dims, attrs : dict
        Of the CONV op: its ci is the forward co, its ih the forward oh, and so on.
    rows, cols : list of int
        Forward taps in the order of this convolution's kernel.
    offset : (int, int)
        dX[..., offset[0] :: stride, offset[1] :: stride] is its output.
    """

    dims: dict[str, int]
    attrs: dict[str, Any]
    rows: list[int]
    cols: list[int]
    offset: tuple[int, int]


@dataclass(frozen=True)
class _Axis:
    """One spatial axis of a :class:`GradientConv`; extents and pads in elements."""

    offset: int
    extent: int
    taps: list[int]
    dilation: int
    begin: int
    end: int


def _axis_phases(
    size: int, out: int, kernel: int, stride: int, dilation: int, pad: int
) -> list[_Axis]:
    phases = []
    for offset in range(min(stride, size)):
        shift = offset + pad
        taps = [r for r in reversed(range(kernel)) if (r * dilation - shift) % stride == 0]
        extent = ceil_div(size - offset, stride)
        if not taps:
            continue
        begin = (taps[0] * dilation - shift) // stride
        last = extent - 1 - (taps[-1] * dilation - shift) // stride
        if -begin >= out or last < 0:
            continue  # no window of the forward pass touches this phase
        step = dilation // math.gcd(dilation, stride)
        phases.append(_Axis(offset, extent, taps, step, begin, last - (out - 1)))
    return phases


def phase_convs(dims: Mapping[str, int], attrs: Mapping[str, Any]) -> list[GradientConv]:
    """Return one convolution per output phase that has taps, row phases outermost.

    Parameters
    ----------
    dims, attrs : mapping
        Of the forward CONV op. Phases that are missing from the result have a zero gradient.
    """
    strides, dilations, pads = attrs["strides"], attrs["dilations"], attrs["pads"]
    rows, cols = (
        _axis_phases(dims[size], dims[out], dims[kernel], strides[i], dilations[i], pads[i])
        for i, (size, out, kernel) in enumerate((("ih", "oh", "kh"), ("iw", "ow", "kw")))
    )
    return [_conv(dims, row, col, {}) for row in rows for col in cols]


def spread_conv(dims: Mapping[str, int], attrs: Mapping[str, Any]) -> GradientConv:
    """Return the one convolution over dY spread by the stride (zeros inserted)."""
    axes = []
    for i, (size, out, kernel) in enumerate((("ih", "oh", "kh"), ("iw", "ow", "kw"))):
        pad, dilation = attrs["pads"][i], attrs["dilations"][i]
        begin = dilation * (dims[kernel] - 1) - pad
        end = dims[size] - 1 + pad - (dims[out] - 1) * attrs["strides"][i]
        taps = list(reversed(range(dims[kernel])))
        axes.append(_Axis(0, dims[size], taps, dilation, begin, end))
    return _conv(dims, axes[0], axes[1], {"input_dilations": list(attrs["strides"])})


def _conv(
    dims: Mapping[str, int], row: _Axis, col: _Axis, extra: Mapping[str, Any]
) -> GradientConv:
    extents = {"batch": dims["batch"], "ci": dims["co"], "co": dims["ci"]}
    extents |= {"ih": dims["oh"], "iw": dims["ow"], "oh": row.extent, "ow": col.extent}
    extents |= {"kh": len(row.taps), "kw": len(col.taps), "groups": dims["groups"]}
    attrs: dict[str, Any] = {"strides": [1, 1], "dilations": [row.dilation, col.dilation]}
    attrs["pads"] = [row.begin, col.begin, row.end, col.end]
    offset = (row.offset, col.offset)
    return GradientConv(extents, attrs | dict(extra), row.taps, col.taps, offset)
