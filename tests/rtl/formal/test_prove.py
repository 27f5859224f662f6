"""Do the proofs hold, and do they fail for a broken unit?"""

from __future__ import annotations

import pytest
from amaranth.hdl import Module

from hwsim.sat.spec import SorterSpec
from rtl.common.fifo import Fifo, FifoSpec
from rtl.cosim.faults import Faulty
from rtl.formal.bench import proof_rtlil
from rtl.formal.fifo import fifo_properties
from rtl.formal.prove import prove_rtlil
from rtl.formal.topn_sorter import topn_sorter_properties
from rtl.sat.topn_sorter import TopNSorter


class TieToLatest(TopNSorter):
    """Lets an equal magnitude displace an earlier one."""

    def _beats(self, word, slot):
        return word[:-1] >= slot.value[:-1]


class ForgetsWhenFull(Fifo):
    """Accepts one word more than it has room for."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += self.i.ready.eq(1)
        return m


@pytest.mark.parametrize("depth", [1, 2, 3, 8])
def test_fifo_loses_and_repeats_nothing_and_keeps_order(depth):
    text = proof_rtlil(Fifo(FifoSpec(width_bits=8, depth=depth)), fifo_properties)
    result = prove_rtlil(text)
    assert result.is_proved, result.log


@pytest.mark.parametrize("pattern", [(1, 4), (2, 4), (2, 8)])
def test_sorter_keeps_the_largest_with_ties_to_the_lowest_index(pattern):
    spec = SorterSpec(nm_n=pattern[0], nm_m=pattern[1])
    result = prove_rtlil(proof_rtlil(TopNSorter(spec), topn_sorter_properties))
    assert result.is_proved, result.log


def test_a_fifo_that_overflows_is_refuted():
    unit = ForgetsWhenFull(FifoSpec(width_bits=8, depth=2))
    assert prove_rtlil(proof_rtlil(unit, fifo_properties), 6).status == "refuted"


def test_a_sorter_with_another_tie_rule_is_refuted():
    unit = TieToLatest(SorterSpec(nm_n=1, nm_m=2))
    assert prove_rtlil(proof_rtlil(unit, topn_sorter_properties), 6).status == "refuted"


def test_a_unit_that_takes_an_offer_back_is_refuted_by_the_stream_rules_alone():
    def none(m: Module, unit: object) -> None:
        """Leave only what every bench asserts."""

    unit = Faulty(Fifo(FifoSpec(width_bits=4, depth=2)), "retract")
    assert prove_rtlil(proof_rtlil(unit, none), 6).status == "refuted"


def test_a_result_is_kept_and_a_changed_unit_is_proved_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("HWSIM_CACHE", str(tmp_path))
    text = proof_rtlil(Fifo(FifoSpec(width_bits=1, depth=1)), fifo_properties)
    first = prove_rtlil(text)
    assert prove_rtlil(text) == first
    assert len([p for p in (tmp_path / "proofs").iterdir() if p.is_dir()]) == 1
    other = prove_rtlil(proof_rtlil(Fifo(FifoSpec(width_bits=1, depth=2)), fifo_properties))
    assert other.is_proved
    assert len([p for p in (tmp_path / "proofs").iterdir() if p.is_dir()]) == 2
