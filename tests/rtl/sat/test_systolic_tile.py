# amaranth: UnusedElaboratable=no
# A unit refused by its constructor is never elaborated.
"""Does the array compute every bit, in the cycles of closed form and PE stepping?"""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.hdl import Const
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.cli.rtl_cases.array import Product, random_product, systolic_tile_case
from hwsim.core.errors import SpecError
from hwsim.core.formats import encode_nm
from hwsim.sat import systolic_tile as model
from hwsim.sat.pe import step_gemm
from hwsim.sat.spec import ArraySpec, TileSpec
from hwsim.sat.timing import ArrayGemm, gemm_timing
from rtl.cosim.check import CosimError, check
from rtl.cosim.faults import Faulty
from rtl.cosim.pysim import run_pysim
from rtl.cosim.verilator import run_verilator
from rtl.formal.bench import proof_rtlil
from rtl.formal.prove import prove_rtlil
from rtl.formal.systolic_tile import systolic_tile_properties
from rtl.sat import systolic_tile
from rtl.sat.systolic_tile import SystolicTile
from rtl.sat.tile_core import TileCore
from rtl.sat.uspe import Uspe

DECODE_CYCLES = 2
"""From the acceptance of a job to its start."""

SMALL = TileSpec(array=ArraySpec(rows=4, cols=4))
LARGE = TileSpec(
    array=ArraySpec(rows=8, cols=8, adder_latency_cycles=3, interleave=4, edge_elems_per_cycle=4),
    nm_n=4,
)
PROOF = TileSpec(
    array=ArraySpec(rows=1, cols=1, adder_latency_cycles=2, interleave=2), nm_m=2, count_bits=2
)


def _tiny(**array: int | bool) -> TileSpec:
    return TileSpec(array=ArraySpec(rows=2, cols=2, **array))


def _draw(rng: np.random.Generator, spec: TileSpec, most: tuple[int, int, int], *, slots: int):
    """Return a random product: ragged sizes, any pattern, either dataflow, stored sums or not."""
    patterns = [(n, m) for n, m in ((1, 1), (1, 4), (2, 4), (2, 8), (4, 8)) if n <= slots]
    return random_product(
        rng,
        spec,
        tuple(rng.integers(1, np.array(most) + 1).tolist()),
        patterns[rng.integers(len(patterns))],
        ["ws", "os"][rng.integers(2)],
        interleave=int(rng.integers(1, spec.array.interleave + 1)),
        is_continued=bool(rng.integers(2)),
    )


def _whole_cycles(spec: TileSpec, product: Product) -> int:
    """Return the closed form of the whole product."""
    array = spec.array.model_copy(update={"interleave": product.interleave})
    m, k = product.a.shape
    groups, nm_n, n = product.b.values.shape
    del groups
    gemm = ArrayGemm(m, k, n, nm_n, product.b.nm_m, product.stored is not None)
    return gemm_timing(array, product.dataflow, gemm).cycles


class ForgetsLastHop(TileCore):
    """Starts every lane one cycle early."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        control = self.control
        m.d.comb += self.lanes[-1].i_start.eq(control.o_start)
        return m


class PicksFirst(Uspe):
    """Multiplies the first element of a group whatever the index says."""

    def _select(self, group, index):
        return group[0]


class CoreOfMutants(TileCore):
    def _pe(self):
        return PicksFirst(self.spec)


class MutantTile(SystolicTile):
    def _core(self):
        return CoreOfMutants(self.spec)


class EarlyTile(SystolicTile):
    def _core(self):
        return ForgetsLastHop(self.spec)


class DropsWhenFrozen(SystolicTile):
    """Takes weights although the array stands still."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += self.i_weights.ready.eq(self.core.i_weights.ready)
        return m


class OverwritesOutput(SystolicTile):
    """Does not wait for the consumer of its results."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += self.is_moving.eq(Const(1))
        return m


def _play_on_verilator(spec: TileSpec, drawn: list, products: list[list[Product]]) -> int:
    """Check every batch, and its unstalled cycles against closed form; return the transfers."""
    played = run_verilator(SystolicTile(spec), [vectors for vectors, _ in drawn])
    for observed, (vectors, schedule), batch in zip(played, drawn, products, strict=True):
        check(observed, vectors, schedule)
        if schedule is not None:
            whole = sum(_whole_cycles(spec, product) + DECODE_CYCLES for product in batch)
            assert observed.emit_cycles["o"][-1] == whole
    return sum(
        len(trace.transfer_cycles) for observed in played for trace in observed.streams.values()
    )


@pytest.mark.evidence("sat", "T3")
@pytest.mark.parametrize(("spec", "seed"), [(SMALL, 1), (LARGE, 2)], ids=["4x4", "8x8"])
def test_a_hundred_thousand_transfers_equal_golden_and_closed_form_on_verilator(spec, seed):
    rng = np.random.default_rng(seed)
    rows = spec.array.rows
    most = (14 * rows, 3 * rows * spec.nm_m, 3 * spec.array.cols)
    drawn, batches, transfers = [], [], 0
    while transfers < 52_000:
        batch = [_draw(rng, spec, most, slots=spec.nm_n) for _ in range(4)]
        share = (0.0, 0.02)[len(drawn) % 2]
        vectors, schedule = systolic_tile_case(spec, batch, stall_share=share, seed=seed)
        words = [*vectors.inputs.values(), *vectors.expected.values()]
        transfers += sum(len(stream) for stream in words)
        drawn.append((vectors, schedule))
        batches.append(batch)
    assert _play_on_verilator(spec, drawn, batches) == transfers


@pytest.mark.evidence("sat", "T3")
@settings(max_examples=6, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_array_equals_golden_and_recurrences_on_pysim(data):
    spec = _tiny(
        multiplier_latency_cycles=data.draw(st.integers(1, 3)),
        adder_latency_cycles=data.draw(st.integers(3, 8)),
        interleave=data.draw(st.integers(1, 9)),
        edge_elems_per_cycle=data.draw(st.sampled_from([2, 3, 8])),
        has_double_buffered_weights=data.draw(st.booleans()),
    )
    seed = data.draw(st.integers(0, 1000))
    rng = np.random.default_rng(seed)
    batch = [_draw(rng, spec, (8, 24, 5), slots=2) for _ in range(3)]
    share = data.draw(st.sampled_from([0.0, 0.05]))
    vectors, schedule = systolic_tile_case(spec, batch, stall_share=share, seed=seed)
    check(run_pysim(SystolicTile(spec), vectors), vectors, schedule)


@pytest.mark.parametrize("dataflow", ["ws", "os"])
def test_cycles_and_bits_are_those_of_closed_form_and_stepping(dataflow):
    """Several reduction tiles with stored sums between, ragged everywhere, a ragged last step."""
    spec = _tiny(adder_latency_cycles=4, interleave=3)
    product = random_product(np.random.default_rng(0), spec, (5, 39, 3), (2, 8), dataflow)
    vectors, _ = systolic_tile_case(spec, [product])
    observed = run_pysim(SystolicTile(spec), vectors)
    measured = int(observed.emit_cycles["o"][-1]) - DECODE_CYCLES
    stepped = step_gemm(
        spec.array, dataflow, product.a.view(np.float16), product.b, max_cycles=9999, is_plain=True
    )
    assert measured == stepped.cycles == _whole_cycles(spec, product)
    last = product.play(spec).result
    np.testing.assert_array_equal(last, stepped.output.view(np.uint32))
    check(observed, vectors)


def test_weight_stationary_tiles_start_one_tile_apart():
    """P = T: the next tile's first beat comes with the last sum of the one before."""
    spec = _tiny()
    product = random_product(np.random.default_rng(1), spec, (3, 32, 2), (2, 8), "ws")
    vectors, _ = systolic_tile_case(spec, [product])
    observed = run_pysim(SystolicTile(spec), vectors)
    first_beats = observed.accept_cycles["i_west__0"][::3]
    last_sums = observed.emit_cycles["o"][2::3]
    assert len(first_beats) == len(last_sums) == 2
    assert first_beats[1] == last_sums[0]


def test_special_values_pass_through_the_array_as_ieee_754_says():
    spec = _tiny(interleave=2)
    inf, nan, largest, tiny = 0x7C00, 0x7E01, 0x7BFF, 0x0001
    a = np.array(
        [
            [0x3C00, 0xBC00, 0x0000, 0x8000],  # cancellation to +0
            [inf, 0x3C00, 0x0000, 0x0000],
            [inf, 0xFC00, 0x0000, 0x0000],  # infinities of both signs
            [nan, 0x3C00, 0x3C00, 0x3C00],
            [tiny, tiny, 0x8001, 0x03FF],  # subnormal operands
            [largest, largest, largest, largest],
        ],
        dtype=np.uint16,
    )
    weights = np.array([[1.0], [1.0], [-0.0], [2.0**-24]], dtype=np.float16)
    b = encode_nm(weights, np.ones((4, 1), bool), 1, 1)
    for dataflow in ("ws", "os"):
        product = Product(dataflow, a, b, 2)
        result = product.play(spec).result[:, 0]
        assert result[:4].tolist() == [0, 0x7F80_0000, 0x7FC0_0000, 0x7FC0_0000]
        with np.errstate(over="ignore"):
            exact = (a[4:].view(np.float16).astype(float) * weights[:, 0].astype(float)).sum(axis=1)
        np.testing.assert_array_equal(result[4:].view(np.float32), exact.astype(np.float32))
        vectors, schedule = systolic_tile_case(spec, [product])
        check(run_pysim(SystolicTile(spec), vectors), vectors, schedule)


@pytest.mark.parametrize(
    ("mutant", "category"), [(MutantTile, "outputs"), (EarlyTile, "outputs"), ("late", "schedule")]
)
def test_a_wrong_array_is_found(mutant, category):
    spec = _tiny()
    product = random_product(np.random.default_rng(3), spec, (9, 20, 3), (2, 8), "ws")
    vectors, schedule = systolic_tile_case(spec, [product])
    unit = Faulty(SystolicTile(spec), "late") if mutant == "late" else mutant(spec)
    with pytest.raises(CosimError) as found:
        check(run_pysim(unit, vectors), vectors, schedule)
    assert found.value.category == category


def test_timing_is_the_same_in_rtl_simulator_and_measurement():
    spec = _tiny()
    product = random_product(np.random.default_rng(4), spec, (4, 2, 2), (1, 1), "ws")
    vectors, _ = systolic_tile_case(spec, [product])
    observed = run_pysim(SystolicTile(spec), vectors)
    emits = observed.emit_cycles["o"]
    latency = int(emits[0] - observed.accept_cycles["i_west__0"][0])
    [interval] = set(np.diff(emits).tolist())
    assert systolic_tile.timing(spec) == model.tile_timing(spec)
    assert (latency, interval) == (model.tile_timing(spec).latency_cycles, 1)


@pytest.mark.parametrize("option", ["overlap_skew", "overlap_drain"])
def test_an_option_the_array_lacks_is_refused_by_rtl_and_simulator(option):
    spec = _tiny(**{option: True})
    with pytest.raises(SpecError, match=option):
        SystolicTile(spec)
    product = random_product(np.random.default_rng(0), spec, (1, 1, 1), (1, 1), "ws")
    with pytest.raises(SpecError, match=option):
        product.play(spec)


def test_stalled_streams_lose_nothing_and_results_wait():
    result = prove_rtlil(proof_rtlil(SystolicTile(PROOF), systolic_tile_properties))
    assert result.is_proved, result.log


@pytest.mark.parametrize("mutant", [DropsWhenFrozen, OverwritesOutput])
def test_an_array_that_loses_words_is_refuted(mutant):
    text = proof_rtlil(mutant(PROOF), systolic_tile_properties)
    assert prove_rtlil(text, 12).status == "refuted"
