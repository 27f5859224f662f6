"""Pass transfers through registers that all move or all wait: base of one-in-one-out units."""

from __future__ import annotations

from collections.abc import Mapping

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Pipeline"]


class Pipeline(wiring.Component):
    """Emit one transfer per transfer accepted, ``latency_cycles`` later, in order.

    A subclass describes its datapath in :meth:`datapath` by :meth:`wire` and :meth:`register`,
    and adds submodules that move along in :meth:`extend`.

    Parameters
    ----------
    i_shape, o_shape : ShapeLike
        Payloads.
    latency_cycles : int
        Registers from input to output, at least 1.
    others : {name: wiring.Member}, optional
        Further ports, which :meth:`extend` serves.

    Attributes
    ----------
    i : In(stream.Signature(i_shape))
    o : Out(stream.Signature(o_shape))
    is_used : Signal(latency_cycles)
        Which stages hold a transfer.
    is_moving : Signal
        Whether all stages move in this cycle.
    moves : list[tuple[Signal, Value]]
        Each register and what it takes when the stages move.
    is_emitted : Value
        Whether the transfer in the last stage leaves through ``o``; :meth:`datapath` may set it for
        units that give fewer transfers than they take. The others vanish.
    may_accept : Value
        Whether a transfer may come in when the stages move; :meth:`datapath` may set it.

    Timing
    ------
    Latency ``latency_cycles``, interval 1. All stages move together, in every cycle whose output
    is empty or accepted; ``i.ready`` says so and therefore depends combinationally on
    ``o.ready``. ``o.valid`` and ``o.payload`` are registers. Bubbles are not closed.

    Reset
    -----
    Drops what is in flight; ``o.valid`` is 0. Data registers keep stale words.
    """

    def __init__(
        self,
        i_shape: object,
        o_shape: object,
        latency_cycles: int,
        others: Mapping[str, wiring.Member] | None = None,
    ) -> None:
        ports = {"i": In(stream.Signature(i_shape)), "o": Out(stream.Signature(o_shape))}
        super().__init__({**ports, **(others or {})})
        # Attributes rather than locals, so that a formal bench can state invariants on them.
        self.latency_cycles = latency_cycles
        self.is_used = Signal(latency_cycles)
        self.is_moving = Signal()
        self.wires: list[tuple[Signal, Value]] = []
        self.moves: list[tuple[Signal, Value]] = []
        self.is_emitted: Value = Const(1, 1)
        self.may_accept: Value = Const(1, 1)
        self.result = Value.cast(self.datapath())

    def datapath(self) -> object:
        """Return the last register, or several in one value; called once, by the constructor."""
        raise NotImplementedError

    def extend(self, m: Module) -> None:
        """Add what :meth:`datapath` could not; by default nothing."""

    def wire(self, name: str, value: object) -> Signal:
        """Return a signal that always equals ``value``."""
        value = Value.cast(value)
        wire = Signal(value.shape(), name=name)
        self.wires.append((wire, value))
        return wire

    def register(self, name: str, value: object, shape: object = None) -> Signal:
        """Return a register that takes ``value`` whenever the stages move."""
        value = Value.cast(value)
        wide = Shape.cast(value.shape() if shape is None else shape)
        register = Signal(wide, name=name, reset_less=True)
        self.moves.append((register, value))
        return register

    def delay(self, name: str, value: object, cycles: int) -> Value:
        """Return ``value`` as it was ``cycles`` moves ago."""
        delayed = Value.cast(value)
        for number in range(1, cycles + 1):
            delayed = self.register(f"{name}_d{number}", delayed)
        return delayed

    def hold(self, stage: int, register: Signal, value: object) -> None:
        """Let ``register`` take ``value`` in moves in which ``stage`` holds a transfer."""
        self.moves.append((register, Mux(self.is_used[stage], value, register)))

    def elaborate(self, platform: object) -> Module:
        del platform
        m = Module()
        m.d.comb += [
            self.is_moving.eq(~self.o.valid | self.o.ready),
            self.i.ready.eq(self.is_moving & self.may_accept),
            self.o.valid.eq(self.is_used[-1] & self.is_emitted),
            Value.cast(self.o.payload).eq(self.result),
        ]
        m.d.comb += [wire.eq(value) for wire, value in self.wires]
        accepts = self.i.valid & self.may_accept
        with m.If(self.is_moving):
            m.d.sync += self.is_used.eq(Cat(accepts, self.is_used)[: self.latency_cycles])
            m.d.sync += [register.eq(value) for register, value in self.moves]
        self.extend(m)
        return m
