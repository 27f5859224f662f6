"""Find a unit by name. Each machine lists its own in ``rtl/<machine>/units.py``."""

from __future__ import annotations

from hwsim.core.errors import unknown_name
from rtl.common import fifo
from rtl.flightllm.units import FLIGHTLLM_UNITS
from rtl.formal.fifo import fifo_properties
from rtl.piuma.units import PIUMA_UNITS
from rtl.sat.units import SAT_UNITS
from rtl.unit import Unit

__all__ = ["UNITS", "Unit", "find_unit"]

COMMON_UNITS = (
    Unit(
        "common/fifo",
        "stream buffer with registered outputs",
        fifo.FifoSpec(),
        fifo.Fifo,
        fifo.timing,
        fifo_properties,
    ),
)
"""Units that belong to no machine."""

UNITS: dict[str, Unit] = {
    unit.name: unit for unit in (*COMMON_UNITS, *FLIGHTLLM_UNITS, *PIUMA_UNITS, *SAT_UNITS)
}
"""Every unit by name."""


def find_unit(name: str) -> Unit:
    """Return the unit called ``name``; raise :class:`InputError` with near names."""
    if name not in UNITS:
        raise unknown_name("UNIT", name, UNITS)
    return UNITS[name]
