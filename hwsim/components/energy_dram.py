"""Turn DRAM commands into energy per part: activate, read, write, interface, refresh, background.

Energies are per byte of row, byte of data or GiB of capacity, so that one class serves every
geometry of its family. Where only supply currents are known they give the energies as in Micron's
TN-40-07 (Calculating memory power for DDR4 SDRAM): a command costs what its current pattern draws
above standby, over the pattern's time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from hwsim.components.dram.devices import Device
from hwsim.components.energy import ActionEnergy, static_energy_pj
from hwsim.core.errors import InputError, unknown_name

__all__ = ["DramCurrents", "DramEnergy", "SupplyRail", "dram_energy", "dram_energy_class"]

_GIB = 1 << 30
_COMMANDS = ("ACT", "RD", "WR", "REFab", "REFpb")
"""Commands that cost energy; a precharge is part of its activation."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SupplyRail(_Part):
    """Currents of one supply of one chip, in mA, by the JEDEC measurement they come from."""

    name: str
    volts: float = Field(gt=0)
    idd0_ma: float = Field(ge=0, description="activate, precharge, over and over")
    idd2n_ma: float = Field(ge=0, description="standby, all banks closed")
    idd3n_ma: float = Field(ge=0, description="standby, banks open")
    idd4r_ma: float = Field(ge=0, description="bursts of reads")
    idd4w_ma: float = Field(ge=0, description="bursts of writes")
    idd5_ma: float = Field(ge=0, description="refresh, over and over")


class DramEnergy(_Part):
    """Energy of one family's commands, and its background power."""

    family: str
    description: str
    activate_byte: ActionEnergy
    read_byte: ActionEnergy
    write_byte: ActionEnergy
    interface_byte: ActionEnergy
    refresh_gib: ActionEnergy
    background_mw_per_gib: float = Field(ge=0)
    background_source: str = Field(min_length=1)

    def stream_pj_per_bit(self, row_share: float = 1.0) -> float:
        """Return what a bit read costs if ``row_share`` of every open row is read."""
        per_byte = self.activate_byte.energy_pj / row_share
        return (per_byte + self.read_byte.energy_pj + self.interface_byte.energy_pj) / 8


class DramCurrents(_Part):
    """Currents and times of a rank's chips, from which :class:`DramEnergy` follows."""

    family: str
    description: str
    source: str = Field(min_length=1)
    rails: tuple[SupplyRail, ...] = Field(min_length=1)
    chips: int = Field(ge=1)
    rank_bytes: int = Field(ge=1)
    row_bytes: int = Field(ge=1)
    burst_bytes: int = Field(ge=1)
    clock_ns: float = Field(gt=0)
    ras_clocks: int = Field(ge=1)
    rc_clocks: int = Field(ge=1)
    burst_clocks: int = Field(ge=1)
    rfc_clocks: int = Field(ge=1)
    interface_pj_per_bit: float = Field(ge=0)
    interface_source: str = Field(min_length=1)

    def rank_mw(self, current: str) -> float:
        """Return the power of the rank while its chips draw ``current``, as ``"idd0"``."""
        chip_mw = sum(rail.volts * float(getattr(rail, f"{current}_ma")) for rail in self.rails)
        return self.chips * chip_mw

    def energies(self) -> DramEnergy:
        """Return the energies that the currents give (mW x ns = pJ)."""
        open_mw, closed_mw = self.rank_mw("idd3n"), self.rank_mw("idd2n")
        ras_ns, rc_ns = self.ras_clocks * self.clock_ns, self.rc_clocks * self.clock_ns
        standby_pj = open_mw * ras_ns + closed_mw * (rc_ns - ras_ns)
        activate_pj = self.rank_mw("idd0") * rc_ns - standby_pj
        burst_ns = self.burst_clocks * self.clock_ns
        read_pj, write_pj = (
            (self.rank_mw(current) - open_mw) * burst_ns for current in ("idd4r", "idd4w")
        )
        refresh_pj = (self.rank_mw("idd5") - open_mw) * self.rfc_clocks * self.clock_ns
        gib = self.rank_bytes / _GIB
        return DramEnergy(
            family=self.family,
            description=self.description,
            activate_byte=self._from_currents(activate_pj / self.row_bytes),
            read_byte=self._from_currents(read_pj / self.burst_bytes),
            write_byte=self._from_currents(write_pj / self.burst_bytes),
            interface_byte=ActionEnergy(
                energy_pj=8 * self.interface_pj_per_bit, source=self.interface_source
            ),
            refresh_gib=self._from_currents(refresh_pj / gib),
            background_mw_per_gib=open_mw / gib,
            background_source=self.source,
        )

    def _from_currents(self, energy_pj: float) -> ActionEnergy:
        return ActionEnergy(energy_pj=energy_pj, source=self.source)


@cache
def _classes() -> dict[str, DramEnergy]:
    entries = json.loads((Path(__file__).parent / "energy_dram.json").read_text("utf-8"))
    found = [DramCurrents.model_validate(entry).energies() for entry in entries["currents"]]
    found += [DramEnergy.model_validate(entry) for entry in entries["energies"]]
    return {entry.family: entry for entry in found}


def dram_energy_class(family: str) -> DramEnergy:
    """Return the energies of a device family, as ``ddr4``, ``ddr5``, ``lpddr4`` or ``hbm``.

    Raises
    ------
    InputError
        If there is none of that name.
    """
    if family not in _classes():
        raise unknown_name("energy.dram_family", family, _classes())
    return _classes()[family]


def dram_energy(
    device: Device, commands: Mapping[str, int], cycles: int, clock_hz: int
) -> dict[str, float]:
    """Return picojoules per part of a memory; the total is their sum.

    Parameters
    ----------
    device : Device
        The memory system: family, rows, bursts, capacity.
    commands : mapping of command to count
        As counted by the controller, over all of it; ``ACT``, ``RD``, ``WR``, ``REFab``, ``REFpb``
        cost energy, others nothing, and those left out count as none.
    cycles, clock_hz : int
        Duration, for the background power.

    Raises
    ------
    InputError
        If a count is negative or ``clock_hz`` not positive.
    """
    for command, count in commands.items():
        if count < 0:
            raise InputError(f"energy.dram.{command}", "a count >= 0", str(count))
    activations, reads, writes, rank_refreshes, bank_refreshes = (
        commands.get(command, 0) for command in _COMMANDS
    )
    energy = dram_energy_class(device.family)
    gib = device.capacity_bytes / _GIB
    ranks = device.controllers * device.ranks
    banks = device.bank_groups * device.banks_per_group
    refreshed_gib = (rank_refreshes + bank_refreshes / banks) * gib / ranks
    burst = device.burst_bytes
    return {
        "activate": activations * device.row_bytes * energy.activate_byte.energy_pj,
        "read": reads * burst * energy.read_byte.energy_pj,
        "write": writes * burst * energy.write_byte.energy_pj,
        "interface": (reads + writes) * burst * energy.interface_byte.energy_pj,
        "refresh": refreshed_gib * energy.refresh_gib.energy_pj,
        "background": static_energy_pj(energy.background_mw_per_gib * gib, cycles, clock_hz),
    }
