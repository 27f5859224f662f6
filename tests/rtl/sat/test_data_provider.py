# amaranth: UnusedElaboratable=no
# A unit refused by its constructor is never elaborated.
"""Does the data provider put every word where its direction says, in the predicted cycles?"""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.cli.rtl_cases.reduction import data_provider_case, pack_rows
from hwsim.cli.rtl_cases.sorter import random_groups
from hwsim.core.errors import SpecError
from hwsim.core.machine import UnitTiming
from hwsim.sat import data_provider as model
from hwsim.sat.spec import SoreSpec, SorterSpec
from rtl.cosim.check import CosimError, check
from rtl.cosim.pysim import run_pysim
from rtl.cosim.vectors import Schedule, Vectors, random_stalls
from rtl.cosim.verilator import run_verilator
from rtl.formal.bench import proof_rtlil
from rtl.formal.data_provider import data_provider_properties
from rtl.formal.prove import prove_rtlil
from rtl.sat import data_provider
from rtl.sat.data_provider import DataProvider, row_layout
from rtl.sat.units import SORE_SPEC

SHAPES = [(2, 2), (4, 2), (6, 3), (8, 4), (8, 8)]


def _spec(lanes: int, nm_m: int) -> SoreSpec:
    return SoreSpec(lanes=lanes, sorter=SorterSpec(nm_n=1, nm_m=nm_m))


def _rows(spec: SoreSpec, blocks: int, seed: int = 0) -> np.ndarray:
    return random_groups(np.random.default_rng(seed), blocks * spec.sorter.nm_m, spec.lanes)


class ReversedTiles(DataProvider):
    """Gives lane r of a tile the row that is r from the end."""

    def _origin(self, number, lane):
        row, column = super()._origin(number, lane)
        return self.spec.sorter.nm_m - 1 - row, column


class AcceptsEarly(DataProvider):
    """Takes the last row of a block while the one before has not left."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += self.i.ready.eq(1)
        return m


class Directed(wiring.Component):
    """Carries the direction beside each row, so that it can change while the unit runs."""

    def __init__(self, spec: SoreSpec) -> None:
        row = row_layout(spec)
        tagged = data.StructLayout({"row": row, "dir": 1})
        self.provider = DataProvider(spec)
        super().__init__({"i": In(stream.Signature(tagged)), "o": Out(stream.Signature(row))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.provider = provider = self.provider
        wiring.connect(m, provider.o, wiring.flipped(self.o))
        m.d.comb += [
            provider.i.payload.eq(self.i.payload.row),
            provider.i_dir.eq(self.i.payload.dir),
            provider.i.valid.eq(self.i.valid),
            self.i.ready.eq(provider.i.ready),
        ]
        return m


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("is_transposed", [False, True])
@pytest.mark.parametrize("stall_share", [0.0, 0.5])
def test_rtl_equals_golden_and_cycle_model_on_pysim(shape, is_transposed, stall_share):
    spec = _spec(*shape)
    vectors, schedule = data_provider_case(
        spec, _rows(spec, 12), is_transposed=is_transposed, stall_share=stall_share, seed=5
    )
    check(run_pysim(DataProvider(spec), vectors), vectors, schedule)


def test_all_lanes_of_the_paper_are_fed_without_a_bubble():
    spec = SoreSpec()
    for is_transposed in (False, True):
        vectors, schedule = data_provider_case(spec, _rows(spec, 4), is_transposed=is_transposed)
        observed = run_pysim(DataProvider(spec), vectors)
        check(observed, vectors, schedule)
        # One row of 32 per cycle in and out.
        assert set(np.diff(observed.accept_cycles["i"]).tolist()) == {1}
        assert set(np.diff(observed.emit_cycles["o"]).tolist()) == {1}


@pytest.mark.evidence("sat", "T3")
def test_a_hundred_thousand_rows_under_random_stalls_on_verilator():
    drawn = [
        data_provider_case(
            SORE_SPEC, _rows(SORE_SPEC, blocks, seed), is_transposed=turned, stall_share=share
        )
        for seed, (blocks, turned, share) in enumerate(
            [(12_500, True, 0.3), (12_500, False, 0.3), (50, True, 0.0), (50, False, 0.0)]
        )
    ]
    played = run_verilator(DataProvider(SORE_SPEC), [vectors for vectors, _ in drawn])
    for observed, (vectors, schedule) in zip(played, drawn, strict=True):
        check(observed, vectors, schedule)
    assert sum(len(observed.accept_cycles["i"]) for observed in played[:2]) == 100_000


@settings(max_examples=25, deadline=None, derandomize=True)
@given(shape=st.sampled_from(SHAPES), seed=st.integers(0, 1000), data=st.data())
def test_direction_may_change_with_every_block(shape, seed, data):
    spec = _spec(*shape)
    rng = np.random.default_rng(seed)
    blocks = data.draw(st.integers(1, 8))
    share = data.draw(st.sampled_from([0.0, 0.4, 0.8]))
    rows = _rows(spec, blocks, seed)
    # Only the direction beside the first row of a block counts.
    beside = rng.integers(0, 2, len(rows))
    directions = beside[:: spec.sorter.nm_m].astype(bool)
    gaps, stalls = (random_stalls(rng, 2 * len(rows), share) for _ in range(2))
    words = pack_rows(rows)
    vectors = Vectors(
        inputs={
            "i": [bit << 16 * spec.lanes | w for bit, w in zip(beside.tolist(), words, strict=True)]
        },
        expected={"o": pack_rows(model.provide_rows(spec, rows, directions))},
        source_gaps={"i": gaps},
        sink_stalls={"o": stalls},
        seed=seed,
    )
    accepts, emits = model.play_provider(spec, directions, gaps, stalls)
    check(run_pysim(Directed(spec), vectors), vectors, Schedule({"i": accepts}, {"o": emits}))


def test_timing_is_the_same_in_rtl_simulator_and_measurement():
    spec = _spec(8, 4)
    vectors, _ = data_provider_case(spec, _rows(spec, 5), is_transposed=True)
    observed = run_pysim(DataProvider(spec), vectors)
    lasts, firsts = observed.accept_cycles["i"][3::4], observed.emit_cycles["o"][::4]
    [latency] = set((firsts - lasts).tolist())
    [interval] = set(np.diff(firsts).tolist())
    assert data_provider.timing(spec) == model.timing(spec) == UnitTiming(latency, interval)
    # Not offered at t - 1 (three cycles of reset come first).
    assert int(observed.streams["o"].valid.argmax()) == 3 + int(lasts[0]) + latency

    vectors, _ = data_provider_case(spec, _rows(spec, 5), is_transposed=False)
    observed = run_pysim(DataProvider(spec), vectors)
    [latency] = set((observed.emit_cycles["o"] - observed.accept_cycles["i"]).tolist())
    [interval] = set(np.diff(observed.emit_cycles["o"]).tolist())
    assert model.timing(spec, is_transposed=False) == UnitTiming(latency, interval)


def test_a_wrong_permutation_is_found():
    spec = _spec(8, 4)
    vectors, schedule = data_provider_case(spec, _rows(spec, 4), is_transposed=True)
    with pytest.raises(CosimError) as found:
        check(run_pysim(ReversedTiles(spec), vectors), vectors, schedule)
    assert found.value.category == "outputs"


@pytest.mark.parametrize("shape", [(4, 2), (6, 3), (8, 4)])
def test_every_word_leaves_once_in_its_place(shape):
    result = prove_rtlil(proof_rtlil(DataProvider(_spec(*shape)), data_provider_properties))
    assert result.is_proved, result.log


@pytest.mark.parametrize("mutant", [ReversedTiles, AcceptsEarly])
def test_a_provider_that_misplaces_or_loses_words_is_refuted(mutant):
    text = proof_rtlil(mutant(_spec(2, 2)), data_provider_properties)
    assert prove_rtlil(text, 6).status == "refuted"


@pytest.mark.parametrize("shape", [(6, 4), (4, 8), (4, 1)])
def test_lanes_that_tiles_do_not_fill_are_refused_by_rtl_and_simulator(shape):
    with pytest.raises(SpecError, match="need nm_m >= 2 that divides lanes"):
        DataProvider(_spec(*shape))
    with pytest.raises(SpecError, match="need nm_m >= 2 that divides lanes"):
        model.timing(_spec(*shape))
