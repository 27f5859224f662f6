"""Hold emitted kernels to their layers: products, stores, and the generator's code."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.core.errors import MappingError
from hwsim.core.units import ceil_div
from hwsim.cpu.codes.depthwise import PlaneShape, depthwise_chw, depthwise_nhwc, first_conv
from hwsim.cpu.codes.gemm import GemmShape, gemm_kernel, gemm_streams
from hwsim.cpu.codes.spmm import SpmmShape, needed_registers, spmm_kernel, strips
from hwsim.cpu.codes.streams import channel_scale, convert_layout, global_mean, pointwise
from hwsim.cpu.core_state import Core
from hwsim.cpu.isa import OPCODES, UopKernel
from hwsim.cpu.microkernel.aarch64 import select_aarch64
from hwsim.cpu.microkernel.arguments import spmm_arguments
from hwsim.cpu.microkernel.spmm import describe_spmm
from hwsim.cpu.microkernel.target import AARCH64
from hwsim.cpu.microkernel.uops import lower_uops
from hwsim.cpu.packing import PackedWeights, pack
from hwsim.cpu.spec import PRESETS

sizes = st.integers(1, 19)


def totals(kernel: UopKernel, streams: dict | None = None) -> tuple[int, int]:
    """Return (multiply-accumulate lanes, bytes stored)."""
    counts = kernel.dynamic_counts(streams or {})
    names = np.array([OPCODES[max(op, 0)] for op in kernel.rows["opcode"]])
    is_store = np.char.startswith(names, "store") & (kernel.rows["opcode"] >= 0)
    return int((counts * kernel.rows["macs"]).sum()), int(
        (counts * kernel.rows["size"])[is_store].sum()
    )


@given(st.integers(1, 300), st.sampled_from([4, 8, 16, 32]))
def test_strips_cover_every_pixel_once(pixels: int, mr: int) -> None:
    found = strips(pixels, mr)
    assert sum(width * count for width, count in found) == pixels
    assert all(count == 1 for width, count in found if width < mr)


def test_registers_are_sums_pixels_one_weight_and_two_limits() -> None:
    assert needed_registers(16, 4) == 16 + 4 + 1 + 2
    shape = SpmmShape(16, 4, 1, 32)
    spmm_kernel(shape, 16, 4, registers=23, prefetch=True)
    with pytest.raises(MappingError) as caught:
        spmm_kernel(shape, 16, 4, registers=22, prefetch=True)
    assert (caught.value.need_amount, caught.value.have_amount) == (23, 22)


@given(
    st.integers(1, 30), st.integers(1, 20), st.integers(1, 20), st.integers(1, 3), st.integers(1, 3)
)
@settings(max_examples=40)
def test_products_compute_whole_tiles_and_store_each_row(
    m: int, k: int, n: int, kh: int, kw: int
) -> None:
    shape = GemmShape(m, k, n, 4 * n, kh, kw, 4 * k, 4 * k * 9)
    macs, stored = totals(gemm_kernel(shape), gemm_streams(shape, np.arange(m) * 4))
    rows = shape.tiles * shape.rows
    assert macs == rows * 8 * ceil_div(n, 8) * k * kh * kw
    assert stored == 4 * rows * n


@given(sizes, sizes, sizes, st.sampled_from([(3, 1), (3, 2), (5, 1), (5, 2)]))
@settings(max_examples=40)
def test_depthwise_kernels_apply_every_tap(c: int, ih: int, iw: int, form: tuple[int, int]) -> None:
    kernel, stride = form
    oh, ow = ceil_div(ih, stride), ceil_div(iw, stride)
    shape = PlaneShape(c, ih, iw, oh, ow, kernel, stride)
    macs, stored = totals(depthwise_chw(shape))
    assert macs == c * oh * 4 * ceil_div(ow, 4) * shape.taps
    assert stored == 16 * c * oh * ceil_div(ow, 4)
    macs, stored = totals(depthwise_nhwc(shape))
    assert macs == oh * ow * 4 * ceil_div(c, 4) * shape.taps
    assert 4 * c * oh * ow <= stored <= 16 * ceil_div(c, 4) * oh * ow


@given(sizes, sizes, sizes)
def test_the_first_convolution_computes_two_by_two_pixels_of_four_channels(
    co: int, oh: int, ow: int
) -> None:
    macs, stored = totals(first_conv(co, 2 * oh, 2 * ow, oh, ow))
    outputs = 4 * ceil_div(co, 4) * 2 * ceil_div(oh, 2) * 2 * ceil_div(ow, 2)
    assert (macs, stored) == (27 * outputs, 4 * outputs)


@given(sizes, sizes)
def test_passes_over_tensors_store_every_element(rows: int, columns: int) -> None:
    elems = rows * columns
    assert totals(pointwise("add", elems, 2))[1] == 16 * ceil_div(elems, 4)
    assert totals(channel_scale(rows, columns))[1] == 16 * rows * ceil_div(columns, 4)
    assert totals(global_mean(rows, columns))[1] == 4 * rows
    blocks = ceil_div(rows, 4) * ceil_div(columns, 4)
    assert totals(convert_layout(rows, columns, to_chw=True))[1] == 64 * blocks


def emitted(packed: PackedWeights, pixels: int, mr: int) -> tuple[int, int]:
    shape = SpmmShape(pixels, packed.co, packed.blocks, 4 * (len(packed.stream) - 1))
    kernel = spmm_kernel(shape, mr, packed.nr, registers=32, prefetch=True)
    at = (1 << 24) + packed.first_channel * packed.plane_bytes
    addresses = {"weights": 1 << 32, "dmap": 2 << 32, "counts": 3 << 32, "out": 1 << 25, "in": at}
    streams = {"nnz": packed.nnzmap, "step": packed.dmap[: packed.blocks]}
    core = Core(PRESETS["sd835"])
    core.run(kernel, addresses, streams)
    run = core.run(kernel, addresses, streams)
    return run.cycles, run.instructions


def generated(packed: PackedWeights, mr: int) -> tuple[int, int]:
    code = select_aarch64(describe_spmm(AARCH64, mr, packed.nr))
    data = {"dmap": packed.dmap, "nnzmap": packed.nnzmap}
    bound = lower_uops(code, spmm_arguments(packed), data)
    places = {"input": 1 << 24, "weights": 1 << 32, "dmap": 2 << 32, "nnzmap": 3 << 32}
    addresses = bound.addresses({**places, "output": 1 << 25, "stack": 1 << 20})
    core = Core(PRESETS["sd835"])
    core.run(bound.kernel, addresses, bound.streams)
    run = core.run(bound.kernel, addresses, bound.streams)
    return run.cycles, run.instructions


@pytest.mark.evidence("cpu", "T2")
@pytest.mark.parametrize(
    ("pixels", "ci", "co", "mr", "nr"),
    [(196, 128, 128, 16, 1), (37, 64, 62, 16, 4), (50, 96, 40, 16, 2), (100, 64, 64, 32, 1)],
)
def test_sparse_kernels_take_what_the_generated_ones_take(
    pixels: int, ci: int, co: int, mr: int, nr: int
) -> None:
    # The generated code is executed for real, and its trace is the simulator's (tests/cpu/execute).
    rng = np.random.default_rng(pixels)
    kept = np.repeat(rng.random((ceil_div(co, nr), ci)) < 0.1, nr, axis=0)[:co]
    packed = pack(kept.astype(np.float32), pixels=pixels, nr=nr)
    (cycles, instructions), (other, count) = emitted(packed, pixels, mr), generated(packed, mr)
    assert instructions == pytest.approx(count, rel=0.01)
    # The order of instructions differs, and with it how they fall into pairs of dispatch slots.
    assert cycles == pytest.approx(other, rel=0.06)
