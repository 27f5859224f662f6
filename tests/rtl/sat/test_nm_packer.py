# amaranth: UnusedElaboratable=no
# A unit refused by its constructor is never elaborated.
"""Does the packer lay groups out as the golden layout says, in the cycles that are predicted?"""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.hdl import Const
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.cli.rtl_cases.packing import nm_packer_case, random_blocks
from hwsim.core.errors import SpecError
from hwsim.core.machine import UnitTiming
from hwsim.sat import packer
from hwsim.sat.spec import PackerSpec, SorterSpec
from rtl.cosim.check import CosimError, check
from rtl.cosim.faults import Faulty
from rtl.cosim.pysim import run_pysim
from rtl.cosim.verilator import run_verilator
from rtl.formal.bench import proof_rtlil
from rtl.formal.nm_packing import nm_packer_properties
from rtl.formal.prove import prove_rtlil
from rtl.sat import nm_packer
from rtl.sat.nm_packer import NmPacker


def _spec(pattern: tuple[int, int], word_bits: int) -> PackerSpec:
    return PackerSpec(sorter=SorterSpec(nm_n=pattern[0], nm_m=pattern[1]), word_bits=word_bits)


SPECS = [
    _spec((2, 8), 512),
    _spec((2, 8), 64),
    _spec((1, 2), 128),
    _spec((3, 5), 64),
    _spec((4, 32), 64),  # groups wider than words
    _spec((8, 16), 64),
]


def _blocks(spec: PackerSpec, blocks: int, groups: int, seed: int = 0):
    return random_blocks(np.random.default_rng(seed), spec, blocks, groups)


class NeverPads(NmPacker):
    """Lets the next block follow in the same word."""

    def _is_last(self):
        return Const(0, 1)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("stall_share", [0.0, 0.5])
@pytest.mark.parametrize("groups", [1, 7, 32])
def test_rtl_equals_golden_and_cycle_model_on_pysim(spec, stall_share, groups):
    blocks = _blocks(spec, 4, groups)
    vectors, schedule = nm_packer_case(spec, blocks, stall_share=stall_share, seed=groups)
    check(run_pysim(NmPacker(spec), vectors), vectors, schedule)


@pytest.mark.evidence("sat", "T3")
def test_a_hundred_thousand_transfers_under_random_stalls_on_verilator():
    spec = SPECS[1]
    drawn = [
        nm_packer_case(spec, _blocks(spec, 65, 1000), stall_share=0.1, seed=3),
        nm_packer_case(spec, _blocks(spec, 5, 101), seed=4),
    ]
    played = run_verilator(NmPacker(spec), [vectors for vectors, _ in drawn])
    for observed, (vectors, schedule) in zip(played, drawn, strict=True):
        check(observed, vectors, schedule)
    # 65 000 groups and the words that hold them.
    moved = [len(trace.transfer_cycles) for trace in played[0].streams.values()]
    assert sum(moved) > 100_000


@settings(max_examples=20, deadline=None, derandomize=True)
@given(data=st.data())
def test_rtl_equals_golden_for_any_blocks_and_stalls(data):
    nm_m = data.draw(st.integers(2, 16))
    spec = _spec((data.draw(st.integers(1, min(nm_m, 5))), nm_m), 64)
    blocks = _blocks(spec, data.draw(st.integers(1, 3)), data.draw(st.integers(1, 9)))
    vectors, schedule = nm_packer_case(
        spec,
        blocks,
        stall_share=data.draw(st.sampled_from([0.0, 0.4, 0.9])),
        seed=data.draw(st.integers(0, 1000)),
    )
    check(run_pysim(NmPacker(spec), vectors), vectors, schedule)


def test_words_hold_the_documented_bits():
    spec = _spec((1, 4), 64)
    values = np.array([[[0x1111], [0x2222], [0x3333], [0x4444]]], dtype=np.uint16)
    indices = np.array([[[1], [2], [3], [0]]], dtype=np.uint8)
    bits = 0x0_4444 << 54 | 0x3_3333 << 36 | 0x2_2222 << 18 | 0x1_1111
    vectors, schedule = nm_packer_case(spec, (values, indices))
    assert list(vectors.expected["o"]) == [bits & (1 << 64) - 1, 1 << 64 | bits >> 64]
    check(run_pysim(NmPacker(spec), vectors), vectors, schedule)


def test_blocks_that_share_a_word_are_found():
    spec = SPECS[1]
    vectors, schedule = nm_packer_case(spec, _blocks(spec, 3, 5))
    with pytest.raises(CosimError, match="outputs"):
        check(run_pysim(NeverPads(spec), vectors), vectors, schedule)


@pytest.mark.parametrize(
    ("fault", "category"),
    [("flip", "outputs"), ("drop", "outputs"), ("retract", "stream rules"), ("late", "schedule")],
)
def test_each_fault_is_found(fault, category):
    spec = SPECS[1]
    share = 0.4 if fault == "retract" else 0.0
    vectors, schedule = nm_packer_case(spec, _blocks(spec, 3, 20), stall_share=share, seed=1)
    with pytest.raises(CosimError) as found:
        check(run_pysim(Faulty(NmPacker(spec), fault), vectors), vectors, schedule)
    assert found.value.category == category


@pytest.mark.parametrize("spec", SPECS)
def test_timing_is_the_same_in_rtl_simulator_and_measurement(spec):
    vectors, _ = nm_packer_case(spec, _blocks(spec, 1, 40))
    observed = run_pysim(NmPacker(spec), vectors)
    accepts, emits = observed.accept_cycles["i"], observed.emit_cycles["o"]
    # The group that completes the first word.
    completing = -(-spec.word_bits // spec.group_bits) - 1
    latency = int(emits[0] - accepts[completing])
    interval = int(np.diff(accepts).max())
    assert nm_packer.timing(spec) == packer.timing(spec) == UnitTiming(latency, interval)
    # Not offered at t - 1 (three cycles of reset come first).
    assert int(observed.streams["o"].valid.argmax()) == 3 + accepts[completing] + latency


@pytest.mark.parametrize("pattern", [(1, 2), (4, 4)])
def test_every_bit_of_a_group_leaves_once_at_its_place(pattern):
    result = prove_rtlil(proof_rtlil(NmPacker(_spec(pattern, 64)), nm_packer_properties))
    assert result.is_proved, result.log


def test_a_packer_that_never_pads_is_refuted():
    text = proof_rtlil(NeverPads(_spec((4, 4), 64)), nm_packer_properties)
    assert prove_rtlil(text, 6).status == "refuted"


def test_a_pattern_that_sore_does_not_emit_is_refused():
    with pytest.raises(SpecError, match="need nm_m >= 2 and nm_n <= nm_m"):
        NmPacker(_spec((3, 2), 64))
