"""Say what is played against each RTL unit: inputs, the golden outputs, the predicted cycles.

Lives beside the command because it joins two sides that may not import each other: the units
(``rtl``) and the machines' golden and cycle models. One module per family of units.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hwsim.cli.rtl_cases.array import systolic_tile_cases
from hwsim.cli.rtl_cases.case import Case
from hwsim.cli.rtl_cases.fifo import fifo_cases
from hwsim.cli.rtl_cases.flightllm import FLIGHTLLM_CASES
from hwsim.cli.rtl_cases.float_units import FLOAT_CASES
from hwsim.cli.rtl_cases.packing import nm_packer_cases, nm_unpacker_cases
from hwsim.cli.rtl_cases.piuma import PIUMA_CASES
from hwsim.cli.rtl_cases.reduction import (
    data_provider_cases,
    pre_gen_cases,
    sore_cases,
    topn_network_cases,
)
from hwsim.cli.rtl_cases.selection import pre_gen_words_cases
from hwsim.cli.rtl_cases.sorter import topn_sorter_cases
from hwsim.cli.rtl_cases.update import wuve_cases
from hwsim.cli.rtl_cases.uspe import uspe_cases

__all__ = ["CASES", "Case", "cases"]

CASES: dict[str, Callable[[Any, int], list[Case]]] = {
    "common/fifo": fifo_cases,
    **FLIGHTLLM_CASES,
    **PIUMA_CASES,
    "sat/data_provider": data_provider_cases,
    **FLOAT_CASES,
    "sat/nm_packer": nm_packer_cases,
    "sat/nm_unpacker": nm_unpacker_cases,
    "sat/pre_gen": pre_gen_cases,
    "sat/pre_gen_words": pre_gen_words_cases,
    "sat/sore": sore_cases,
    "sat/systolic_tile": systolic_tile_cases,
    "sat/topn_network": topn_network_cases,
    "sat/topn_sorter": topn_sorter_cases,
    "sat/uspe": uspe_cases,
    "sat/wuve": wuve_cases,
}
"""Unit -> (spec, seed) -> cases; every unit of ``rtl.registry.UNITS`` has an entry."""


def cases(name: str, spec: Any, seed: int = 0) -> list[Case]:
    """Return the standard cases of unit ``name`` for ``spec``, drawn from ``seed``."""
    return CASES[name](spec, seed)
