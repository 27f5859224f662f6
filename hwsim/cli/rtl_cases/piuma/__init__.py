"""Draw what is played against the units of PIUMA."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hwsim.cli.rtl_cases.case import Case
from hwsim.cli.rtl_cases.piuma.barrel_issue import barrel_issue_cases
from hwsim.cli.rtl_cases.piuma.gather_dma import gather_dma_cases
from hwsim.cli.rtl_cases.piuma.hash_accumulate import hash_accumulate_cases
from hwsim.cli.rtl_cases.piuma.intersect import intersect_cases
from hwsim.cli.rtl_cases.piuma.merge_unit import merge_unit_cases
from hwsim.cli.rtl_cases.piuma.spad import atomic_spad_cases, spad_crossbar_cases
from hwsim.cli.rtl_cases.piuma.token_queue import token_queue_cases
from hwsim.cli.rtl_cases.piuma.window_packer import window_packer_cases

__all__ = ["PIUMA_CASES"]

PIUMA_CASES: dict[str, Callable[[Any, int], list[Case]]] = {
    "piuma/atomic_spad": atomic_spad_cases,
    "piuma/barrel_issue": barrel_issue_cases,
    "piuma/gather_dma": gather_dma_cases,
    "piuma/hash_accumulate": hash_accumulate_cases,
    "piuma/intersect": intersect_cases,
    "piuma/merge_unit": merge_unit_cases,
    "piuma/spad_crossbar": spad_crossbar_cases,
    "piuma/token_queue": token_queue_cases,
    "piuma/window_packer": window_packer_cases,
}
"""Unit -> (spec, seed) -> cases."""
