"""State that no codeword is lost, that entries are those of the table, and where rows are."""

from __future__ import annotations

from amaranth.hdl import Assert, Module, Mux, Signal

from rtl.flightllm.qmoe_decoder import QMoeDecoder
from rtl.flightllm.qmoe_dot import QMoeDot
from rtl.formal.pipeline import pipeline_properties
from rtl.formal.table_read import assert_reads

__all__ = ["qmoe_decoder_properties", "qmoe_dot_properties"]


def qmoe_decoder_properties(m: Module, unit: QMoeDecoder) -> None:
    """Assert a pipeline's properties, what is read, and the position by a sum of its own.

    A codeword's position is twice the pairs that were emitted since the row began.
    """
    pipeline_properties(m, unit)
    assert_reads(m, unit.storage, unit.read, unit.write, unit.is_moving)
    m.d.comb += Assert(unit.place < unit.spec.entries)
    out = unit.o.payload
    begun = Signal.like(unit.position, name="begun")
    behind = Signal.like(unit.position, name="behind")
    m.d.comb += behind.eq(Mux(out.is_last, 0, begun + 2 * out.entry.pairs))
    with m.If(unit.o.valid & unit.o.ready):
        m.d.sync += begun.eq(behind)
    m.d.comb += Assert(~unit.o.valid | (out.position == begun))
    m.d.comb += Assert(unit.position == Mux(unit.o.valid, behind, begun))


def qmoe_dot_properties(m: Module, unit: QMoeDot) -> None:
    """Assert a pipeline's properties, and that the activations read are those loaded."""
    pipeline_properties(m, unit)
    for storage, read, write in zip(unit.storages, unit.reads, unit.writes, strict=True):
        assert_reads(m, storage, read, write, unit.is_moving)
