"""Check FlightLLM: programs and times against the authors' profiler, boards, formats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hwsim.core.result import Claim
from hwsim.experiments import (
    flightllm_boards,
    flightllm_codecs,
    flightllm_experts,
    flightllm_gqsa,
    flightllm_profile,
    flightllm_sparsity,
)

if TYPE_CHECKING:
    from hwsim.report.canvas import Chart
    from hwsim.report.tables import DataTable

__all__ = ["charts", "claims", "tables", "unchecked"]

_UNCHECKED = (
    "1.8 times V100S in tokens per dollar: prices are not simulated",
    "perplexities and what compression costs: needs fine-tuning on the authors' data",
    "bandwidth utilisation 35.6 to 65.9 %: its definition is not known; ours is reported beside it",
    "density of the authors' attention masks: the masks are not part of this project",
    "GQSA on a GPU: its kernels are not simulated; its formats on a U280 are set beside the ratios",
)


def claims() -> list[Claim]:
    """Return the claims of all parts."""
    parts = (
        flightllm_profile,
        flightllm_boards,
        flightllm_sparsity,
        flightllm_codecs,
        flightllm_experts,
        flightllm_gqsa,
    )
    return [claim for part in parts for claim in part.claims()]


def charts() -> list[Chart]:
    """Return the figure of experts decoded on the fly."""
    return flightllm_experts.charts()


def tables() -> list[DataTable]:
    """Return the table of the U280's cells."""
    return flightllm_boards.tables()


def unchecked() -> list[str]:
    """Return what no claim here gates, and why."""
    return list(_UNCHECKED)
