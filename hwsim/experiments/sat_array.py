"""Check SAT's array: peak rate, stepping against closed forms, sparse gain and its limits.

Of the SAT paper (Fang et al. 2023) only the abstract is at hand; its training speed-up needs
training graphs and is not claimed here.
"""

from __future__ import annotations

from hwsim.core.result import Claim
from hwsim.core.units import ceil_div
from hwsim.experiments.claims import ClaimMaker
from hwsim.sat.detail import step_pes, step_tiles
from hwsim.sat.spec import ArraySpec, SatSpec
from hwsim.sat.timing import ArrayGemm, gemm_timing

__all__ = ["claims"]

_CONTRACT = "docs/sat_microarchitecture.md"
_STEPPED = {
    "conv3x3-dense-ws": ("ws", ArrayGemm(49, 576, 64)),
    "conv3x3-2:8-ws": ("ws", ArrayGemm(49, 576, 64, 2, 8)),
    "conv3x3-2:8-os": ("os", ArrayGemm(49, 576, 64, 2, 8)),
    "ragged-1:4-os": ("os", ArrayGemm(75, 90, 33, 1, 4)),
    "fully-connected-ws": ("ws", ArrayGemm(1, 512, 100)),
}

_exact = ClaimMaker("sat-", _CONTRACT)


def claims() -> list[Claim]:
    """Return the claims of this experiment."""
    return [_peak(), *_stepping(), _sparse_gain(), _hazard()]


def _peak() -> Claim:
    spec = SatSpec()
    rate = 2 * spec.peak_macs_per_cycle * spec.clock_hz / 1e9
    return _exact("peak", "dense peak of 32x32 PEs at 200 MHz", rate, 409.6, "GFLOP/s")


def _stepping() -> list[Claim]:
    """Closed form against stepping every PE in every cycle, with values checked on the way."""
    array = ArraySpec()
    found: list[Claim] = []
    for name, (dataflow, gemm) in _STEPPED.items():
        closed = gemm_timing(array, dataflow, gemm).cycles
        what = f"closed form of {name} against PE-by-PE stepping"
        found.append(_exact(name, what, closed, step_pes(array, dataflow, gemm), "cycles"))
        what = f"closed form of {name} against tile stepping"
        tiles = step_tiles(array, dataflow, gemm)
        found.append(_exact(f"{name}-tiles", what, closed, tiles, "cycles"))
    return found


def _sparse_gain() -> Claim:
    """A long stream loses only tile rounding: 2:8 needs ⌈576/256⌉·2 slots for 18 dense ones."""
    rows = 1 << 22
    dense = gemm_timing(ArraySpec(), "ws", ArrayGemm(rows, 576, 64)).cycles
    sparse = gemm_timing(ArraySpec(), "ws", ArrayGemm(rows, 576, 64, 2, 8)).cycles
    expected = ceil_div(576, 32) / (ceil_div(576, 256) * 2)
    return Claim(
        id="sat-ws-2:8-gain",
        what="weight-stationary speed-up of 2:8 at k = 576 for a long stream",
        simulated=dense / sparse,
        reference=expected,
        unit="x",
        tolerance=1e-3,
        basis="derived",
        gated=True,
        source=_CONTRACT,
    )


def _hazard() -> Claim:
    """Without interleaving, every product of an output waits for the adder."""
    slow = ArraySpec(interleave=1, adder_latency_cycles=6)
    cycles = gemm_timing(slow, "os", ArrayGemm(32, 4608, 32)).hazard
    what = "adder stalls of one output tile without interleaving"
    return _exact("os-hazard", what, cycles, (4608 - 1) * (6 - 1), "cycles")
