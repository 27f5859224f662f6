"""Check that patterns count, draw, recognise and describe the same masks."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwsim.core.errors import InputError
from hwsim.core.sparsity import (
    NM,
    Block,
    Channel,
    Composed,
    Dense,
    Explicit,
    Group,
    Pattern,
    PerBlockN,
    TopK,
    Unstructured,
    index_bits,
    parse_pattern,
    pattern_from_json,
)

SHAPE = (32, 48)
SQUARE_MASK = np.random.default_rng(9).random(SHAPE) < 0.3

PATTERNS: list[Pattern] = [
    Dense(),
    NM(nm_n=2, nm_m=8),
    NM(nm_n=1, nm_m=4, axis=1),
    NM(nm_n=3, nm_m=5),
    NM(nm_n=4, nm_m=4),
    PerBlockN(nm_m=16, rows=16, cols=16, nm_n_of_block=((2, 0, 16), (4, 8, 1))),
    Unstructured(keep=0.3),
    Unstructured(keep=0.0),
    Block(rows=4, cols=8, keep=0.25),
    Block(rows=4, cols=8, keep=0.3),  # 14.4 of 48 blocks: whole blocks count
    Channel(keep=0.5, axis=1),
    Group(nm_n=2, nm_m=8, size=4),
    TopK(experts=48, k=6),
    Explicit.from_mask(SQUARE_MASK),
]
"""Patterns whose ``kept`` is exact for SHAPE."""

AT_RANDOM = Composed(parts=(Channel(keep=0.5, axis=1), NM(nm_n=2, nm_m=8)))

names = pytest.mark.parametrize("pattern", PATTERNS, ids=repr)


@names
def test_a_drawn_mask_obeys_its_pattern_and_keeps_what_it_says(pattern: Pattern) -> None:
    for seed in range(5):
        mask = pattern.sample_mask(SHAPE, np.random.default_rng(seed))
        assert mask.shape == SHAPE
        assert mask.dtype == bool
        assert pattern.check(mask)
        assert int(mask.sum()) == pattern.kept(SHAPE)
        assert pattern.density() == pytest.approx(mask.mean(), abs=1 / 16)


@names
def test_equal_seeds_draw_equal_masks(pattern: Pattern) -> None:
    first, second = (pattern.sample_mask(SHAPE, np.random.default_rng(7)) for _ in range(2))
    assert (first == second).all()


@pytest.mark.parametrize("pattern", [p for p in PATTERNS if p.density() < 1.0], ids=repr)
def test_a_full_mask_breaks_every_sparse_pattern(pattern: Pattern) -> None:
    assert not pattern.check(np.ones(SHAPE, dtype=bool))
    assert pattern.check(np.zeros(SHAPE, dtype=bool))


@pytest.mark.parametrize("pattern", [*PATTERNS, AT_RANDOM], ids=repr)
def test_patterns_round_trip_through_json(pattern: Pattern) -> None:
    again = pattern_from_json(json.loads(json.dumps(pattern.model_dump(mode="json"))))
    assert again == pattern
    assert type(again) is type(pattern)


@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 9)),
    nm_m=st.integers(1, 16),
    axis=st.sampled_from([0, 1, -1]),
    data=st.data(),
)
def test_nm_counts_every_group_of_ragged_shapes(
    shape: tuple[int, int], nm_m: int, axis: int, data: st.DataObject
) -> None:
    pattern = NM(nm_n=data.draw(st.integers(1, nm_m)), nm_m=nm_m, axis=axis)
    mask = pattern.sample_mask(shape, np.random.default_rng(data.draw(st.integers(0, 99))))
    lines = np.moveaxis(mask, axis, -1).reshape(-1, shape[axis])
    for line in lines:
        for start in range(0, len(line), nm_m):
            group = line[start : start + nm_m]
            assert group.sum() == min(pattern.nm_n, len(group))
    assert pattern.check(mask)
    assert int(mask.sum()) == pattern.kept(shape)


def test_nm_check_sees_one_element_too_many() -> None:
    pattern = NM(nm_n=2, nm_m=4)
    mask = pattern.sample_mask((12, 3), np.random.default_rng(0))
    row = int(np.flatnonzero(~mask[4:8, 1])[0]) + 4
    mask[row, 1] = True
    assert not pattern.check(mask)


@pytest.mark.parametrize(
    ("nm_m", "bits"), [(1, 0), (2, 1), (3, 2), (4, 2), (8, 3), (9, 4), (16, 4), (32, 5)]
)
def test_an_index_inside_a_group_takes_log2_bits(nm_m: int, bits: int) -> None:
    assert index_bits(nm_m) == bits == math.ceil(math.log2(nm_m))


def test_metadata_bits_by_hand() -> None:
    # 2:8 on 32 x 48: 4 groups per column, 2 indices of 3 bits each.
    assert NM(nm_n=2, nm_m=8).metadata_bits(SHAPE) == 4 * 48 * 2 * 3
    assert NM(nm_n=1, nm_m=1).metadata_bits(SHAPE) == 0
    # A ragged group stores as many slots as a full one.
    assert NM(nm_n=2, nm_m=8).metadata_bits((33, 1)) == 5 * 2 * 3
    assert Unstructured(keep=0.5).metadata_bits(SHAPE) == 32 * 48
    assert Block(rows=5, cols=7, keep=0.5).metadata_bits(SHAPE) == 7 * 7
    assert Channel(keep=0.5, axis=1).metadata_bits(SHAPE) == 48
    # One choice for four lines.
    assert Group(nm_n=2, nm_m=8, size=4).metadata_bits(SHAPE) == 8 * 6 * 2 * 3
    assert Dense().metadata_bits(SHAPE) == 0


def test_block_masks_are_made_of_whole_blocks() -> None:
    mask = Block(rows=4, cols=8, keep=0.25).sample_mask(SHAPE, np.random.default_rng(1))
    blocks = mask.reshape(8, 4, 6, 8).sum(axis=(1, 3))
    assert set(blocks.reshape(-1).tolist()) == {0, 32}
    assert (blocks > 0).sum() == 12


def test_channel_masks_are_made_of_whole_slices() -> None:
    mask = Channel(keep=0.25, axis=1).sample_mask(SHAPE, np.random.default_rng(1))
    assert set(mask.sum(axis=0).tolist()) == {0, 32}
    assert (mask.any(axis=0)).sum() == 12


def test_grouped_lines_share_their_choice() -> None:
    mask = Group(nm_n=2, nm_m=8, size=4).sample_mask(SHAPE, np.random.default_rng(1))
    assert (mask.reshape(8, 4, 48) == mask.reshape(8, 4, 48)[:, :1]).all()
    assert not Group(nm_n=2, nm_m=8, size=4).check(np.roll(mask, 1, axis=0))


def test_explicit_coordinates_are_the_mask() -> None:
    coords = np.argwhere(SQUARE_MASK)
    pattern = Explicit.from_coo(SHAPE, coords)
    assert (pattern.mask() == SQUARE_MASK).all()
    assert pattern == Explicit.from_mask(SQUARE_MASK)
    assert not pattern.check(SQUARE_MASK[:-1])
    with pytest.raises(InputError, match="pattern.shape"):
        pattern.kept((3, 3))


def test_a_composition_obeys_all_parts() -> None:
    mask = AT_RANDOM.sample_mask(SHAPE, np.random.default_rng(3))
    assert all(part.check(mask) for part in AT_RANDOM.parts)
    assert AT_RANDOM.check(mask)
    assert not AT_RANDOM.check(NM(nm_n=2, nm_m=8).sample_mask(SHAPE, np.random.default_rng(3)))


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("dense", Dense()),
        ("nm:2:8", NM(nm_n=2, nm_m=8)),
        ("nm:4:4", NM(nm_n=4, nm_m=4)),
        ("unstructured:0.75", Unstructured(keep=0.25)),
        ("unstructured:1", Unstructured(keep=0.0)),
        ("block:4x8:0.5", Block(rows=4, cols=8, keep=0.5)),
    ],
)
def test_command_line_patterns_are_parsed(text: str, pattern: Pattern) -> None:
    assert parse_pattern(text) == pattern


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nm",
        "nm:2",
        "nm:0:4",
        "nm:5:4",
        "nm:a:4",
        "nm:1:0",
        "nm:2:4:1",
        "dense:1",
        "unstructured:1.5",
        "unstructured:-0.1",
        "unstructured:nan",
        "unstructured:x",
        "block:4:0.5",
        "block:0x4:0.5",
        "block:4x4x4:0.5",
        "block:4x4:2",
        "2:8",
    ],
)
def test_malformed_patterns_are_refused_in_one_line(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_pattern(text)
    assert "\n" not in str(caught.value)
    assert ": need " in str(caught.value)


@pytest.mark.parametrize(
    ("make", "arguments"),
    [
        (NM, {"nm_n": 5, "nm_m": 4}),
        (NM, {"nm_n": 0, "nm_m": 4}),
        (TopK, {"experts": 4, "k": 5}),
        (PerBlockN, {"nm_m": 4, "nm_n_of_block": ((5,),)}),
    ],
)
def test_impossible_patterns_cannot_be_built(make: Any, arguments: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="pattern"):
        make(**arguments)


def test_per_block_n_needs_a_number_for_every_block() -> None:
    pattern = PerBlockN(nm_m=16, rows=16, cols=16, nm_n_of_block=((2,),))
    assert pattern.kept((16, 16)) == 16 * 2
    with pytest.raises(InputError, match="nm_n_of_block"):
        pattern.kept((17, 16))
