"""State that slices and their chain lose, repeat and reorder nothing, and when registers move."""

from __future__ import annotations

from amaranth.hdl import Assert, Module

from rtl.flightllm.csd_chain import CsdChain
from rtl.flightllm.dsp48 import Dsp48Mac
from rtl.formal.float_pipeline import assert_words
from rtl.formal.pipeline import pipeline_properties

__all__ = ["csd_chain_properties", "dsp48_mac_properties"]


def dsp48_mac_properties(m: Module, unit: Dsp48Mac) -> None:
    """Assert a pipeline's properties; and that P changes for transfers only."""
    pipeline_properties(m, unit)
    cell = unit.slice
    assert_words(m, cell.moves, unit.is_moving)
    arrives = unit.is_used[-2] & unit.is_moving
    m.d.comb += Assert(cell.i_ce_p == arrives)
    assert_words(m, [(cell.p, cell.next_p)], arrives)


def csd_chain_properties(m: Module, unit: CsdChain) -> None:
    """Assert a pipeline's properties, those of the slices included; PCIN is the slice before's P.

    That sums fit their lanes is proved of a segment (:mod:`rtl.formal.lane_sum`).
    """
    pipeline_properties(m, unit)
    for dsp, cell in enumerate(unit.slices):
        assert_words(m, [*cell.moves, (cell.p, cell.next_p)], unit.is_moving)
        if dsp % unit.spec.lane.segment_dsps:
            m.d.comb += Assert(cell.i_pcin == unit.slices[dsp - 1].p)
