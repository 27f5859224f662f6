"""Is every code of every width expanded right, and are the cycles those of the closed form?"""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.hdl import Const

from hwsim.cli.rtl_cases.flightllm.dequant import dequant_case
from hwsim.core.errors import InputError
from hwsim.flightllm.dequant import (
    DequantJob,
    expand,
    job_cycles,
    play_dequant,
    timing,
    words_of,
)
from hwsim.flightllm.unit_spec import DequantSpec
from rtl.cosim.check import CosimError, check
from rtl.cosim.pysim import run_pysim
from rtl.flightllm.dequant import Dequant
from rtl.formal.bench import proof_rtlil
from rtl.formal.dequant import dequant_properties
from rtl.formal.prove import prove_rtlil

SPEC = DequantSpec()
NONE = np.zeros(0, dtype=np.bool_)


class AddsZero(Dequant):
    """Adds the zero point."""

    def _less_zero(self, value):
        return (value + self.current.zero)[:8]


class KeepsARest(Dequant):
    """Goes on as if a vector had only two bits per weight."""

    def _of_code(self, number):
        steps = self.spec.lanes * self.spec.widths[0] // self.spec.step_bits
        return Const(number(steps), 4)

    @property
    def need(self):
        return super()._of_code(lambda steps: steps)


@pytest.mark.parametrize("width", SPEC.widths)
@pytest.mark.parametrize("is_signed", [False, True])
def test_every_code_of_every_width_and_zero_point_is_exact(width, is_signed):
    every = np.arange(1 << width)
    codes = np.resize(every, (-(-every.size // SPEC.lanes), SPEC.lanes))
    zeros = sorted({0, 1, (1 << width) // 2, (1 << width) - 1})
    tensors = [(DequantJob(width, len(codes), zero, is_signed), codes) for zero in zeros]
    for job, values in tensors:
        exact = values - ((values >> (width - 1)) << width if is_signed else 0) - job.zero
        assert ((expand(job, values) - exact) % 256 == 0).all()
    vectors, schedule = dequant_case(SPEC, tensors)
    check(run_pysim(Dequant(SPEC), vectors), vectors, schedule)


def test_eight_bits_less_128_are_the_signed_codes():
    codes = np.arange(256)
    assert expand(DequantJob(8, 16, zero=128), codes).tolist() == list(range(-128, 128))


def test_a_code_beyond_the_width_is_refused():
    with pytest.raises(InputError, match="codes: need 0 to 7, found 0 to 8"):
        expand(DequantJob(3, 1), np.array([0, 8]))


@pytest.mark.parametrize("width", SPEC.widths)
@pytest.mark.parametrize("vectors", [1, 2, 3, 7, 64])
def test_the_closed_form_is_the_cycle_model(width, vectors):
    job = DequantJob(width, vectors)
    jobs, words, emits = play_dequant(SPEC, [job], NONE, NONE, NONE)
    assert emits[-1] - jobs[0] == job_cycles(SPEC, job)
    assert len(words) == words_of(SPEC, job)


def test_four_bits_take_a_word_per_cycle_and_eight_bits_two_cycles_per_vector():
    for width, cycles in ((2, 1), (3, 1), (4, 1), (8, 2)):
        _, _, emits = play_dequant(SPEC, [DequantJob(width, 40)], NONE, NONE, NONE)
        assert set(np.diff(emits).tolist()) == {cycles}
    assert timing(SPEC).interval_cycles == 2


@pytest.mark.parametrize("mutant", [AddsZero, KeepsARest])
def test_a_wrong_expansion_is_found(mutant):
    codes = np.arange(96).reshape(6, 16) % 8
    vectors, _ = dequant_case(SPEC, [(DequantJob(3, 6, zero=2), codes)])
    with pytest.raises(CosimError, match="outputs"):
        check(run_pysim(mutant(SPEC), vectors), vectors)


def test_a_lost_rest_is_refuted():
    spec = DequantSpec(word_bits=8, lanes=2, widths=(2, 3), count_bits=2)
    assert prove_rtlil(proof_rtlil(KeepsARest(spec), dequant_properties), 6).status == "refuted"
