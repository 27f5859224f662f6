"""Check PIUMA and SMASH: counts on known matrices, two laws, order of the versions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hwsim.core.result import Claim
from hwsim.experiments import piuma_counts, piuma_laws, piuma_smash

if TYPE_CHECKING:
    from hwsim.report.canvas import Chart

__all__ = ["charts", "claims", "unchecked"]


def claims() -> list[Claim]:
    """Return the claims of all parts."""
    return [claim for part in (piuma_counts, piuma_laws, piuma_smash) for claim in part.claims()]


def charts() -> list[Chart]:
    """Return the sensitivity of SMASH's time."""
    return piuma_smash.charts()


def unchecked() -> list[str]:
    """Return what of the papers no claim here checks, and why."""
    return [
        "V1, V2 and V3 on the whole calibrated R-MAT: minutes for V1; a sample of its rows is "
        "claimed, docs/piuma.md has the whole",
        "times of the SMASH thesis: only its abstract is at hand",
        *(f"{source}: package not installed" for source in piuma_counts.missing_packages()),
    ]
