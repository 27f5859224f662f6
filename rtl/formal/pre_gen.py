"""State that every row goes both ways once, and every set of groups leaves on its own side."""

from __future__ import annotations

from amaranth.hdl import Assert, Module, Mux, Signal, Value
from amaranth.lib import stream

from rtl.formal.data_provider import data_provider_properties
from rtl.formal.sore import sore_properties
from rtl.sat.pre_gen import PreGen

__all__ = ["pre_gen_properties"]


def pre_gen_properties(m: Module, unit: PreGen) -> None:
    """Assert that SORE and provider see every row once, in phase, and outputs the right groups.

    With what is asserted of the provider (its permutation) and of each SORE (the top-n function of
    every lane), each block's groups leave once, along rows on ``o_ff`` and across them on ``o_bp``.
    """
    data_provider_properties(m, unit.provider)
    for engine in unit.engines:
        sore_properties(m, engine)
    turned = _taken(unit.provider.o)
    if unit.spec.engines == 2:
        ff, bp = unit.engines
        direct = _taken(ff.i)
        _assert_two_engines(m, unit, turned)
    else:
        [engine] = unit.engines
        direct = _taken(engine.i) & ~_assert_shared_engine(m, unit, turned)
    _assert_once(m, unit, direct, "ff", unit.is_sent_ff, unit.engines[0].i.payload.as_value())
    provided = unit.provider.i
    _assert_once(m, unit, _taken(provided), "bp", unit.is_sent_bp, provided.payload.as_value())


def _taken(port: stream.Interface) -> Value:
    return port.valid & port.ready


def _assert_once(
    m: Module, unit: PreGen, taken: Value, name: str, is_sent: Signal, payload: Value
) -> None:
    """Assert that one way takes every row offered at ``unit.i`` exactly once."""
    accepted = _taken(unit.i)
    has_taken = Signal(name=f"has_taken_{name}")
    m.d.sync += has_taken.eq((has_taken | taken) & ~accepted)
    m.d.comb += Assert(is_sent == has_taken)
    m.d.comb += Assert(~(taken & has_taken))
    m.d.comb += Assert(~accepted | taken | has_taken)
    m.d.comb += Assert(~taken | (unit.i.valid & (payload == unit.i.payload.as_value())))
    # A source holds its offer, so a row sent one way is still there for the other.
    m.d.comb += Assert(~has_taken | unit.i.valid)


def _assert_two_engines(m: Module, unit: PreGen, turned: Value) -> None:
    """Assert that each engine starts its groups with a block and has an output of its own."""
    nm_m = unit.spec.sore.sorter.nm_m
    ff, bp = unit.engines
    rows = _rows(m, unit, nm_m)
    _assert_phase(m, unit, rows, ff.sorters[0].position)
    left = unit.provider.left
    m.d.comb += Assert(bp.sorters[0].position == Mux(left == 0, 0, nm_m - left))
    m.d.comb += Assert(turned == _taken(bp.i))
    m.d.comb += Assert(bp.i.payload.as_value() == unit.provider.o.payload.as_value())
    for engine, port in ((ff, unit.o_ff), (bp, unit.o_bp)):
        m.d.comb += Assert(engine.o.payload.as_value() == port.payload.as_value())
        m.d.comb += Assert(engine.o.valid == port.valid)
        m.d.comb += Assert(_taken(engine.o) == _taken(port))


def _assert_shared_engine(m: Module, unit: PreGen, turned: Value) -> Value:
    """Assert the turns of one engine; return whether it is BP's."""
    nm_m = unit.spec.sore.sorter.nm_m
    [engine] = unit.engines
    taken = _taken(engine.i)
    turn = Signal(range(2 * nm_m), name="bench_turn")
    with m.If(taken):
        m.d.sync += turn.eq(Mux(turn == 2 * nm_m - 1, 0, turn + 1))
    is_bp = turn >= nm_m
    m.d.comb += [Assert(unit.turn == turn), Assert(turn < 2 * nm_m)]
    position = engine.sorters[0].position
    m.d.comb += Assert(position == Mux(is_bp, turn - nm_m, turn))
    # The provider has BP's rows ready early if only the engine waits for the last row of FF.
    is_early = (turn == nm_m - 1) & unit.is_sent_bp
    left = Mux(is_bp, 2 * nm_m - turn, Mux(is_early, nm_m, 0))
    m.d.comb += Assert(unit.provider.left == left)
    m.d.comb += Assert(turned == (taken & is_bp))
    provided = unit.provider.o.payload.as_value()
    m.d.comb += Assert(~(taken & is_bp) | (engine.i.payload.as_value() == provided))
    # While BP's rows go in, the direct way waits with the first row of the next block. In FF's turn
    # the provider has room, so it never lags behind.
    rows = _rows(m, unit, nm_m)
    _assert_phase(m, unit, rows, Mux(is_bp, 0, turn))
    m.d.comb += Assert(~unit.is_sent_ff)

    # The groups on offer are those of the rows that went in last.
    was_bp = Signal(name="bench_was_bp")
    with m.If(taken & (position == nm_m - 1)):
        m.d.sync += was_bp.eq(is_bp)
    m.d.comb += Assert(unit.is_next_bp == Mux(engine.o.valid, was_bp, is_bp))
    m.d.comb += Assert(~engine.o.valid | (was_bp == ~is_bp))
    m.d.comb += Assert(unit.o_ff.valid == (engine.o.valid & ~was_bp))
    m.d.comb += Assert(unit.o_bp.valid == (engine.o.valid & was_bp))
    m.d.comb += Assert(_taken(engine.o) == (_taken(unit.o_ff) | _taken(unit.o_bp)))
    for port in (unit.o_ff, unit.o_bp):
        m.d.comb += Assert(port.payload.as_value() == engine.o.payload.as_value())
    return is_bp


def _rows(m: Module, unit: PreGen, nm_m: int) -> Signal:
    """Return how many rows of a block the chain has accepted."""
    rows = Signal(range(nm_m), name="bench_rows")
    with m.If(_taken(unit.i)):
        m.d.sync += rows.eq(Mux(rows == nm_m - 1, 0, rows + 1))
    m.d.comb += Assert(rows < nm_m)
    return rows


def _assert_phase(m: Module, unit: PreGen, rows: Signal, direct_position: Value) -> None:
    """Assert that both ways are at the accepted row, or one beyond it if they have the next."""
    nm_m = unit.spec.sore.sorter.nm_m
    ways = ((direct_position, unit.is_sent_ff), (unit.provider.position, unit.is_sent_bp))
    for position, is_sent in ways:
        ahead = rows + is_sent
        m.d.comb += Assert(position == Mux(ahead == nm_m, 0, ahead))
    with m.If(unit.provider.position != 0):
        m.d.comb += Assert(unit.provider.dir_q1 == 1)
