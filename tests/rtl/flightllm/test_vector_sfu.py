"""Are softmax and norms close to real arithmetic, in K or 2 K cycles and a constant?"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from hwsim.cli.rtl_cases.flightllm.sfu import vector_sfu_case
from hwsim.flightllm.isa import MISC_OPS
from hwsim.flightllm.unit_spec import GATE_RANGE, SfuSpec
from hwsim.flightllm.vector_sfu import OPS, SfuJob, job_cycles, play_sfu, run_job, solve_cycles
from rtl.cosim.check import CosimError, check
from rtl.cosim.pysim import run_pysim
from rtl.flightllm.vector_sfu import Op, VectorSfu
from rtl.formal.bench import proof_rtlil
from rtl.formal.prove import prove_rtlil
from rtl.formal.vector_sfu import vector_sfu_properties

SPEC = SfuSpec()
SMALL = SfuSpec(lanes=2, max_beats=4)
NONE = np.zeros(0, dtype=np.bool_)


class ForgetsGrowth(VectorSfu):
    """Does not scale the sum down when the maximum grows."""

    def _accumulate(self, sum_terms, sum_x, grown):
        super()._accumulate(sum_terms, sum_x, grown & 0)


class EmitsBothPasses(VectorSfu):
    """Lets beats of the first pass out."""

    def datapath(self):
        result = super().datapath()
        self.is_emitted = self.is_last_at(5) | 1
        return result


def _vector(seed: int, beats: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-128, 128, (beats, SPEC.lanes))


def _normalised(op: str, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the real result in steps, and how far the unit may be from it.

    The output is cut, up to a step; the integer root is short by less than 1, its reciprocal by
    less than 2**-reciprocal_bits.
    """
    centred = x - x.mean() if op == "layernorm" else x
    deviation = np.sqrt((centred**2).mean())
    exact = centred / deviation * (1 << SPEC.norm_fraction_bits)
    root = x.size * deviation
    return exact, 1 + np.abs(exact) * (1 / (root - 1) + root / (1 << SPEC.reciprocal_bits))


def test_operations_have_the_codes_of_the_instruction_set():
    assert [op.name.lower() for op in Op] == list(OPS)
    assert [op.value for op in Op] == [0, 1, 2, 3, 4, 5, 6]
    assert MISC_OPS == OPS


@pytest.mark.parametrize("beats", [1, 4, 64])
@pytest.mark.parametrize("real_scale", [0.005, 0.05, 0.3])
def test_softmax_is_within_two_steps_of_real_arithmetic(beats, real_scale):
    x = _vector(beats, beats)
    scale = round(real_scale * np.log2(np.e) * (1 << SPEC.scale_fraction_bits))
    found = run_job(SPEC, SfuJob("softmax", beats, scale), x, x)
    exponents = np.exp((x - x.max()) * scale / (1 << SPEC.scale_fraction_bits) / np.log2(np.e))
    assert np.abs(found - 256 * exponents / exponents.sum()).max() <= 2


@pytest.mark.parametrize("op", ["layernorm", "rmsnorm"])
@pytest.mark.parametrize("beats", [1, 16, 256])
def test_norms_are_within_a_step_of_real_arithmetic(op, beats):
    x = _vector(beats, beats)
    found = run_job(SPEC, SfuJob(op, beats), x, x)
    exact, slack = _normalised(op, x)
    assert (np.abs(found - exact) <= slack).all()


def test_a_constant_vector_has_no_spread_and_gives_zeros():
    x = np.full((3, SPEC.lanes), -77)
    assert not run_job(SPEC, SfuJob("layernorm", 3), x, x).any()
    assert not run_job(SPEC, SfuJob("rmsnorm", 3), x * 0, x).any()


def test_the_first_of_equal_maxima_may_come_last():
    """The sum shrinks when the maximum grows in the last beat."""
    x = np.full((4, SPEC.lanes), -128)
    x[3, 0] = 127
    job = SfuJob("softmax", 4, 65535)
    found = run_job(SPEC, job, x, x)
    assert found[3, 0] == 255
    assert found.sum() == 255


def test_add_and_multiply_saturate():
    x = np.array([[127, -128, -128, 100] + [0] * 12])
    y = np.array([[1, -1, -128, -28] + [0] * 12])
    assert run_job(SPEC, SfuJob("add", 1), x, y)[0, :4].tolist() == [127, -128, -128, 72]
    # -128 * -128 >> 7 is 128; 100 * -28 = -2800 >> 7 is -22 (cut downwards).
    assert run_job(SPEC, SfuJob("mul", 1), x, y)[0, :4].tolist() == [0, 1, 127, -22]


@pytest.mark.parametrize("op", ["silu", "gelu"])
@pytest.mark.parametrize("real_scale", [0.01, 0.05, 0.2])
def test_gates_are_within_a_step_of_the_table_of_real_arithmetic(op, real_scale):
    x = np.arange(-128, 128).reshape(16, 16)
    scale = round(real_scale * (1 << SPEC.scale_fraction_bits))
    t = x * scale / (1 << SPEC.scale_fraction_bits)
    gate = 1 / (1 + np.exp(-t)) if op == "silu" else norm.cdf(t)
    found = run_job(SPEC, SfuJob(op, 16, scale), x, x)
    # Half a code of rounding; half a step of t, the steepest slope of a gate 0.4.
    slack = 0.5 + np.abs(x) * 0.4 * GATE_RANGE / (2 << SPEC.table_bits)
    assert (np.abs(found - x * gate) <= slack).all()


@pytest.mark.parametrize("op", ["softmax", "layernorm", "rmsnorm"])
@pytest.mark.parametrize("tail", [1, 15])
def test_lanes_beyond_the_vector_have_no_part_in_it(op, tail):
    x = _vector(tail, 2)
    other = x.copy()
    other[1, tail:] = 127
    job = SfuJob(op, 2, 65535, tail)
    found = run_job(SPEC, job, x, x)
    assert found.tolist() == run_job(SPEC, job, other, x).tolist()
    if op != "softmax":  # the mean square is over the vector's own elements
        exact, slack = _normalised(op, x.ravel()[: 16 + tail])
        assert (np.abs(found.ravel()[: 16 + tail] - exact) <= slack).all()
    else:
        assert not found[1, tail:].any()


class KeepsTheTail(VectorSfu):
    """Adds terms of lanes beyond the vector."""

    def delay(self, name, value, cycles):
        return super().delay(name, value if name != "is_cut" else value & 0, cycles)


class OneGate(VectorSfu):
    """Takes silu's gate for gelu."""

    def _is(self, *ops):
        return super()._is(*(op for op in ops if op is not Op.GELU), Op.ADD)


@pytest.mark.parametrize("mutant", [KeepsTheTail, OneGate])
def test_a_wrong_term_or_gate_is_found(mutant):
    x = np.array([[3, 10], [40, -60], [-128, 0]])
    low = np.full((3, 2), -128)  # so low that the empty lanes come near
    drawn = [(SfuJob("gelu", 3, 100, 1), x, x), (SfuJob("softmax", 3, 65535, 1), low, low)]
    vectors, schedule = vector_sfu_case(SMALL, drawn)
    with pytest.raises(CosimError):
        check(run_pysim(mutant(SMALL), vectors), vectors, schedule)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("beats", [1, 2, 9])
def test_the_closed_form_is_the_cycle_model(op, beats):
    job = SfuJob(op, beats)
    jobs, accepts, emits = play_sfu(SPEC, [job], NONE, NONE, NONE)
    assert emits[-1] - jobs[0] == job_cycles(SPEC, job)
    assert len(accepts) == job.input_beats
    passes = 2 if job.is_two_pass else 1
    assert job_cycles(SPEC, SfuJob(op, beats + 10)) - job_cycles(SPEC, job) == 10 * passes


def test_root_and_reciprocal_take_a_cycle_per_digit():
    # 256 beats of 16 lanes: 4096 squares of 2**14, times 4096: 2**38 at most, a root of 20 bits.
    spec = SfuSpec(max_beats=256)
    assert spec.root_bits == 20
    assert solve_cycles(spec, "softmax") == 1 + 31
    assert solve_cycles(spec, "rmsnorm") == 1 + 20 + 31
    # 16,383 beats: less than 2**18 squares, times as many: less than 2**50.
    assert SPEC.max_beats == 2**14 - 1
    assert SPEC.root_bits == 25


def test_the_longest_vector_of_extremes_is_exact_in_rtl():
    spec = SfuSpec(lanes=2, max_beats=256)
    rng = np.random.default_rng(0)
    low = np.full((256, 2), -128)
    mixed = rng.choice([-128, 127], (256, 2))
    drawn = [(SfuJob(op, 256, 65535), x, x) for op in OPS[2:5] for x in (low, mixed)]
    vectors, schedule = vector_sfu_case(spec, drawn)
    check(run_pysim(VectorSfu(spec), vectors), vectors, schedule)


@pytest.mark.parametrize("mutant", [ForgetsGrowth, EmitsBothPasses])
def test_a_wrong_reduction_is_found(mutant):
    # The maximum grows, by less than the whole sum's width.
    x = np.array([[0, 10], [40, 0], [127, 0]])
    vectors, schedule = vector_sfu_case(SMALL, [(SfuJob("softmax", 3, 100), x, x)])
    with pytest.raises(CosimError):
        check(run_pysim(mutant(SMALL), vectors), vectors, schedule)


def test_beats_that_leave_in_the_first_pass_are_not_proved():
    """By induction only: a counterexample from reset is 8 cycles of multipliers long."""
    unit = EmitsBothPasses(SfuSpec(lanes=1, max_beats=2, table_bits=2))
    assert not prove_rtlil(proof_rtlil(unit, vector_sfu_properties), 2).is_proved
