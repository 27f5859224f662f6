"""Compute softmax, norms and element-wise operations on streamed vectors, 16 lanes wide."""

from __future__ import annotations

from functools import reduce

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, enum, stream
from amaranth.lib.wiring import In

from hwsim.core.machine import UnitTiming
from hwsim.flightllm.unit_spec import SfuSpec
from rtl.common.pipeline import Pipeline
from rtl.common.tree import tree_max, tree_sum

__all__ = ["Op", "Phase", "VectorSfu", "job_layout", "timing"]

LATENCY_CYCLES = 5
TERM_BITS = 16
PRODUCT_BITS = 24
"""Of a signed byte and an unsigned 16-bit number."""


class Op(enum.Enum, shape=3):
    """Codes of MISC instructions; another one behaves as ``ADD``."""

    ADD = 0
    MUL = 1
    SOFTMAX = 2
    LAYERNORM = 3
    RMSNORM = 4
    SILU = 5
    GELU = 6


class Phase(enum.Enum, shape=3):
    """What the unit is about."""

    IDLE = 0
    FIRST = 1
    DRAIN_FIRST = 2
    PREPARE = 3
    ROOT = 4
    DIVIDE = 5
    LAST = 6
    DRAIN_LAST = 7


def timing(spec: SfuSpec) -> UnitTiming:
    """Return the cycle contract of a beat in the last pass."""
    del spec
    return UnitTiming(latency_cycles=LATENCY_CYCLES, interval_cycles=1)


def job_layout(spec: SfuSpec) -> data.StructLayout:
    """Return the layout of a job: ``beats`` of 1 to ``max_beats``, the input's ``scale``, and the
    lanes of the last beat (``tail``, 0: all)."""
    beats = unsigned(spec.max_beats.bit_length())
    tail = unsigned(spec.tail_bits)
    return data.StructLayout(
        {"op": unsigned(3), "beats": beats, "scale": unsigned(16), "tail": tail}
    )


def _saturate(value: Value, bits: int) -> Value:
    limit = 1 << (bits - 1)
    bounded = Mux(value > limit - 1, limit - 1, Mux(value < -limit, -limit, value))
    return bounded[:bits].as_signed()


class VectorSfu(Pipeline):
    """Emit one vector per job: element-wise in one pass, softmax and norms in two.

    The function is that of :func:`hwsim.flightllm.vector_sfu.run_job`, bit for bit.

    Parameters
    ----------
    spec : SfuSpec
        Lanes, longest vector, fraction widths.

    Attributes
    ----------
    job : In(stream.Signature(job_layout(spec)))
        Accepted when the job before has left.
    i : In(stream.Signature(StructLayout({x, y})))
        A vector's beats, for two-pass operations all of them twice; ``y`` is the second operand.
        Lanes beyond the vector read ``x`` as 0.
    o : Out(stream.Signature(ArrayLayout(signed(output_bits), lanes)))

    Timing
    ------
    As for :class:`rtl.common.pipeline.Pipeline`, latency 5; beats of a first pass vanish at the
    end. K beats take K cycles per pass. Between the passes the pipeline runs empty, then root and
    reciprocal take a cycle per digit.

    Reset
    -----
    Drops everything.
    """

    def __init__(self, spec: SfuSpec) -> None:
        self.spec = spec
        lanes = spec.lanes
        self.current = Signal(job_layout(spec), reset_less=True)
        self.phase = Signal(Phase)
        self.left = Signal(range(spec.max_beats + 1))
        self.steps = Signal(range(max(spec.root_bits, spec.reciprocal_bits) + 1))
        self.elems = Signal(spec.elems_bits, reset_less=True)
        # Of exp2 or of squares; of elements.
        self.total = Signal(TERM_BITS + spec.elems_bits, reset_less=True)
        self.total_x = Signal(signed(8 + spec.elems_bits), reset_less=True)
        self.radicand = Signal(2 * spec.root_bits, reset_less=True)
        self.root = Signal(spec.root_bits, reset_less=True)
        widest = max(spec.root_bits + 2, TERM_BITS + 1 + spec.elems_bits)
        self.remainder = Signal(widest, reset_less=True)
        self.reciprocal = Signal(spec.reciprocal_bits + 1, reset_less=True)
        byte = data.ArrayLayout(signed(8), lanes)
        job = In(stream.Signature(job_layout(spec)))
        super().__init__(
            data.StructLayout({"x": byte, "y": byte}),
            data.ArrayLayout(signed(spec.output_bits), lanes),
            timing(spec).latency_cycles,
            {"job": job},
        )

    @property
    def is_idle(self) -> Value:
        """Return whether no job is under way."""
        return ~Value.cast(self.phase).any()

    def _is(self, *ops: Op) -> Value:
        """Return whether the current job is one of ``ops``."""
        return reduce(lambda a, b: a | b, (self.current.op == op.value for op in ops))

    def datapath(self) -> Value:
        spec = self.spec
        is_last = self.phase == Phase.LAST
        self.may_accept = (self.phase == Phase.FIRST) | is_last
        self.starts = self.job.valid & (self.is_idle)
        is_softmax, is_gate = self._is(Op.SOFTMAX), self._is(Op.SILU, Op.GELU)

        is_cut = self.wire("is_cut", (self.left == 1) & self.current.tail.any())
        ends = [self._ends(k) for k in range(spec.lanes)]
        x = [
            [
                Mux(is_cut & ends[k], 0, self.i.payload.x[k])[:8].as_signed()
                for k in range(spec.lanes)
            ]
        ]
        scaled = [
            self.register(
                f"scaled{k}_q1",
                Mux(
                    is_softmax & is_cut & ends[k],
                    Const(-(1 << (PRODUCT_BITS - 1)), signed(PRODUCT_BITS)),
                    self._scaled(x[0][k], self.i.payload.y[k], is_last),
                ),
                signed(PRODUCT_BITS),
            )
            for k in range(spec.lanes)
        ]
        is_cut = self.delay("is_cut", is_cut, 2)
        for cycle in (1, 2, 3):
            x.append([self.register(f"x{k}_q{cycle}", lane) for k, lane in enumerate(x[-1])])
        reached, grown = self._reached(scaled)
        offset = Mux(self._is(Op.LAYERNORM) & self.is_last_at(1), self.total_x, 0)
        shifted = [
            self.register(f"shifted{k}_q2", self._shifted(lane, reached, offset), signed(26))
            for k, lane in enumerate(scaled)
        ]
        grown = self.delay("grown", Mux(is_softmax, grown, 0), 3)
        terms = [
            self.register(
                f"term{k}_q3",
                Mux(
                    is_softmax,
                    Mux(is_cut & ends[k], 0, self._exp2(lane)),
                    Mux(is_gate, self._gate(lane), lane),
                ),
                signed(26),
            )
            for k, lane in enumerate(shifted)
        ]
        sum_terms = self.register("sum_terms_q4", tree_sum(terms))
        sum_x = self.register("sum_x_q4", tree_sum(x[3]))
        products = [
            self.register(f"product{k}_q4", lane * Mux(is_gate, x[3][k], self.reciprocal))
            for k, lane in enumerate(terms)
        ]
        self._accumulate(sum_terms, sum_x, grown)
        self.is_emitted = self.is_last_at(5)
        return Cat(
            self.register(f"out{k}_q5", self._output(lane), spec.output_bits)
            for k, lane in enumerate(products)
        )

    def _ends(self, lane: int) -> Value:
        """Return whether a vector that does not use all lanes of its last beat ends before one."""
        tail = self.current.tail
        if lane == 0 or lane >= (1 << len(tail)) - 1:  # never, always: no comparison is left
            return Const(lane > 0, 1)
        return tail <= lane

    def _scaled(self, x: Value, y: Value, is_last: Value) -> Value:
        """Return the product of the first stage."""
        is_scaled = self._is(Op.SOFTMAX, Op.SILU, Op.GELU)
        is_norm = self._is(Op.LAYERNORM, Op.RMSNORM)
        factor = Mux(
            is_norm,
            Mux(is_last, self.elems, x),
            Mux(is_scaled, self.current.scale, Mux(self._is(Op.MUL), y, 1)),
        )
        added = Mux(is_norm | is_scaled | self._is(Op.MUL), 0, y)
        return (x * factor + added)[:PRODUCT_BITS].as_signed()

    def is_last_at(self, stage: int) -> Value:
        """Return whether the beat in ``stage`` is one of a last pass."""
        if not hasattr(self, "_last"):
            flags = [Value.cast(self.phase == Phase.LAST)]
            for cycle in range(1, LATENCY_CYCLES + 1):
                flags.append(self.register(f"is_last_q{cycle}", flags[-1]))
            self._last = flags
        return self._last[stage]

    def _reached(self, scaled: list[Value]) -> tuple[Value, Value]:
        """Return softmax's integer maximum with this beat, and by how much it grew (to 31)."""
        fraction = self.spec.scale_fraction_bits
        bits = PRODUCT_BITS - fraction
        lowest = -(1 << (bits - 1))
        # One bit more: the smallest integer not below the largest number may lie above it.
        self.highest = Signal(signed(bits + 1), init=lowest)
        largest = self.wire("largest", tree_max(scaled))
        ceiling = (largest >> fraction) + largest[:fraction].any()
        reached = self.wire(
            "reached", Mux(ceiling > self.highest, ceiling, self.highest)[: bits + 1].as_signed()
        )
        growth = self.wire("growth", (reached - self.highest)[: bits + 1])
        following = Mux(self.is_used[0], reached, self.highest)
        self.moves.append((self.highest, Mux(self.starts, Const(lowest), following)))
        return reached, Mux(growth > 31, 31, growth)[:5]

    def _shifted(self, lane: Value, reached: Value, offset: Value) -> Value:
        """Return how far a lane lies below the maximum, or above the mean."""
        below = (reached << self.spec.scale_fraction_bits) - lane
        return Mux(self._is(Op.SOFTMAX), below, lane - offset)[:26].as_signed()

    def _exp2(self, below: Value) -> Value:
        """Return 2**15 times 2**(-below) for a number that is not negative."""
        fraction, bits = self.spec.scale_fraction_bits, self.spec.table_bits
        table = Array(Const(entry, 16) for entry in self.spec.exp2_table())
        whole = below[fraction:]
        places = Mux(whole[4:].any(), 16, whole[:4])
        return table[below[fraction - bits : fraction]] >> places

    def _gate(self, t: Value) -> Value:
        """Return 2**15 times what silu or gelu multiplies x by."""
        silu, gelu = (
            Array(Const(entry, 16) for entry in self.spec.gate_table(op)) for op in ("silu", "gelu")
        )
        magnitude = Mux(t < 0, -t, t)[self.spec.gate_shift : 26]
        bits = self.spec.table_bits
        step = Mux(magnitude[bits:].any(), (1 << bits) - 1, magnitude[:bits])[:bits]
        gate = Mux(self._is(Op.GELU), gelu[step], silu[step])
        return Mux(t < 0, (1 << 15) - gate, gate)

    def _accumulate(self, sum_terms: Value, sum_x: Value, grown: Value) -> None:
        arrives = self.is_used[3] & ~self.is_last_at(4)
        following = ((self.total >> grown) + sum_terms.as_unsigned())[: len(self.total)]
        kept = Mux(arrives, following, self.total)
        self.moves.append((self.total, Mux(self.starts, 0, kept)))
        kept = Mux(arrives, (self.total_x + sum_x)[: len(self.total_x)].as_signed(), self.total_x)
        self.moves.append((self.total_x, Mux(self.starts, 0, kept)))

    def _output(self, product: Value) -> Value:
        spec = self.spec
        norm = product >> (spec.reciprocal_bits - spec.norm_fraction_bits)
        share = product >> (spec.reciprocal_bits - 8)
        plain = Mux(self._is(Op.MUL), product >> 7, product)
        plain = Mux(self._is(Op.SILU, Op.GELU), (product + (1 << 14)) >> 15, plain)
        is_norm = self._is(Op.LAYERNORM, Op.RMSNORM)
        signed_result = Mux(is_norm, _saturate(norm, spec.output_bits), _saturate(plain, 8))
        return Mux(self._is(Op.SOFTMAX), Mux(share > 255, 255, share)[:8], signed_result)

    def extend(self, m: Module) -> None:
        job, is_empty = self.job.payload, ~self.is_used.any()
        m.d.comb += self.job.ready.eq(self.is_idle)
        accepts = self.i.valid & self.i.ready
        with m.If(accepts):
            m.d.sync += self.left.eq(self.left - 1)
        ends = accepts & (self.left == 1)
        # A switch would be emitted without the cases that assign nothing: Verilator warns of it.
        with m.If(self.is_idle & self.job.valid):
            is_two_pass = (job.op > Op.MUL.value) & (job.op <= Op.RMSNORM.value)
            m.d.sync += [
                Value.cast(self.current).eq(Value.cast(job)),
                self.left.eq(job.beats),
                self.elems.eq(
                    job.beats * self.spec.lanes - Mux(job.tail.any(), self.spec.lanes - job.tail, 0)
                ),
                self.reciprocal.eq(1),
                self.phase.eq(Mux(is_two_pass, Phase.FIRST, Phase.LAST)),
            ]
        with m.Elif((self.phase == Phase.FIRST) & ends):
            m.d.sync += self.phase.eq(Phase.DRAIN_FIRST)
        with m.Elif((self.phase == Phase.DRAIN_FIRST) & is_empty):
            m.d.sync += self.phase.eq(Phase.PREPARE)
        with m.Elif((self.phase == Phase.LAST) & ends):
            m.d.sync += self.phase.eq(Phase.DRAIN_LAST)
        with m.Elif((self.phase == Phase.DRAIN_LAST) & is_empty):
            m.d.sync += self.phase.eq(Phase.IDLE)
        self._solve(m)

    def _solve(self, m: Module) -> None:
        """Find the root, a digit per cycle, and the reciprocal, a bit per cycle."""
        spec, is_softmax = self.spec, self._is(Op.SOFTMAX)
        mean_part = Mux(self._is(Op.LAYERNORM), self.total_x * self.total_x, 0)
        with m.If(self.phase == Phase.PREPARE):
            m.d.sync += [
                self.radicand.eq(self.elems * self.total - mean_part),
                self.root.eq(0),
                self.remainder.eq(0),
                self.reciprocal.eq(0),
                self.steps.eq(Mux(is_softmax, spec.reciprocal_bits, spec.root_bits - 1)),
                self.phase.eq(Mux(is_softmax, Phase.DIVIDE, Phase.ROOT)),
            ]
        with m.Elif(self.phase == Phase.ROOT):
            rest = Cat(self.radicand[-2:], self.remainder)
            trial = Cat(Const(1, 2), self.root)
            fits = rest >= trial
            m.d.sync += [
                self.radicand.eq(self.radicand << 2),
                self.remainder.eq(Mux(fits, rest - trial, rest)),
                self.root.eq(Cat(fits, self.root)),
                self.steps.eq(self.steps - 1),
            ]
            with m.If(~self.steps.any()):
                m.d.sync += [self.steps.eq(spec.reciprocal_bits), self.remainder.eq(0)]
                m.d.sync += self.phase.eq(Phase.DIVIDE)
        with m.Elif(self.phase == Phase.DIVIDE):
            divisor = Mux(is_softmax, self.total, Mux(self.root.any(), self.root, 1))
            # The numerator is a one and zeros.
            rest = Cat(self.steps == spec.reciprocal_bits, self.remainder)
            fits = rest >= divisor
            m.d.sync += [
                self.remainder.eq(Mux(fits, rest - divisor, rest)),
                self.reciprocal.eq(Cat(fits, self.reciprocal)),
                self.steps.eq(self.steps - 1),
            ]
            with m.If(~self.steps.any()):
                m.d.sync += [self.left.eq(self.current.beats), self.phase.eq(Phase.LAST)]
