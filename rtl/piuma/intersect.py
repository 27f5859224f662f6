"""Intersect two sorted lists that arrive in blocks, skipping ahead."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.hdl import Array, C, Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hwsim.core.machine import UnitTiming
from hwsim.piuma.unit_spec import IntersectSpec

__all__ = ["Intersect", "Side", "timing"]


def timing(spec: IntersectSpec) -> UnitTiming:
    """Return the cycle contract: from the later head to its match, and between matches."""
    del spec
    return UnitTiming(latency_cycles=1, interval_cycles=1)


@dataclass(frozen=True)
class Side:
    """One list: how much of its block is dropped, what came before, whether it is through.

    ``head``: the first coordinate that is left; ``left``: those that are, by place; ``drops``: how
    many of the block are gone after this cycle; ``is_used_up``: all, so the block is taken.
    """

    port: stream.Interface
    at: Signal
    start: Signal
    is_through: Signal
    is_there: Signal
    is_empty: Signal
    head: Signal
    left: Signal
    drops: Signal
    is_used_up: Signal


class Intersect(wiring.Component):
    """Emit every coordinate that is in both lists with its places, then an end mark.

    Parameters
    ----------
    spec : IntersectSpec
        Coordinates per block, widths, who skips.

    Attributes
    ----------
    a, b : In(stream.Signature({coordinates[block], count, is_last}))
        Blocks of ascending coordinates; the first ``count`` are there. ``is_last`` ends the list.
    o : Out(stream.Signature({place_b, place_a, coordinate, is_end}))

    Timing
    ------
    One step per cycle while both lists have a block or are through: equal heads are emitted in the
    next cycle and dropped; else the list behind drops all below the other's head. A list whose
    partner is through drops a block per step, and so does an empty block. As the leader, list a
    drops one coordinate per step, unless list b has to drop a block below it first. The end
    mark takes a step of its own. ``a.ready`` and ``b.ready`` depend on both payloads and on
    ``o.ready`` combinationally.

    Reset
    -----
    Forgets the lists.
    """

    def __init__(self, spec: IntersectSpec) -> None:
        self.spec = spec
        coordinate, place = unsigned(spec.coordinate_bits), unsigned(spec.position_bits)
        block = data.StructLayout(
            {
                "coordinates": data.ArrayLayout(coordinate, spec.block),
                "count": spec.count_bits,
                "is_last": 1,
            }
        )
        match = data.StructLayout(
            {"place_b": place, "place_a": place, "coordinate": coordinate, "is_end": 1}
        )
        super().__init__(
            {
                "a": In(stream.Signature(block)),
                "b": In(stream.Signature(block)),
                "o": Out(stream.Signature(match)),
            }
        )
        # Attributes rather than locals, so that a formal bench can state invariants on them.
        self.sides = [self._side(name, port) for name, port in (("a", self.a), ("b", self.b))]
        self.steps = Signal()
        self.is_match = Signal()
        self.is_end = Signal()

    def _side(self, name: str, port: stream.Interface) -> Side:
        count, block = self.spec.count_bits, self.spec.block
        return Side(
            port,
            Signal(range(max(2, block)), name=f"{name}_at"),
            Signal(self.spec.position_bits, name=f"{name}_start"),
            Signal(name=f"{name}_is_through"),
            Signal(name=f"{name}_is_there"),
            Signal(name=f"{name}_is_empty"),
            Signal(self.spec.coordinate_bits, name=f"{name}_head"),
            Signal(block, name=f"{name}_left"),
            Signal(count, name=f"{name}_drops"),
            Signal(name=f"{name}_is_used_up"),
        )

    def elaborate(self, platform: object) -> Module:
        del platform
        m = Module()
        a, b = self.sides
        for side in self.sides:
            self._look(m, side)
        is_ready = (a.is_there | a.is_through) & (b.is_there | b.is_through)
        has_heads = is_ready & ~(a.is_through | b.is_through | a.is_empty | b.is_empty)
        is_found, below = self._compare(m)
        is_free = ~self.o.valid | self.o.ready
        m.d.comb += [
            self.is_match.eq(has_heads & is_found),
            self.is_end.eq(a.is_through & b.is_through),
            self.steps.eq(is_ready & (is_free | ~(self.is_match | self.is_end))),
        ]
        for side, other in ((a, b), (b, a)):
            self._drop(m, side, other, has_heads)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.steps & (self.is_match | self.is_end)):
            match = self.o.payload
            m.d.sync += [
                self.o.valid.eq(1),
                match.is_end.eq(self.is_end),
                match.coordinate.eq(Mux(self.is_end, 0, a.head)),
                match.place_a.eq(Mux(self.is_end, 0, a.start + a.at)),
                match.place_b.eq(Mux(self.is_end, 0, b.start + below)),
            ]
        return m

    def _look(self, m: Module, side: Side) -> None:
        """Show a block's head and which coordinates are left of it."""
        block = side.port.payload
        coordinates = [block.coordinates[k] for k in range(self.spec.block)]
        padding = (1 << len(side.at)) - len(coordinates)
        for k in range(self.spec.block):
            is_left = (side.at <= k) if k < (1 << len(side.at)) - 1 else C(1)
            m.d.comb += side.left[k].eq(is_left & (block.count > k))
        m.d.comb += [
            side.is_there.eq(side.port.valid & ~side.is_through),
            side.is_empty.eq(~side.left.any()),
            side.head.eq(Array([*coordinates, *coordinates[-1:] * padding])[side.at]),
        ]

    def _below(self, side: Side, head: Value) -> Value:
        """Return how many coordinates of the block are dropped, or left and below ``head``."""
        block = side.port.payload
        return sum(
            ((block.count > k) & (~side.left[k] | (block.coordinates[k] < head)))
            for k in range(self.spec.block)
        )

    def _compare(self, m: Module) -> tuple[Value, Value]:
        """Say what each list drops if both have heads; return whether they match and where in b."""
        a, b = self.sides
        below = Signal(self.spec.count_bits)
        m.d.comb += below.eq(self._below(b, a.head))
        if self.spec.mode == "skip_ahead":
            is_found = a.head == b.head
            m.d.comb += a.drops.eq(self._below(a, b.head) + is_found)
            m.d.comb += b.drops.eq(below + is_found)
            return is_found, below
        coordinates = b.port.payload.coordinates
        is_found = Cat(b.left[k] & (coordinates[k] == a.head) for k in range(self.spec.block)).any()
        is_behind = below == b.port.payload.count
        m.d.comb += a.drops.eq(a.at + ~is_behind)
        m.d.comb += b.drops.eq(below + is_found)
        return is_found, below

    def _drop(self, m: Module, side: Side, other: Side, has_heads: Value) -> None:
        """Move on within the block, or to the next one."""
        block = side.port.payload
        is_lone = other.is_through | side.is_empty
        m.d.comb += [
            side.is_used_up.eq(
                self.steps & ~side.is_through & Mux(has_heads, side.drops == block.count, is_lone)
            ),
            side.port.ready.eq(side.is_used_up),
        ]
        with m.If(self.steps & self.is_end):
            m.d.sync += [side.is_through.eq(0), side.start.eq(0), side.at.eq(0)]
        with m.Elif(side.is_used_up):
            m.d.sync += [side.at.eq(0), side.start.eq(side.start + block.count)]
            m.d.sync += side.is_through.eq(block.is_last)
        with m.Elif(self.steps & has_heads):
            m.d.sync += side.at.eq(side.drops)
