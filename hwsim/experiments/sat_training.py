"""Check SAT's training speed-up: one iteration of five networks by five methods.

The only published number at hand is the abstract's (Fang et al. 2023): BDWP at 2:8 trains 1.75
times as fast as dense training, on average over five networks. Batch 512 and the networks'
variants are assumed; one parameter set, the default spec, serves all. The other claims are
derived: bounds from counting multiply-accumulates, orders from what each method can skip. Not
checked, because their numbers are not at hand: per-network times, the scaling and layer figures,
resources, power, and the comparison with prior accelerators.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from statistics import mean
from typing import TYPE_CHECKING

from hwsim.core.graph import Stage
from hwsim.core.machine import make_machine
from hwsim.core.result import Claim
from hwsim.experiments.claims import ClaimMaker
from hwsim.report.stages import STAGE_NAMES, stage_of
from mappers.greedy import Known
from mappers.schedule import schedule_graph
from models.training import training_graph
from models.training.totals import training_macs
from models.zoo import load_model

if TYPE_CHECKING:
    from hwsim.report.canvas import Chart

__all__ = [
    "BATCH",
    "METHODS",
    "NETWORKS",
    "Iteration",
    "charts",
    "claims",
    "known_choices",
    "simulate_iterations",
]

NETWORKS = ("resnet9", "vgg19", "vit-small", "resnet18-64", "resnet50")
"""Variants assumed: ffcv's ResNet-9, one fully connected layer, ViT p4 d512 L6, 7x7 stem."""

BATCH = 512
METHODS = ("dense", "sr-ste", "sdgp", "sdwp", "bdwp")
_PATTERNS = ((2, 4), (2, 8), (2, 16))
_ABSTRACT = "Fang et al. 2023, abstract"
_COUNTED = "counted from layer shapes"

_claim = ClaimMaker("sat-train-", _COUNTED)


@dataclass(frozen=True)
class Iteration:
    """One training iteration.

    ``stage_cycles`` is what each stage adds to ``cycles``, by the keys of
    :data:`hwsim.report.stages.STAGE_NAMES`; ``wu_product_cycles`` are the array's for the products
    of WU; ``macs`` are kept multiplications.
    """

    cycles: int
    wu_product_cycles: int
    macs: int
    stage_cycles: dict[str, int]


@cache
def known_choices() -> Known:
    """Return what the mapper has chosen so far for products on the default spec, to be added to."""
    return {}


@cache
def simulate_iterations(network: str) -> dict[tuple[str, tuple[int, int]], Iteration]:
    """Return {(method, (N, M)): iteration} of ``network`` on the default spec, batch 512."""
    machine = make_machine("sat")
    forward = load_model(network, batch=BATCH, has_batch_norm=True)
    cases = [(method, (2, 8)) for method in METHODS]
    cases += [("bdwp", pattern) for pattern in _PATTERNS if pattern != (2, 8)]
    found = {}
    for method, nm in cases:
        graph = training_graph(forward, method, nm)
        schedule = schedule_graph(graph, machine, known=known_choices())
        program = machine.lower(graph, schedule.mappings)
        array = program.unit_cycles(machine.compute_unit)
        products = (array[op.name] for op in graph.ops() if op.is_gemm and op.stage is Stage.WU)
        result = machine.run(program)
        stages = dict.fromkeys(STAGE_NAMES, 0)
        for layer in result.layers:
            stages[stage_of(layer.kind, layer.stage)] += layer.cycles
        macs = training_macs(graph).total
        found[method, nm] = Iteration(result.cycles, sum(products), macs, stages)
    return found


def _speedup(network: str, method: str, nm: tuple[int, int] = (2, 8)) -> float:
    runs = simulate_iterations(network)
    return runs["dense", (2, 8)].cycles / runs[method, nm].cycles


def _mean_speedup(method: str, nm: tuple[int, int] = (2, 8)) -> float:
    return mean(_speedup(network, method, nm) for network in NETWORKS)


def _bound(network: str, method: str, nm: tuple[int, int] = (2, 8)) -> float:
    """Return the speed-up if cycles went with multiply-accumulates."""
    runs = simulate_iterations(network)
    return runs["dense", (2, 8)].macs / runs[method, nm].macs


def claims() -> list[Claim]:
    """Return the published claim and the derived ones."""
    return [_headline(), *_bounds(), *_orders(), _same_weight_gradients()]


def _headline() -> Claim:
    what = "mean speed-up of BDWP 2:8 over dense training on five networks, batch 512"
    found = _mean_speedup("bdwp")
    return _claim("bdwp-2:8-mean", what, found, 1.75, "x", 0.05, "published", _ABSTRACT)


def _bounds() -> list[Claim]:
    below = [
        _speedup(network, "bdwp", nm) < _bound(network, "bdwp", nm)
        for network in NETWORKS
        for nm in _PATTERNS
    ]
    rises = [
        _mean_speedup("bdwp", fewer) < _mean_speedup("bdwp", more)
        for fewer, more in zip(_PATTERNS, _PATTERNS[1:], strict=False)
    ]
    return [
        _claim.cases(
            "below-bound", "BDWP faster than its multiply-accumulates allow: never", below
        ),
        _claim.cases("monotone", "mean speed-up of BDWP rises from 2:4 to 2:8 to 2:16", rises),
    ]


def _orders() -> list[Claim]:
    single = ("sr-ste", "sdgp", "sdwp")
    order = [
        1.0 < _speedup(network, method) < _speedup(network, "bdwp")
        for network in NETWORKS
        for method in single
    ]
    return [
        _claim.cases("order", "dense < one sparse stage < BDWP, in every network", order),
        *(_one_sparse_stage(method) for method in single),
    ]


def _one_sparse_stage(method: str) -> Claim:
    """One of three stages at a quarter of the work: 1.25 to 1.33 expected."""
    what = f"mean speed-up of {method.upper()} 2:8 over dense training lies in 1.25 to 1.33"
    return _claim(f"{method}-2:8-mean", what, _mean_speedup(method), 1.29, "x", 0.04 / 1.29)


def _same_weight_gradients() -> Claim:
    same = [
        simulate_iterations(network)[method, (2, 8)].wu_product_cycles
        == simulate_iterations(network)["dense", (2, 8)].wu_product_cycles
        for network in NETWORKS
        for method in METHODS
    ]
    return _claim.cases("same-wu", "weight gradients take equal cycles under every method", same)


def charts() -> list[Chart]:
    """Return the stages of an iteration by each method."""
    from hwsim.report.training_figures import methods_chart

    shares = {
        method.upper() if method != "dense" else method: {
            stage: mean(_share(network, method, stage) for network in NETWORKS)
            for stage in STAGE_NAMES
        }
        for method in METHODS
    }
    caption = (
        f"Cycles that each stage adds to one iteration at batch {BATCH}, 2:8, mean of "
        f"{', '.join(NETWORKS)}. FF, BP and WU hold products and the vector work of their stage; "
        "work hidden beside another stage adds nothing."
    )
    return [methods_chart("sat-methods", "Stage by stage, by method", caption, shares)]


def _share(network: str, method: str, stage: str) -> float:
    runs = simulate_iterations(network)
    return runs[method, (2, 8)].stage_cycles[stage] / runs["dense", (2, 8)].cycles
