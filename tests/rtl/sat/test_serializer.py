"""Does the serializer emit every element once, one per cycle?"""

from __future__ import annotations

import numpy as np
import pytest

from rtl.cosim.check import CosimError, check
from rtl.cosim.pysim import run_pysim
from rtl.cosim.vectors import Schedule, Vectors, random_stalls
from rtl.formal.bench import proof_rtlil
from rtl.formal.prove import prove_rtlil
from rtl.formal.serializer import serializer_properties
from rtl.sat.serializer import Serializer


class HighestFirst(Serializer):
    """Leaves the lowest element where it is."""

    def _rest(self):
        return self.held


def _case(elem_bits: int, elems: int, words: int, share: float = 0.0) -> Vectors:
    rng = np.random.default_rng(2)
    parts = rng.integers(0, 1 << elem_bits, (words, elems)).tolist()
    return Vectors(
        inputs={"i": [sum(e << elem_bits * k for k, e in enumerate(word)) for word in parts]},
        expected={"o": [elem for word in parts for elem in word]},
        source_gaps={"i": random_stalls(rng, 4 * words, share)},
        sink_stalls={"o": random_stalls(rng, 4 * words, share)},
    )


@pytest.mark.parametrize("shape", [(1, 2), (5, 3), (18, 4)])
@pytest.mark.parametrize("share", [0.3, 0.8])
def test_elements_leave_lowest_first_under_any_stalls(shape, share):
    vectors = _case(*shape, 50, share)
    check(run_pysim(Serializer(*shape), vectors), vectors)


def test_an_element_leaves_every_cycle_from_the_one_after_its_word_came():
    accepts = np.arange(0, 40, 4)
    schedule = Schedule({"i": accepts}, {"o": 1 + np.arange(40)})
    vectors = _case(6, 4, 10)
    check(run_pysim(Serializer(6, 4), vectors), vectors, schedule)


def test_a_repeated_element_is_found():
    vectors = _case(6, 4, 10)
    with pytest.raises(CosimError, match="outputs"):
        check(run_pysim(HighestFirst(6, 4), vectors), vectors)


@pytest.mark.parametrize("shape", [(3, 2), (4, 3), (5, 4)])
def test_every_element_leaves_once_in_order(shape):
    result = prove_rtlil(proof_rtlil(Serializer(*shape), serializer_properties))
    assert result.is_proved, result.log


def test_a_serializer_that_repeats_is_refuted():
    text = proof_rtlil(HighestFirst(3, 2), serializer_properties)
    assert prove_rtlil(text, 6).status == "refuted"
