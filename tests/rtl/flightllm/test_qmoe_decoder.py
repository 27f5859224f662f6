"""Are codewords decoded as QMoE's dictionary says, and positions those of the row?"""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from hwsim.cli.rtl_cases.flightllm.qmoe import (
    qmoe_decoder_case,
    qmoe_dot_case,
    random_activations,
    random_codewords,
)
from hwsim.core.errors import InputError
from hwsim.core.formats.qmoe import decode_rows, encode_rows
from hwsim.core.formats.qmoe_dictionary import dictionary_words
from hwsim.flightllm.qmoe_decoder import decode_codewords, digit_sums, table_entries
from hwsim.flightllm.unit_spec import QMoeSpec
from rtl.cosim.check import CosimError, check
from rtl.cosim.pysim import run_pysim
from rtl.flightllm.qmoe_decoder import QMoeDecoder
from rtl.flightllm.qmoe_dot import QMoeDot
from rtl.formal.bench import proof_rtlil
from rtl.formal.prove import prove_rtlil
from rtl.formal.qmoe_decoder import qmoe_decoder_properties

SPEC = QMoeSpec(entries=512)


class CountsPairs(QMoeDecoder):
    """Moves on by pairs, not by weights."""

    def _following(self, pairs):
        return (self.position + pairs)[: self.spec.index_bits]


class NeverCrosses(QMoeDot):
    """Reads the weights of the next word as zeros."""

    def _aligned(self, pair, offset):
        return super()._aligned(pair[: len(pair) // 2], offset) | (pair & 0)


def _encoded(rng, shape):
    """Return (digits, codewords, which end a row)."""
    digits = rng.choice(3, shape, p=[0.8, 0.1, 0.1]).astype(np.uint8)
    rows = encode_rows(digits, np.zeros((len(digits), 2), np.uint16), SPEC.entries)
    is_last = np.zeros(rows.codewords.size, dtype=np.bool_)
    is_last[rows.row_offsets[1:] - 1] = True
    return digits, rows, is_last


def test_the_whole_table_is_the_published_one():
    """The decoder's entries hold what QMoE's own words do, whose hash is known."""
    words = dictionary_words()
    digest = hashlib.sha256(words.astype("<u4").tobytes()).hexdigest()
    assert digest == "c09862c453fe122634070a475357ff81a679aff65829d84a56f806c02a54ed45"
    digits, pairs = table_entries(QMoeSpec(entries=65536))
    halves = words.reshape(-1, 2).astype(np.int64)
    assert (halves[:, 0] & 15 == pairs).all()
    for place in range(28):
        word, shift = halves[:, place // 14], 4 + 2 * (place % 14)
        assert (word >> shift & 3 == digits[:, place]).all()


def test_a_matrix_is_decoded_to_its_digits():
    digits, rows, is_last = _encoded(np.random.default_rng(1), (5, 300))
    found = np.full_like(digits, 9)
    row = 0
    for part in decode_codewords(SPEC, rows.codewords, is_last):
        end = part.position + 2 * part.pairs
        found[row, part.position : end] = part.digits[: 2 * part.pairs]
        row += part.is_last
    assert (found == digits).all()
    assert (decode_rows(rows, SPEC.entries) == digits).all()


def test_every_entry_is_read_in_rtl():
    codes = np.arange(SPEC.entries)
    vectors, schedule = qmoe_decoder_case(SPEC, (codes, np.zeros(codes.size, dtype=np.bool_)))
    check(run_pysim(QMoeDecoder(SPEC), vectors), vectors, schedule)


@pytest.mark.parametrize("columns", [300, 301, 1])
def test_decoded_rows_times_a_vector_are_numpys_product(columns):
    rng = np.random.default_rng(2)
    digits, rows, is_last = _encoded(rng, (4, columns))
    acts = random_activations(rng, SPEC)
    found = digit_sums(SPEC, decode_codewords(SPEC, rows.codewords, is_last), acts)
    x = acts[:columns].astype(np.int64)
    assert found == list(zip((digits == 1) @ x, (digits == 2) @ x, strict=True))
    vectors, schedule = qmoe_dot_case(SPEC, (rows.codewords, is_last), acts)
    check(run_pysim(QMoeDot(SPEC), vectors), vectors, schedule)


def test_weights_that_reach_into_the_next_word_are_missed():
    rng = np.random.default_rng(3)
    case = random_codewords(rng, SPEC, 40)
    vectors, _ = qmoe_dot_case(SPEC, case, random_activations(rng, SPEC))
    with pytest.raises(CosimError, match="outputs"):
        check(run_pysim(NeverCrosses(SPEC), vectors), vectors)


@pytest.mark.parametrize("columns", [96, 32, 1 << 17])
def test_a_buffer_that_positions_do_not_address_is_refused(columns):
    with pytest.raises(ValueError, match="columns: need a power of two, 64 to 65536"):
        QMoeSpec(columns=columns)


def test_a_codeword_beyond_the_table_is_refused():
    with pytest.raises(InputError, match="codewords: need below 512, found 512"):
        decode_codewords(SPEC, np.array([512]), np.array([True]))


def test_a_table_too_narrow_for_its_sequences_is_refused():
    with pytest.raises(InputError, match="max_pairs: need at least 14, found 3"):
        table_entries(QMoeSpec(entries=512, max_pairs=3))


def test_a_wrong_position_is_found():
    vectors, _ = qmoe_decoder_case(SPEC, random_codewords(np.random.default_rng(0), SPEC, 20))
    with pytest.raises(CosimError, match="outputs"):
        check(run_pysim(CountsPairs(SPEC), vectors), vectors)


def test_a_wrong_position_is_refuted():
    unit = CountsPairs(QMoeSpec(entries=4, max_pairs=2, index_bits=5, columns=16))
    assert prove_rtlil(proof_rtlil(unit, qmoe_decoder_properties), 8).status == "refuted"
