"""Say what a machine is built of: which RTL units, how many of each, with which parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel

__all__ = ["BOARDS", "FPGA_RESOURCES", "AreaDesign", "AreaPart", "parameters_of"]

FPGA_RESOURCES = ("lut", "ff", "dsp48e2", "ramb36", "uram")
"""What a board is compared by: LUTs (those that work as memory included) and so on."""

BOARDS: dict[str, dict[str, int]] = {
    "vcu1525": {"lut": 1_182_240, "ff": 2_364_480, "dsp48e2": 6_840, "ramb36": 2_160, "uram": 960},
    "u280": {"lut": 1_303_680, "ff": 2_607_360, "dsp48e2": 9_024, "ramb36": 2_016, "uram": 960},
}
"""Board -> what its whole FPGA has, the shell's part included.

VCU1525: XCVU9P (AMD UltraScale+ FPGA data sheet overview, DS890); U280: XCU280 (Alveo U280 data
sheet, DS963, Table 1: 1,304K LUTs, 2,607K registers, 9,024 DSPs, 2,016 block RAMs, 960 UltraRAMs).
"""


@dataclass(frozen=True)
class AreaPart:
    """``count`` instances of one synthesised unit.

    Attributes
    ----------
    unit : str
        Name of the unit's sizes under ``hwsim/components/area_data``, e.g. ``sat/uspe``.
    count : int
        Instances in the machine.
    parameters : dict of str to int
        What the unit is built with; dotted names as in its Spec (:func:`parameters_of`).
    """

    unit: str
    count: int
    parameters: Mapping[str, int]


@dataclass(frozen=True)
class AreaDesign:
    """All parts of a machine that have RTL, and what has none.

    Attributes
    ----------
    board : str
        Whose resources the total is compared with, of :data:`BOARDS`.
    parts : tuple of AreaPart
    missing : tuple of str
        What the machine has beside them, one phrase each.
    """

    board: str
    parts: tuple[AreaPart, ...]
    missing: tuple[str, ...] = field(default=())


def parameters_of(spec: BaseModel) -> dict[str, int]:
    """Return every whole number and switch of ``spec`` by its dotted name."""
    flat: dict[str, int] = {}

    def walk(values: Mapping[str, object], prefix: str) -> None:
        for name, value in values.items():
            if isinstance(value, Mapping):
                walk(value, f"{prefix}{name}.")
            elif isinstance(value, int):
                flat[f"{prefix}{name}"] = int(value)

    walk(spec.model_dump(), "")
    return flat
