"""The training experiment on one small network: what is simulated, and what would be refused.

All claims on all five networks are checked once, in test_registry.py.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from hwsim.experiments import sat_training
from hwsim.experiments.sat_training import METHODS, Iteration, claims, simulate_iterations
from hwsim.report import training_figures
from models.training import training_graph, training_macs
from models.zoo import load_model

pytestmark = pytest.mark.xdist_group("claims")

NETWORK = "resnet18-64"
CASES = {(method, (2, 8)) for method in METHODS} | {("bdwp", (2, 4)), ("bdwp", (2, 16))}


@pytest.fixture
def one_network(monkeypatch):
    """Let the claims speak of one network."""
    monkeypatch.setattr(sat_training, "NETWORKS", (NETWORK,))


@pytest.fixture
def by_id(one_network):
    return {claim.id: claim for claim in claims()}


def test_every_method_and_pattern_is_simulated_once():
    runs = simulate_iterations(NETWORK)
    assert set(runs) == CASES
    assert simulate_iterations(NETWORK) is runs
    assert all(0 < run.wu_product_cycles < run.cycles for run in runs.values())


def test_stages_add_up_to_the_iteration_and_selection_is_there_only_where_something_is_selected():
    runs = simulate_iterations(NETWORK)
    for run in runs.values():
        assert sum(run.stage_cycles.values()) == run.cycles
    assert runs["dense", (2, 8)].stage_cycles["prune"] == 0
    dense, bdwp = (runs[method, (2, 8)].stage_cycles for method in ("dense", "bdwp"))
    assert bdwp["ff"] < dense["ff"]
    assert bdwp["bp"] < dense["bp"]


def test_the_figure_has_a_bar_per_method_and_dense_is_whole(one_network, monkeypatch):
    drawn = {}
    monkeypatch.setattr(training_figures, "methods_chart", lambda *given: drawn.update(given[3]))
    sat_training.charts()
    assert list(drawn) == ["dense", "SR-STE", "SDGP", "SDWP", "BDWP"]
    assert sum(drawn["dense"].values()) == pytest.approx(1.0)
    runs = simulate_iterations(NETWORK)
    speedup = runs["dense", (2, 8)].cycles / runs["bdwp", (2, 8)].cycles
    assert sum(drawn["BDWP"].values()) == pytest.approx(1 / speedup)


def test_multiply_accumulates_are_those_of_the_batch():
    forward = load_model(NETWORK, batch=sat_training.BATCH, has_batch_norm=True)
    for method, nm in [("dense", (2, 8)), ("bdwp", (2, 4))]:
        expected = training_macs(training_graph(forward, method, nm)).total
        assert simulate_iterations(NETWORK)[method, nm].macs == expected


def test_the_weight_gradient_is_most_of_what_bdwp_cannot_skip():
    # FF and BP at a quarter leave WU two thirds: no speed-up above 3 / (1 + 1/4 + 1/4) = 2.
    runs = simulate_iterations(NETWORK)
    dense, sparse = runs["dense", (2, 8)], runs["bdwp", (2, 8)]
    assert 1.8 < dense.macs / sparse.macs < 2.0
    assert dense.cycles / sparse.cycles < dense.macs / sparse.macs


def test_only_the_abstract_is_called_published(by_id):
    published = [name for name, claim in by_id.items() if claim.basis == "published"]
    assert published == ["sat-train-bdwp-2:8-mean"]
    headline = by_id["sat-train-bdwp-2:8-mean"]
    assert (headline.reference, headline.unit, headline.gated) == (1.75, "x", True)
    assert "abstract" in headline.source
    runs = simulate_iterations(NETWORK)
    ratio = runs["dense", (2, 8)].cycles / runs["bdwp", (2, 8)].cycles
    assert headline.simulated == ratio


def test_every_claim_is_gated(by_id):
    assert all(claim.gated for claim in by_id.values())


def test_counted_claims_hold_in_every_case_of_one_network(by_id):
    counts = {
        "below-bound": 3,  # patterns
        "monotone": 2,  # from 2:4 to 2:8 to 2:16
        "order": 3,  # methods with one sparse stage
        "same-wu": 5,  # methods
    }
    for name, cases in counts.items():
        claim = by_id[f"sat-train-{name}"]
        assert (claim.simulated, claim.reference, claim.tolerance) == (cases, cases, 0.0)


def altered(monkeypatch, key, **changes):
    """Let one iteration say something else; return the ids of claims that fail."""
    runs: dict[tuple[str, tuple[int, int]], Iteration] = dict(simulate_iterations(NETWORK))
    before = {claim.id for claim in claims() if not claim.passed}
    runs[key] = replace(runs[key], **changes)
    monkeypatch.setattr(sat_training, "simulate_iterations", lambda network: runs)
    return {claim.id for claim in claims() if not claim.passed} - before


def test_one_cycle_more_in_one_weight_gradient_fails(one_network, monkeypatch):
    cycles = simulate_iterations(NETWORK)["sdwp", (2, 8)].wu_product_cycles
    failed = altered(monkeypatch, ("sdwp", (2, 8)), wu_product_cycles=cycles + 1)
    assert failed == {"sat-train-same-wu"}


def test_faster_than_the_multiply_accumulates_allow_fails(one_network, monkeypatch):
    runs = simulate_iterations(NETWORK)
    dense, sparse = runs["dense", (2, 8)], runs["bdwp", (2, 16)]
    at_bound = dense.cycles * sparse.macs // dense.macs
    failed = altered(monkeypatch, ("bdwp", (2, 16)), cycles=at_bound)
    assert failed == {"sat-train-below-bound"}


def test_one_sparse_stage_as_fast_as_both_fails(one_network, monkeypatch):
    both = simulate_iterations(NETWORK)["bdwp", (2, 8)].cycles
    failed = altered(monkeypatch, ("sdwp", (2, 8)), cycles=both)
    assert "sat-train-order" in failed
