"""Let instructions start when the tokens they wait for have come."""

from __future__ import annotations

from functools import reduce
from operator import and_

from amaranth.hdl import Const, Module, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hwsim.core.machine import UnitTiming
from hwsim.flightllm.unit_spec import TokenSpec

__all__ = ["TokenScoreboard", "peer_bits", "timing"]


def timing(spec: TokenSpec) -> UnitTiming:
    """Return the cycle contract; a transfer is an instruction of one unit."""
    del spec
    return UnitTiming(latency_cycles=1, interval_cycles=1)


def peer_bits(spec: TokenSpec, unit: int) -> dict[int, int]:
    """Return {other unit: its bit in a mask of ``unit``}; the first other unit is the highest."""
    others = [other for other in range(spec.units) if other != unit]
    return {other: spec.peers - 1 - place for place, other in enumerate(others)}


class TokenScoreboard(wiring.Component):
    """Count tokens per pair of units; pass an instruction on once all it waits for are there.

    At most ``spec.in_flight`` instructions of a unit are taken and not completed, which is what a
    unit has to keep of completions that wait for room.

    Parameters
    ----------
    spec : TokenSpec
        Units, the tokens that a pair and the instructions that a unit may hold.

    Attributes
    ----------
    i : In(stream.Signature(StructLayout({release, wait}))).array(units)
        Instructions by unit, in order; masks over the other units, the first one highest.
        One token of each waited producer is taken when the instruction is.
    o : Out(stream.Signature(units - 1)).array(units)
        Instructions that may start: their release masks, which come back through ``done``.
    done : In(stream.Signature(units - 1)).array(units)
        Completions: one token for each unit of the mask. Waits while a counter is full, or if no
        instruction of the unit is in flight.

    Timing
    ------
    Latency 1, interval 1; a token taken in by ``done`` in cycle t lets an instruction be accepted
    in t + 1. ``i.ready`` depends combinationally on ``i.payload`` and ``o.ready``, ``done.ready``
    on ``done.payload``; ``o`` is registers.

    Reset
    -----
    No token, no instruction, none in flight.
    """

    def __init__(self, spec: TokenSpec) -> None:
        self.spec = spec
        mask = unsigned(spec.peers)
        masks = data.StructLayout({"release": mask, "wait": mask})
        super().__init__(
            {
                "i": In(stream.Signature(masks)).array(spec.units),
                "o": Out(stream.Signature(mask)).array(spec.units),
                "done": In(stream.Signature(mask)).array(spec.units),
            }
        )
        # Attributes rather than locals, so that a formal bench can state invariants on them.
        self.tokens = {
            (p, c): Signal(range(spec.depth + 1), name=f"tokens_{p}_{c}")
            for p in range(spec.units)
            for c in range(spec.units)
            if p != c
        }
        self.flying = [
            Signal(range(spec.in_flight + 1), name=f"flying_{u}") for u in range(spec.units)
        ]

    def elaborate(self, platform: object) -> Module:
        del platform
        m = Module()
        pushes, pops = {}, {}
        for unit in range(self.spec.units):
            bits = peer_bits(self.spec, unit)
            taken, done, start = self.i[unit], self.done[unit], self.o[unit]
            has_all = [self._is_there(taken.payload.wait, bit, p, unit) for p, bit in bits.items()]
            has_room = [self._has_room(done.payload, bit, unit, c) for c, bit in bits.items()]
            is_free = ~start.valid | start.ready
            flying = self.flying[unit]
            has_all.append(self._may_fly(flying))
            m.d.comb += taken.ready.eq(is_free & reduce(and_, has_all))
            m.d.comb += done.ready.eq(reduce(and_, has_room) & (flying != 0))
            took, landed = taken.valid & taken.ready, done.valid & done.ready
            m.d.sync += flying.eq(flying + took - landed)
            with m.If(is_free):
                m.d.sync += start.valid.eq(taken.valid & taken.ready)
            with m.If(taken.valid & taken.ready):
                m.d.sync += start.payload.eq(taken.payload.release)
            for other, bit in bits.items():
                pops[other, unit] = taken.valid & taken.ready & taken.payload.wait[bit]
                pushes[unit, other] = done.valid & done.ready & done.payload[bit]
        for pair, count in self.tokens.items():
            m.d.sync += count.eq(count + pushes[pair] - pops[pair])
        return m

    def _is_there(self, mask: Value, bit: int, producer: int, consumer: int) -> Value:
        """Return whether the token of ``bit`` is there or not waited for."""
        return ~mask[bit] | (self.tokens[producer, consumer] != 0)

    def _may_fly(self, flying: Value) -> Value:
        """Return whether a unit with ``flying`` instructions under way may take another."""
        return flying != self.spec.in_flight

    def _has_room(self, mask: Value, bit: int, producer: int, consumer: int) -> Value:
        """Return whether the token of ``bit`` may come or does not."""
        return ~mask[bit] | (self.tokens[producer, consumer] != Const(self.spec.depth))
