"""Kept groups of four-bit weights come back within half a step at 6.25 bits per kept weight."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwsim.core.errors import InputError
from hwsim.core.formats.gqsa import (
    GROUP,
    GROUP_BITS,
    decode_group_sparse,
    encode_group_sparse,
    group_sparse_bits,
    quantized_groups,
)


def drawn(seed: int, rows: int, groups: int, density: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((rows, groups * GROUP)), rng.random((rows, groups)) < density


@given(st.integers(0, 99), st.integers(1, 6), st.integers(1, 5), st.floats(0, 1))
def test_kept_groups_come_back_within_half_a_step(
    seed: int, rows: int, groups: int, density: float
) -> None:
    weights, kept = drawn(seed, rows, groups, density)
    compact = encode_group_sparse(weights, kept)
    again = decode_group_sparse(compact)
    elements = np.repeat(kept, GROUP, axis=1)
    assert not again[~elements].any()
    steps = np.zeros(kept.shape)
    steps[kept] = compact.scales
    # Half a step for the value, half for the zero, and the scale's own rounding at the edges.
    bound = np.repeat(steps, GROUP, axis=1) * (1 + 15 * 2.0**-11)
    assert (np.abs(again - weights)[elements] <= bound[elements]).all()


def test_zero_is_exact_and_extremes_are_reached() -> None:
    weights = np.linspace(-1.0, 2.0, GROUP)[None]
    weights[0, 5] = 0.0
    compact = encode_group_sparse(weights, np.ones((1, 1), dtype=bool))
    assert decode_group_sparse(compact)[0, 5] == 0.0
    assert {int(quantized_groups(compact).min()), int(quantized_groups(compact).max())} == {0, 15}


def test_half_the_groups_take_3_125_bits_per_weight() -> None:
    weights, _ = drawn(0, 8, 64, 1.0)
    kept = np.zeros((8, 64), dtype=bool)
    kept[:, ::2] = True
    compact = encode_group_sparse(weights, kept)
    parts = (compact.values, compact.scales, compact.group_columns)
    stored = 8 * sum(part.nbytes for part in parts) + 4 * compact.zeros.size
    assert stored == int(kept.sum()) * GROUP_BITS
    assert stored / weights.size == 3.125
    assert group_sparse_bits(8, int(kept.sum())) == stored + 8 * compact.row_ptr.nbytes


def test_a_changed_zero_shows() -> None:
    weights, kept = drawn(1, 2, 2, 1.0)
    compact = encode_group_sparse(weights, kept)
    changed = replace(compact, zeros=(compact.zeros + 1) % 16)
    assert (decode_group_sparse(changed) != decode_group_sparse(compact)).any()


def test_damaged_or_odd_inputs_are_refused() -> None:
    weights, kept = drawn(2, 3, 2, 1.0)
    compact = encode_group_sparse(weights, kept)
    with pytest.raises(InputError, match="row_ptr: need rising from 0 to 6"):
        decode_group_sparse(replace(compact, row_ptr=compact.row_ptr[::-1]))
    with pytest.raises(InputError, match="group_columns: need below 2"):
        decode_group_sparse(replace(compact, group_columns=compact.group_columns + np.uint16(2)))
    with pytest.raises(InputError, match="columns in groups of 16"):
        encode_group_sparse(weights[:, 1:], kept)
    with pytest.raises(InputError, match="kept: need shape"):
        encode_group_sparse(weights, kept[1:])
    with pytest.raises(InputError, match="finite"):
        encode_group_sparse(np.where(weights > 1, np.inf, weights), kept)
