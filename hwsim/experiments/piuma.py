"""Check PIUMA and SMASH: counts on known matrices, two laws, memories, order of the versions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hwsim.core.result import Claim
from hwsim.experiments import piuma_counts, piuma_laws, piuma_memories, piuma_smash

if TYPE_CHECKING:
    from hwsim.report.canvas import Chart

__all__ = ["charts", "claims", "unchecked"]


def claims() -> list[Claim]:
    """Return the claims of all parts."""
    parts = (piuma_counts, piuma_laws, piuma_memories, piuma_smash)
    return [claim for part in parts for claim in part.claims()]


def charts() -> list[Chart]:
    """Return the sensitivity of SMASH's time, and what the memory model changes."""
    return [*piuma_smash.charts(), *piuma_memories.charts()]


def unchecked() -> list[str]:
    """Return what of the papers no claim here checks, and why."""
    return [
        "V1, V2 and V3 on the whole calibrated R-MAT: minutes for V1; a sample of its rows is "
        "claimed, docs/piuma.md has the whole",
        "times of the SMASH thesis: only its abstract is at hand",
        *(f"{source}: package not installed" for source in piuma_counts.missing_packages()),
    ]
