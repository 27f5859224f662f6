"""State that windows hold every row once, in order, with all its partial products."""

from __future__ import annotations

from amaranth.hdl import Assert, Assume, Cat, Module, Mux, Signal

from rtl.formal.fifo import fifo_properties
from rtl.piuma.window_packer import WindowPacker

__all__ = ["window_packer_properties"]

COUNT_BITS = 5
"""Of running sums: modulo more than is ever inside."""


def window_packer_properties(m: Module, unit: WindowPacker) -> None:
    """Assert conservation of rows and of partial products, and that windows obey their limits.

    Assumed: an answer comes for a request that was taken; no row's bound goes beyond the columns of
    B, where it would saturate. Sums run over all matrices.
    """
    fifo_properties(m, unit.order)
    _assert_requests(m, unit)
    _assert_conservation(m, unit)
    _assert_windows(m, unit)


def _assert_requests(m: Module, unit: WindowPacker) -> None:
    """Assert that every column is asked for once, in order, and its answer taken once."""
    mark = unit.i.payload
    accepted = unit.i.valid & unit.i.ready & ~mark.is_end
    asks = unit.fetch.valid & unit.fetch.ready
    answered = unit.fetched.valid & unit.fetched.ready
    is_asking, column = Signal(), Signal(unit.spec.column_bits)
    asked, elements = Signal(COUNT_BITS), Signal(COUNT_BITS)
    with m.If(asks):
        m.d.sync += is_asking.eq(0)
    with m.If(accepted):
        m.d.sync += [is_asking.eq(1), column.eq(mark.column)]
    m.d.sync += [asked.eq(asked + asks - answered), elements.eq(elements + accepted - answered)]
    m.d.comb += Assume(~unit.fetched.valid | (asked != 0))
    m.d.comb += Assert(unit.fetch.valid == is_asking)
    m.d.comb += Assert(~is_asking | (unit.fetch.payload == column))
    m.d.comb += Assert((asked + is_asking)[:COUNT_BITS] == elements)
    m.d.comb += Assert(~answered | (asked != 0))


def _assert_conservation(m: Module, unit: WindowPacker) -> None:
    """Assert that what entered is in the windows so far, or in the one being filled."""
    spec, pointers, window = unit.spec, unit.fetched.payload, unit.o.payload
    added = unit.fetched.valid & unit.fetched.ready
    length = (pointers.end - pointers.begin)[: spec.pointer_bits]
    m.d.comb += Assume(~added | (unit.row_bound + length <= spec.columns))
    emits = unit.o.valid & unit.o.ready
    # Rows and partial products that entered, less those that left.
    rows, products = Signal(COUNT_BITS), Signal(COUNT_BITS)
    m.d.sync += rows.eq(rows + unit.ends_row - Mux(emits, window.rows, 0))
    m.d.sync += products.eq(products + Mux(added, length, 0) - Mux(emits, window.bound, 0))
    shown_rows = Mux(unit.o.valid, window.rows, 0)
    shown = Mux(unit.o.valid, window.bound, 0)
    m.d.comb += Assert(rows == (shown_rows + unit.rows)[:COUNT_BITS])
    m.d.comb += Assert(products == (shown + unit.bound + unit.row_bound)[:COUNT_BITS])


def _assert_windows(m: Module, unit: WindowPacker) -> None:
    """Assert that windows follow each other and obey budget and size, a lone row excepted."""
    spec, window = unit.spec, unit.o.payload
    can_close = ~unit.o.valid | unit.o.ready
    ends_matrix = unit.is_ending & can_close
    is_held, shown = Signal(), Signal(2 * spec.row_bits + spec.bound_bits)
    following = Signal(spec.row_bits)
    with m.If(unit.o.ready):
        m.d.sync += is_held.eq(0)
    with m.If((unit.ends_row & unit.closes) | ends_matrix):
        m.d.sync += [is_held.eq(1), shown.eq(Cat(unit.bound, unit.rows, following))]
        m.d.sync += following.eq(Mux(ends_matrix, 0, following + unit.rows))
    m.d.comb += Assert(unit.o.valid == is_held)
    m.d.comb += Assert(~is_held | (Cat(window.bound, window.rows, window.first_row) == shown))
    m.d.comb += Assert(unit.first == following)

    m.d.comb += Assert(~(unit.is_ending & unit.ends_row))
    m.d.comb += Assert(~unit.is_ending | ((unit.rows != 0) & (unit.row_bound == 0)))
    m.d.comb += Assert(unit.row_bound <= spec.columns)
    m.d.comb += Assert((unit.rows != 0) | (unit.bound == 0))
    for is_there, rows, bound in (
        (unit.rows != 0, unit.rows, unit.bound),
        (is_held, window.rows, window.bound),
    ):
        is_beyond = bound > spec.budget_elems
        m.d.comb += Assert(~is_there | ((rows != 0) & (rows <= spec.window_rows)))
        m.d.comb += Assert(~is_there | ~is_beyond | (rows == 1))
    m.d.comb += Assert(~is_held | (window.is_oversize == (window.bound > spec.budget_elems)))
