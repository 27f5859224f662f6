"""Does the golden sorter prune by magnitude, and is its cycle model consistent with itself?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.core.errors import InputError
from hwsim.core.formats import encode_nm
from hwsim.sat.sorter import play_lane, reduce_rows, sorter_schedule, timing, topn_group
from hwsim.sat.spec import SoreSpec, SorterSpec

NO_STALLS = np.zeros(0, dtype=np.bool_)


def _keep_one_by_one(group: list[int], nm_n: int) -> list[tuple[int, int]]:
    """Return the kept {index, word} by taking the largest left, lowest index first."""
    left = dict(enumerate(group))
    kept = []
    for _ in range(nm_n):
        best = min(left, key=lambda index: (-(left[index] & 0x7FFF), index))
        kept.append((best, left.pop(best)))
    return sorted(kept)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    group=st.lists(
        st.one_of(st.integers(0, 0xFFFF), st.sampled_from([0, 0x8000, 0x3C00])),
        min_size=2,
        max_size=16,
    ),
    data=st.data(),
)
def test_kept_values_are_the_largest_magnitudes_lowest_index_first(group, data):
    nm_n = data.draw(st.integers(1, len(group)))
    values, indices = topn_group(np.array([group], dtype=np.uint16), nm_n)
    expected = _keep_one_by_one(group, nm_n)
    assert list(zip(indices[0].tolist(), values[0].tolist(), strict=True)) == expected


@pytest.mark.parametrize(("nm_n", "nm_m"), [(1, 4), (2, 4), (2, 8), (4, 32)])
def test_finite_groups_are_encoded_as_magnitude_pruning_encodes_them(nm_n, nm_m):
    rng = np.random.default_rng(0)
    dense = rng.integers(-8, 9, (50, nm_m)).astype(np.float16)  # few values: many ties
    rank = np.argsort(np.argsort(-np.abs(dense), axis=1, kind="stable"), axis=1)
    compact = encode_nm(dense.reshape(-1, 1), (rank < nm_n).reshape(-1, 1), nm_n, nm_m)
    values, indices = topn_group(dense.view(np.uint16), nm_n)
    np.testing.assert_array_equal(values.view(np.float16), compact.values[:, :, 0])
    np.testing.assert_array_equal(indices, compact.indices[:, :, 0])


def test_all_kept_is_the_group_itself():
    bits = np.arange(16, dtype=np.uint16).reshape(2, 8)
    values, indices = topn_group(bits, 8)
    np.testing.assert_array_equal(values, bits)
    np.testing.assert_array_equal(indices, np.tile(np.arange(8), (2, 1)))


def test_a_wrong_array_is_refused():
    with pytest.raises(InputError, match=r"need uint16\[groups, m\] with 2 <= m <= 256"):
        topn_group(np.zeros((1, 4), dtype=np.float16), 2)
    with pytest.raises(InputError, match="bits"):
        topn_group(np.zeros((1, 1), dtype=np.uint16), 2)


@pytest.mark.parametrize("nm_n", [1, 2, 4])
def test_a_lane_takes_m_cycles_per_group_whatever_n(nm_n):
    spec = SorterSpec(nm_n=nm_n, nm_m=8)
    accepts, emits = play_lane(spec, 80, NO_STALLS, NO_STALLS)
    assert accepts.tolist() == list(range(80))
    assert emits.tolist() == [8 * group + 8 for group in range(10)]
    assert timing(spec).interval_cycles == 8


def test_a_group_leaves_one_cycle_after_its_last_value_or_when_the_sink_is_ready():
    spec = SorterSpec(nm_n=1, nm_m=2)
    accepts = np.array([0, 5, 6, 7, 9])
    assert sorter_schedule(spec, accepts).tolist() == [6, 8]
    stalls = np.zeros(12, dtype=np.bool_)
    stalls[8:11] = True
    assert sorter_schedule(spec, accepts, stalls).tolist() == [6, 11]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(nm_m=st.integers(2, 5), groups=st.integers(1, 5), data=st.data())
def test_played_cycles_agree_with_the_schedule_of_what_was_accepted(nm_m, groups, data):
    pattern = st.lists(st.booleans(), max_size=30).map(lambda bits: np.array(bits, dtype=np.bool_))
    gaps, stalls = data.draw(pattern), data.draw(pattern)
    spec = SorterSpec(nm_n=1, nm_m=nm_m)
    accepts, emits = play_lane(spec, groups * nm_m, gaps, stalls)
    np.testing.assert_array_equal(emits, sorter_schedule(spec, accepts, stalls))
    assert (np.diff(accepts) >= 1).all()
    # A group's last value is refused until the group before has left.
    assert (accepts[nm_m - 1 :: nm_m][1:] > emits[:-1]).all()
    # Nobody is held up by more than the stalls there are.
    assert emits[-1] <= groups * nm_m + gaps.sum() + stalls.sum()


def test_each_lane_reduces_its_own_column():
    spec = SoreSpec(lanes=3, sorter=SorterSpec(nm_n=2, nm_m=4))
    rows = np.random.default_rng(0).integers(0, 1 << 16, (8, 3)).astype(np.uint16)
    values, indices = reduce_rows(spec, rows)
    assert values.shape == indices.shape == (2, 3, 2)
    for block in range(2):
        for lane in range(3):
            kept = _keep_one_by_one(rows[4 * block : 4 * block + 4, lane].tolist(), 2)
            found = zip(indices[block, lane].tolist(), values[block, lane].tolist(), strict=True)
            assert list(found) == kept


@pytest.mark.parametrize("shape", [(7, 3), (8, 4)])
def test_rows_that_are_no_whole_sets_of_groups_are_refused(shape):
    spec = SoreSpec(lanes=3, sorter=SorterSpec(nm_n=2, nm_m=4))
    with pytest.raises(InputError, match=r"rows: need uint16\[sets \* 4, 3\]"):
        reduce_rows(spec, np.zeros(shape, dtype=np.uint16))
