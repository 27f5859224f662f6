"""Does the golden pre-generation give the compact weights that the products read?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.core.errors import InputError, SpecError
from hwsim.core.formats import NMCompact, encode_nm
from hwsim.core.machine import UnitTiming
from hwsim.sat.pre_gen import (
    collect_bp,
    collect_ff,
    pregen_schedule,
    pregenerate,
    timing,
    weight_rows,
)
from hwsim.sat.spec import PreGenSpec, SoreSpec, SorterSpec


def _spec(lanes: int, nm_n: int, nm_m: int, engines: int = 2) -> PreGenSpec:
    sorter = SorterSpec(nm_n=nm_n, nm_m=nm_m)
    return PreGenSpec(sore=SoreSpec(lanes=lanes, sorter=sorter), engines=engines)


def _compact(dense: np.ndarray, nm_n: int, nm_m: int) -> NMCompact:
    """Return ``dense`` [k, n] encoded after pruning along k, ties to the lowest row."""
    mask = np.zeros(dense.shape, dtype=np.bool_)
    for start in range(0, len(dense), nm_m):
        group = np.abs(dense[start : start + nm_m])
        order = np.argsort(-group, axis=0, kind="stable")
        np.put_along_axis(mask[start : start + nm_m], order[:nm_n], True, axis=0)
    return encode_nm(dense, mask, nm_n, nm_m)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    pattern=st.sampled_from([(4, 1, 2), (8, 2, 4), (8, 3, 8), (32, 2, 8)]),
    ci=st.integers(1, 20),
    co=st.integers(1, 40),
    seed=st.integers(0, 100),
)
def test_groups_of_both_directions_are_the_encoded_weights_and_their_transpose(
    pattern, ci, co, seed
):
    spec = _spec(*pattern)
    weights = np.random.default_rng(seed).integers(-5, 6, (ci, co)).astype(np.float16)
    ff, bp = pregenerate(spec, weight_rows(spec.sore, weights))
    for found, dense in (
        (collect_ff(spec.sore, (ci, co), ff), weights),
        (collect_bp(spec.sore, (ci, co), bp), weights.T),
    ):
        expected = _compact(dense, *pattern[1:])
        np.testing.assert_array_equal(found.values, expected.values)
        np.testing.assert_array_equal(found.indices, expected.indices)
        assert (found.k, found.nm_m) == (expected.k, expected.nm_m)


def test_weights_pass_panel_by_panel_row_by_row():
    spec = _spec(2, 1, 2)
    weights = np.arange(9).reshape(3, 3).astype(np.float16)
    passed = weight_rows(spec.sore, weights).view(np.float16)
    # Two panels of two columns, three rows and one of padding each.
    first, second = [[0, 1], [3, 4], [6, 7], [0, 0]], [[2, 0], [5, 0], [8, 0], [0, 0]]
    assert passed.tolist() == first + second


@pytest.mark.parametrize(("engines", "interval"), [(2, 4), (1, 8)])
def test_blocks_follow_each_other_at_the_rate_of_the_engines(engines, interval):
    spec = _spec(8, 2, 4, engines)
    assert timing(spec) == UnitTiming(latency_cycles=5, interval_cycles=interval)
    accepts, ff, bp = pregen_schedule(spec, 3)
    assert accepts.tolist() == [interval * b + row for b in range(3) for row in range(4)]
    assert ff.tolist() == [interval * b + 4 for b in range(3)]
    assert bp.tolist() == [interval * b + 8 for b in range(3)]


def test_weights_that_are_no_fp16_matrix_are_refused():
    with pytest.raises(InputError, match=r"weights: need float16\[ci, co\], found float32\[2, 2\]"):
        weight_rows(SoreSpec(), np.zeros((2, 2), dtype=np.float32))


def test_lanes_that_tiles_do_not_fill_are_refused():
    with pytest.raises(SpecError, match="sore.lanes: need nm_m >= 2 that divides lanes"):
        timing(_spec(6, 1, 4))
