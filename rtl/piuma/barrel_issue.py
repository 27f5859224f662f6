"""Issue instructions of many threads by turns, one in flight per thread."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hwsim.core.machine import UnitTiming
from hwsim.piuma.unit_spec import BarrelSpec
from rtl.common.constant import is_number
from rtl.piuma.rotating_pick import pick_by_turn

__all__ = ["BarrelIssue", "timing"]


def timing(spec: BarrelSpec) -> UnitTiming:
    """Return the cycle contract: from a thread's response to its issue, and between issues."""
    del spec
    return UnitTiming(latency_cycles=1, interval_cycles=1)


class BarrelIssue(wiring.Component):
    """Offer, by turns, each thread whose instruction before has been responded to.

    Parameters
    ----------
    spec : BarrelSpec
        Number of threads; any number.

    Attributes
    ----------
    resp : In(stream.Signature(threads))
        A bit per thread that may issue again; its first response starts it. Always ready. A
        response to a thread that is not in flight is the caller's fault.
    o : Out(stream.Signature(thread))
        The thread whose instruction issues.
    issued, stalled, idle : Out(counter_bits)
        Cycles since reset in which an instruction left, waited, or was not there; together all
        cycles. They wrap.

    Timing
    ------
    A response is followed by the thread's offer in the next cycle if no other thread comes first;
    one issue per cycle. The turn goes on behind the last thread picked, so a thread that may
    issue is the ``threads``-th to issue at the latest. What is offered is a register;
    no path leads from ``o.ready`` to an output.

    Reset
    -----
    No thread is started; the turn begins at thread 0.
    """

    def __init__(self, spec: BarrelSpec) -> None:
        self.spec = spec
        thread = unsigned(spec.thread_bits)
        counter = Out(unsigned(spec.counter_bits))
        super().__init__(
            {
                "resp": In(stream.Signature(unsigned(spec.threads))),
                "o": Out(stream.Signature(thread)),
                "issued": counter,
                "stalled": counter,
                "idle": counter,
            }
        )
        # Attributes rather than locals, so that a formal bench can state invariants on them.
        self.may_issue = Signal(spec.threads)
        self.turn = Signal(spec.thread_bits)

    def elaborate(self, platform: object) -> Module:
        del platform
        m = Module()
        threads = range(self.spec.threads)
        is_picking = ~self.o.valid | self.o.ready
        responded = Mux(self.resp.valid, self.resp.payload, 0)
        wanting = Signal(self.spec.threads)
        place, following = pick_by_turn(m, wanting, self.turn, "thread")
        picked = Cat(is_picking & is_number(place, k) for k in threads)
        m.d.comb += [self.resp.ready.eq(1), wanting.eq(self.may_issue | responded)]
        m.d.sync += self.may_issue.eq(wanting & ~picked)
        with m.If(is_picking):
            m.d.sync += self.o.valid.eq(wanting.any())
            with m.If(wanting.any()):
                m.d.sync += [self.o.payload.eq(place), self.turn.eq(following)]
        m.d.sync += [
            self.issued.eq(self.issued + (self.o.valid & self.o.ready)),
            self.stalled.eq(self.stalled + (self.o.valid & ~self.o.ready)),
            self.idle.eq(self.idle + ~self.o.valid),
        ]
        return m
