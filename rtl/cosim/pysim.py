"""Play vectors on Amaranth's own simulator."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import ClockDomain
from amaranth.lib import wiring
from amaranth.sim import Simulator

from rtl.cosim.harness import Harness
from rtl.cosim.observed import Observed
from rtl.cosim.player import Player
from rtl.cosim.vectors import Vectors

__all__ = ["run_pysim"]


def run_pysim(unit: wiring.Component, vectors: Vectors) -> Observed:
    """Return what ``unit`` (not yet elaborated) does with ``vectors``."""
    domain = ClockDomain("sync")
    harness = Harness(unit, domain)
    player = Player(harness.ports, vectors.to_json())

    async def play(ctx: Any) -> None:
        while not player.is_done:
            ctx.set(domain.rst, player.is_reset)
            ctx.set(harness.stim, player.drive())
            player.observe(ctx.get(harness.seen))
            await ctx.tick()

    simulator = Simulator(harness)
    simulator.add_clock(1e-6)
    simulator.add_testbench(play)
    simulator.run()
    return Observed.from_player("pysim", harness.ports, player)
