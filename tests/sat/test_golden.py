"""Check golden itself: against exact sums, and on operands that trip a multiplier."""

from __future__ import annotations

import ast
import inspect
from types import ModuleType

import numpy as np
import pytest

from hwsim.sat import golden, training_golden, training_golden_layers
from hwsim.sat.golden import golden_gemm, golden_selection, golden_update


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


def test_the_largest_stay_and_of_equals_the_first() -> None:
    group = np.array([[3, -5, 5, 1, -0.0, 0, 5, 2]], dtype=np.float16)
    kept = golden_selection(group, 1, 2, 8)
    assert np.flatnonzero(kept).tolist() == [1, 2]
    assert np.flatnonzero(golden_selection(group, 1, 4, 8)).tolist() == [0, 1, 2, 6]
    zeros = np.zeros((2, 8), dtype=np.float16)
    assert np.argwhere(golden_selection(zeros.T, 0, 2, 8)).tolist() == [
        [0, 0],
        [0, 1],
        [1, 0],
        [1, 1],
    ]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_groups_lie_along_the_axis(axis: int) -> None:
    values = np.random.default_rng(axis).standard_normal((8, 8, 8)).astype(np.float16)
    kept = golden_selection(values, axis, 3, 4)
    counts = kept.reshape(*(2 if i == axis else 8 for i in range(axis + 1)), 4, -1).sum(
        axis=axis + 1
    )
    assert (counts == 3).all()


def test_an_update_by_hand() -> None:
    one = np.ones(1, dtype=np.float32)
    w, v, half = golden_update(
        np.array([8.0], dtype=np.float16), 2 * one, 4 * one, lr=0.5, mu=0.25, wd=0.5, inv_scale=0.25
    )
    # g = 8 / 4 + 0.5 · 2 = 3; v = 0.25 · 4 + 3 = 4; w = 2 - 0.5 · 4 = 0
    assert (v[0], w[0], half[0]) == (4.0, 0.0, 0.0)


def test_every_step_of_an_update_rounds_by_itself() -> None:
    # 1 + 2^-24 is a tie that goes to 1; fused with the momentum's 2^-24 it would be 1 + 2^-23.
    w = np.array([2.0**-24], dtype=np.float32)
    v = np.array([2.0**-24], dtype=np.float32)
    one = np.ones(1, dtype=np.float16)
    _, velocity, _ = golden_update(one, w, v, lr=0.0, mu=1.0, wd=1.0, inv_scale=1.0)
    assert velocity[0] == 1.0


def test_nan_in_an_update_is_the_canonical_one() -> None:
    w = np.ones(1, dtype=np.float32)
    gradient = np.array([np.inf], dtype=np.float16)
    new = golden_update(gradient, w, -np.inf * w, lr=0.1, mu=1.0, wd=0.0, inv_scale=1.0)
    words = [part.view(np.uint16 if part.dtype == np.float16 else np.uint32)[0] for part in new]
    assert words == [0x7FC00000, 0x7FC00000, 0x7E00]


def test_golden_shares_nothing_with_the_simulator() -> None:
    tree = ast.parse(inspect.getsource(golden))
    imported = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert not {name for name in imported if name and name.startswith("hwsim.sat")}
    assert "hwsim.core.formats" not in imported


@pytest.mark.parametrize("module", [training_golden, training_golden_layers])
def test_an_iteration_s_golden_shares_only_nouns_with_the_simulator(module: ModuleType) -> None:
    tree = ast.parse(inspect.getsource(module))
    imported = {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    allowed = {"hwsim.sat.golden", "hwsim.sat.training_golden_layers", "hwsim.sat.training_state"}
    assert {name for name in imported if name.startswith("hwsim.sat")} <= allowed
    assert not imported & {"hwsim.core.formats", "hwsim.core.gemm"}
