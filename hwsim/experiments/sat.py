"""Check SAT: array, training, its optimisations one by one, and how it scales."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hwsim.core.result import Claim
from hwsim.experiments import sat_ablation, sat_array, sat_sweep, sat_training
from hwsim.experiments.area_tables import area_table

if TYPE_CHECKING:
    from hwsim.report.canvas import Chart
    from hwsim.report.tables import DataTable

__all__ = ["charts", "claims", "tables", "unchecked"]

_UNCHECKED = (
    "throughput 2.97 to 25.22 times and energy efficiency 1.36 to 3.58 times those of earlier FPGA "
    "training accelerators (Fang et al. 2023, abstract): their numbers are not at hand",
    "mean accuracy loss of 0.56 % by BDWP at 2:8 (Fang et al. 2023, abstract): takes full-size "
    "training on all data sets",
    "training times per network and per layer: only the paper's abstract is at hand",
    "what interleaving, pre-generation and scheduling gain one by one, and scaling over array size "
    "and bandwidth: only the abstract is at hand; derived laws and signs are claimed instead",
    "resources, clock, power, bandwidth and buffer sizes: only the abstract is at hand",
)


def claims() -> list[Claim]:
    """Return the claims of all parts."""
    parts = (sat_array, sat_training, sat_ablation, sat_sweep)
    return [claim for part in parts for claim in part.claims()]


def charts() -> list[Chart]:
    """Return the figures of training methods, ablation and sweep."""
    return [*sat_training.charts(), *sat_ablation.charts(), *sat_sweep.charts()]


def tables() -> list[DataTable]:
    """Return the FPGA cells of the default accelerator, unit by unit."""
    purposes = {
        "sat/uspe": "FP16 product, FP32 sum in look-up tables, partial sums in distributed memory",
        "sat/wuve": "32 lanes of three chained FP32 multiply-adds",
        "common/ultra_scratchpad": "buffers of 13 MiB; no unit infers a block RAM, queues and "
        "partial sums being a few words deep",
    }
    nothing = "only the paper's abstract is at hand, which has none: no claim is made"
    return [area_table("sat", "vcu1525", purposes, {}, nothing)]


def unchecked() -> list[str]:
    """Return what of the paper no claim here checks, and why."""
    return list(_UNCHECKED)
