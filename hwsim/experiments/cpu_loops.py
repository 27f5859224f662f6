"""Inner loops of the generated kernels, as micro-ops and as AArch64 text, cycle for cycle.

The text of a loop is what ``python -m benchmarks.llvm_mca`` hands to llvm-mca; the simulator runs
the whole kernel, long enough that one more trip costs what a trip costs.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from hwsim.cpu.generated import bind_layer
from hwsim.cpu.microkernel.aarch64 import select_aarch64
from hwsim.cpu.microkernel.arguments import gemm_arguments, spmm_arguments
from hwsim.cpu.microkernel.catalogue import describe, parse
from hwsim.cpu.microkernel.machine_code import Condition, Counted, MachineNode
from hwsim.cpu.microkernel.target import AARCH64
from hwsim.cpu.microkernel.uops import BoundKernel
from hwsim.cpu.packing import pack
from hwsim.cpu.spec import PRESETS

__all__ = ["LOOPS", "loop_macs", "loop_text", "steady_state_cycles"]

LOOPS = (
    *("16x1", "16x1-u2", "16x1-pipelined", "32x1-pipelined"),
    *("16x2", "16x4", "32x2", "gemm-6x8"),
)
"""Kernels of the catalogue. A trip is one nonzero block; of the dense product, two steps of the
reduction; of the unrolled kernel, two nonzeros, and its cycles are given per nonzero."""

_TRIPS = (500, 1500)


def loop_macs(name: str) -> int:
    """Return the multiply-accumulates of a trip."""
    family, (mr, nr), _ = parse(name)
    return mr * nr * (2 if family == "gemm" else 1)


@lru_cache
def steady_state_cycles(name: str, rules: str) -> float:
    """Return the cycles of one trip of kernel ``name`` under ``rules``, every access in the L1."""
    from hwsim.cpu.core_state import Core  # numba is imported only when something runs

    spec = PRESETS["sd835"].override([f"core.rules={rules}"])
    cycles = []
    for trips in _TRIPS:
        code = _bound(name, trips)
        places = ("input", "a", "weights", "dmap", "nnzmap", "output", "stack")
        addresses = code.addresses({place: 1 + i << 24 for i, place in enumerate(places)})
        cycles.append(Core(spec, is_ideal=True).run(code.kernel, addresses, code.streams).cycles)
    return (cycles[1] - cycles[0]) / (_TRIPS[1] - _TRIPS[0])


def _bound(name: str, trips: int) -> BoundKernel:
    """Return one strip, or one tile, whose inner loop takes ``trips`` trips."""
    spec = PRESETS["sd835"]
    family, (mr, nr), _ = parse(name)
    if family == "gemm":
        return bind_layer(name, spec, gemm_arguments(mr, nr, 2 * trips))
    packed = pack(np.ones((nr, trips), dtype=np.float32), pixels=mr, nr=nr)
    data = {"nnzmap": packed.nnzmap, "dmap": packed.dmap}
    return bind_layer(name, spec, spmm_arguments(packed), data)


def loop_text(name: str) -> str:
    """Return the assembly of the innermost loop of the first strip or tile."""
    loop = _innermost(select_aarch64(describe(name, AARCH64)).body)
    assert loop is not None
    lines = [node.text.format(label="0") for node in (*loop.body, *loop.tail)]
    return "\n".join(lines) + "\n"


def _innermost(nodes: tuple[MachineNode, ...]) -> Counted | None:
    """Return the first loop of ``nodes`` that holds no other."""
    for node in nodes:
        if isinstance(node, Counted | Condition):
            inner = _innermost(node.body)
            if inner is not None or isinstance(node, Counted):
                return inner or node
    return None
