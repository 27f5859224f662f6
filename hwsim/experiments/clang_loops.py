"""Time inner loops of XNNPACK's structure as a compiler has written them.

The instructions decide: the kernels generated here have other ones than clang's. So that the
simulator's schedule can be set beside that of llvm-mca on the same loops, the text of clang's loops
is kept (``clang_loops.toml``, written by ``python -m benchmarks.clang_loops --record``).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from hwsim.cpu.microkernel.loop_text import read_loop
from hwsim.cpu.spec import PRESETS

__all__ = ["FILE", "ClangLoop", "load_loops", "loop_cycles", "trip_cycles"]

FILE = Path(__file__).with_name("clang_loops.toml")
_TRIPS = (500, 1500)


@dataclass(frozen=True)
class ClangLoop:
    """One loop.

    Attributes
    ----------
    text : str
        Its AArch64 instructions.
    blocks : int
        Nonzero blocks that a turn computes; for the dense product, pairs of input channels.
    mca : mapping
        Rule table -> cycles per block by llvm-mca on this text.
    """

    text: str
    blocks: int
    mca: Mapping[str, float]


@lru_cache
def load_loops() -> dict[str, ClangLoop]:
    """Return the recorded loops by the names of the kernels they stand for."""
    return {name: ClangLoop(**entry) for name, entry in tomllib.loads(FILE.read_text()).items()}


def loop_cycles(loop: ClangLoop, rules: str) -> float:
    """Return the cycles per nonzero block in the steady state, every access in the L1."""
    return trip_cycles(loop.text, rules) / loop.blocks


def trip_cycles(text: str, rules: str) -> float:
    """Return the cycles of one turn of the loop of ``text`` under ``rules``."""
    from hwsim.cpu.core_state import Core  # numba is imported only when something runs

    spec = PRESETS["sd835"].override([f"core.rules={rules}"])
    cycles = [
        Core(spec, is_ideal=True).run(read_loop(text, trips), {"memory": 1 << 24}).cycles
        for trips in _TRIPS
    ]
    return (cycles[1] - cycles[0]) / (_TRIPS[1] - _TRIPS[0])
