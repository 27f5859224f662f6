# amaranth: UnusedElaboratable=no
# A unit refused by its constructor is never elaborated.
"""Does the unpacker give back the groups that were packed, in the cycles that are predicted?"""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.hdl import Const, Module
from amaranth.lib import wiring
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.cli.rtl_cases.packing import nm_packer_case, nm_unpacker_case, random_blocks
from hwsim.core.errors import SpecError
from hwsim.core.machine import UnitTiming
from hwsim.sat import packer
from hwsim.sat.spec import PackerSpec, SorterSpec
from rtl.cosim.check import CosimError, check
from rtl.cosim.faults import Faulty
from rtl.cosim.pysim import run_pysim
from rtl.cosim.vectors import Vectors
from rtl.cosim.verilator import run_verilator
from rtl.formal.bench import proof_rtlil
from rtl.formal.nm_packing import nm_unpacker_properties
from rtl.formal.prove import prove_rtlil
from rtl.sat import nm_unpacker
from rtl.sat.nm_packer import NmPacker
from rtl.sat.nm_unpacker import NmUnpacker


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
WORDS = st.sampled_from([64, 128, 512])


def _blocks(spec: PackerSpec, blocks: int, groups: int, seed: int = 0):
    return random_blocks(np.random.default_rng(seed), spec, blocks, groups)


class KeepsPadding(NmUnpacker):
    """Takes the padding of a block for the begin of the next."""

    def _is_last(self):
        return Const(0, 1)


class RoundTrip(wiring.Component):
    """Packer and unpacker back to back."""

    def __init__(self, spec: PackerSpec) -> None:
        self.packer, self.unpacker = NmPacker(spec), NmUnpacker(spec)
        members = self.packer.signature.members
        super().__init__({**members, "o": self.unpacker.signature.members["o"]})

    def elaborate(self, platform):
        m = Module()
        m.submodules.packer, m.submodules.unpacker = self.packer, self.unpacker
        words = self.packer.o
        m.d.comb += [
            self.packer.i_groups.eq(self.i_groups),
            self.unpacker.i_groups.eq(self.i_groups),
            self.unpacker.i.valid.eq(words.valid),
            self.unpacker.i.payload.eq(words.payload.data),
            words.ready.eq(self.unpacker.i.ready),
        ]
        wiring.connect(m, wiring.flipped(self.i), self.packer.i)
        wiring.connect(m, self.unpacker.o, wiring.flipped(self.o))
        return m


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("stall_share", [0.0, 0.5])
@pytest.mark.parametrize("groups", [1, 7, 32])
def test_rtl_equals_golden_and_cycle_model_on_pysim(spec, stall_share, groups):
    blocks = _blocks(spec, 4, groups)
    vectors, schedule = nm_unpacker_case(spec, blocks, stall_share=stall_share, seed=groups)
    check(run_pysim(NmUnpacker(spec), vectors), vectors, schedule)


@pytest.mark.evidence("sat", "T3")
def test_a_hundred_thousand_transfers_under_random_stalls_on_verilator():
    spec = SPECS[1]
    drawn = [
        nm_unpacker_case(spec, _blocks(spec, 65, 1000), stall_share=0.1, seed=3),
        nm_unpacker_case(spec, _blocks(spec, 5, 101), seed=4),
    ]
    played = run_verilator(NmUnpacker(spec), [vectors for vectors, _ in drawn])
    for observed, (vectors, schedule) in zip(played, drawn, strict=True):
        check(observed, vectors, schedule)
    # 65 000 groups and the words that hold them.
    moved = [len(trace.transfer_cycles) for trace in played[0].streams.values()]
    assert sum(moved) > 100_000


@settings(max_examples=20, deadline=None, derandomize=True)
@given(data=st.data())
def test_groups_survive_packing_and_unpacking_under_any_stalls(data):
    nm_m = data.draw(st.integers(2, 16))
    spec = _spec((data.draw(st.integers(1, min(nm_m, 5))), nm_m), data.draw(WORDS))
    blocks = _blocks(spec, data.draw(st.integers(1, 3)), data.draw(st.integers(1, 9)))
    share = data.draw(st.sampled_from([0.0, 0.4, 0.9]))
    packed, _ = nm_packer_case(spec, blocks, stall_share=share, seed=data.draw(st.integers(0, 99)))
    groups = packed.inputs["i"]
    vectors = Vectors(
        inputs={"i": groups},
        expected={"o": groups},
        source_gaps=packed.source_gaps,
        sink_stalls=packed.sink_stalls,
        statics=packed.statics,
    )
    check(run_pysim(RoundTrip(spec), vectors), vectors)


@pytest.mark.parametrize("spec", SPECS[:2])
def test_padding_is_not_read(spec):
    blocks = _blocks(spec, 3, 5)
    vectors, schedule = nm_unpacker_case(spec, blocks, is_padded_with_ones=True)
    assert vectors.inputs != nm_unpacker_case(spec, blocks)[0].inputs
    check(run_pysim(NmUnpacker(spec), vectors), vectors, schedule)


def test_padding_taken_for_a_group_is_found():
    spec = SPECS[0]
    vectors, schedule = nm_unpacker_case(spec, _blocks(spec, 3, 5))
    with pytest.raises(CosimError, match="outputs"):
        check(run_pysim(KeepsPadding(spec), vectors), vectors, schedule)


@pytest.mark.parametrize(
    ("fault", "category"),
    [("flip", "outputs"), ("drop", "outputs"), ("retract", "stream rules"), ("late", "schedule")],
)
def test_each_fault_is_found(fault, category):
    spec = SPECS[1]
    share = 0.4 if fault == "retract" else 0.0
    vectors, schedule = nm_unpacker_case(spec, _blocks(spec, 3, 20), stall_share=share, seed=1)
    with pytest.raises(CosimError) as found:
        check(run_pysim(Faulty(NmUnpacker(spec), fault), vectors), vectors, schedule)
    assert found.value.category == category


@pytest.mark.parametrize("spec", SPECS)
def test_timing_is_the_same_in_rtl_simulator_and_measurement(spec):
    vectors, _ = nm_unpacker_case(spec, _blocks(spec, 1, 40))
    observed = run_pysim(NmUnpacker(spec), vectors)
    accepts, emits = observed.accept_cycles["i"], observed.emit_cycles["o"]
    # The word that completes the first group.
    completing = -(-spec.group_bits // spec.word_bits) - 1
    latency = int(emits[0] - accepts[completing])
    interval = int(np.diff(emits).max())
    assert nm_unpacker.timing(spec) == packer.timing(spec) == UnitTiming(latency, interval)
    # Not offered at t - 1 (three cycles of reset come first).
    assert int(observed.streams["o"].valid.argmax()) == 3 + accepts[completing] + latency


def test_every_bit_but_padding_leaves_once_at_its_place():
    result = prove_rtlil(proof_rtlil(NmUnpacker(_spec((1, 2), 64)), nm_unpacker_properties))
    assert result.is_proved, result.log


def test_an_unpacker_that_keeps_padding_is_refuted():
    text = proof_rtlil(KeepsPadding(_spec((1, 2), 64)), nm_unpacker_properties)
    assert prove_rtlil(text, 6).status == "refuted"


def test_a_pattern_that_sore_does_not_emit_is_refused():
    with pytest.raises(SpecError, match="need nm_m >= 2 and nm_n <= nm_m"):
        NmUnpacker(_spec((3, 2), 64))
