"""Do compact weights lie in memory as documented, and do packer and unpacker keep pace?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.core.errors import InputError, SpecError
from hwsim.core.formats import NMCompact, decode_nm, encode_nm, nm_compact_bits
from hwsim.core.machine import UnitTiming
from hwsim.core.sparsity import NM
from hwsim.core.units import ceil_div
from hwsim.sat.packer import (
    block_words,
    pack_nm_words,
    play_packer,
    play_unpacker,
    timing,
    unpack_nm_words,
)
from hwsim.sat.spec import PackerSpec, SorterSpec

NO_STALLS = np.zeros(0, dtype=np.bool_)


def _spec(nm_n: int, nm_m: int, word_bits: int) -> PackerSpec:
    return PackerSpec(sorter=SorterSpec(nm_n=nm_n, nm_m=nm_m), word_bits=word_bits)


@settings(max_examples=60)
@given(
    k=st.integers(1, 40),
    n=st.integers(1, 6),
    nm_m=st.integers(1, 32),
    word_bits=st.sampled_from([64, 128, 512]),
    data=st.data(),
)
def test_unpacked_words_are_the_packed_matrix(k, n, nm_m, word_bits, data):
    nm_n = data.draw(st.integers(1, nm_m))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    mask = NM(nm_n=nm_n, nm_m=nm_m).sample_mask((k, n), rng)
    dense = rng.standard_normal((k, n)).astype(np.float16)
    compact = encode_nm(dense, mask, nm_n, nm_m)
    words = pack_nm_words(compact, word_bits)
    found = unpack_nm_words(words, k, n, nm_n, nm_m)
    np.testing.assert_array_equal(found.values, compact.values)
    np.testing.assert_array_equal(found.indices, compact.indices)
    assert (decode_nm(found) == np.where(mask, dense, 0)).all()
    assert len(words) == ceil_div(nm_compact_bits(k, n, nm_n, nm_m), word_bits)


def test_groups_lie_without_gaps_lowest_bit_first_and_the_rest_is_zero():
    # Two rows of groups, two columns, 1:4: 18 bits per group, columns of a row together.
    values = np.array([[[0x1111, 0x2222]], [[0x3333, 0x4444]]], dtype=np.uint16)
    indices = np.array([[[1, 2]], [[3, 0]]], dtype=np.uint8)
    words = pack_nm_words(NMCompact(values, indices, 8, 4), 64)
    bits = sum(
        (index << 16 | value) << 18 * place
        for place, (value, index) in enumerate([(0x1111, 1), (0x2222, 2), (0x3333, 3), (0x4444, 0)])
    )
    # 72 bits: the fourth group crosses into the second word.
    assert words.shape == (2, 8)
    assert int.from_bytes(words.tobytes(), "little") == bits


def test_wrong_words_and_values_are_refused():
    compact = encode_nm(np.ones((8, 4), dtype=np.float16), np.eye(8, 4, dtype=bool), 2, 4)
    words = pack_nm_words(compact, 64)
    with pytest.raises(InputError, match="words: need 5 words of 8 bytes, found 4"):
        unpack_nm_words(words[:-1], 8, 4, 2, 4)
    wide = encode_nm(np.ones((8, 4), dtype=np.float32), np.eye(8, 4, dtype=bool), 2, 4)
    with pytest.raises(InputError, match="values: need 16 bits per value, found float32"):
        pack_nm_words(wide, 64)


@pytest.mark.parametrize(
    ("nm_n", "nm_m", "word_bits", "group_bits", "interval"),
    [(2, 8, 512, 38, 1), (2, 8, 64, 38, 1), (4, 32, 64, 84, 2), (8, 16, 64, 160, 3)],
)
def test_a_group_takes_a_cycle_or_as_many_as_its_words(nm_n, nm_m, word_bits, group_bits, interval):
    spec = _spec(nm_n, nm_m, word_bits)
    assert spec.group_bits == group_bits == nm_compact_bits(nm_m, 1, nm_n, nm_m)
    assert timing(spec) == UnitTiming(1, interval)
    _, emits = play_unpacker(spec, 1, 20, NO_STALLS, NO_STALLS)
    assert np.diff(emits).max() == interval


@pytest.mark.parametrize("pattern", [(3, 2), (1, 1)])
def test_a_pattern_that_sore_does_not_emit_is_refused(pattern):
    with pytest.raises(SpecError, match="need nm_m >= 2 and nm_n <= nm_m"):
        timing(_spec(*pattern, 64))


@pytest.mark.parametrize("groups", [1, 2, 5, 27, 32])
@pytest.mark.parametrize("spec", [_spec(2, 8, 64), _spec(2, 8, 512), _spec(1, 2, 128)])
def test_wide_words_take_a_group_per_cycle_and_are_offered_when_full(spec, groups):
    accepts, emits = play_packer(spec, 1, groups, NO_STALLS, NO_STALLS)
    assert accepts.tolist() == list(range(groups))
    ends = [
        ceil_div((word + 1) * spec.word_bits, spec.group_bits) - 1 for word in range(len(emits))
    ]
    full = [end + 1 for end in ends[:-1]]
    # The padded word follows the last group, or the word that this group filled too.
    tail = groups + (1 if full and full[-1] == groups else 0)
    assert emits.tolist() == [*full, tail]
    accepts, emits = play_unpacker(spec, 1, groups, NO_STALLS, NO_STALLS)
    assert emits.tolist() == list(range(1, groups + 1))


@pytest.mark.parametrize("spec", [_spec(4, 32, 64), _spec(8, 16, 64)])
def test_narrow_words_leave_and_come_every_cycle(spec):
    groups = 13
    words = block_words(groups, spec)
    accepts, emits = play_packer(spec, 1, groups, NO_STALLS, NO_STALLS)
    assert emits.tolist() == list(range(1, words + 1))
    # Group j comes when less than a word of the j groups before it is left.
    assert accepts.tolist() == [j * spec.group_bits // spec.word_bits for j in range(groups)]
    accepts, emits = play_unpacker(spec, 1, groups, NO_STALLS, NO_STALLS)
    assert accepts.tolist() == list(range(words))
    assert emits.tolist() == [block_words(j, spec) for j in range(1, groups + 1)]


def test_a_block_begins_a_word_and_waits_for_the_padded_one():
    # 38-bit groups in 64-bit words, two per block: 76 bits, of which 12 lie in a second word.
    accepts, emits = play_packer(_spec(2, 8, 64), 2, 2, NO_STALLS, NO_STALLS)
    assert accepts.tolist() == [0, 1, 3, 4]
    assert emits.tolist() == [2, 3, 5, 6]


@settings(max_examples=60)
@given(data=st.data(), blocks=st.integers(1, 3), groups=st.integers(1, 9))
def test_nothing_leaves_before_it_is_complete_whatever_stalls(data, blocks, groups):
    spec = data.draw(st.sampled_from([_spec(2, 8, 64), _spec(4, 32, 64), _spec(2, 4, 128)]))
    pattern = st.lists(st.booleans(), max_size=30).map(lambda bits: np.array(bits, dtype=np.bool_))
    gaps, stalls = data.draw(pattern), data.draw(pattern)
    per_block = block_words(groups, spec)
    accepts, emits = play_packer(spec, blocks, groups, gaps, stalls)
    for word, cycle in enumerate(emits):
        block, place = divmod(word, per_block)
        needed = min(groups, ceil_div((place + 1) * spec.word_bits, spec.group_bits))
        assert cycle > accepts[block * groups + needed - 1]
    accepts, emits = play_unpacker(spec, blocks, groups, gaps, stalls)
    for group, cycle in enumerate(emits):
        block, place = divmod(group, groups)
        assert cycle > accepts[block * per_block + block_words(place + 1, spec) - 1]
    assert (np.diff(accepts) > 0).all()
    assert (np.diff(emits) > 0).all()
