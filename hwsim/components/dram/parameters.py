"""Name a DRAM memory and its place in a machine: what :func:`run_program` takes."""

from __future__ import annotations

from dataclasses import dataclass

from hwsim.components.dram.devices import Device
from hwsim.components.dram.layout import Dram
from hwsim.components.dram.state import Controller, Stream, dram_state
from hwsim.core.errors import InputError

__all__ = ["DramParameters"]


@dataclass(frozen=True)
class DramParameters:
    """A DRAM memory behind a machine of ``cycle_hz``.

    ``path_cycles`` machine cycles pass between the last data of a request and its completion: the
    way through interconnect and controller, there and back.

    Addresses: each unit that moves data has a region of its own, an equal part of the capacity,
    and each of its requests takes the next addresses there, from a whole burst on (assumed:
    operands lie in memory in the order in which they are moved). At the end of a region the
    addresses start over.
    """

    device: Device
    controller: Controller = Controller()
    cycle_hz: int = 1_000_000_000
    path_cycles: int = 0

    def __post_init__(self) -> None:
        for name, lowest in (("cycle_hz", 1), ("path_cycles", 0)):
            found = getattr(self, name)
            if not lowest <= found < 1 << 40:
                need = f"an integer from {lowest} to 2^40 - 1"
                raise InputError(f"memory.{name}", need, str(found))

    def regions(self, units: int) -> list[Stream]:
        """Return the region of each of ``units`` units, in bursts."""
        bursts = self.device.capacity_bytes // self.device.burst_bytes
        length = bursts // max(units, 1)
        return [Stream(unit * length, length) for unit in range(units)]

    def state(self, units: int, capacity: int) -> Dram:
        """Return the idle memory for ``units`` units with ``capacity`` requests in flight."""
        return dram_state(
            self.device,
            self.controller,
            capacity,
            cycle_hz=self.cycle_hz,
            path_cycles=self.path_cycles,
            streams=self.regions(units),
        )
