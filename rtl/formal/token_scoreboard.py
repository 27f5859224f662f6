"""State that no token is lost, invented or overflows, and what instructions wait for."""

from __future__ import annotations

from functools import reduce
from operator import and_

from amaranth.hdl import Assert, Module, Mux, Signal

from rtl.flightllm.token_scoreboard import TokenScoreboard, peer_bits

__all__ = ["token_scoreboard_properties"]


def token_scoreboard_properties(m: Module, unit: TokenScoreboard) -> None:
    """Assert token conservation by counts of its own, and exactly when streams are accepted.

    Tokens of a pair: those released by accepted completions, less those taken by accepted
    instructions, which is never negative and never above the depth. Instructions in flight: those
    accepted less those completed, within their bound likewise. What starts is the instruction
    accepted last.
    """
    spec = unit.spec
    held = {
        pair: Signal(range(spec.depth + 1), name=f"held_{pair[0]}_{pair[1]}")
        for pair in unit.tokens
    }
    for number in range(spec.units):
        bits = peer_bits(spec, number)
        taken, done, start = unit.i[number], unit.done[number], unit.o[number]
        is_offered = Signal(name=f"is_offered{number}")
        release = Signal(spec.peers, name=f"release{number}")
        is_free = ~is_offered | start.ready
        waited = [~taken.payload.wait[bit] | (held[p, number] > 0) for p, bit in bits.items()]
        room = [~done.payload[bit] | (held[number, c] < spec.depth) for c, bit in bits.items()]
        flown = Signal(range(spec.in_flight + 1), name=f"flown{number}")
        m.d.comb += Assert(unit.flying[number] == flown)
        m.d.comb += Assert(flown <= spec.in_flight)
        may_fly = flown < spec.in_flight
        m.d.comb += Assert(taken.ready == (is_free & may_fly & reduce(and_, waited)))
        m.d.comb += Assert(done.ready == ((flown > 0) & reduce(and_, room)))
        m.d.sync += flown.eq(flown + (taken.valid & taken.ready) - (done.valid & done.ready))
        m.d.comb += Assert(start.valid == is_offered)
        m.d.comb += Assert(~is_offered | (start.payload == release))
        accepted = taken.valid & taken.ready
        with m.If(is_free):
            m.d.sync += is_offered.eq(accepted)
        m.d.sync += release.eq(Mux(accepted, taken.payload.release, release))
    for (producer, consumer), count in held.items():
        done, taken = unit.done[producer], unit.i[consumer]
        push = done.valid & done.ready & done.payload[peer_bits(spec, producer)[consumer]]
        pop = taken.valid & taken.ready & taken.payload.wait[peer_bits(spec, consumer)[producer]]
        m.d.sync += count.eq(count + push - pop)
        m.d.comb += Assert(unit.tokens[producer, consumer] == count)
        m.d.comb += Assert(count <= spec.depth)
        m.d.comb += Assert(~(pop & (count == 0)))
        m.d.comb += Assert(~(push & (count == spec.depth)))
