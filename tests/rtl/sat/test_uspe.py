# amaranth: UnusedElaboratable=no
# A unit refused by its constructor is never elaborated.
"""Does one PE add the right product to the right sum, in the cycles the simulator predicts?"""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.hdl import Const
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.cli.rtl_cases.uspe import random_operations, uspe_case
from hwsim.core.errors import SpecError
from hwsim.sat import uspe as model
from hwsim.sat.spec import ArraySpec, TileSpec
from hwsim.sat.uspe import Operation, PeInputs, Weight
from rtl.cosim.check import CosimError, check
from rtl.cosim.pysim import run_pysim
from rtl.cosim.verilator import run_verilator
from rtl.formal.bench import proof_rtlil
from rtl.formal.prove import prove_rtlil
from rtl.formal.uspe import uspe_properties
from rtl.formal.west_lane import west_lane_properties
from rtl.sat import uspe
from rtl.sat.uspe import Uspe, op_layout, sum_layout, weight_layout
from rtl.sat.west_lane import WestLane


def _spec(latency: int = 6, interleave: int = 8, nm: tuple[int, int] = (2, 8), **array) -> TileSpec:
    built = ArraySpec(adder_latency_cycles=latency, interleave=interleave, **array)
    return TileSpec(array=built, nm_n=nm[0], nm_m=nm[1])


PROOF = _spec(3, 2, (2, 4), multiplier_latency_cycles=1, edge_elems_per_cycle=2)


class PicksNeighbour(Uspe):
    """Multiplies the element beside the one the weight names."""

    def _select(self, group, index):
        return super()._select(group, index ^ 1)


class WritesLate(Uspe):
    """Loses the sums of operations that are neither first nor last."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        is_middle = ~self.ops[-1].is_first & ~self.ops[-1].is_last
        with m.If(is_middle & ~self.i_shift):
            m.d.comb += self.is_stored.eq(0)
        return m


class StartsFromSum(Uspe):
    """Never clears: first products are added to what was there."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        with m.If(self.i_is_os):
            m.d.comb += self.addend.eq(Const(0x3F80_0000, 32))
        return m


class NeverWaits(WestLane):
    """Begins the next slot when its entries are issued, sums back or not."""

    def _issue(self, m, entries):
        is_done = super()._issue(m, entries)
        with m.If((self.turn == entries - 1) & ~is_done):
            m.d.sync += [self.turn.eq(0), self.slot.eq(self.slot + 1)]
        return is_done


def _mixed(rng: np.random.Generator, spec: TileSpec, cycles: int, share: float) -> list[PeInputs]:
    return [
        step
        for is_os in (False, True, False)
        for step in random_operations(rng, spec, cycles, is_os=is_os, share=share)
    ]


@pytest.mark.evidence("sat", "T3")
def test_a_hundred_thousand_operations_with_random_gaps_on_verilator():
    spec = _spec()
    rng = np.random.default_rng(5)
    cycles = _mixed(rng, spec, 11_000, 0.0) + _mixed(rng, spec, 3_000, 0.5)
    vectors, schedule = uspe_case(spec, cycles, seed=5)
    [observed] = run_verilator(Uspe(spec), [vectors])
    check(observed, vectors, schedule)
    transfers = sum(len(trace.transfer_cycles) for trace in observed.streams.values())
    assert transfers > 100_000


@pytest.mark.evidence("sat", "T3")
@settings(max_examples=10, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_pe_equals_the_model_on_pysim(data):
    spec = _spec(
        data.draw(st.integers(1, 8)),
        data.draw(st.integers(1, 9)),
        data.draw(st.sampled_from([(1, 2), (2, 4), (2, 8), (3, 5), (4, 8)])),
        multiplier_latency_cycles=data.draw(st.integers(1, 4)),
        has_double_buffered_weights=data.draw(st.booleans()),
    )
    seed = data.draw(st.integers(0, 1000))
    share = data.draw(st.sampled_from([0.0, 0.5]))
    cycles = _mixed(np.random.default_rng(seed), spec, 100, share)
    vectors, schedule = uspe_case(spec, cycles, seed=seed)
    check(run_pysim(Uspe(spec), vectors), vectors, schedule)


def test_what_is_played_is_packed_as_the_layouts_say():
    spec = _spec()
    steps = _mixed(np.random.default_rng(1), spec, 40, 0.3)
    played = uspe_case(spec, steps, seed=1)[0].inputs
    layouts = {"west": op_layout, "weight": weight_layout, "psum": sum_layout}
    for name, layout in layouts.items():
        records = [getattr(step, name) for step in steps if getattr(step, name) is not None]
        fields = [
            {key: list(x) if isinstance(x, tuple) else x for key, x in vars(record).items()}
            for record in records
        ]
        words = [layout(spec).const(entry).as_value().value for entry in fields]
        assert words
        assert played[f"i_{name}"] == words


ONE, MINUS_ONE, HALF_ULP = 0x3C00, 0xBC00, 0x0C00
"""FP16 words of 1, -1 and 2**-12, whose square is half a unit in the last place of 1."""

CORNER_SUMS = {
    "+0 and -0": ([(0x0000, ONE), (0x8000, ONE)], 0x0000_0000),
    "-0 after the clear": ([(0x8000, ONE)], 0x0000_0000),
    "cancellation": ([(ONE, ONE), (MINUS_ONE, ONE)], 0x0000_0000),
    "smallest subnormals": ([(0x0001, 0x0001)], 0x2780_0000),  # 2**-48
    "subnormal and normal": ([(0x03FF, ONE), (0x0001, ONE)], 0x3880_0000),  # 2**-14
    "infinity": ([(0x7C00, ONE), (ONE, ONE)], 0x7F80_0000),
    "infinities of both signs": ([(0x7C00, ONE), (0xFC00, ONE)], 0x7FC0_0000),
    "infinity times zero": ([(0x7C00, 0x8000)], 0x7FC0_0000),
    "NaN stays": ([(0xFE01, ONE), (ONE, ONE), (ONE, ONE)], 0x7FC0_0000),
    "largest products": ([(0x7BFF, 0x7BFF)] * 2, 0x4FFF_C004),
    "tie to even, down": ([(ONE, ONE), (HALF_ULP, HALF_ULP)], 0x3F80_0000),
    "tie to even, up": (
        [(ONE, ONE), (HALF_ULP, HALF_ULP), (HALF_ULP, 0x1000), (HALF_ULP, HALF_ULP)],
        0x3F80_0002,
    ),
}
"""Operand pairs summed in order from +0, and the FP32 word that IEEE 754 asks for."""


@pytest.mark.parametrize("case", CORNER_SUMS)
def test_corner_sums_are_the_documented_ones(case):
    pairs, total = CORNER_SUMS[case]
    spec = _spec(3, 2, (1, 2))
    cycles = []
    for number, (element, weight) in enumerate(pairs):
        op = Operation(1, 0, number == 0, number == len(pairs) - 1, (0x7E00, element))
        cycles += [PeInputs(is_os=True, west=op, weight=Weight(weight, 1))]
        cycles += [PeInputs(is_os=True)] * 2
    cycles += [PeInputs(is_os=True)] * 8
    vectors, schedule = uspe_case(spec, cycles)
    observed = run_pysim(Uspe(spec), vectors)
    check(observed, vectors, schedule)
    assert observed.outputs["o_psum"] == [total | 1 << 32]


@pytest.mark.parametrize("mutant", [PicksNeighbour, WritesLate, StartsFromSum])
def test_a_wrong_pe_is_found_by_the_comparison(mutant):
    spec = _spec(3, 2)
    vectors, schedule = uspe_case(spec, _mixed(np.random.default_rng(1), spec, 100, 0.0))
    with pytest.raises(CosimError) as found:
        check(run_pysim(mutant(spec), vectors), vectors, schedule)
    assert found.value.category == "outputs"


def test_a_sum_leaves_in_the_cycle_of_its_latency_and_not_before():
    spec = _spec(4)
    op = Operation(0, 0, True, True, (ONE,) * 8)
    vectors, _ = uspe_case(spec, [PeInputs(west=op)])
    observed = run_pysim(Uspe(spec), vectors)
    latency = int(observed.emit_cycles["o_psum"][0] - observed.accept_cycles["i_west"][0])
    assert uspe.timing(spec) == model.timing(spec)
    assert latency == model.timing(spec).latency_cycles
    assert len(observed.emit_cycles["o_psum"]) == 1


def test_more_weights_than_a_group_has_elements_are_refused():
    with pytest.raises(SpecError, match="tile.nm_n: need <= nm_m = 4, found 5"):
        Uspe(_spec(nm=(5, 4)))


@pytest.mark.parametrize("latency", [1, 3, 4])
def test_every_operation_adds_its_element_to_the_newest_sum(latency):
    array = PROOF.array.model_copy(update={"adder_latency_cycles": latency})
    spec = PROOF.model_copy(update={"array": array})
    result = prove_rtlil(proof_rtlil(Uspe(spec), uspe_properties))
    assert result.is_proved, result.log


@pytest.mark.parametrize("mutant", [PicksNeighbour, WritesLate])
def test_a_wrong_pe_is_refuted(mutant):
    assert prove_rtlil(proof_rtlil(mutant(PROOF), uspe_properties), 8).status == "refuted"


@pytest.mark.parametrize(("latency", "interleave"), [(3, 2), (2, 3), (4, 4), (1, 1)])
def test_a_lane_keeps_dependent_operations_apart(latency, interleave):
    update = {"adder_latency_cycles": latency, "interleave": interleave}
    spec = PROOF.model_copy(
        update={"array": PROOF.array.model_copy(update=update), "count_bits": 3}
    )
    result = prove_rtlil(proof_rtlil(WestLane(spec), west_lane_properties))
    assert result.is_proved, result.log


def test_a_lane_that_does_not_wait_for_the_adder_is_refuted():
    text = proof_rtlil(NeverWaits(PROOF), west_lane_properties)
    assert prove_rtlil(text, 10).status == "refuted"
