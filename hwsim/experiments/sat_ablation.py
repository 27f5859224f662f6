"""Switch SAT's optimisations off: scheduling, interleaving, pre-generation, dataflow switching.

Of each of the five networks one BDWP iteration at 2:8 and batch 512. What is counted is claimed
exactly: products issued, stalls for the adder, bytes of weights. Makespans are drawn, and only
their order is claimed: the abstract (Fang et al. 2023) names interleaving, pre-generation and
scheduling, but what each gains is not at hand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from hwsim.core.result import Claim
from hwsim.experiments.claims import ClaimMaker
from hwsim.experiments.sat_ablation_runs import (
    INTERLEAVES,
    Ablation,
    Iteration,
    ablate,
    hazard_law,
)
from hwsim.experiments.sat_training import BATCH, NETWORKS
from hwsim.sat.spec import SatSpec

if TYPE_CHECKING:
    from hwsim.report.canvas import Chart

__all__ = ["charts", "claims"]

_COUNTED = "counted from layer shapes; docs/sat_validation.md"

_claim = ClaimMaker("sat-ablation-", _COUNTED)


def claims() -> list[Claim]:
    """Return what holds exactly when an optimisation is switched off."""
    runs = {network: ablate(network) for network in NETWORKS}
    return [
        *_scheduling(runs),
        _slowdown(runs),
        *_interleaving(runs),
        *_pregeneration(runs),
        *_switching(runs),
    ]


def _scheduling(runs: dict[str, Ablation]) -> list[Claim]:
    same = [
        getattr(run.full, what) == getattr(run.without_scheduling, what)
        for run in runs.values()
        for what in ("array_busy_cycles", "read_bytes", "write_bytes")
    ]
    between = [
        run.bound_cycles <= run.full.cycles < run.without_scheduling.cycles for run in runs.values()
    ]
    return [
        _claim.cases(
            "scheduling-busy", "array-busy cycles and bytes do not depend on the order", same
        ),
        _claim.cases(
            "scheduling-gain", "scheduled: faster than in order, not than its bound", between
        ),
    ]


def _slowdown(runs: dict[str, Ablation]) -> Claim:
    """Without interleaving each product waits for the one before; a tile's last has no next."""
    latency = SatSpec().array.adder_latency_cycles
    singles = [(run.by_interleave[1], run.os_tiles) for run in runs.values()]
    issue = sum(single.array_busy_cycles + single.hazard_cycles for single, _ in singles)
    expected = sum(latency * s.array_busy_cycles - (latency - 1) * tiles for s, tiles in singles)
    what = f"array time of OS products at I = 1: {latency} cycles each, the last of a tile 1"
    return _claim("interleave-1", what, issue, expected, "cycles")


def _interleaving(runs: dict[str, Ablation]) -> list[Claim]:
    latency = SatSpec().array.adder_latency_cycles
    same = [
        step.array_busy_cycles == run.by_interleave[1].array_busy_cycles
        for run in runs.values()
        for step in run.by_interleave.values()
    ]
    law = [
        run.by_interleave[i].hazard_cycles == run.expected_hazard_cycles[i]
        for run in runs.values()
        for i in INTERLEAVES
    ]
    hidden = [
        hazard_law(slots, i * blocks, i) == 0
        for i in INTERLEAVES
        if i >= latency
        for slots in (1, 144, 576)
        for blocks in (1, 7)
    ]
    return [
        _claim.cases("interleave-busy", "array-busy cycles are the same for I = 1 to 8", same),
        _claim.cases("interleave-law", "adder stalls of OS follow max(L - I, 0) per round", law),
        _claim.cases(
            "interleave-hidden", "full blocks of I >= L tiles have no adder stalls", hidden
        ),
    ]


def _pregeneration(runs: dict[str, Ablation]) -> list[Claim]:
    """Compare op after op: a schedule hides selection wherever it is."""
    pairs = [(x.in_order_without_pregeneration, x.without_scheduling, x) for x in runs.values()]
    same = [
        off.busy_cycles[unit] == on.busy_cycles[unit]
        for off, on, _ in pairs
        for unit in ("stce", "vector")
    ]
    same += [
        run.without_pregeneration.array_busy_cycles == run.full.array_busy_cycles
        for run in runs.values()
    ]
    read = sum(off.read_bytes - on.read_bytes for off, on, _ in pairs)
    written = sum(off.write_bytes - on.write_bytes for off, on, _ in pairs)
    counted = [sum(run.saved_read_bytes for *_, run in pairs)]
    counted.append(sum(run.saved_write_bytes for *_, run in pairs))
    faster = [off.cycles > on.cycles for off, on, _ in pairs]
    return [
        _claim.cases(
            "pregeneration-busy", "array- and vector-busy cycles do not depend on it", same
        ),
        _claim("pregeneration-read", "reads saved by pre-generation", read, counted[0], "B"),
        _claim("pregeneration-write", "writes saved by pre-generation", written, counted[1], "B"),
        _claim.cases(
            "pregeneration-gain", "op after op, pre-generation shortens the iteration", faster
        ),
    ]


def _switching(runs: dict[str, Ablation]) -> list[Claim]:
    as_chosen = [
        run.full.product_busy_cycles[op] == run.by_flow[flow].product_busy_cycles[op]
        for run in runs.values()
        for op, flow in run.chosen_flow.items()
    ]
    faster = [
        run.full.cycles <= min(other.cycles for other in run.by_flow.values())
        for run in runs.values()
    ]
    return [
        _claim.cases(
            "switching-busy", "a product keeps the array as its chosen flow alone", as_chosen
        ),
        _claim.cases(
            "switching-gain", "choosing per product is no slower than either flow", faster
        ),
    ]


def charts() -> list[Chart]:
    """Return what each optimisation gains, and interleaving from one to eight partial sums."""
    from hwsim.report.experiment_figures import group_chart, line_chart

    runs = {network: ablate(network) for network in NETWORKS}
    variants: dict[str, Callable[[Ablation], Iteration]] = {
        "no scheduling": lambda run: run.without_scheduling,
        "no interleaving (I = 1)": lambda run: run.without_interleave,
        "no pre-generation": lambda run: run.without_pregeneration,
        "weight-stationary only": lambda run: run.by_flow["ws"],
        "output-stationary only": lambda run: run.by_flow["os"],
    }
    slowdowns = {
        name: [pick(run).cycles / run.full.cycles - 1 for run in runs.values()]
        for name, pick in variants.items()
    }
    steps = {
        network: [
            run.by_interleave[i].cycles / run.by_interleave[INTERLEAVES[-1]].cycles
            for i in INTERLEAVES
        ]
        for network, run in runs.items()
    }
    latency = SatSpec().array.adder_latency_cycles
    return [
        group_chart(
            "sat-ablation",
            "What each optimisation is worth",
            f"How much longer a BDWP 2:8 iteration at batch {BATCH} takes with one optimisation "
            "off. The mapper chooses again: without interleaving, products that would wait for the "
            "adder move to weight-stationary tiles.",
            "longer than with everything on",
            list(runs),
            slowdowns,
        ),
        line_chart(
            "sat-interleave",
            "Interleaved partial sums, output-stationary",
            f"Makespan over that of I = {INTERLEAVES[-1]}, op after op, with the same OS tiles. "
            f"Adder latency L = {latency}; blocks cut short by a tile's end still wait.",
            ("partial sums per PE, I", "makespan over I = 8"),
            [str(i) for i in INTERLEAVES],
            steps,
        ),
    ]
