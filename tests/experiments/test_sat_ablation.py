"""Switching an optimisation off changes exactly what it should, and the claims would notice.

All claims on all five networks are checked once, in test_registry.py.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.experiments import sat_ablation
from hwsim.experiments.pipeline import RunRequest, execute
from hwsim.experiments.sat_ablation import INTERLEAVES, ablate, claims, hazard_law
from hwsim.sat.detail import step_pes
from hwsim.sat.spec import ArraySpec
from hwsim.sat.timing import ArrayGemm, gemm_timing

pytestmark = pytest.mark.xdist_group("claims")

NETWORK = "resnet9"
LATENCY = ArraySpec().adder_latency_cycles


@pytest.fixture
def by_id(monkeypatch):
    """Return the claims about one network by name."""
    monkeypatch.setattr(sat_ablation, "NETWORKS", (NETWORK,))
    return {claim.id.removeprefix("sat-ablation-"): claim for claim in claims()}


@given(
    m=st.integers(1, 700),
    k=st.integers(1, 600),
    n=st.integers(1, 200),
    nm=st.sampled_from([(1, 1), (2, 8), (2, 4), (1, 8)]),
    interleave=st.integers(1, 9),
)
@settings(deadline=None, max_examples=60)
def test_the_law_gives_the_adder_stalls_of_any_output_stationary_product(m, k, n, nm, interleave):
    array = ArraySpec(interleave=interleave)
    gemm = ArrayGemm(m, k, n, *nm)
    tiles = -(-m // array.rows) * -(-n // array.cols)
    slots = gemm.k_groups * gemm.nm_n
    assert gemm_timing(array, "os", gemm).hazard == hazard_law(slots, tiles, interleave)


def test_one_partial_sum_costs_the_latency_per_product_and_enough_of_them_nothing():
    for slots in (1, 18, 144):
        # Every product but a tile's last is followed by L - 1 cycles of waiting.
        assert hazard_law(slots, 12, 1) == 12 * (slots - 1) * (LATENCY - 1)
        assert hazard_law(slots, 12, LATENCY) == 0
        assert hazard_law(slots, 12, LATENCY - 1) > 0 or slots == 1
    # 13 tiles in blocks of 6, 6 and 1: the last one waits alone.
    assert hazard_law(18, 13, 6) == 17 * (LATENCY - 1)


def test_stepping_every_pe_finds_the_same_difference():
    small = ArraySpec(rows=4, cols=4, interleave=1)
    full = small.model_copy(update={"interleave": LATENCY})
    gemm = ArrayGemm(4 * 12, 64, 4, 2, 8)
    slots, tiles = gemm.k_groups * gemm.nm_n, 12
    # Blocks of one tile also pay skew and latency per tile instead of per block of six.
    per_block = 4 + 4 - 2 + small.multiplier_latency_cycles + LATENCY - 1
    expected = hazard_law(slots, tiles, 1) + (tiles - tiles // LATENCY) * per_block
    assert step_pes(small, "os", gemm) - step_pes(full, "os", gemm) == expected


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
    assert on.cycles < off.cycles


def test_what_counting_weights_saves_is_what_the_runs_save():
    run = ablate(NETWORK)
    on, off = run.by_flow["auto"], run.without_pregeneration
    assert off.read_bytes - on.read_bytes == run.saved_read_bytes > 0
    assert off.write_bytes - on.write_bytes == run.saved_write_bytes > 0


def test_interleaving_changes_stalls_and_never_products():
    run = ablate(NETWORK)
    assert set(run.by_interleave) == set(INTERLEAVES)
    assert len({step.array_busy_cycles for step in run.by_interleave.values()}) == 1
    stalls = [run.by_interleave[i].hazard_cycles for i in INTERLEAVES]
    assert max(stalls) == stalls[0] > stalls[1] > stalls[2]


def test_every_claim_holds_on_one_network(by_id):
    assert [name for name, claim in by_id.items() if not claim.passed] == []
    assert all(claim.gated and claim.tolerance == 0 for claim in by_id.values())
    assert all(claim.basis == "derived" for claim in by_id.values())


@pytest.mark.parametrize(
    ("field", "changes", "failing"),
    [
        ("by_interleave", {"hazard_cycles": 1}, {"interleave-law"}),
        ("without_pregeneration", {"read_bytes": 1}, {"pregeneration-read"}),
        ("without_pregeneration", {"write_bytes": -1}, {"pregeneration-write"}),
        ("by_flow", {"cycles": 1 << 60}, {"switching-gain", "pregeneration-gain"}),
    ],
)
def test_one_count_that_is_off_fails(by_id, monkeypatch, field, changes, failing):
    run = ablate(NETWORK)
    key = {"by_interleave": 3, "by_flow": "auto"}.get(field)
    before = getattr(run, field) if key is None else getattr(run, field)[key]
    after = replace(
        before, **{name: getattr(before, name) + extra for name, extra in changes.items()}
    )
    changed = after if key is None else {**getattr(run, field), key: after}
    monkeypatch.setattr(sat_ablation, "ablate", lambda network: replace(run, **{field: changed}))
    failed = {c.id.removeprefix("sat-ablation-") for c in claims() if not c.passed}
    assert failed == failing
