"""Pack rows into windows by their bound of partial products."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hwsim.core.machine import UnitTiming
from hwsim.piuma.unit_spec import WindowSpec
from rtl.common.fifo import Fifo, FifoSpec

__all__ = ["WindowPacker", "timing"]


def timing(spec: WindowSpec) -> UnitTiming:
    """Return the cycle contract: from the row's end that closes a window, and between marks."""
    del spec
    return UnitTiming(latency_cycles=2, interval_cycles=1)


class WindowPacker(wiring.Component):
    """Bound every row by the lengths of the rows of B that it names; close windows at the budget.

    Parameters
    ----------
    spec : WindowSpec
        Budget, most rows of a window, columns of B, widths.

    Attributes
    ----------
    i : In(stream.Signature({column, is_end, is_last}))
        A column of the current row of A or, with ``is_end``, the end of the row; ``is_last`` there
        ends the matrix.
    fetch : Out(stream.Signature(column))
        Asks for the two pointers of a row of B.
    fetched : In(stream.Signature({end, begin}))
        The pointers, in the order of requests.
    o : Out(stream.Signature({is_oversize, bound, rows, first_row}))
        Windows in order. ``is_oversize``: a single row beyond the budget.

    Timing
    ------
    One mark per cycle, as long as pointers come in time and at most ``outstanding`` marks are
    inside. The window that a row's end closes is offered 2 cycles after that was accepted, or after
    the last pointers of the row were; the last window 1 later. ``i.ready`` depends on
    ``fetch.ready`` and on the mark's kind combinationally.

    Reset
    -----
    Drops the matrix. Pointers that are still on their way must not come.
    """

    def __init__(self, spec: WindowSpec) -> None:
        self.spec = spec
        bound, pointer = unsigned(spec.bound_bits), unsigned(spec.pointer_bits)
        mark = data.StructLayout({"column": spec.column_bits, "is_end": 1, "is_last": 1})
        pointers = data.StructLayout({"end": pointer, "begin": pointer})
        window = data.StructLayout(
            {"is_oversize": 1, "bound": bound, "rows": spec.row_bits, "first_row": spec.row_bits}
        )
        super().__init__(
            {
                "i": In(stream.Signature(mark)),
                "fetched": In(stream.Signature(pointers)),
                "fetch": Out(stream.Signature(unsigned(spec.column_bits))),
                "o": Out(stream.Signature(window)),
            }
        )
        # Attributes rather than locals, so that a formal bench can state invariants on them.
        self.order = Fifo(FifoSpec(width_bits=2, depth=spec.outstanding))
        self.first = Signal(spec.row_bits)
        self.rows = Signal(spec.row_bits)
        self.bound = Signal(bound)
        self.row_bound = Signal(bound)
        self.is_ending = Signal()
        self.closes = Signal()
        self.ends_row = Signal()

    def elaborate(self, platform: object) -> Module:
        del platform
        m = Module()
        m.submodules.order = order = self.order
        can_fetch = ~self.fetch.valid | self.fetch.ready
        has_room = self.i.payload.is_end | can_fetch
        m.d.comb += [
            self.i.ready.eq(order.i.ready & has_room),
            order.i.valid.eq(self.i.valid & has_room),
            order.i.payload.eq(self.i.payload.as_value()[-2:]),
        ]
        with m.If(self.fetch.ready):
            m.d.sync += self.fetch.valid.eq(0)
        with m.If(self.i.valid & self.i.ready & ~self.i.payload.is_end):
            m.d.sync += [self.fetch.valid.eq(1), self.fetch.payload.eq(self.i.payload.column)]

        is_end, is_last = order.o.payload
        can_close = ~self.o.valid | self.o.ready
        is_waiting = order.o.valid & ~self.is_ending
        total = self.bound + self.row_bound
        is_full = self.rows == self.spec.window_rows
        m.d.comb += [
            self.closes.eq(self.rows.any() & (is_full | (total > self.spec.budget_elems))),
            self.ends_row.eq(is_waiting & is_end & (can_close | ~self.closes)),
            self.fetched.ready.eq(is_waiting & ~is_end),
            order.o.ready.eq((self.fetched.ready & self.fetched.valid) | self.ends_row),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.fetched.ready & self.fetched.valid):
            self._add(m)
        with m.If(self.ends_row):
            m.d.sync += [self.row_bound.eq(0), self.is_ending.eq(is_last)]
            m.d.sync += self.rows.eq(Mux(self.closes, 0, self.rows) + 1)
            m.d.sync += self.bound.eq(Mux(self.closes, self.row_bound, total))
            with m.If(self.closes):
                self._emit(m)
                m.d.sync += self.first.eq(self.first + self.rows)
        with m.If(self.is_ending & can_close):
            self._emit(m)
            m.d.sync += [self.first.eq(0), self.rows.eq(0), self.bound.eq(0)]
            m.d.sync += self.is_ending.eq(0)
        return m

    def _add(self, m: Module) -> None:
        pointers = self.fetched.payload
        length = (pointers.end - pointers.begin)[: self.spec.pointer_bits]
        total = self.row_bound + length
        is_beyond = total > self.spec.columns
        m.d.sync += self.row_bound.eq(Mux(is_beyond, self.spec.columns, total))

    def _emit(self, m: Module) -> None:
        window = self.o.payload
        m.d.sync += [
            self.o.valid.eq(1),
            window.first_row.eq(self.first),
            window.rows.eq(self.rows),
            window.bound.eq(self.bound),
            window.is_oversize.eq(self.bound > self.spec.budget_elems),
        ]
