"""Merge sorted lists into one, adding values of equal coordinates: a tree of two-way cells."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hwsim.core.machine import UnitTiming
from hwsim.piuma.unit_spec import MergeSpec

__all__ = ["MergeCell", "MergeUnit", "element_layout", "rank", "timing"]


def timing(spec: MergeSpec) -> UnitTiming:
    """Return the cycle contract: one cycle per rank of cells, one element per cycle."""
    return UnitTiming(latency_cycles=spec.levels, interval_cycles=1)


def element_layout(spec: MergeSpec) -> data.StructLayout:
    """Return the layout of one element of a list, or of its end mark."""
    return data.StructLayout(
        {
            "value": unsigned(spec.value_bits),
            "coordinate": unsigned(spec.coordinate_bits),
            "is_end": unsigned(1),
        }
    )


def rank(element: data.View) -> Value:
    """Return what elements are ordered by: an end mark is behind every coordinate."""
    return Cat(Mux(element.is_end, 0, element.coordinate), element.is_end)


class MergeCell(wiring.Component):
    """Emit the lower head of two lists, or the sum of equal heads.

    Parameters
    ----------
    spec : MergeSpec
        ``ways`` is of no effect.

    Attributes
    ----------
    i : Array(In(stream.Signature({value, coordinate, is_end})), 2)
    o : Out(stream.Signature({value, coordinate, is_end}))

    Timing
    ------
    Latency 1 from the cycle in which both heads are there, interval 1. ``i.ready`` depends on
    ``o.ready`` and on both ``i.valid`` combinationally.

    Reset
    -----
    Drops the element on offer.
    """

    def __init__(self, spec: MergeSpec) -> None:
        self.spec = spec
        element = element_layout(spec)
        super().__init__(
            {
                "i": In(stream.Signature(element)).array(2),
                "o": Out(stream.Signature(element)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        del platform
        m = Module()
        left, right = self.i
        moves = left.valid & right.valid & (~self.o.valid | self.o.ready)
        takes_left = rank(left.payload) <= rank(right.payload)
        takes_right = rank(right.payload) <= rank(left.payload)
        m.d.comb += [left.ready.eq(moves & takes_left), right.ready.eq(moves & takes_right)]
        lower = Mux(takes_left, left.payload.coordinate, right.payload.coordinate)
        is_end = left.payload.is_end & right.payload.is_end
        total = Mux(takes_left, left.payload.value, 0) + Mux(takes_right, right.payload.value, 0)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(moves):
            m.d.sync += [self.o.valid.eq(1), self.o.payload.is_end.eq(is_end)]
            m.d.sync += self.o.payload.coordinate.eq(Mux(is_end, 0, lower))
            m.d.sync += self.o.payload.value.eq(Mux(is_end, 0, total))
        return m


class MergeUnit(wiring.Component):
    """Merge one list per way into one list of ascending coordinates, list after list.

    Parameters
    ----------
    spec : MergeSpec
        Ways and widths.

    Attributes
    ----------
    i : Array(In(stream.Signature({value, coordinate, is_end})), ways)
        Elements of strictly ascending coordinates, then an end mark; one list behind the other.
    o : Out(stream.Signature({value, coordinate, is_end}))
        All coordinates of the lists once, with the sum of their values modulo two to the width,
        then one end mark.

    Timing
    ------
    Latency log2(``ways``) cycles, interval 1 while every list has its next element in time.
    ``i.ready`` depends on ``o.ready`` and on every ``i.valid`` combinationally, through all ranks.

    Reset
    -----
    Drops all elements inside.
    """

    def __init__(self, spec: MergeSpec) -> None:
        self.spec = spec
        element = element_layout(spec)
        super().__init__(
            {
                "i": In(stream.Signature(element)).array(spec.ways),
                "o": Out(stream.Signature(element)),
            }
        )
        # Attributes rather than locals, so that a formal bench can state invariants on them.
        self.cells = [MergeCell(spec) for _ in range(spec.ways - 1)]

    def elaborate(self, platform: object) -> Module:
        del platform
        m = Module()
        m.submodules += self.cells
        # Cell k takes from cells 2 k + 1 and 2 k + 2, the last ones from the inputs.
        heads = [cell.o for cell in self.cells] + [wiring.flipped(port) for port in self.i]
        for number, cell in enumerate(self.cells):
            for side in (0, 1):
                wiring.connect(m, heads[2 * number + 1 + side], cell.i[side])
        wiring.connect(m, self.cells[0].o, wiring.flipped(self.o))
        return m
