"""Build pipelined floating-point stream units: one step function per stage, one stall for all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = [
    "CANONICAL_NAN",
    "Fields",
    "FloatPipeline",
    "FloatStages",
    "FloatSteps",
    "Step",
    "Wire",
    "is_infinite",
    "is_nan",
    "leading_zeros",
    "scale_field",
    "significand",
]

CANONICAL_NAN = 0x7FC0_0000
"""The one FP32 NaN these units emit: quiet, positive, no payload (own choice)."""

Fields = dict[str, Value]
Wire = Callable[[str, Value], Signal]
"""Names an intermediate value; returns the signal that carries it."""

Step = Callable[[Wire, Fields], Fields]
"""Combinational: what one step passes on, from what it received."""


class FloatSteps(ABC):
    """Say which combinational steps a function of one or two words consists of.

    Attributes
    ----------
    OPERANDS : {name: bits}
        The words it takes.
    RESULT_BITS : int
        Width of the word it gives.
    """

    OPERANDS: ClassVar[Mapping[str, int]] = {"a": 32, "b": 32}
    RESULT_BITS: ClassVar[int] = 32

    @abstractmethod
    def steps(self) -> list[Step]:
        """Return the steps; the first gets the operands by name, the last returns ``result``."""


class FloatStages:
    """Lay the steps of a function out over registers; whoever uses it says when they move.

    Parameters
    ----------
    steps : list[Step]
        As :class:`FloatSteps` returns them.
    latency_cycles : int
        Registers, at least 1. With fewer registers than steps, neighbouring steps share a
        stage; registers beyond one per step are plain delay behind the last step, for a
        synthesis tool to move.
    operands : Fields or Value
        By name, or two of the same width in one value, a below b.

    Attributes
    ----------
    wires : list[tuple[Signal, Value]]
        Combinational assignments.
    moves : list[tuple[Signal, Value]]
        Each register and what it takes when the stages move.
    stages : list[dict[str, Signal]]
        Registers by field, per stage; the last one holds ``result``.
    """

    def __init__(self, steps: list[Step], latency_cycles: int, operands: Fields | Value) -> None:
        self.wires: list[tuple[Signal, Value]] = []
        self.moves: list[tuple[Signal, Value]] = []
        self.stages: list[dict[str, Signal]] = []
        fields = operands if isinstance(operands, dict) else _split(operands)
        for step, registers in zip(steps, _registers_after(steps, latency_cycles), strict=True):
            fields = step(self._wire, fields)
            for _ in range(registers):
                fields = self._register(fields)

    @property
    def result(self) -> Signal:
        """Return the last register."""
        return self.stages[-1]["result"]

    @property
    def next_result(self) -> Value:
        """Return what the last register takes: the result one cycle early."""
        return self.moves[-1][1]

    def _wire(self, name: str, value: Value) -> Signal:
        wire = Signal(len(value), name=name)
        self.wires.append((wire, value))
        return wire

    def _register(self, fields: Fields) -> Fields:
        number = len(self.stages) + 1
        stage = {
            name: Signal(len(value), name=f"{name}_q{number}", reset_less=True)
            for name, value in fields.items()
        }
        self.moves += [(stage[name], value) for name, value in fields.items()]
        self.stages.append(stage)
        return dict(stage)


class FloatPipeline(wiring.Component):
    """Pass words through the steps of a function, one transfer per cycle.

    Parameters
    ----------
    function : FloatSteps
        What is computed.
    latency_cycles : int
        Registers between input and output, at least 1, placed as :class:`FloatStages` states.

    Attributes
    ----------
    i : In(stream.Signature(StructLayout(function.OPERANDS)))
    o : Out(stream.Signature(function.RESULT_BITS))

    Timing
    ------
    Latency ``latency_cycles``, interval 1. All stages move together, in every cycle whose output
    is empty or accepted; ``i.ready`` says so and therefore depends combinationally on
    ``o.ready``. ``o.valid`` and ``o.payload`` are registers. Bubbles are not closed.

    Reset
    -----
    Drops what is in flight; ``o.valid`` is 0. Data registers keep stale words.
    """

    def __init__(self, function: FloatSteps, latency_cycles: int) -> None:
        operands = data.StructLayout(
            {name: unsigned(bits) for name, bits in function.OPERANDS.items()}
        )
        result = unsigned(function.RESULT_BITS)
        super().__init__({"i": In(stream.Signature(operands)), "o": Out(stream.Signature(result))})
        # Attributes rather than locals, so that a formal bench can state invariants on them.
        self.latency_cycles = latency_cycles
        self.is_used = Signal(latency_cycles)
        fields: Fields = {name: self.i.payload[name] for name in function.OPERANDS}
        self._datapath = FloatStages(function.steps(), latency_cycles, fields)
        self.stages = self._datapath.stages
        self.moves = self._datapath.moves

    def elaborate(self, platform: object) -> Module:
        del platform
        m = Module()
        is_moving = Signal()
        m.d.comb += [
            is_moving.eq(~self.o.valid | self.o.ready),
            self.i.ready.eq(is_moving),
            self.o.valid.eq(self.is_used[-1]),
            self.o.payload.eq(self._datapath.result),
        ]
        m.d.comb += [wire.eq(value) for wire, value in self._datapath.wires]
        with m.If(is_moving):
            m.d.sync += self.is_used.eq(Cat(self.i.valid, self.is_used)[: self.latency_cycles])
            m.d.sync += [register.eq(value) for register, value in self.moves]
        return m


def _registers_after(steps: list[Step], latency_cycles: int) -> list[int]:
    """Return how many registers follow each step."""
    count, latency = len(steps), latency_cycles
    if latency > count:
        return [1] * (count - 1) + [latency - count + 1]
    return [(s + 1) * latency // count - s * latency // count for s in range(count)]


def _split(operands: Value) -> Fields:
    half = len(operands) // 2
    return {"a": operands[:half], "b": operands[half:]}


def leading_zeros(wire: Wire, value: Value) -> Value:
    """Return how many zeros lead ``value``; its width if there is nothing else."""
    size = 1 << (len(value) - 1).bit_length()
    # Ones below end the count at the width.
    padding = size - len(value)
    rest: Value = wire("lz_in", Cat(Const((1 << padding) - 1, padding), value))
    count: list[Value] = []
    while size > 1:
        size //= 2
        is_zero = wire(f"lz_zero{size}", ~rest[size:].any())
        rest = wire(f"lz_rest{size}", Mux(is_zero, rest[:size], rest[size:]))
        count.insert(0, is_zero)
    return Cat(*count)


def scale_field(word: Value, fraction_bits: int) -> Value:
    """Return the exponent field, 1 for subnormals: they share the scale of the field 1."""
    field = word[fraction_bits:-1]
    return Cat(field[0] | ~field.any(), field[1:])


def significand(word: Value, fraction_bits: int) -> Value:
    """Return the fraction below the bit that it leaves out."""
    return Cat(word[:fraction_bits], word[fraction_bits:-1].any())


def is_nan(word: Value, fraction_bits: int) -> Value:
    """Return whether ``word`` is any NaN."""
    return word[fraction_bits:-1].all() & word[:fraction_bits].any()


def is_infinite(word: Value, fraction_bits: int) -> Value:
    """Return whether ``word`` is an infinity."""
    return word[fraction_bits:-1].all() & ~word[:fraction_bits].any()
