"""Name the experiments that ``hwsim validate`` runs; each yields claims."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from hwsim.core.result import Claim

__all__ = ["EXPERIMENTS", "run_experiments"]

EXPERIMENTS = {
    "models": "hwsim.experiments.model_totals",
    "sat": "hwsim.experiments.sat",
    "scalesim": "hwsim.experiments.scalesim_counts",
}
"""Name -> module with ``claims() -> list[Claim]``."""


def run_experiments(names: Sequence[str]) -> list[Claim]:
    """Return the claims of the named experiments, in order."""
    return [
        claim for name in names for claim in importlib.import_module(EXPERIMENTS[name]).claims()
    ]
