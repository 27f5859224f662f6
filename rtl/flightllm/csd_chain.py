"""Sum kept weights times activations in a chain of DSPs that breaks where a column ends."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Value, signed, unsigned
from amaranth.lib import data

from hwsim.core.machine import UnitTiming
from hwsim.flightllm.unit_spec import CsdChainSpec, DspSpec
from rtl.common.choose import choose
from rtl.common.pipeline import Pipeline
from rtl.flightllm.dsp48 import Z_C, Z_PCIN, Z_ZERO, Dsp48Slice
from rtl.flightllm.lane_split import split_lanes, split_segment
from rtl.flightllm.sparse_mux import acts_layout, select_pair

__all__ = ["CsdChain", "issue_layout", "sums_layout", "timing"]

DSP_LATENCY_CYCLES = 4
"""From the operands of a slice to its P."""


def timing(spec: CsdChainSpec) -> UnitTiming:
    """Return the cycle contract: 3 registers, one P per DSP, the reduction node."""
    return UnitTiming(latency_cycles=3 + spec.dsps + 1, interval_cycles=1)


def issue_layout(spec: CsdChainSpec) -> data.StructLayout:
    """Return the layout of an issue; ``mode`` c keeps ``2 << c`` weights per column."""
    return data.StructLayout(
        {
            "acts": acts_layout(spec),
            "weights": data.ArrayLayout(signed(spec.lane.operand_bits), spec.dsps),
            "index": data.ArrayLayout(unsigned(spec.select_bits), spec.dsps),
            "mode": unsigned(spec.mode_bits),
        }
    )


def sums_layout(spec: CsdChainSpec) -> data.StructLayout:
    """Return the layout of the sums: node g's are there if ``valid[g]``, else 0."""
    sums = data.ArrayLayout(signed(spec.sum_bits), spec.groups)
    return data.StructLayout({"valid": unsigned(spec.groups), "high": sums, "low": sums})


class CsdChain(Pipeline):
    """Emit, per issue, the sums of ``dsps / N`` block columns in both lanes.

    Parameters
    ----------
    spec : CsdChainSpec
        One or two segments of DSPs.

    Attributes
    ----------
    i : In(stream.Signature(issue_layout(spec)))
        A mode beyond the last stands for the last.
    o : Out(stream.Signature(sums_layout(spec)))
        A column's sums leave at the reduction node of its last DSP.
    slices : list[Dsp48Slice]

    Timing
    ------
    As for :class:`rtl.common.pipeline.Pipeline`, latency 3 + dsps + 1: node g has its sum in cycle
    3 + 2 (g + 1) + 1 and delays it until the last node's.

    Notes
    -----
    Sums are exact for weights from -127 to 127 (of 8 bits); a low lane that sums 8 products of -128
    and -128 leaves its 18 bits. The first slice of a group adds zero where a column begins; else
    PCIN, and behind a segment the C port, through overflow adjustment. Every slice registers its
    operands once more than the one before.
    """

    def __init__(self, spec: CsdChainSpec) -> None:
        self.spec = spec
        self.slices = [Dsp48Slice(DspSpec()) for _ in range(spec.dsps)]
        super().__init__(issue_layout(spec), sums_layout(spec), timing(spec).latency_cycles)

    def datapath(self) -> Value:
        spec, issue = self.spec, self.i.payload
        self.modes: list[Value] = [issue.mode]
        for cycle in range(1, 3 + spec.dsps + 1):
            self.modes.append(self.register(f"mode_q{cycle}", self.modes[-1]))
        self.operands = []
        for dsp in range(spec.dsps):
            low, high = select_pair(issue.acts, issue.index[dsp])
            word = Cat(low, high, issue.weights[dsp])
            self.operands.append(self.delay(f"operands{dsp}", word, dsp))
        self.msp = self._adjust() if spec.dsps > spec.lane.segment_dsps else None
        nodes = [self._node(group) for group in range(spec.groups)]
        return Cat(
            Cat(valid for valid, _, _ in nodes),
            Cat(high for _, high, _ in nodes),
            Cat(low for _, _, low in nodes),
        )

    def _is_at_column(self, dsp: int, mode: Value) -> Value:
        """Return whether a column begins at ``dsp`` (so one ends before it) in ``mode``."""
        return choose((Const(dsp % nm_n == 0, 1) for nm_n in self.spec.modes), mode)

    def _adjust(self) -> tuple[Value, Value]:
        """Cut P behind the first segment; return what the last node adds to its lanes."""
        lane, dsp = self.spec.lane, self.spec.lane.segment_dsps
        kept, *parts = split_segment(lane, self.slices[dsp - 1].o_p)
        self.adjusted = self.wire("adjusted", kept)
        is_joined = ~self._is_at_column(dsp, self.modes[DSP_LATENCY_CYCLES + dsp - 1])
        high, low = (
            self.delay(name, Mux(is_joined, part, 0), self.spec.dsps - dsp)
            for name, part in zip(("msp_high", "msp_low"), parts, strict=True)
        )
        return high.as_signed(), low.as_signed()

    def _node(self, group: int) -> tuple[Value, Value, Value]:
        """Return the valid bit and the two sums of a reduction node, delayed until the last."""
        spec, last = self.spec, 2 * group + 1
        is_end = self._is_at_column(last + 1, self.modes[DSP_LATENCY_CYCLES + last])
        valid = self.register(f"valid{group}", is_end)
        sums = []
        for place, lane in enumerate(split_lanes(spec.lane, self.slices[last].o_p)):
            total = lane
            if last + 1 == spec.dsps and self.msp is not None:
                total = lane + (self.msp[place] << spec.lane.lsp_bits)
            total = Mux(is_end, total, 0).as_signed()
            sums.append(self.register(f"sum{place}_{group}", total, signed(spec.sum_bits)))
        wait = spec.dsps - 1 - last
        high, low = (self.delay(f"sum{k}_{group}", sums[k], wait) for k in (0, 1))
        return self.delay(f"valid{group}", valid, wait), high, low

    def extend(self, m: Module) -> None:
        lane, bits = self.spec.lane, self.spec.lane.operand_bits
        for dsp, (cell, word) in enumerate(zip(self.slices, self.operands, strict=True)):
            m.submodules[f"dsp{dsp}"] = cell
            low, high, weight = (word[k * bits : (k + 1) * bits].as_signed() for k in range(3))
            m.d.comb += [
                cell.i_a.eq(high << lane.lane_bits),
                cell.i_d.eq(low),
                cell.i_b.eq(weight),
                cell.i_z.eq(self._addend(dsp)),
                cell.i_ce.eq(self.is_moving),
                cell.i_ce_p.eq(self.is_moving),
            ]
            if dsp == lane.segment_dsps:
                m.d.comb += cell.i_c.eq(self.adjusted)
            elif dsp:
                m.d.comb += cell.i_pcin.eq(self.slices[dsp - 1].o_pcout)

    def _addend(self, dsp: int) -> Value:
        """Return the code of what slice ``dsp`` adds to its product."""
        if dsp == 0:
            return Const(Z_ZERO, 2)
        source = Z_C if dsp == self.spec.lane.segment_dsps else Z_PCIN
        if dsp % self.spec.dsps_per_group:
            return Const(source, 2)
        is_column = self._is_at_column(dsp, self.modes[DSP_LATENCY_CYCLES - 1 + dsp])
        return Mux(is_column, Z_ZERO, source)
