"""Run inside the simulator: play every batch of a job file against the harness.

Imports only cocotb and plain Python, so that the simulator process starts quickly.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.handle import SimHandleBase
from cocotb.triggers import Timer

from rtl.cosim.player import Player
from rtl.cosim.ports import PortMap

__all__ = ["JOB_VARIABLE", "play_batches"]

JOB_VARIABLE = "HWSIM_COSIM_JOB"
"""Environment variable that names the job file."""


@cocotb.test()
async def play_batches(dut: SimHandleBase) -> None:
    """Play the batches one after the other and write the words driven and seen."""
    job = json.loads(Path(os.environ[JOB_VARIABLE]).read_text())
    ports = PortMap.from_json(job["ports"])
    # The simulator's own clock: a rising edge every second step, without a turn of Python.
    Clock(dut.clk, 2, unit="step", impl="gpi").start(start_high=True)
    await Timer(1, "step")  # from here on always half way between two rising edges
    records = []
    for batch in job["batches"]:
        player = Player(ports, batch)
        await _play(dut, player)
        records.append({"stim": player.stim, "seen": player.seen})
    Path(job["records"]).write_text(json.dumps(records))


async def _play(dut: SimHandleBase, player: Player) -> None:
    """Drive and observe cycle by cycle, one turn each.

    What is driven takes effect behind the next rising edge; what is seen has settled by then. So
    one turn reads a cycle's words and drives the next cycle's, which may depend on them.
    """
    rst, stim, seen = dut.rst_next, dut.stim_next, dut.seen
    # The bits as text: cocotb's value of them takes as long as a quarter of the turn.
    read = seen._handle.get_signal_val_binstr
    cycle = Timer(2, "step")
    drive, observe = player.drive, player.observe
    was_reset = None
    last = None
    while not player.is_done:
        if player.is_reset is not was_reset:
            was_reset = player.is_reset
            rst.value = int(was_reset)
        word = drive()
        if word != last:
            stim.value = last = word
        await cycle
        try:
            observe(int(read(), 2))
        except ValueError:  # an X or Z
            observe(-1)
