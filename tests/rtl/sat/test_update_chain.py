"""Do updated weights leave WUVE and pre-generation as compact groups, in one stream?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring

from hwsim.cli.rtl_cases.reduction import pre_gen_case
from hwsim.cli.rtl_cases.update import RATES, random_update, wuve_case
from hwsim.sat.pre_gen import pregen_schedule
from hwsim.sat.spec import PreGenSpec, SatSpec, SoreSpec, SorterSpec, WuveSpec
from hwsim.sat.wuve import update_weights, wuve_timing
from rtl.cosim.check import check
from rtl.cosim.pysim import run_pysim
from rtl.cosim.vectors import Schedule
from rtl.sat.pre_gen import PreGen
from rtl.sat.wuve import Wuve


class Updated(wiring.Component):
    """WUVE whose FP16 copy goes into pre-generation."""

    def __init__(self, spec: SatSpec, chain: PreGenSpec) -> None:
        self.wuve, self.chain = Wuve(spec), PreGen(chain)
        ports = {**self.wuve.signature.members, **self.chain.signature.members}
        super().__init__({name: ports[name] for name in ports if name not in ("i", "o_w16")})

    def elaborate(self, platform):
        m = Module()
        m.submodules.wuve, m.submodules.chain = self.wuve, self.chain
        wiring.connect(m, self.wuve.o_w16, self.chain.i)
        for unit in (self.wuve, self.chain):
            for name in unit.signature.members:
                if name not in self.signature.members:
                    continue
                inner, outer = getattr(unit, name), getattr(self, name)
                if isinstance(outer, Signal):
                    m.d.comb += inner.eq(outer)
                else:
                    wiring.connect(m, inner, wiring.flipped(outer))
        return m


@pytest.mark.parametrize("engines", [1, 2])
@pytest.mark.parametrize("stall_share", [0.0, 0.4])
def test_weights_are_updated_and_selected_in_one_stream(engines, stall_share):
    chain = PreGenSpec(sore=SoreSpec(lanes=4, sorter=SorterSpec(nm_n=1, nm_m=2)), engines=engines)
    spec = SatSpec(wuve=WuveSpec(lanes=4), sore=chain.sore)
    update = random_update(np.random.default_rng(4), 12, 4)
    vectors, _ = wuve_case(spec, update, stall_share=stall_share, seed=4)
    w16 = update_weights(*_floats(update), **RATES)[2]
    selected, _ = pre_gen_case(chain, w16.view(np.uint16), stall_share=stall_share, seed=4)
    expected = {name: vectors.expected[name] for name in ("o_w", "o_v")} | selected.expected
    stalls = {name: vectors.sink_stalls[name] for name in ("o_w", "o_v")} | selected.sink_stalls
    vectors = replace(vectors, expected=expected, sink_stalls=stalls)
    observed = run_pysim(Updated(spec, chain), vectors)
    if stall_share:
        check(observed, vectors)
        return
    # Two engines keep pace with the update; one holds it back to half.
    accepts, ff, bp = pregen_schedule(chain, 6)
    latency = wuve_timing(spec).latency_cycles
    predicted = Schedule({}, {"o_ff": latency + ff, "o_bp": latency + bp})
    check(observed, vectors, predicted)
    assert int(observed.emit_cycles["o_w"][-1]) == latency + int(accepts[-1])


def _floats(update):
    dw, w, v = update
    return dw.view(np.float16), w.view(np.float32), v.view(np.float32)
