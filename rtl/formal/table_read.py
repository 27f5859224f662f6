"""State that a pipeline reads a table as it was filled."""

from __future__ import annotations

from amaranth.asserts import AnyConst
from amaranth.hdl import Assert, Module, Signal, Value
from amaranth.lib import memory

__all__ = ["assert_reads"]


def assert_reads(
    m: Module, storage: memory.Memory, read: memory.ReadPort, write: memory.WritePort, moves: Value
) -> None:
    """Assert of any one place that what is read is what was written there last.

    Parameters
    ----------
    storage : amaranth.lib.memory.Memory
        Not yet elaborated; gets a port more.
    read, write : its ports
        A write in the cycle of a read is not seen by it.
    moves : Value(1)
        Whether ``read`` is enabled.
    """
    width = len(Value.cast(read.data))
    place = Signal(len(read.addr), name="watched_place")
    content = Signal(width, name="watched_content", reset_less=True)
    expected = Signal(width, name="expected_word")
    is_watched = Signal(name="is_watched_word")
    m.d.comb += place.eq(AnyConst(len(place)))
    with m.If(write.en.any() & (write.addr == place)):
        m.d.sync += content.eq(write.data)
    with m.If(moves):
        m.d.sync += [is_watched.eq(read.addr == place), expected.eq(content)]
    peek = storage.read_port(domain="comb")
    m.d.comb += peek.addr.eq(place)
    m.d.comb += Assert((place >= storage.depth) | (Value.cast(peek.data) == content))
    m.d.comb += Assert(~is_watched | (place >= storage.depth) | (Value.cast(read.data) == expected))
