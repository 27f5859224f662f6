"""Switching an optimisation off changes exactly what it should, and the claims would notice.

All claims on all five networks are checked once, in test_registry.py.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hwsim.experiments import sat_ablation
from hwsim.experiments.pipeline import RunRequest, execute
from hwsim.experiments.sat_ablation import claims
from hwsim.experiments.sat_ablation_runs import INTERLEAVES, ablate

pytestmark = pytest.mark.xdist_group("claims")

NETWORK = "resnet9"


@pytest.fixture
def by_id(monkeypatch):
    """Return the claims about one network by name."""
    monkeypatch.setattr(sat_ablation, "NETWORKS", (NETWORK,))
    return {claim.id.removeprefix("sat-ablation-"): claim for claim in claims()}


@pytest.fixture
def training(tmp_path):
    """Return the request for one BDWP iteration of three layers of 64x64 weights."""
    rng = np.random.default_rng(5)
    path = tmp_path / "three.npz"
    np.savez(path, **{name: rng.standard_normal((64, 64)) for name in ("a", "b", "c")})
    return RunRequest(
        str(path), phase="train", training="bdwp", sparsity="nm:2:8", batch=64, has_baseline=False
    )


def test_pregeneration_saves_weight_traffic_and_no_work(training):
    on, off = execute(training), execute(replace(training, is_pregenerated=False))
    weights = 64 * 64
    # Two of every eight weights: 2 (16 + 3) bits of 8 weights are 0.594 B per weight, dense 2 B.
    dense, compact = 2 * weights, weights // 8 * 2 * 19 // 8
    assert compact == pytest.approx(0.594 * weights, rel=1e-3)
    layers = 2  # the first stays dense
    saved = {
        way: off.stats.bytes["dram"][way] - on.stats.bytes["dram"][way] for way in ("read", "write")
    }
    assert saved["read"] == layers * (2 * dense - 2 * compact)  # FF and BP
    assert saved["write"] == layers * (dense - 2 * compact)  # no dense copy, two compact ones
    for unit in ("stce", "vector", "wuve"):
        assert on.stats.units[unit].busy == off.stats.units[unit].busy, unit
    # One weight per lane and cycle in both directions, wherever the selection is done.
    selecting = [result.stats.units["sore"].busy for result in (on, off)]
    assert selecting == [layers * 2 * weights // 32] * 2


def test_what_counting_weights_saves_is_what_the_runs_save():
    run = ablate(NETWORK)
    on, off = run.without_scheduling, run.in_order_without_pregeneration
    assert off.read_bytes - on.read_bytes == run.saved_read_bytes > 0
    assert off.write_bytes - on.write_bytes == run.saved_write_bytes > 0


def test_interleaving_changes_stalls_and_never_products():
    run = ablate(NETWORK)
    assert set(run.by_interleave) == set(INTERLEAVES)
    assert len({step.array_busy_cycles for step in run.by_interleave.values()}) == 1
    stalls = [run.by_interleave[i].hazard_cycles for i in INTERLEAVES]
    assert max(stalls) == stalls[0] > stalls[1] > stalls[2]


def test_products_keep_the_array_as_long_as_its_account_says():
    run = ablate(NETWORK)
    for step in (run.full, run.without_scheduling, *run.by_interleave.values()):
        assert sum(step.product_busy_cycles.values()) == step.array_busy_cycles
    assert set(run.chosen_flow) == set(run.full.product_busy_cycles)
    assert set(run.chosen_flow.values()) == {"ws", "os"}  # else there was nothing to choose


def test_every_claim_holds_on_one_network(by_id):
    assert [name for name, claim in by_id.items() if not claim.passed] == []
    assert all(claim.gated and claim.tolerance == 0 for claim in by_id.values())
    assert all(claim.basis == "derived" for claim in by_id.values())


CHANGES = [
    ("by_interleave", 3, {"hazard_cycles": 1}, {"interleave-law"}),
    ("in_order_without_pregeneration", None, {"read_bytes": 1}, {"pregeneration-read"}),
    ("in_order_without_pregeneration", None, {"write_bytes": -1}, {"pregeneration-write"}),
    ("full", None, {"read_bytes": 1}, {"scheduling-busy"}),
    ("full", None, {"cycles": 1 << 60}, {"switching-gain", "scheduling-gain"}),
    ("full", None, {"cycles": -(1 << 28)}, {"scheduling-gain"}),  # below the bound
]


@pytest.mark.parametrize(("field", "key", "changes", "failing"), CHANGES)
def test_one_count_that_is_off_fails(by_id, monkeypatch, field, key, changes, failing):
    assert all(claim.passed for claim in by_id.values())
    run = ablate(NETWORK)
    before = getattr(run, field) if key is None else getattr(run, field)[key]
    after = replace(
        before, **{name: getattr(before, name) + extra for name, extra in changes.items()}
    )
    changed = after if key is None else {**getattr(run, field), key: after}
    monkeypatch.setattr(sat_ablation, "ablate", lambda network: replace(run, **{field: changed}))
    failed = {c.id.removeprefix("sat-ablation-") for c in claims() if not c.passed}
    assert failed == failing


def test_a_product_with_one_more_slot_than_its_flow_alone_fails(by_id, monkeypatch):
    run = ablate(NETWORK)
    slots = dict(run.full.product_busy_cycles)
    slots[next(iter(slots))] += 1
    altered = replace(run, full=replace(run.full, product_busy_cycles=slots))
    monkeypatch.setattr(sat_ablation, "ablate", lambda network: altered)
    failed = {c.id.removeprefix("sat-ablation-") for c in claims() if not c.passed}
    assert failed == {"switching-busy"}
    assert all(claim.passed for claim in by_id.values())
