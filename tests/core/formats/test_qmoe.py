"""The dictionary equals the authors' bit by bit; rows come back and multiply lane by lane."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwsim.core.errors import InputError
from hwsim.core.formats.bfloat16 import bfloat16_bits, bfloat16_values, round_to_bfloat16
from hwsim.core.formats.qmoe import (
    ROW_OVERHEAD_BITS,
    decode_rows,
    encode_rows,
    multiply_rows,
    ternary_digits,
    ternary_values,
)
from hwsim.core.formats.qmoe_dictionary import (
    CODEWORDS,
    PAIR_SYMBOLS,
    ZERO_PROBABILITY,
    dictionary,
    dictionary_words,
    sequence_trie,
)

# Of the table that the construction of IST-DASLab/qmoe gives, 524,288 bytes, little endian.
TABLE_SHA256 = "c09862c453fe122634070a475357ff81a679aff65829d84a56f806c02a54ed45"
NO_VALUES = np.zeros((1, 2), dtype=np.uint16)


def test_the_table_is_the_authors_bit_for_bit() -> None:
    table = dictionary_words().astype("<u4").tobytes()
    assert len(table) == 524_288
    assert hashlib.sha256(table).hexdigest() == TABLE_SHA256
    assert hashlib.sha256(dictionary_words(CODEWORDS)[::-1].tobytes()).hexdigest() != TABLE_SHA256


@pytest.mark.parametrize(
    ("codeword", "pairs", "words"),
    [
        (0, (0,), (0x00000001, 0x00000001)),
        (15, (6,), (0x00000081, 0x00000001)),
        (100, (0, 3, 0, 0, 0, 0, 0), (0x00000407, 0x00000007)),
        (65535, (0, 0, 0, 2, 0, 1, 0, 0, 2, 0, 0, 0, 0), (0x0102000D, 0x0000020D)),
    ],
)
def test_known_codewords(codeword: int, pairs: tuple[int, ...], words: tuple[int, int]) -> None:
    assert dictionary()[codeword] == pairs
    assert tuple(dictionary_words()[2 * codeword : 2 * codeword + 2]) == words


def test_every_beginning_of_a_sequence_is_a_sequence() -> None:
    known = set(dictionary())
    assert len(known) == CODEWORDS
    assert {(symbol,) for symbol in range(PAIR_SYMBOLS)} <= known
    assert all(sequence[:-1] in known for sequence in known if len(sequence) > 1)
    assert (sequence_trie() >= 0).sum() == CODEWORDS


@pytest.mark.parametrize(
    ("digit", "count", "codewords"), [(0, 40, [25, 5]), (1, 16, [326] * 8), (2, 16, [329] * 8)]
)
def test_known_rows(digit: int, count: int, codewords: list[int]) -> None:
    row = np.full((1, count), digit, dtype=np.uint8)
    assert encode_rows(row, NO_VALUES).codewords.tolist() == codewords


@given(st.integers(0, 99), st.integers(1, 5), st.integers(1, 90), st.floats(0, 1))
def test_rows_come_back(seed: int, rows: int, columns: int, zeros: float) -> None:
    rng = np.random.default_rng(seed)
    odds = [zeros, (1 - zeros) / 2, (1 - zeros) / 2]
    digits = rng.choice(3, size=(rows, columns), p=odds).astype(np.uint8)
    compact = encode_rows(digits, np.zeros((rows, 2), dtype=np.uint16))
    np.testing.assert_array_equal(decode_rows(compact), digits)
    assert compact.size_bits == 16 * compact.codewords.size + rows * ROW_OVERHEAD_BITS


def test_the_rate_of_independent_weights_is_that_of_the_authors_matrices() -> None:
    # 20.89x and 21.41x have been measured for the two shapes of switch-c2048's experts; fewer rows
    # of the same lengths give the same rate within the draw.
    rng = np.random.default_rng(0)
    rates = []
    for columns in (2080, 6144):
        odds = [ZERO_PROBABILITY, *[(1 - ZERO_PROBABILITY) / 2] * 2]
        digits = rng.choice(3, size=(512, columns), p=odds).astype(np.uint8)
        compact = encode_rows(digits, np.zeros((512, 2), dtype=np.uint16))
        rates.append(digits.size * 16 / compact.size_bits)
    assert rates == pytest.approx([20.89, 21.41], rel=0.01)


def test_digits_name_zero_minimum_and_maximum() -> None:
    weights = np.array([[0.1, -0.4, 0.5, -1.0, 1.0, 0.51], [0, 0, 0, 0, 0, 0]])
    digits, values = ternary_digits(weights)
    assert digits.tolist() == [[0, 0, 0, 1, 2, 2], [0] * 6]  # half the maximum is not above it
    np.testing.assert_array_equal(bfloat16_values(values), [[-1, 1], [-1, 1]])
    again, same = ternary_digits(ternary_values(digits, values))
    np.testing.assert_array_equal(again, digits)
    np.testing.assert_array_equal(same, values)


@given(st.integers(0, 99), st.integers(1, 60))
def test_products_add_lane_by_lane_in_float32(seed: int, columns: int) -> None:
    rng = np.random.default_rng(seed)
    digits, values = ternary_digits(rng.standard_normal((3, columns)) ** 3)
    compact = encode_rows(digits, values)
    x = rng.standard_normal(columns).astype(np.float32)
    y = rng.standard_normal(3).astype(np.float32)
    expected = []
    for row in range(3):  # one thread per lane, as the kernel is written
        lanes, at = [np.float32(0)] * 32, 0
        for code in compact.codewords[compact.row_offsets[row] : compact.row_offsets[row + 1]]:
            for lane in range(2 * len(dictionary()[code])):
                if at + lane < columns:
                    weight = ternary_values(digits, values)[row, at + lane]
                    lanes[lane] += np.float32(weight * x[at + lane])
            at += 2 * len(dictionary()[code])
        for distance in (16, 8, 4, 2, 1):
            lanes = [lanes[i] + lanes[i + distance] for i in range(distance)]
        total = round_to_bfloat16(y[row : row + 1]) + round_to_bfloat16(np.array(lanes[:1]))
        expected.append(round_to_bfloat16(total)[0])
    np.testing.assert_array_equal(multiply_rows(compact, x, y), expected)


def test_bfloat16_rounds_to_nearest_even() -> None:
    bits = np.array([0x3F80_8000, 0x3F81_8000, 0x3F80_8001, 0x7F7F_FFFF, 0xFFC1_2345], np.uint32)
    rounded = bfloat16_bits(bits.view(np.float32))
    assert rounded.tolist() == [0x3F80, 0x3F82, 0x3F81, 0x7F80, 0x7FC0]


def test_damaged_or_odd_inputs_are_refused() -> None:
    compact = encode_rows(np.zeros((2, 40), dtype=np.uint8), np.zeros((2, 2), dtype=np.uint16))
    changed = compact.codewords.copy()
    changed[3] = 0
    with pytest.raises(InputError, match="row 1: need codewords of 20 pairs"):
        decode_rows(replace(compact, codewords=changed))
    with pytest.raises(InputError, match="codewords: need a dictionary that has all pairs"):
        encode_rows(np.zeros((1, 4), np.uint8), np.zeros((1, 2), np.uint16), 329)
    with pytest.raises(InputError, match="digits: need 0, 1 or 2"):
        encode_rows(np.full((1, 4), 3, dtype=np.uint8), NO_VALUES)
    with pytest.raises(InputError, match="at least one row"):
        encode_rows(np.zeros((0, 4), dtype=np.uint8), NO_VALUES)
    with pytest.raises(InputError, match="finite"):
        ternary_digits(np.array([[np.nan]]))
