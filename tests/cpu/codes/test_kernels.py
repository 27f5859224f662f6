"""Hold codes that the simulator alone has to their layers: products and stores."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.core.units import ceil_div
from hwsim.cpu.codes.depthwise import PlaneShape, depthwise_nhwc
from hwsim.cpu.codes.indirect import IndirectShape, indirect_kernel, row_streams
from hwsim.cpu.codes.streams import channel_scale, convert_layout, pointwise
from hwsim.cpu.isa import OPCODES, UopKernel

sizes = st.integers(1, 19)


def totals(kernel: UopKernel, streams: dict | None = None) -> tuple[int, int]:
    """Return (multiply-accumulate lanes, bytes stored)."""
    counts = kernel.dynamic_counts(streams or {})
    names = np.array([OPCODES[max(op, 0)] for op in kernel.rows["opcode"]])
    is_store = np.char.startswith(names, "store") & (kernel.rows["opcode"] >= 0)
    return int((counts * kernel.rows["macs"]).sum()), int(
        (counts * kernel.rows["size"])[is_store].sum()
    )


@given(
    st.integers(1, 30), st.integers(1, 20), st.integers(1, 20), st.integers(1, 3), st.integers(1, 3)
)
@settings(max_examples=40)
def test_products_compute_whole_tiles_and_store_each_row(
    m: int, k: int, n: int, kh: int, kw: int
) -> None:
    shape = IndirectShape(m, k, n, 4 * n, kh, kw, 4 * k, 4 * k * 9)
    macs, stored = totals(indirect_kernel(shape), row_streams(shape, np.arange(m) * 4))
    rows = shape.tiles * shape.rows
    assert macs == rows * 8 * ceil_div(n, 8) * k * kh * kw
    assert stored == 4 * rows * n


@given(sizes, sizes, sizes, st.sampled_from([(3, 1), (3, 2), (5, 1), (5, 2)]))
@settings(max_examples=40)
def test_depthwise_kernels_apply_every_tap(c: int, ih: int, iw: int, form: tuple[int, int]) -> None:
    kernel, stride = form
    oh, ow = ceil_div(ih, stride), ceil_div(iw, stride)
    shape = PlaneShape(c, ih, iw, oh, ow, kernel, stride)
    macs, stored = totals(depthwise_nhwc(shape))
    assert macs == oh * ow * 4 * ceil_div(c, 4) * shape.taps
    assert 4 * c * oh * ow <= stored <= 16 * ceil_div(c, 4) * oh * ow


@given(sizes, sizes)
def test_passes_over_tensors_store_every_element(rows: int, columns: int) -> None:
    elems = rows * columns
    assert totals(pointwise("add", elems, 2))[1] == 16 * ceil_div(elems, 4)
    assert totals(channel_scale(rows, columns))[1] == 16 * rows * ceil_div(columns, 4)
    blocks = ceil_div(rows, 4) * ceil_div(columns, 4)
    assert totals(convert_layout(rows, columns, to_chw=True))[1] == 64 * blocks
