"""State that a barrel has one instruction per thread in flight and passes no thread over."""

from __future__ import annotations

from amaranth.asserts import AnyConst
from amaranth.hdl import Array, Assert, Assume, Cat, Module, Mux, Signal

from rtl.piuma.barrel_issue import BarrelIssue

__all__ = ["barrel_issue_properties"]


def barrel_issue_properties(m: Module, unit: BarrelIssue) -> None:
    """Assert for any one thread: an issue per response, never two in flight, no starvation.

    Assumed of the surroundings: a response to a thread that is not started, or whose instruction
    has issued and was not responded to yet. It may come in the cycle after the issue or
    never.
    """
    threads = unit.spec.threads
    watched = Signal(unit.spec.thread_bits, name="watched")
    m.d.comb += [watched.eq(AnyConst(len(watched))), Assume(watched < threads)]
    responses = Mux(unit.resp.valid, unit.resp.payload, 0)
    issues = unit.o.valid & unit.o.ready
    # Every thread's own account: between a response and the issue that it allows, or outside.
    is_due = Signal(threads)
    m.d.comb += Assume(~(responses & is_due).any())
    issued = Cat(issues & (unit.o.payload == k) for k in range(threads))
    m.d.sync += is_due.eq((is_due & ~issued) | responses)
    # No thread issues that was not responded to since its last issue.
    m.d.comb += Assert(~(issued & ~is_due).any())
    m.d.comb += Assert(unit.resp.ready)

    # Due is exactly who waits for a turn or is on offer: nothing is lost, nothing doubled.
    for k in range(threads):
        is_offered = unit.o.valid & (unit.o.payload == k)
        m.d.comb += Assert(is_due[k] == (unit.may_issue[k] | is_offered))
        m.d.comb += Assert(~(unit.may_issue[k] & is_offered))
    m.d.comb += Assert(~unit.o.valid | (unit.o.payload < threads))
    m.d.comb += Assert(unit.turn < threads)
    # Work is never left lying: an empty offer means that nobody is due.
    m.d.comb += Assert(unit.o.valid | ~is_due.any())

    passed = Signal(range(threads + 1))
    is_watched_due = Array(is_due)[watched]
    with m.If(issues):
        m.d.sync += passed.eq(Mux(is_watched_due & (unit.o.payload != watched), passed + 1, 0))
    # Others that issue while it is due: fewer than there are threads.
    m.d.comb += Assert(passed < threads)
    m.d.comb += Assert(is_watched_due | (passed == 0))
    with m.If(unit.o.valid):
        following = Mux(unit.o.payload == threads - 1, 0, unit.o.payload + 1)
        m.d.comb += Assert(unit.turn == following)
    distance = Mux(watched >= unit.turn, watched - unit.turn, watched + threads - unit.turn)
    is_offered = unit.o.valid & (unit.o.payload == watched)
    with m.If(is_watched_due & ~is_offered):
        # The one on offer, then those whose turn comes first.
        m.d.comb += Assert(passed + distance + 1 < threads)
    _assert_counts(m, unit)


def _assert_counts(m: Module, unit: BarrelIssue) -> None:
    cycles = Signal(unit.spec.counter_bits)
    m.d.sync += cycles.eq(cycles + 1)
    total = (unit.issued + unit.stalled + unit.idle)[: unit.spec.counter_bits]
    m.d.comb += Assert(total == cycles)
