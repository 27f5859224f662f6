"""State that no group and no partial sum is lost, and what the fix-up adder adds."""

from __future__ import annotations

from amaranth.hdl import Assert, Module, Mux, Signal, signed

from rtl.flightllm.gqsa_engine import GqsaEngine, GqsaFixup
from rtl.formal.pipeline import pipeline_properties
from rtl.formal.table_read import assert_reads

__all__ = ["gqsa_engine_properties", "gqsa_fixup_properties"]


def gqsa_engine_properties(m: Module, unit: GqsaEngine) -> None:
    """Assert a pipeline's properties, and that groups meet the activations loaded for them."""
    pipeline_properties(m, unit)
    assert_reads(m, unit.storage, unit.read, unit.write, unit.is_moving)
    m.d.comb += Assert(unit.place < unit.spec.groups)


def gqsa_fixup_properties(m: Module, unit: GqsaFixup) -> None:
    """Assert a pipeline's properties, and that a row's sum is that of all its partial sums."""
    pipeline_properties(m, unit)
    partial = unit.i.payload
    joined, is_whole = Signal(signed(unit.spec.sum_bits), name="joined"), Signal(init=1)
    with m.If(unit.i.valid & unit.i.ready):
        m.d.sync += joined.eq(Mux(is_whole, 0, joined) + partial.sum)
        m.d.sync += is_whole.eq(partial.is_row_end)
    m.d.comb += Assert(~unit.o.valid | (is_whole & (unit.o.payload == joined)))
    m.d.comb += Assert(unit.carry == Mux(is_whole, 0, joined))
    m.d.comb += Assert(~unit.is_used[-1] | (unit.is_emitted == is_whole))
    m.d.comb += Assert(~unit.is_used[-1] | (unit.moves[-1][0].as_signed() == joined))
