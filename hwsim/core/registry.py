"""List the machines; each is imported only when asked for."""

from __future__ import annotations

__all__ = ["REGISTRY"]

REGISTRY: dict[str, str] = {
    "cpu": "hwsim.cpu.machine:CpuMachine",
    "flightllm": "hwsim.flightllm.machine:FlightMachine",
    "piuma": "hwsim.piuma.machine:PiumaMachine",
    "sat": "hwsim.sat.machine:SatMachine",
}
"""Machine name -> ``module:class``, the module in a folder ``hwsim/NAME`` of its own."""
