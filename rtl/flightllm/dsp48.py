"""Multiply and add in one DSP48E2: behaviour for simulation, the cell itself for synthesis.

``synth_xilinx`` infers a DSP48E2 from a product, but leaves all its registers, the pre-adder and
the post-adder in logic and connects no PCIN: the cascade has to be instantiated.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import (
    C,
    Cat,
    ClockSignal,
    Instance,
    Module,
    Mux,
    ResetSignal,
    Signal,
    Value,
    signed,
    unsigned,
)
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwsim.core.machine import UnitTiming
from hwsim.flightllm.unit_spec import DSP_A_BITS, DSP_B_BITS, DSP_P_BITS, DspSpec
from rtl.common.pipeline import Pipeline
from rtl.synth.platform import UltraScalePlus

__all__ = ["Z_C", "Z_P", "Z_PCIN", "Z_ZERO", "Dsp48Mac", "Dsp48Slice", "timing"]

Z_ZERO, Z_PCIN, Z_P, Z_C = 0, 1, 2, 3
"""What is added to the product: the codes of OPMODE[6:4] (AMD, UG579)."""


def timing(spec: DspSpec) -> UnitTiming:
    """Return the cycle contract: registers A and B, (AD,) M and P."""
    return UnitTiming(latency_cycles=4 if spec.has_preadder else 3, interval_cycles=1)


class Dsp48Slice(wiring.Component):
    """Compute ``p = (a + d) * b + z`` in the registers of one DSP48E2.

    Parameters
    ----------
    spec : DspSpec
        With or without the pre-adder.

    Attributes
    ----------
    i_a, i_d : In(signed(27))
    i_b : In(signed(18))
    i_c, i_pcin : In(signed(48))
        ``i_pcin`` may be driven by ``o_pcout`` of another slice only: it is the dedicated wire.
    i_z : In(2)
        0: nothing is added, 1: ``i_pcin``, 2: ``o_p``, 3: ``i_c``.
    i_ce, i_ce_p : In(1)
        Clock enables of all registers before P, and of P.
    o_p, o_pcout : Out(signed(48))

    Timing
    ------
    ``i_a``, ``i_d`` and ``i_b`` reach P after 4 enabled cycles (3 without pre-adder), ``i_c``,
    ``i_pcin`` and ``i_z`` after 1: C, OPMODE and INMODE have no registers.

    Reset
    -----
    P is 0; the other registers keep what they hold and start at 0.
    """

    def __init__(self, spec: DspSpec) -> None:
        self.spec = spec
        super().__init__(
            {
                "i_a": In(signed(DSP_A_BITS)),
                "i_d": In(signed(DSP_A_BITS)),
                "i_b": In(signed(DSP_B_BITS)),
                "i_c": In(signed(DSP_P_BITS)),
                "i_pcin": In(signed(DSP_P_BITS)),
                "i_z": In(2),
                "i_ce": In(1),
                "i_ce_p": In(1),
                "o_p": Out(signed(DSP_P_BITS)),
                "o_pcout": Out(signed(DSP_P_BITS)),
            }
        )
        # Attributes rather than locals, so that a formal bench can state invariants on them.
        self.moves: list[tuple[Signal, Value]] = []
        self.p = Signal(signed(DSP_P_BITS))
        factor, b = self._register("a_q1", self.i_a), self._register("b_q1", self.i_b)
        if spec.has_preadder:
            d = self._register("d_q1", self.i_d)
            factor = self._register("ad_q2", (factor + d)[:DSP_A_BITS].as_signed())
            b = self._register("b_q2", b)
        self.product = self._register("m", factor * b)

    def _register(self, name: str, value: Value) -> Signal:
        register = Signal(value.shape(), name=name, reset_less=True)
        self.moves.append((register, value))
        return register

    @property
    def next_p(self) -> Value:
        """Return what P takes."""
        outside = Mux(self.i_z[1], self.i_c, self.i_pcin)
        addend = Mux(self.i_z[0], outside, Mux(self.i_z[1], self.p, 0))
        return (self.product + addend)[:DSP_P_BITS].as_signed()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if isinstance(platform, UltraScalePlus):
            m.submodules.dsp = Instance("DSP48E2", **self._cell())
            return m
        m.d.comb += [self.o_p.eq(self.p), self.o_pcout.eq(self.p)]
        with m.If(self.i_ce):
            m.d.sync += [register.eq(value) for register, value in self.moves]
        with m.If(self.i_ce_p):
            m.d.sync += self.p.eq(self.next_p)
        return m

    def _cell(self) -> dict[str, Any]:
        """Return parameters and ports of the DSP48E2 (AMD, UG579) that does the same."""
        has_preadder = self.spec.has_preadder
        registers = {
            **{"AREG": 1, "ACASCREG": 1, "BREG": 2 if has_preadder else 1, "BCASCREG": 1},
            **{"ADREG": int(has_preadder), "DREG": int(has_preadder), "CREG": 0},
            **{"MREG": 1, "PREG": 1, "INMODEREG": 0, "OPMODEREG": 0, "ALUMODEREG": 0},
            **{"CARRYINREG": 0, "CARRYINSELREG": 0},
        }
        modes = {
            **{"AMULTSEL": "AD" if has_preadder else "A", "BMULTSEL": "B"},
            **{"A_INPUT": "DIRECT", "B_INPUT": "DIRECT", "USE_MULT": "MULTIPLY"},
            **{"USE_SIMD": "ONE48", "PREADDINSEL": "A"},
        }
        # INMODE[2]: D joins the pre-adder. OPMODE: W = 0, Z as asked for, Y and X the product.
        inputs: dict[str, Value] = {
            **{"A": self.i_a, "B": self.i_b, "C": self.i_c, "D": self.i_d, "PCIN": self.i_pcin},
            **{"INMODE": C(0b00100 if has_preadder else 0, 5), "ALUMODE": C(0, 4)},
            **{"OPMODE": Cat(C(0b0101, 4), self.i_z, C(0, 3)), "CLK": ClockSignal()},
            **{"ACIN": C(0, 30), "BCIN": C(0, 18), "CARRYINSEL": C(0, 3), "CEP": self.i_ce_p},
        }
        # The port is wider than the multiplier.
        inputs["A"] = Cat(self.i_a, self.i_a[-1].replicate(30 - DSP_A_BITS))
        enabled = ["CEA1", "CEA2", "CEAD", "CEB1", "CEB2", "CED", "CEM"]
        inputs |= dict.fromkeys(enabled, self.i_ce)
        tied = ["CARRYCASCIN", "CARRYIN", "MULTSIGNIN", "CEALUMODE", "CEC", "CECARRYIN", "CECTRL"]
        tied += ["CEINMODE", "RSTA", "RSTALLCARRYIN", "RSTALUMODE", "RSTB", "RSTC", "RSTCTRL"]
        tied += ["RSTD", "RSTINMODE", "RSTM"]
        inputs |= {name: C(0, 1) for name in tied}
        inputs["RSTP"] = ResetSignal(allow_reset_less=True)
        return {
            **{f"p_{name}": value for name, value in {**registers, **modes}.items()},
            **{f"i_{name}": value for name, value in inputs.items()},
            "o_P": self.o_p,
            "o_PCOUT": self.o_pcout,
        }


class Dsp48Mac(Pipeline):
    """Multiply and accumulate by one slice, a transfer per step.

    Parameters
    ----------
    spec : DspSpec
        With or without the pre-adder.

    Attributes
    ----------
    i : In(stream.Signature(StructLayout({a, b, d, c, pcin, z})))
        Operands as of :class:`Dsp48Slice`; ``z`` = 2 adds the result of the transfer before.
    o : Out(stream.Signature(signed(48)))

    Timing
    ------
    As for :class:`rtl.common.pipeline.Pipeline`, latency 4, or 3 without pre-adder. P holds in
    cycles that bring no transfer, so bubbles do not disturb an accumulation.
    """

    def __init__(self, spec: DspSpec) -> None:
        self.spec = spec
        self.slice = Dsp48Slice(spec)
        layout = {
            **{"a": signed(DSP_A_BITS), "b": signed(DSP_B_BITS), "d": signed(DSP_A_BITS)},
            **{"c": signed(DSP_P_BITS), "pcin": signed(DSP_P_BITS), "z": unsigned(2)},
        }
        super().__init__(data.StructLayout(layout), signed(DSP_P_BITS), timing(spec).latency_cycles)

    def datapath(self) -> Value:
        self.late = {
            name: self.delay(name, self.i.payload[name], self.latency_cycles - 1)
            for name in ("c", "pcin", "z")
        }
        return self.slice.o_p

    def extend(self, m: Module) -> None:
        m.submodules.slice = self.slice
        word = self.i.payload
        m.d.comb += [
            *(port.eq(word[name]) for name, port in self._early().items()),
            self.slice.i_c.eq(self.late["c"]),
            self.slice.i_pcin.eq(self.late["pcin"]),
            self.slice.i_z.eq(self.late["z"]),
            self.slice.i_ce.eq(self.is_moving),
            self.slice.i_ce_p.eq(self.is_moving & self.is_used[-2]),
        ]

    def _early(self) -> dict[str, Value]:
        return {"a": self.slice.i_a, "b": self.slice.i_b, "d": self.slice.i_d}
