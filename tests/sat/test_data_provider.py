"""Does the data provider's permutation turn the groups, and does its cycle model add up?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.core.errors import InputError, SpecError
from hwsim.sat.data_provider import play_provider, provide_rows, timing
from hwsim.sat.spec import SoreSpec, SorterSpec

NEVER = np.zeros(0, dtype=np.bool_)


def _spec(lanes: int, nm_m: int) -> SoreSpec:
    return SoreSpec(lanes=lanes, sorter=SorterSpec(nm_n=1, nm_m=nm_m))


def _numbered(spec: SoreSpec, blocks: int) -> np.ndarray:
    size = blocks * spec.sorter.nm_m * spec.lanes
    return np.arange(size, dtype=np.uint16).reshape(-1, spec.lanes)


SHAPES = st.sampled_from([(2, 2), (4, 2), (8, 4), (6, 3), (32, 8), (32, 32)])


@settings(max_examples=30, deadline=None, derandomize=True)
@given(shape=SHAPES, directions=st.lists(st.booleans(), min_size=1, max_size=4))
def test_every_block_is_permuted_and_transposing_twice_restores_it(shape, directions):
    spec = _spec(*shape)
    rows, turned = _numbered(spec, len(directions)), np.array(directions)
    provided = provide_rows(spec, rows, turned)
    blocks = provided.reshape(len(directions), -1), rows.reshape(len(directions), -1)
    np.testing.assert_array_equal(np.sort(blocks[0], axis=1), np.sort(blocks[1], axis=1))
    np.testing.assert_array_equal(provide_rows(spec, provided, turned), rows)
    np.testing.assert_array_equal(provided.reshape(blocks[0].shape)[~turned], blocks[1][~turned])


@settings(max_examples=30, deadline=None, derandomize=True)
@given(shape=SHAPES)
def test_each_lane_gets_one_group_along_the_row_when_transposed(shape):
    spec = _spec(*shape)
    nm_m = spec.sorter.nm_m
    rows = _numbered(spec, 2)
    provided = provide_rows(spec, rows, np.array([True, True]))
    for block in range(2):
        for group in range(spec.lanes // nm_m):
            for row in range(nm_m):
                lane = group * nm_m + row
                expected = rows[block * nm_m + row, group * nm_m : (group + 1) * nm_m]
                got = provided[block * nm_m : (block + 1) * nm_m, lane]
                np.testing.assert_array_equal(got, expected)


def test_both_directions_sustain_a_row_per_cycle_after_their_latency():
    spec = _spec(8, 4)
    for turned, first in ((False, 1), (True, 4)):
        accepts, emits = play_provider(spec, np.full(5, turned), NEVER, NEVER)
        np.testing.assert_array_equal(accepts, np.arange(20))
        np.testing.assert_array_equal(emits, first + np.arange(20))


def test_a_direct_block_waits_for_the_transposed_one_before_it_to_leave():
    spec = _spec(4, 2)
    accepts, emits = play_provider(spec, np.array([True, False]), NEVER, NEVER)
    # Rows 0 and 1 leave in 2 and 3; row 2 moves into the output as the latter leaves.
    assert accepts.tolist() == [0, 1, 3, 4]
    assert emits.tolist() == [2, 3, 4, 5]


def test_a_refusing_consumer_blocks_the_last_row_of_the_next_block_only():
    spec = _spec(4, 2)
    stalls = np.zeros(10, dtype=np.bool_)
    stalls[2:10] = True
    accepts, emits = play_provider(spec, np.array([True, True]), NEVER, stalls)
    assert emits.tolist() == [10, 11, 12, 13]
    assert accepts.tolist() == [0, 1, 2, 11]


def test_rows_that_are_no_whole_blocks_are_refused():
    spec = _spec(4, 2)
    with pytest.raises(InputError, match=r"rows: need uint16\[2, 4\], found uint16\[3, 4\]"):
        provide_rows(spec, np.zeros((3, 4), dtype=np.uint16), np.array([True]))


def test_lanes_that_tiles_do_not_fill_are_refused():
    with pytest.raises(SpecError, match="sore.lanes: need nm_m >= 2 that divides lanes"):
        timing(_spec(6, 4))
