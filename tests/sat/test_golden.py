"""Check golden itself: against exact sums, and on operands that trip a multiplier."""

from __future__ import annotations

import ast
import inspect

import numpy as np
import pytest

from hwsim.sat import golden
from hwsim.sat.golden import golden_gemm


def test_integers_are_exact() -> None:
    rng = np.random.default_rng(0)
    a = rng.integers(-8, 9, (7, 30)).astype(np.float16)
    b = rng.integers(-8, 9, (30, 5)).astype(np.float16)
    mask = rng.random((30, 5)) < 0.5
    expected = a.astype(int) @ np.where(mask, b, 0).astype(int)
    assert (golden_gemm(a, b, mask) == expected).all()


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_pruned_weights_are_skipped_not_multiplied(value: float) -> None:
    a = np.array([[1.0, value]], dtype=np.float16)
    b = np.array([[2.0], [3.0]], dtype=np.float16)
    mask = np.array([[True], [False]])
    assert golden_gemm(a, b, mask)[0, 0] == 2.0


def test_an_empty_column_is_plus_zero() -> None:
    a, b = -np.ones((1, 4), dtype=np.float16), np.ones((4, 1), dtype=np.float16)
    result = golden_gemm(a, b, np.zeros((4, 1), dtype=bool))
    assert result.tobytes() == np.zeros((1, 1), dtype=np.float32).tobytes()


def test_golden_shares_nothing_with_the_simulator() -> None:
    tree = ast.parse(inspect.getsource(golden))
    imported = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert not {name for name in imported if name and name.startswith("hwsim.sat")}
    assert "hwsim.core.formats" not in imported
