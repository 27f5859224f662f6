"""Do engines that share rows give the sums of the whole matrix, whatever the split?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwsim.cli.rtl_cases.flightllm.gqsa import (
    gqsa_engine_case,
    gqsa_fixup_case,
    random_acts,
    random_partials,
    random_rows,
)
from hwsim.core.errors import InputError
from hwsim.core.formats.gqsa import decode_group_sparse, encode_group_sparse, quantized_groups
from hwsim.flightllm.gqsa_engine import (
    GroupRows,
    engine_partials,
    fix_up,
    fixed_scales,
    row_sums,
    share_bounds,
)
from hwsim.flightllm.unit_spec import GqsaSpec
from rtl.cosim.check import CosimError, check
from rtl.cosim.pysim import run_pysim
from rtl.flightllm.gqsa_engine import GqsaEngine, GqsaFixup
from rtl.formal.bench import proof_rtlil
from rtl.formal.gqsa_engine import gqsa_fixup_properties
from rtl.formal.prove import prove_rtlil

SPEC = GqsaSpec(columns=64)


class IgnoresZero(GqsaEngine):
    """Takes weights for unshifted."""

    def _shift(self, zero, sum_x):
        return super()._shift(zero, sum_x) & 0


class ForgetsTheCarry(GqsaFixup):
    """Starts every partial sum anew."""

    def datapath(self):
        result = super().datapath()
        self.moves[0] = (self.carry, self.carry & 0)
        return result


@given(seed=st.integers(0, 1 << 30), groups=st.integers(1, 40), engines=st.integers(1, 9))
def test_any_split_gives_the_sums_of_the_whole(seed, groups, engines):
    rng = np.random.default_rng(seed)
    rows, acts = random_rows(rng, SPEC, groups), random_acts(rng, SPEC)
    partials = []
    for start, stop in share_bounds(groups, engines):
        found = engine_partials(SPEC, rows, acts, start, stop)
        assert sum(not is_row_end for _, is_row_end in found) <= 1
        partials += found
    assert fix_up(SPEC, partials) == row_sums(rows, acts).tolist()


@pytest.mark.parametrize(("groups", "engines"), [(7, 3), (2, 5), (0, 2), (64, 4)])
def test_shares_are_even_and_complete(groups, engines):
    bounds = share_bounds(groups, engines)
    sizes = [stop - start for start, stop in bounds]
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) == -(-groups // engines)
    assert [start for start, _ in bounds[1:]] == [stop for _, stop in bounds[:-1]]
    assert (bounds[0][0], bounds[-1][1]) == (0, groups)


def test_an_encoded_matrix_gives_its_product():
    rng = np.random.default_rng(4)
    weights = rng.normal(size=(6, 64))
    kept = rng.random((6, 4)) < 0.6
    kept[:, 0] = True
    compact = encode_group_sparse(weights, kept)
    ends = np.zeros(len(compact.scales), dtype=np.bool_)
    ends[compact.row_ptr[1:].astype(int) - 1] = True
    fraction_bits = 16
    scales = fixed_scales(compact.scales, fraction_bits, SPEC.scale_bits)
    rows = GroupRows(
        compact.group_columns.astype(np.int64),
        quantized_groups(compact),
        compact.zeros.astype(np.int64),
        scales,
        ends,
    )
    acts = random_acts(rng, SPEC)
    exact = decode_group_sparse(compact).astype(np.float64) @ acts.ravel().astype(np.float64)
    # Half a unit of the scale's last place for every weight kept, at most 15 times 128 each.
    bound = kept.sum(axis=1) * SPEC.group * 15 * 128 * 2.0 ** -(fraction_bits + 1)
    found = np.ldexp(row_sums(rows, acts).astype(np.float64), -fraction_bits)
    assert (np.abs(found - exact) <= bound).all()
    vectors, schedule = gqsa_engine_case(SPEC, rows, acts)
    check(run_pysim(GqsaEngine(SPEC), vectors), vectors, schedule)


def test_a_scale_that_does_not_fit_is_refused():
    with pytest.raises(InputError, match=r"scales: need 0 to 65535 / 2\*\*16, found 1.0"):
        fixed_scales(np.array([1.0]), 16, 16)


def test_engines_and_fix_up_in_rtl_give_the_row_sums():
    """Three engines share the groups; what they emit goes through the fix-up adder."""
    rng = np.random.default_rng(8)
    rows, acts = random_rows(rng, SPEC, 30), random_acts(rng, SPEC)
    partials = []
    for start, stop in share_bounds(30, 3):
        names = ("columns", "values", "zeros", "scales", "row_ends")
        share = GroupRows(*(getattr(rows, name)[start:stop] for name in names))
        vectors, schedule = gqsa_engine_case(SPEC, share, acts, stall_share=0.3)
        observed = run_pysim(GqsaEngine(SPEC), vectors)
        check(observed, vectors, schedule)
        for word in observed.outputs["o"]:
            total = word & ((1 << SPEC.sum_bits) - 1)
            sign = total >> (SPEC.sum_bits - 1)
            partials.append((total - (sign << SPEC.sum_bits), bool(word >> SPEC.sum_bits)))
    vectors, schedule = gqsa_fixup_case(SPEC, partials)
    assert list(vectors.expected["o"]) == [
        total & ((1 << SPEC.sum_bits) - 1) for total in row_sums(rows, acts).tolist()
    ]
    check(run_pysim(GqsaFixup(SPEC), vectors), vectors, schedule)


def test_a_zero_point_left_out_is_found():
    rng = np.random.default_rng(0)
    vectors, _ = gqsa_engine_case(SPEC, random_rows(rng, SPEC, 20), random_acts(rng, SPEC))
    with pytest.raises(CosimError, match="outputs"):
        check(run_pysim(IgnoresZero(SPEC), vectors), vectors)


def test_a_row_that_is_not_joined_is_found_and_refuted():
    partials = random_partials(np.random.default_rng(0), SPEC, 20)
    vectors, _ = gqsa_fixup_case(SPEC, partials)
    with pytest.raises(CosimError, match="outputs"):
        check(run_pysim(ForgetsTheCarry(SPEC), vectors), vectors)
    unit = ForgetsTheCarry(GqsaSpec(group=2, columns=4, sum_bits=24))
    assert prove_rtlil(proof_rtlil(unit, gqsa_fixup_properties), 5).status == "refuted"
