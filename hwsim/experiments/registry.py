"""Name the experiments that ``hwsim validate`` runs; each yields claims, some draw figures."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

from hwsim.core.result import Claim

if TYPE_CHECKING:
    from hwsim.report.canvas import Chart
    from hwsim.report.tables import DataTable

__all__ = [
    "EXPERIMENTS",
    "experiment_charts",
    "experiment_tables",
    "run_experiments",
    "unchecked_figures",
]

EXPERIMENTS = {
    "cpu": "hwsim.experiments.cpu",
    "energy": "hwsim.experiments.energy_boards",
    "flightllm": "hwsim.experiments.flightllm",
    "memory": "hwsim.experiments.memory",
    "models": "hwsim.experiments.model_totals",
    "nm-training": "hwsim.experiments.nm_training",
    "piuma": "hwsim.experiments.piuma",
    "piuma-kernels": "hwsim.experiments.piuma_kernels",
    "sat": "hwsim.experiments.sat",
    "scalesim": "hwsim.experiments.scalesim_counts",
    "spgemm-peers": "hwsim.experiments.spgemm_peers",
}
"""Name -> module with ``claims() -> list[Claim]``.

A module may also have ``charts() -> list[Chart]`` and ``tables() -> list[DataTable]`` for the
report, and ``unchecked() -> list[str]``, what was left unchecked, and why.
"""


def run_experiments(names: Sequence[str]) -> list[Claim]:
    """Return the claims of the named experiments, in order."""
    return [claim for module in _modules(names) for claim in module.claims()]


def experiment_charts(names: Sequence[str]) -> list[Chart]:
    """Return the figures of the named experiments, in order; one may have none."""
    modules = [module for module in _modules(names) if hasattr(module, "charts")]
    return [chart for module in modules for chart in module.charts()]


def experiment_tables(names: Sequence[str]) -> list[DataTable]:
    """Return the tables of the named experiments, in order; one may have none."""
    modules = [module for module in _modules(names) if hasattr(module, "tables")]
    return [table for module in modules for table in module.tables()]


def unchecked_figures(names: Sequence[str]) -> list[str]:
    """Return what the named experiments leave unchecked, and why."""
    modules = [module for module in _modules(names) if hasattr(module, "unchecked")]
    return [text for module in modules for text in module.unchecked()]


def _modules(names: Sequence[str]) -> list[ModuleType]:
    return [importlib.import_module(EXPERIMENTS[name]) for name in names]
