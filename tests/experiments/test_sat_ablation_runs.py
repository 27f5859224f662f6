"""The law of adder stalls against the array's closed form and against stepping every PE."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.experiments.sat_ablation_runs import hazard_law
from hwsim.sat.detail import step_pes
from hwsim.sat.spec import ArraySpec
from hwsim.sat.timing import ArrayGemm, gemm_timing

LATENCY = ArraySpec().adder_latency_cycles


@given(
    m=st.integers(1, 700),
    k=st.integers(1, 600),
    n=st.integers(1, 200),
    nm=st.sampled_from([(1, 1), (2, 8), (2, 4), (1, 8)]),
    interleave=st.integers(1, 9),
)
@settings(deadline=None, max_examples=60)
def test_the_law_gives_the_adder_stalls_of_any_output_stationary_product(m, k, n, nm, interleave):
    array = ArraySpec(interleave=interleave)
    gemm = ArrayGemm(m, k, n, *nm)
    tiles = -(-m // array.rows) * -(-n // array.cols)
    slots = gemm.k_groups * gemm.nm_n
    assert gemm_timing(array, "os", gemm).hazard == hazard_law(slots, tiles, interleave)


def test_one_partial_sum_costs_the_latency_per_product_and_enough_of_them_nothing():
    for slots in (1, 18, 144):
        # Every product but a tile's last is followed by L - 1 cycles of waiting.
        assert hazard_law(slots, 12, 1) == 12 * (slots - 1) * (LATENCY - 1)
        assert hazard_law(slots, 12, LATENCY) == 0
        assert hazard_law(slots, 12, LATENCY - 1) > 0 or slots == 1
    # 13 tiles in blocks of 6, 6 and 1: the last one waits alone.
    assert hazard_law(18, 13, 6) == 17 * (LATENCY - 1)


def test_stepping_every_pe_finds_the_same_difference():
    small = ArraySpec(rows=4, cols=4, interleave=1)
    full = small.model_copy(update={"interleave": LATENCY})
    gemm = ArrayGemm(4 * 12, 64, 4, 2, 8)
    slots, tiles = gemm.k_groups * gemm.nm_n, 12
    # Blocks of one tile also pay skew and latency per tile instead of per block of six.
    per_block = 4 + 4 - 2 + small.multiplier_latency_cycles + LATENCY - 1
    expected = hazard_law(slots, tiles, 1) + (tiles - tiles // LATENCY) * per_block
    assert step_pes(small, "os", gemm) - step_pes(full, "os", gemm) == expected
