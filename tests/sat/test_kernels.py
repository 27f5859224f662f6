"""Check the kernels as plain Python too, so that what is compiled is what is read."""

from __future__ import annotations

import numpy as np
import pytest

from hwsim.core.formats import encode_nm
from hwsim.core.sparsity import NM
from hwsim.sat.golden import golden_gemm
from hwsim.sat.kernels import (
    multiply_compact,
    step_output_stationary,
    step_weight_stationary,
)


def test_the_product_is_the_same_interpreted_and_compiled() -> None:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((3, 16)).astype(np.float16)
    b = rng.standard_normal((16, 4)).astype(np.float16)
    mask = NM(nm_n=2, nm_m=8).sample_mask(b.shape, rng)
    compact = encode_nm(b, mask, 2, 8)
    values = compact.values.astype(np.float32)
    for run in (multiply_compact, multiply_compact.py_func):
        out = np.zeros((3, 4), dtype=np.float32)
        run(a.astype(np.float32), values, compact.indices, 8, out)
        assert out.tobytes() == golden_gemm(a, b, mask).tobytes()


@pytest.mark.parametrize("early_start", [-1, 9])
@pytest.mark.parametrize("is_double", [True, False])
def test_ws_stepping_is_the_same_interpreted_and_compiled(
    early_start: int, is_double: bool
) -> None:
    arguments = (11, 3, 2, 2, 4, 3, 2, 5, 4, is_double, early_start)
    compiled = step_weight_stationary(*arguments)
    assert compiled == step_weight_stationary.py_func(*arguments)


@pytest.mark.parametrize("is_skewed", [True, False])
@pytest.mark.parametrize("is_shadowed", [True, False])
def test_os_stepping_is_the_same_interpreted_and_compiled(
    is_skewed: bool, is_shadowed: bool
) -> None:
    arguments = (7, 5, 2, 2, 4, 3, 2, 5, 3, is_skewed, is_shadowed)
    compiled = step_output_stationary(*arguments)
    assert compiled == step_output_stationary.py_func(*arguments)


def test_one_dense_row_on_one_pe_by_hand() -> None:
    # Load 1, issue 1, leave after multiplier 2 and adder 5 - 1: twice, the second load hidden.
    assert step_weight_stationary(1, 1, 1, 1, 1, 1, 2, 5, 1, True, -1) == 1 + 1 + 2 + 4
    assert step_weight_stationary(1, 2, 1, 1, 1, 1, 2, 5, 1, True, -1) == 1 + 2 * (1 + 2 + 4)
    assert step_weight_stationary(1, 2, 1, 1, 1, 1, 2, 5, 1, False, -1) == 2 * (1 + 1 + 2 + 4)
    # Three groups 5 cycles apart, latency, one cycle of drain.
    assert step_output_stationary(1, 3, 1, 1, 1, 1, 2, 5, 1, False, False) == 11 + 2 + 4 + 1
