"""Vary SAT's array and its memory: where does the gain of sparse training end?

Sparse products need fewer cycles but nearly as many bytes, so that they meet the memory's limit
first: at a fixed bandwidth the speed-up of BDWP falls as the array grows, and it recovers with more
bandwidth. Only these signs are claimed: of the paper (Fang et al. 2023) the abstract alone is at
hand, so there is no number to compare with. Vector path, WUVE and SORE keep their lanes, which is
why a large array does not recover all of the gain: what cannot be skipped weighs more there.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

from hwsim.core.machine import make_machine
from hwsim.core.result import Claim
from hwsim.experiments.claims import ClaimMaker
from hwsim.experiments.sat_training import BATCH
from mappers.schedule import schedule_graph
from models.training import training_graph
from models.zoo import load_model

if TYPE_CHECKING:
    from hwsim.report.canvas import Chart

__all__ = ["BANDWIDTHS", "NETWORK", "SIDES", "charts", "claims", "speedups"]

NETWORK = "resnet9"
"""The one of the five networks with the fewest distinct products."""

SIDES = (16, 32, 64, 128)
"""Rows and columns of the array; above 32 the board's multipliers would not suffice (assumed)."""

BANDWIDTHS = (12_800_000_000, 25_600_000_000, 51_200_000_000, 102_400_000_000)
"""Bytes per second, from half to four times the default."""

_NM = (2, 8)
_LAW = "roofline: sparsity lowers the work per byte; docs/sat_validation.md"

_claim = ClaimMaker("sat-sweep-", _LAW)


@cache
def speedups() -> dict[tuple[int, int], float]:
    """Return {(side, bytes per second): cycles of dense training over cycles of BDWP 2:8}."""
    forward = load_model(NETWORK, batch=BATCH, has_batch_norm=True)
    graphs = [training_graph(forward, method, _NM) for method in ("dense", "bdwp")]
    found = {}
    for side in SIDES:
        for bandwidth in BANDWIDTHS:
            settings = [f"array.rows={side}", f"array.cols={side}"]
            settings.append(f"memory.bandwidth_bytes_per_s={bandwidth}")
            machine = make_machine("sat", settings=settings)
            dense, sparse = (
                machine.run(machine.lower(graph, schedule_graph(graph, machine).mappings)).cycles
                for graph in graphs
            )
            found[side, bandwidth] = dense / sparse
    return found


def claims() -> list[Claim]:
    """Return the signs: down along the array, up along the bandwidth."""
    gain = speedups()
    falls = (
        gain[larger, bandwidth] < gain[smaller, bandwidth]
        for bandwidth in BANDWIDTHS
        for smaller, larger in pairwise(SIDES)
    )
    recovers = (
        gain[side, faster] > gain[side, slower]
        for side in SIDES
        for slower, faster in pairwise(BANDWIDTHS)
    )
    what, where = "speed-up of BDWP 2:8", f"({NETWORK}, batch {BATCH})"
    return [
        _claim.cases("array", f"{what} falls as the array grows {where}", falls),
        _claim.cases("bandwidth", f"{what} recovers with more bandwidth {where}", recovers),
    ]


def charts() -> list[Chart]:
    """Return the speed-up over the array's side, one line per bandwidth."""
    from hwsim.report.experiment_figures import line_chart

    gain = speedups()
    caption = (
        f"Cycles of dense training over cycles of BDWP 2:8, {NETWORK} at batch {BATCH}. Vector "
        "path, WUVE and SORE keep their lanes. No reference value is at hand; only the signs are "
        "claimed."
    )
    return [
        line_chart(
            "sat-sweep",
            "Array size and memory bandwidth",
            caption,
            ("processing elements", "speed-up over dense training (x)"),
            [f"{side}x{side}" for side in SIDES],
            {
                f"{bandwidth / 1e9:.1f} GB/s": [gain[side, bandwidth] for side in SIDES]
                for bandwidth in BANDWIDTHS
            },
            starts_at_zero=False,
        )
    ]
