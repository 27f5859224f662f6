"""Tables of rows: walked step by step they visit each tap of each pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.core.errors import InputError
from hwsim.cpu.microkernel.row_table import (
    depthwise_passes,
    depthwise_table,
    igemm_table,
    tap_places,
)


def test_taps_in_the_padding_lie_at_the_zeros() -> None:
    # A 2 x 3 image of 5 channels (20 bytes a pixel), kernel 1 x 3, one column of padding.
    places = tap_places((2, 3, 5), (2, 3), (1, 3), pads=(0, 1), zeros_at=999)
    assert places.tolist() == [
        [999, 0, 20],
        [0, 20, 40],
        [20, 40, 999],
        [999, 60, 80],
        [60, 80, 100],
        [80, 100, 999],
    ]


def test_strides_and_dilations_step_over_pixels() -> None:
    places = tap_places((5, 5, 1), (2, 2), (2, 2), strides=(2, 3), dilations=(2, 1), zeros_at=-4)
    # Rows 0 and 2, columns 0 and 1; then three columns on, column 4 the last inside.
    assert places[0].tolist() == [0, 4, 40, 44]
    assert places[1].tolist() == [12, 16, 52, 56]
    assert places[2].tolist() == [40, 44, 80, 84]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30), st.integers(1, 10), st.sampled_from([1, 4, 6, 8]), st.integers(1, 9))
def test_a_table_leads_from_tap_to_tap_and_back(
    pixels: int, taps: int, mr: int, depth: int
) -> None:
    places = np.random.default_rng(pixels).integers(0, 10**6, (pixels, taps)) * 4
    steps = iter(igemm_table(places, mr, depth).tolist())
    at, left = [0] * mr, pixels
    first = 0
    widths = [mr] * (pixels // mr) + [n for n in (4, 2, 1) if n < mr and pixels % mr & n]
    for rows in widths:
        for row in range(rows):
            at[row] += next(steps)
        for tap in range(taps):
            assert at[:rows] == places[first : first + rows, tap].tolist()
            for row in range(rows):
                at[row] += 4 * depth + next(steps)
        assert at[:rows] == places[first : first + rows, 0].tolist()
        first, left = first + rows, left - rows
    assert left == 0
    assert next(steps, None) is None


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.sampled_from([1, 9, 10, 25, 49]), st.integers(1, 9))
def test_depthwise_pointers_serve_the_same_tap_of_every_pass(
    pixels: int, taps: int, channels: int
) -> None:
    places = np.random.default_rng(taps).integers(0, 10**6, (pixels, taps)) * 4
    steps = iter(depthwise_table(places, channels).tolist())
    passes = depthwise_passes(taps)
    assert sum(passes) == taps
    assert max(passes) <= 9
    at = [0] * max(passes)
    for pixel in range(pixels):
        first = 0
        for count in passes:
            for i in range(count):
                at[i] += next(steps)
                assert at[i] == places[pixel, first + i]
                at[i] += 4 * channels
            first += count
    assert next(steps, None) is None


def test_rows_beyond_a_steps_reach_are_refused() -> None:
    with pytest.raises(InputError, match="row table: need steps below 2 GiB, found"):
        igemm_table(np.array([[0, 1 << 32]]), 1, 1)
