"""State that every job gets its beats, once per pass, and gives as many as it has."""

from __future__ import annotations

from amaranth.hdl import Assert, Assume, Module, Mux, Signal

from rtl.flightllm.vector_sfu import Op, Phase, VectorSfu
from rtl.formal.pipeline import pipeline_properties

__all__ = ["vector_sfu_properties"]


def vector_sfu_properties(m: Module, unit: VectorSfu) -> None:
    """Assert a pipeline's properties, and by counts of its own what each job takes and gives.

    A job is accepted when all of the one before has left; it takes its beats once or twice and
    emits as many as one pass has; between the passes the pipeline is empty.
    """
    pipeline_properties(m, unit)
    job = unit.job.payload
    m.d.comb += Assume((job.beats >= 1) & (job.beats <= unit.spec.max_beats))
    m.d.comb += Assume(job.tail < unit.spec.lanes)
    starts = unit.job.valid & unit.job.ready
    accepted, emitted = unit.i.valid & unit.i.ready, unit.o.valid & unit.o.ready
    due_in, due_out = Signal.like(unit.left, name="due_in"), Signal.like(unit.left, name="due_out")
    passes = Signal(2)
    is_two_pass = (job.op > Op.MUL.value) & (job.op <= Op.RMSNORM.value)
    ends = accepted & (due_in == 1)
    m.d.sync += due_out.eq(Mux(starts, job.beats, due_out - emitted))
    m.d.sync += passes.eq(Mux(starts, Mux(is_two_pass, 2, 1), passes - ends))
    again = Mux(ends & (passes == 2), unit.current.beats, due_in - accepted)
    m.d.sync += due_in.eq(Mux(starts, job.beats, again))

    phase, used = unit.phase, unit.is_used
    held = sum(used)
    flags = [unit.is_last_at(stage + 1) for stage in range(unit.latency_cycles)]
    is_taking = (phase == Phase.FIRST) | (phase == Phase.LAST)
    m.d.comb += Assert(unit.job.ready == (phase == Phase.IDLE))
    m.d.comb += Assert(unit.may_accept == is_taking)
    with m.Switch(phase):
        with m.Case(Phase.IDLE):
            m.d.comb += Assert(~used.any() & ~due_out.any() & ~due_in.any() & ~passes.any())
        with m.Case(Phase.FIRST, Phase.DRAIN_FIRST):
            m.d.comb += Assert(due_out == unit.current.beats)
            for stage, flag in enumerate(flags):
                m.d.comb += Assert(~used[stage] | ~flag)
        with m.Case(Phase.PREPARE, Phase.ROOT, Phase.DIVIDE):
            m.d.comb += Assert(~used.any() & (due_out == unit.current.beats))
        with m.Case(Phase.LAST, Phase.DRAIN_LAST):
            m.d.comb += Assert(due_out == Mux(phase == Phase.LAST, due_in, 0) + held)
            for stage, flag in enumerate(flags):
                m.d.comb += Assert(~used[stage] | flag)
    with m.If(phase != Phase.IDLE):
        m.d.comb += Assert((unit.current.beats >= 1) & (due_out <= unit.current.beats))
        m.d.comb += Assert(unit.current.beats <= unit.spec.max_beats)
    is_first_due = (phase == Phase.FIRST) & (passes == 2)
    waits = (phase == Phase.DRAIN_FIRST) | (phase == Phase.PREPARE)
    waits |= (phase == Phase.ROOT) | (phase == Phase.DIVIDE)
    is_last_due = (phase == Phase.LAST) & (passes == 1)
    is_done = ((phase == Phase.DRAIN_LAST) | (phase == Phase.IDLE)) & (passes == 0)
    m.d.comb += Assert(is_first_due | (waits & (passes == 1)) | is_last_due | is_done)
    m.d.comb += Assert(~is_taking | ((unit.left == due_in) & due_in.any()))
    m.d.comb += Assert(~waits | (due_in == unit.current.beats))
    m.d.comb += Assert(~is_done | ~due_in.any())
