"""Masks inside a compiled step: the pruner's own rule, also where N changes from step to step."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from hwsim.core.sparsity import NM
from hwsim.experiments.nm_training.masks import nm_mask


def largest(values: np.ndarray, nm_n: int, nm_m: int) -> np.ndarray:
    """Return the mask along the last axis by a stable sort, which the compiled rule has not."""
    groups = np.abs(values).reshape(*values.shape[:-1], -1, nm_m)
    order = np.argsort(-groups, axis=-1, kind="stable")
    rank = np.argsort(order, axis=-1, kind="stable")
    return (rank < nm_n).reshape(values.shape)


@pytest.fixture
def values():
    """Return few distinct values, so that most groups have ties, zeros of both signs among them."""
    rng = np.random.default_rng(5)
    return rng.integers(-3, 4, (16, 32)).astype(np.float32) * np.float32(-0.5)


@pytest.mark.parametrize(("nm_n", "nm_m"), [(2, 8), (4, 4), (1, 32)])
def test_the_largest_are_kept_and_the_earlier_of_equal_ones(values, nm_n, nm_m):
    np.testing.assert_array_equal(nm_mask(values, nm_n, nm_m, 1), largest(values, nm_n, nm_m))


def test_groups_lie_along_the_axis_asked_for(values):
    along_rows = np.asarray(nm_mask(values, 2, 8, 0))
    np.testing.assert_array_equal(along_rows, largest(values.T, 2, 8).T)
    NM(nm_n=2, nm_m=8, axis=0).check(along_rows)
    assert (along_rows != largest(values, 2, 8)).any()


def test_n_may_change_without_compiling_again(values):
    mask = jax.jit(lambda nm_n: nm_mask(values, nm_n, 8, 1))
    for nm_n in (8, 3, 1):
        np.testing.assert_array_equal(mask(nm_n), largest(values, nm_n, 8))
    assert mask._cache_size() == 1


def test_turned_round_it_keeps_the_smallest(values):
    kept = np.asarray(nm_mask(values, 2, 8, 1, keeps_smallest=True))
    groups, masks = np.abs(values).reshape(-1, 8), kept.reshape(-1, 8)
    assert (masks.sum(axis=1) == 2).all()
    for group, mask in zip(groups, masks, strict=True):
        assert group[mask].max() <= group[~mask].min()
