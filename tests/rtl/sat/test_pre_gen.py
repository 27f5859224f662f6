"""Does pre-generation emit the compact weights of both directions, in the predicted cycles?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.cli.rtl_cases.reduction import pre_gen_case
from hwsim.cli.rtl_cases.sorter import random_groups
from hwsim.core.formats import decode_nm, nm_compact_bits
from hwsim.core.machine import UnitTiming
from hwsim.core.sparsity import index_bits
from hwsim.sat import pre_gen as model
from hwsim.sat.pre_gen import collect_bp, collect_ff, weight_rows
from hwsim.sat.spec import PreGenSpec, SoreSpec, SorterSpec
from rtl.cosim.check import CosimError, check
from rtl.cosim.faults import Faulty
from rtl.cosim.pysim import run_pysim
from rtl.cosim.verilator import run_verilator
from rtl.formal.bench import proof_rtlil
from rtl.formal.pre_gen import pre_gen_properties
from rtl.formal.prove import prove_rtlil
from rtl.sat import pre_gen
from rtl.sat.pre_gen import PreGen
from rtl.sat.units import PREGEN_SPEC

SHAPES = [(2, 1, 2), (4, 1, 2), (8, 2, 4), (6, 2, 3)]


def _spec(lanes: int, nm_n: int, nm_m: int, engines: int = 2) -> PreGenSpec:
    sorter = SorterSpec(nm_n=nm_n, nm_m=nm_m)
    return PreGenSpec(sore=SoreSpec(lanes=lanes, sorter=sorter), engines=engines)


def _rows(spec: PreGenSpec, blocks: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return random_groups(rng, blocks * spec.sore.sorter.nm_m, spec.sore.lanes)


def _unpack(words: list[int], spec: SoreSpec) -> tuple[np.ndarray, np.ndarray]:
    """Return {values, indices}[sets, lanes, nm_n] of what an output emitted."""
    nm_n, slot_bits = spec.sorter.nm_n, 16 + index_bits(spec.sorter.nm_m)
    slots = [
        [word >> slot_bits * place & (1 << slot_bits) - 1 for place in range(spec.lanes * nm_n)]
        for word in words
    ]
    table = np.array(slots).reshape(-1, spec.lanes, nm_n)
    return (table & 0xFFFF).astype(np.uint16), (table >> 16).astype(np.uint8)


def _masked(dense: np.ndarray, nm_n: int, nm_m: int) -> np.ndarray:
    """Return ``dense`` [k, n] with the smaller magnitudes of every group along k set to zero."""
    kept = dense.copy()
    for start in range(0, len(dense), nm_m):
        group = np.abs(dense[start : start + nm_m])
        order = np.argsort(-group, axis=0, kind="stable")
        np.put_along_axis(kept[start : start + nm_m], order[nm_n:], 0, axis=0)
    return kept


class SwapsSides(PreGen):
    """Emits the two directions on each other's output."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        ff, bp = self.engines
        m.d.comb += [self.o_ff.payload.eq(bp.o.payload), self.o_bp.payload.eq(ff.o.payload)]
        return m


class ForgetsWhatItSent(PreGen):
    """Sends a row again to the side that has it while the other one is waited for."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.sync += self.is_sent_bp.eq(0)
        return m


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("engines", [1, 2])
@pytest.mark.parametrize("stall_share", [0.0, 0.5])
def test_rtl_equals_golden_and_cycle_model_on_pysim(shape, engines, stall_share):
    spec = _spec(*shape, engines)
    vectors, schedule = pre_gen_case(spec, _rows(spec, 12), stall_share=stall_share, seed=3)
    assert (schedule is None) == (stall_share > 0)
    check(run_pysim(PreGen(spec), vectors), vectors, schedule)


@pytest.mark.evidence("sat", "T3")
@pytest.mark.parametrize("spec", [PREGEN_SPEC, PREGEN_SPEC.model_copy(update={"engines": 1})])
def test_rows_by_the_ten_thousand_under_random_stalls_on_verilator(spec):
    # Rows in, and groups of both directions out: 1e5 transfers over both numbers of engines.
    drawn = [
        pre_gen_case(spec, _rows(spec, blocks, seed), stall_share=share, seed=seed)
        for seed, (blocks, share) in enumerate([(8_400, 0.3), (100, 0.8), (100, 0.0)])
    ]
    played = run_verilator(PreGen(spec), [vectors for vectors, _ in drawn])
    for observed, (vectors, schedule) in zip(played, drawn, strict=True):
        check(observed, vectors, schedule)
    transfers = sum(
        len(trace.words) for observed in played[:2] for trace in observed.streams.values()
    )
    assert transfers > 50_000


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    shape=st.sampled_from(SHAPES[:3]),
    engines=st.sampled_from([1, 2]),
    blocks=st.integers(1, 6),
    share=st.sampled_from([0.0, 0.4, 0.9]),
    seed=st.integers(0, 1000),
)
def test_rtl_equals_golden_for_any_rows_and_stalls(shape, engines, blocks, share, seed):
    spec = _spec(*shape, engines)
    vectors, schedule = pre_gen_case(spec, _rows(spec, blocks, seed), stall_share=share, seed=seed)
    check(run_pysim(PreGen(spec), vectors), vectors, schedule)


@pytest.mark.parametrize("engines", [1, 2])
@pytest.mark.parametrize("shape", [(16, 16), (10, 13), (3, 5), (4, 17)])
def test_what_leaves_decodes_to_the_masked_weights_of_both_directions(shape, engines):
    spec = _spec(8, 2, 4, engines)
    # Few values, so that ties and zeros are common.
    weights = np.random.default_rng(1).integers(-6, 7, shape).astype(np.float16)
    vectors, schedule = pre_gen_case(spec, weight_rows(spec.sore, weights))
    observed = run_pysim(PreGen(spec), vectors)
    check(observed, vectors, schedule)
    ff = collect_ff(spec.sore, shape, _unpack(observed.outputs["o_ff"], spec.sore))
    bp = collect_bp(spec.sore, shape, _unpack(observed.outputs["o_bp"], spec.sore))
    np.testing.assert_array_equal(decode_nm(ff), _masked(weights, 2, 4))
    np.testing.assert_array_equal(decode_nm(bp), _masked(weights.T, 2, 4))


@pytest.mark.parametrize(("pattern", "share"), [((2, 4), 0.5625), ((2, 8), 0.296875)])
def test_compact_size_is_that_of_the_format(pattern, share):
    nm_n, nm_m = pattern
    spec = _spec(8, nm_n, nm_m)
    shape = (16, 24)
    vectors, _ = pre_gen_case(spec, weight_rows(spec.sore, np.ones(shape, dtype=np.float16)))
    unit = PreGen(spec)
    for name in ("o_ff", "o_bp"):
        emitted_bits = len(vectors.expected[name]) * len(getattr(unit, name).payload.as_value())
        assert emitted_bits == nm_compact_bits(*shape, nm_n, nm_m)
        # N (16 + log2 M) / (16 M) of the dense FP16 copy.
        assert emitted_bits == share * 16 * 16 * 24
    check(run_pysim(unit, vectors), vectors)


@pytest.mark.parametrize("engines", [1, 2])
def test_two_engines_sustain_a_row_per_cycle_and_one_half_of_that(engines):
    spec = _spec(8, 2, 4, engines)
    vectors, schedule = pre_gen_case(spec, _rows(spec, 10))
    observed = run_pysim(PreGen(spec), vectors)
    check(observed, vectors, schedule)
    accepts = observed.accept_cycles["i"]
    assert int(accepts[-1]) + 1 == (40 if engines == 2 else 10 * 8 - 4)
    lasts, emits = accepts[3::4], observed.emit_cycles
    [ff_latency] = set((emits["o_ff"] - lasts).tolist())
    [bp_latency] = set((emits["o_bp"] - lasts).tolist())
    [interval] = set(np.diff(emits["o_bp"]).tolist())
    assert ff_latency == 1
    measured = UnitTiming(bp_latency, interval)
    assert pre_gen.timing(spec) == model.timing(spec) == measured
    # Not offered at t - 1 (three cycles of reset come first).
    first = int(observed.streams["o_bp"].valid.argmax())
    assert first == 3 + int(lasts[0]) + bp_latency


def test_swapped_directions_are_found():
    spec = _spec(4, 1, 2)
    vectors, schedule = pre_gen_case(spec, _rows(spec, 8))
    with pytest.raises(CosimError, match="outputs"):
        check(run_pysim(SwapsSides(spec), vectors), vectors, schedule)


def test_a_late_chain_is_found():
    spec = _spec(4, 1, 2)
    vectors, schedule = pre_gen_case(spec, _rows(spec, 8))
    with pytest.raises(CosimError, match="schedule"):
        check(run_pysim(Faulty(PreGen(spec), "late"), vectors), vectors, schedule)


@pytest.mark.parametrize("engines", [1, 2])
def test_every_row_goes_both_ways_once_and_leaves_on_its_own_side(engines):
    result = prove_rtlil(proof_rtlil(PreGen(_spec(2, 1, 2, engines)), pre_gen_properties))
    assert result.is_proved, result.log


@pytest.mark.parametrize("mutant", [SwapsSides, ForgetsWhatItSent])
def test_a_chain_that_swaps_or_repeats_is_refuted(mutant):
    text = proof_rtlil(mutant(_spec(2, 1, 2)), pre_gen_properties)
    assert prove_rtlil(text, 8).status == "refuted"
