"""Pick the activations that meet a kept weight: the multiplexer before every DSP."""

from __future__ import annotations

from amaranth.hdl import Cat, Value, unsigned
from amaranth.lib import data

from hwsim.core.machine import UnitTiming
from hwsim.flightllm.unit_spec import CsdChainSpec
from rtl.common.choose import choose
from rtl.common.pipeline import Pipeline

__all__ = ["SparseMux", "acts_layout", "select_pair", "timing"]


def timing(spec: CsdChainSpec) -> UnitTiming:
    """Return the cycle contract: one register."""
    del spec
    return UnitTiming(latency_cycles=1, interval_cycles=1)


def acts_layout(spec: CsdChainSpec) -> data.ArrayLayout:
    """Return the layout of two rows of ``choices`` activations: low lane, high lane."""
    return data.ArrayLayout(data.ArrayLayout(spec.lane.operand_bits, spec.choices), 2)


def select_pair(acts: data.View, index: Value) -> tuple[Value, Value]:
    """Return activation ``index`` of the low and of the high row."""
    low, high = (choose(row, index) for row in (acts[0], acts[1]))
    return low, high


class SparseMux(Pipeline):
    """Select one of ``choices`` activations in both rows by the index of a kept weight.

    Parameters
    ----------
    spec : CsdChainSpec
        M and the width of an activation.

    Attributes
    ----------
    i : In(stream.Signature(StructLayout({acts: [2][choices], index})))
        ``acts[0]`` is the row of the low lane.
    o : Out(stream.Signature(StructLayout({low, high})))

    Timing
    ------
    As for :class:`rtl.common.pipeline.Pipeline`, latency 1. In the chain this register is the A
    and D register of the slice.
    """

    def __init__(self, spec: CsdChainSpec) -> None:
        self.spec = spec
        bits = spec.lane.operand_bits
        super().__init__(
            data.StructLayout({"acts": acts_layout(spec), "index": unsigned(spec.select_bits)}),
            data.StructLayout({"low": unsigned(bits), "high": unsigned(bits)}),
            timing(spec).latency_cycles,
        )

    def datapath(self) -> Value:
        low, high = select_pair(self.i.payload.acts, self.i.payload.index)
        return Cat(self.register("low", low), self.register("high", high))
