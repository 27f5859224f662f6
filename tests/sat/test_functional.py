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
from hwsim.core.program import INSTRUCTION, Program
from hwsim.core.sparsity import NM
from hwsim.sat.functional import array_gemm, array_outputs
from hwsim.sat.golden import golden_gemm, golden_outputs

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
