"""Turn action counts into energy per component, every number with its source.

Energy is counted after a run: actions times energy per action, plus static power times time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from hwsim.core.errors import InputError, unknown_name

__all__ = [
    "FPGA_ACTIONS",
    "STATIC",
    "TECHNOLOGIES",
    "ActionEnergy",
    "EnergyTable",
    "average_power_w",
    "energy_by_component",
    "static_energy_pj",
]

STATIC = "static"
"""The component that static power is charged to."""

_PJ_PER_MJ = 1e9

# 16 nm FPGA from 45 nm ASIC. Dynamic energy goes with capacitance times voltage squared.
_CAPACITANCE_RATIO = 16 / 45  # assumed: in proportion to the nominal feature size
_VOLTAGE_RATIO = 0.85 / 0.9  # assumed: 0.85 V core supply against Horowitz's 0.9 V
_FPGA_LOGIC_RATIO = 14.0  # dynamic power of look-up tables over standard cells (Kuon, Rose 2007)
_FPGA_STATIC_MW = 3000.0  # assumed; the estimate of fpga_design has 2335 for 872,000 LUTs, 35 C
_FPGA_DRAM_PJ = 1300 / 8  # per byte, the low end of Horowitz's range

# A phone's chip from the 7 nm ASIC: the same operations, other instructions and memory.
_MOBILE_CORE_PJ = 256.0  # assumed: 1 W per large out-of-order core at 2.6 GHz and 1.5 per cycle
_MOBILE_DRAM_PJ = 50.0  # assumed: LPDDR4X, see hwsim.components.energy_dram, rounded
_MOBILE_STATIC_MW = 200.0  # assumed: cores in use, the others being switched off


class ActionEnergy(BaseModel):
    """Energy of one action, with the publication or the assumption that it comes from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    energy_pj: float = Field(ge=0)
    source: str = Field(min_length=1)


class FpgaDesign(BaseModel):
    """A vendor tool's power estimate of one whole design, and what the design is made of.

    ``luts`` are those that work as logic, memory and shift registers. Its shell's clocks are
    faster than ``clock_hz``, that of its kernels, so that energies per cell are upper bounds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = Field(min_length=1)
    clock_hz: int = Field(ge=1)
    clocks_w: float = Field(ge=0)
    logic_w: float = Field(ge=0)
    signals_w: float = Field(ge=0)
    luts: int = Field(ge=1)
    registers: int = Field(ge=1)

    def actions(self) -> dict[str, ActionEnergy]:
        """Return the energy of a look-up table with its wires, and of a register's clock."""
        luts_w, tick = self.logic_w + self.signals_w, 1e12 / self.clock_hz
        how = f"assumed: all cells at its kernels' clock, by {self.source}"
        return {
            "lut_cycle": ActionEnergy(energy_pj=luts_w * tick / self.luts, source=how),
            "register_cycle": ActionEnergy(
                energy_pj=self.clocks_w * tick / self.registers, source=how
            ),
        }


class EnergyTable(BaseModel):
    """Energy per action of one technology, and its static power."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    description: str
    static_mw: float = Field(ge=0)
    static_source: str = Field(min_length=1)
    actions: dict[str, ActionEnergy]

    @field_validator("actions")
    @classmethod
    def _is_not_empty(cls, actions: dict[str, ActionEnergy]) -> dict[str, ActionEnergy]:
        if not actions:
            raise ValueError("need at least one action, found none")
        return actions

    @classmethod
    def named(cls, name: str) -> EnergyTable:
        """Return the table of a technology in :data:`TECHNOLOGIES`.

        Raises
        ------
        InputError
            If there is none of that name.
        """
        if name not in TECHNOLOGIES:
            raise unknown_name("energy.technology", name, TECHNOLOGIES)
        return _tables()[name]

    def action_pj(self, action: str) -> float:
        """Return the energy of ``action`` in pJ; :class:`InputError` if it is not in the table."""
        if action not in self.actions:
            raise unknown_name(f"energy.{self.name}", action, self.actions)
        return self.actions[action].energy_pj


TECHNOLOGIES = ("asic-45nm", "fpga-16nm", "asic-7nm", "mobile-7nm")
"""Names of the tables; ``fpga-16nm`` is derived from ``asic-45nm`` and ``mobile-7nm`` from
``asic-7nm`` by stated factors. All know the same actions, but for :data:`FPGA_ACTIONS`."""

FPGA_ACTIONS = ("lut_cycle", "register_cycle")
"""What ``fpga-16nm`` alone knows: a look-up table and its wires in a cycle in which its unit works,
a register's share of the clocks in a cycle."""


@cache
def _tables() -> dict[str, EnergyTable]:
    text = (Path(__file__).parent / "energy_tables.json").read_text("utf-8")
    entries = json.loads(text)
    known = {entry["name"]: EnergyTable.model_validate(entry) for entry in entries["tables"]}
    design = FpgaDesign.model_validate(entries["fpga_design"])
    derived = (_fpga_16nm(known["asic-45nm"], design), _mobile_7nm(known["asic-7nm"]))
    return known | {table.name: table for table in derived}


def _fpga_16nm(asic: EnergyTable, design: FpgaDesign) -> EnergyTable:
    """Return the FPGA table scaled from ``asic``, with the cells of ``design``.

    Logic and wires are scaled by process and by the FPGA's overhead (the ratio for look-up tables,
    an upper bound where hard multipliers are used); hard memory blocks by process alone. Optics
    stay, and DRAM, which the logic process does not change, takes the low end of Horowitz's range.
    """
    actions = {name: _on_fpga(name, action) for name, action in asic.actions.items()}
    actions["optical_byte"] = asic.actions["optical_byte"]
    actions["dram_byte"] = ActionEnergy(
        energy_pj=_FPGA_DRAM_PJ, source="Horowitz 2014: 1.3 nJ per 64 bits; assumed for DDR4"
    )
    return EnergyTable(
        name="fpga-16nm",
        description="16 nm FPGA, 0.85 V, scaled from asic-45nm",
        static_mw=_FPGA_STATIC_MW,
        static_source="assumed: 3 W, a large device (the estimate of fpga_design: 2.3 W for a U50)",
        actions=actions | design.actions(),
    )


def _on_fpga(name: str, action: ActionEnergy) -> ActionEnergy:
    is_memory = name.startswith("sram_")
    factor = _CAPACITANCE_RATIO * _VOLTAGE_RATIO**2 * (1.0 if is_memory else _FPGA_LOGIC_RATIO)
    how = "hard blocks" if is_memory else "logic 14x, Kuon and Rose 2007"
    return ActionEnergy(
        energy_pj=action.energy_pj * factor,
        source=f"assumed: {action.source}, x {factor:.3f} (16/45 x (0.85/0.9)^2; {how})",
    )


def _mobile_7nm(asic: EnergyTable) -> EnergyTable:
    """Return the table of a phone's chip: ``asic`` but for instructions, memory and leakage."""
    changed = {
        "instruction": ActionEnergy(
            energy_pj=_MOBILE_CORE_PJ,
            source="assumed: 1 W per large out-of-order core at 2.6 GHz and 1.5 per cycle",
        ),
        "dram_byte": ActionEnergy(
            energy_pj=_MOBILE_DRAM_PJ,
            source="assumed: LPDDR4X by its currents, about 6 pJ per bit with its interface",
        ),
    }
    return EnergyTable(
        name="mobile-7nm",
        description="7 nm system on chip of a phone, from asic-7nm",
        static_mw=_MOBILE_STATIC_MW,
        static_source="assumed: 200 mW, cores that are not used being switched off",
        actions={**asic.actions, **changed},
    )


def static_energy_pj(static_mw: float, cycles: int, clock_hz: int) -> float:
    """Return the energy in pJ that ``static_mw`` take in ``cycles`` of ``clock_hz``.

    Raises
    ------
    InputError
        If the power is negative or the clock not positive.
    """
    if clock_hz < 1:
        raise InputError("clock_hz", "at least 1", str(clock_hz))
    if static_mw < 0:
        raise InputError("energy.static_mw", "a power >= 0", str(static_mw))
    return static_mw * _PJ_PER_MJ * cycles / clock_hz


def average_power_w(energy_pj: float, cycles: int, clock_hz: int) -> float:
    """Return the power in W of ``energy_pj`` spent over ``cycles`` of ``clock_hz``, 0 over none."""
    return energy_pj * 1e-12 * clock_hz / cycles if cycles else 0.0


def energy_by_component(
    table: EnergyTable,
    counts: Mapping[str, Mapping[str, int]],
    cycles: int,
    clock_hz: int,
    *,
    static_mw: float | None = None,
) -> dict[str, float]:
    """Return the energy of each component in pJ; the total is their sum.

    Parameters
    ----------
    table : EnergyTable
        Energy per action.
    counts : mapping of component to mapping of action to count
        For example ``{"array": {"fp16_mult": 10, "fp32_add": 10}, "dram": {"dram_byte": 64}}``.
    cycles, clock_hz : int
        Duration of the run, for the static power, which is the component ``static``.
    static_mw : float, optional
        Static power of the machine at hand; the technology's if left out.

    Raises
    ------
    InputError
        If an action is unknown or a count or the power negative, or ``clock_hz`` not positive.
    """
    power_mw = table.static_mw if static_mw is None else static_mw
    static_pj = static_energy_pj(power_mw, cycles, clock_hz)
    if STATIC in counts:
        raise InputError("energy.counts", f"components other than {STATIC!r}", repr(STATIC))
    energy = {}
    for component, actions in counts.items():
        for action, count in actions.items():
            if count < 0:
                raise InputError(f"energy.{component}.{action}", "a count >= 0", str(count))
        energy[component] = sum(
            (table.action_pj(action) * count for action, count in actions.items()), 0.0
        )
    energy[STATIC] = static_pj
    return energy
