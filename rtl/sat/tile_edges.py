"""Skew what enters an array from the north, align what leaves it in the south."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hwsim.sat.spec import TileSpec
from rtl.sat.uspe import sum_layout, weight_layout

__all__ = ["NorthEdge", "SouthEdge", "sums_layout", "weights_layout"]


def weights_layout(spec: TileSpec) -> data.ArrayLayout:
    """Return the layout of one weight per column."""
    return data.ArrayLayout(weight_layout(spec), spec.array.cols)


def sums_layout(spec: TileSpec) -> data.ArrayLayout:
    """Return the layout of one FP32 word per column."""
    return data.ArrayLayout(unsigned(32), spec.array.cols)


def _delayed(m: Module, value: Value, cycles: int, name: str) -> Value:
    """Return ``value`` of ``cycles`` cycles ago; bits without reset."""
    for cycle in range(cycles):
        register = Signal(len(value), name=f"{name}_q{cycle + 1}", reset_less=True)
        m.d.sync += register.eq(value)
        value = register
    return value


def _delayed_flag(m: Module, flag: Value, cycles: int, name: str) -> Value:
    """Return ``flag`` of ``cycles`` cycles ago, 0 after reset."""
    for cycle in range(cycles):
        register = Signal(name=f"{name}_q{cycle + 1}")
        m.d.sync += register.eq(flag)
        flag = register
    return flag


class NorthEdge(wiring.Component):
    """Hand weights and stored sums to column c, c cycles later where the operations do so.

    Parameters
    ----------
    spec : TileSpec

    Attributes
    ----------
    i_weights : stream(weights_layout), always ready
    i_sums : stream({sums: sums_layout, entry}), always ready
    o_weight, o_psum : stream(weight_layout), stream(sum_layout) per column, always ready
    i_is_os, i_shift : In(1)

    Timing
    ------
    Column c: c cycles later, but at once for stationary weights (``i_is_os`` = 0) and for sums in a
    shift (``i_shift`` = 1), when all columns move together.

    Reset
    -----
    ``valid`` of every column is 0 until an input is valid.
    """

    def __init__(self, spec: TileSpec) -> None:
        self.spec = spec
        cols = spec.array.cols
        entering = data.StructLayout(
            {"sums": sums_layout(spec), "entry": sum_layout(spec)["entry"].shape}
        )
        super().__init__(
            {
                "i_weights": In(stream.Signature(weights_layout(spec), always_ready=True)),
                "i_sums": In(stream.Signature(entering, always_ready=True)),
                "o_weight": Out(stream.Signature(weight_layout(spec), always_ready=True)).array(
                    cols
                ),
                "o_psum": Out(stream.Signature(sum_layout(spec), always_ready=True)).array(cols),
                "i_is_os": In(1),
                "i_shift": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        del platform
        m = Module()
        weights, sums = self.i_weights, self.i_sums
        for col in range(self.spec.array.cols):
            self._join(
                m,
                Cat(weights.valid, Value.cast(weights.payload[col])),
                self.o_weight[col],
                ~self.i_is_os,
                f"weight{col}",
                col,
            )
            self._join(
                m,
                Cat(sums.valid, sums.payload.sums[col], sums.payload.entry),
                self.o_psum[col],
                self.i_shift,
                f"psum{col}",
                col,
            )
        return m

    def _join(
        self,
        m: Module,
        word: Value,
        o: stream.Interface,
        is_at_once: Value,
        name: str,
        cycles: int,
    ) -> None:
        """Drive ``o`` with {valid, payload} of ``cycles`` cycles ago, or with this cycle's."""
        valid = _delayed_flag(m, word[0], cycles, f"{name}_valid")
        payload = _delayed(m, word[1:], cycles, name)
        m.d.comb += [
            o.valid.eq(Mux(is_at_once, word[0], valid)),
            Value.cast(o.payload).eq(Mux(is_at_once, word[1:], payload)),
        ]


class SouthEdge(wiring.Component):
    """Hold the sums of column c back until the last column's sum of the same row is there.

    Parameters
    ----------
    spec : TileSpec

    Attributes
    ----------
    i, o : In(sums_layout), Out(sums_layout)
    i_shift : In(1)
        All columns move together: nothing is held back.

    Timing
    ------
    Column c: C - 1 - c cycles later; the last column is a wire.

    Reset
    -----
    Keeps stale words.
    """

    def __init__(self, spec: TileSpec) -> None:
        self.spec = spec
        super().__init__(
            {"i": In(sums_layout(spec)), "o": Out(sums_layout(spec)), "i_shift": In(1)}
        )

    def elaborate(self, platform: object) -> Module:
        del platform
        m = Module()
        cols = self.spec.array.cols
        for col in range(cols):
            held = _delayed(m, self.i[col], cols - 1 - col, f"sum{col}")
            m.d.comb += self.o[col].eq(Mux(self.i_shift, self.i[col], held))
        return m
