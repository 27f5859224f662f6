"""Check that every way of packing groups computes what golden computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.formats import encode_nm
from hwsim.core.program import INSTRUCTION, Program
from hwsim.core.sparsity import NM
from hwsim.sat.functional import array_gemm, array_outputs, stepped_product, tiled_product
from hwsim.sat.golden import golden_gemm, golden_outputs
from hwsim.sat.spec import ArraySpec

Array = NDArray[Any]


def half(rng: np.random.Generator, *shape: int) -> Array:
    return rng.standard_normal(shape).astype(np.float16)


def packed_program(b: Array, mask: Array, kind: str, groups: int, lanes: int, nm: str) -> Program:
    placement = {"packing": kind, "groups_per_tile": str(groups), "packing_nm_m": str(lanes)}
    fact = {"name": "op", "mapping": {"placement": {**placement, "pattern": nm}}}
    return Program(
        machine="sat",
        units=[],
        opcodes=[],
        op_names=["op"],
        channels=[],
        instructions=np.zeros(0, dtype=INSTRUCTION),
        tensors={"op.b": b, "op.mask": mask},
        meta={"ops": [fact]},
    )


@pytest.mark.evidence("sat", "T0")
@settings(max_examples=150)
@given(
    extents=st.tuples(st.integers(1, 9), st.integers(1, 40), st.integers(1, 12)),
    nm_m=st.integers(1, 16),
    seed=st.integers(0, 999),
    data=st.data(),
)
def test_compact_weights_give_golden_bit_for_bit(
    extents: tuple[int, int, int], nm_m: int, seed: int, data: st.DataObject
) -> None:
    m, k, n = extents
    nm_n = data.draw(st.integers(1, nm_m))
    rng = np.random.default_rng(seed)
    a, b = half(rng, m, k), half(rng, k, n)
    mask = NM(nm_n=nm_n, nm_m=nm_m).sample_mask((k, n), rng)
    mask &= rng.random(mask.shape) < 0.9  # slots may stay empty
    found = array_gemm(a, b, mask, (nm_n, nm_m))
    assert found.dtype == np.float32
    assert found.tobytes() == golden_gemm(a, b, mask).tobytes()


@pytest.mark.evidence("sat", "T0")
@pytest.mark.parametrize("groups", [1, 2, 7, 24])
@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize(
    ("kind", "size", "lanes"),
    [("single", 1, 1), ("diagonal", 3, 1), ("gather", 8, 8), ("gather", 24, 8), ("gather", 5, 4)],
)
def test_every_packing_gives_golden_bit_for_bit(
    kind: str, size: int, lanes: int, groups: int, n: int
) -> None:
    rng = np.random.default_rng(groups)
    a, b = half(rng, groups, 6, 9), half(rng, groups, 9, n)
    mask = rng.random(b.shape) < 0.8
    program = packed_program(b, mask, kind, size, lanes, "1:1")
    inputs = {"op.a": a}
    found = array_outputs(program, inputs)["op"]
    assert found.shape == (groups, 6, n)
    assert found.tobytes() == golden_outputs(program, inputs)["op"].tobytes()


def test_a_mask_that_breaks_the_mapped_pattern_is_refused() -> None:
    rng = np.random.default_rng(0)
    a, b = half(rng, 1, 2, 8), half(rng, 1, 8, 3)
    program = packed_program(b, np.ones(b.shape, dtype=bool), "single", 1, 1, "2:4")
    with pytest.raises(InputError, match="at most 2 of 4 elements per group, found 4"):
        array_outputs(program, {"op.a": a})


def test_the_order_of_additions_matters_and_is_kept() -> None:
    # 2^12 + 2^-13 is lost in FP32's 24 bits; adding the small ones first keeps them.
    large, small = 2.0**12, 2.0**-13
    first = np.array([[large, small, small, small, small]], dtype=np.float16)
    last = first[:, ::-1].copy()
    ones, mask = np.ones((5, 1), dtype=np.float16), np.ones((5, 1), dtype=bool)
    for compute in (golden_gemm, lambda a, b, kept: array_gemm(a, b, kept, (1, 1))):
        assert compute(first, ones, mask)[0, 0] == large
        assert compute(last, ones, mask)[0, 0] == np.float32(large + 4 * small)


def test_missing_masks_mean_dense(
    linear: Callable[..., Any], lower_plan: Callable[..., Any]
) -> None:
    machine, program = lower_plan(linear(4, 8, 3), (4, 3, 8))
    rng = np.random.default_rng(1)
    program.tensors["fc.b"] = half(rng, 1, 8, 3)
    inputs = {"fc.a": half(rng, 1, 4, 8)}
    dense = machine.execute(program, inputs)["fc"]
    program.tensors["fc.mask"] = np.ones((1, 8, 3), dtype=bool)
    assert machine.execute(program, inputs)["fc"].tobytes() == dense.tobytes()


@pytest.mark.evidence("sat", "T0")
@pytest.mark.parametrize("nm", [(1, 1), (2, 8)])
def test_long_products_are_within_a_thousandth_of_fp64(nm: tuple[int, int]) -> None:
    rng = np.random.default_rng(4608)
    a, b = half(rng, 16, 4608), half(rng, 4608, 24)
    mask = NM(nm_n=nm[0], nm_m=nm[1]).sample_mask(b.shape, rng)
    exact = a.astype(np.float64) @ np.where(mask, b, 0).astype(np.float64)
    found = array_gemm(a, b, mask, nm)
    # The deviation of a sum of that many products: relative to it, cancellation hides no error.
    size = np.sqrt(mask.sum(axis=0))
    assert (np.abs(found - exact) < 1e-3 * size).all()
    assert np.linalg.norm(found - exact) < 1e-3 * np.linalg.norm(exact)
    dropped = exact - a[:, -1:].astype(np.float64) * np.where(mask, b, 0)[-1:]
    assert np.linalg.norm(dropped - exact) > 1e-3 * np.linalg.norm(exact)


@settings(max_examples=60)
@given(
    extents=st.tuples(st.integers(1, 9), st.integers(1, 6), st.integers(1, 12)),
    tiles=st.tuples(st.integers(1, 9), st.integers(1, 6), st.integers(1, 12)),
    seed=st.integers(0, 99),
)
def test_macro_tiles_change_no_bit(
    extents: tuple[int, int, int], tiles: tuple[int, int, int], seed: int
) -> None:
    (m, groups, n), nm_m = extents, 4
    rng = np.random.default_rng(seed)
    a, b = half(rng, m, groups * nm_m), half(rng, groups * nm_m, n)
    mask = NM(nm_n=2, nm_m=nm_m).sample_mask(b.shape, rng)
    tiling = {"m": tiles[0], "k": tiles[1] * nm_m, "n": tiles[2]}
    found = tiled_product(a, encode_nm(b, mask, 2, nm_m), {"tiling": tiling})
    assert found.tobytes() == golden_gemm(a, b, mask).tobytes()


def test_a_slice_that_cuts_a_group_is_refused() -> None:
    rng = np.random.default_rng(0)
    compact = encode_nm(half(rng, 16, 3), np.zeros((16, 3), dtype=bool), 2, 8)
    with pytest.raises(InputError, match="tiling.k: need whole groups of 8, found 12"):
        tiled_product(half(rng, 2, 16), compact, {"tiling": {"k": 12}})


@pytest.mark.parametrize("dataflow", ["ws", "os"])
def test_stepped_tiles_have_golden_s_bits(dataflow: str) -> None:
    rng = np.random.default_rng(1)
    a, b = half(rng, 7, 32), half(rng, 32, 6)
    mask = NM(nm_n=2, nm_m=8).sample_mask(b.shape, rng)
    mapping = {"dataflow": dataflow, "tiling": {"m": 4, "n": 5, "k": 16}}
    multiply = stepped_product(ArraySpec(rows=4, cols=4, interleave=2))
    found = multiply(a, encode_nm(b, mask, 2, 8), mapping)
    assert found.tobytes() == golden_gemm(a, b, mask).tobytes()


def lane_program(**tensors: Array) -> Program:
    program = packed_program(np.zeros(1), np.zeros(1), "single", 1, 1, "1:1")
    program.tensors = {f"op.{name}": values for name, values in tensors.items()}
    return program


def test_updates_are_golden_s_bit_for_bit() -> None:
    rng = np.random.default_rng(2)
    w32, v32 = (rng.standard_normal(500).astype(np.float32) for _ in range(2))
    rule = np.array([0.1, 0.9, 5e-4, 2.0**-7], dtype=np.float32)
    program = lane_program(w32=w32, v32=v32, rule=rule)
    inputs = {"op.dw16": 128 * half(rng, 500)}
    found, golden = (f(program, inputs)["op"] for f in (array_outputs, golden_outputs))
    assert found.shape == (3, 500)
    assert found.tobytes() == golden.tobytes()
    program.tensors["op.rule"] = rule * np.float32(1.001)
    assert array_outputs(program, inputs)["op"].tobytes() != golden.tobytes()


@pytest.mark.parametrize("nm_n", [1, 2, 8])
def test_selections_are_golden_s_word_for_word(nm_n: int) -> None:
    rng = np.random.default_rng(nm_n)
    values = (np.round(4 * rng.standard_normal((300, 8))) / 4).astype(np.float16)  # many ties
    values[0], values[1, 3:5], values[2, 0] = -0.0, np.inf, np.nan
    program, inputs = lane_program(nm_n=np.array(nm_n)), {"op.words": values.view(np.uint16)}
    found, golden = (f(program, inputs)["op"] for f in (array_outputs, golden_outputs))
    assert found.shape == (300, 2, nm_n)
    assert found.tobytes() == golden.tobytes()
