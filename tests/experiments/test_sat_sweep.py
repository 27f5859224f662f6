"""The signs of the sweep: what is simulated, and that one pair against the law would fail."""

from __future__ import annotations

import pytest

from hwsim.core.machine import make_machine
from hwsim.experiments import sat_sweep
from hwsim.experiments.sat_sweep import BANDWIDTHS, SIDES, claims, speedups
from hwsim.experiments.sat_training import simulate_iterations

pytestmark = pytest.mark.xdist_group("claims")


def lawful():
    """Return made-up speed-ups that obey both signs."""
    points = [(side, bandwidth) for side in SIDES for bandwidth in BANDWIDTHS]
    return {(side, bandwidth): 1 + 4 / side + bandwidth / 1e13 for side, bandwidth in points}


@pytest.mark.parametrize(
    ("key", "failing"),
    [
        (None, set()),
        ((32, BANDWIDTHS[0]), {"sat-sweep-array"}),
        ((16, BANDWIDTHS[3]), {"sat-sweep-bandwidth"}),
    ],
)
def test_a_point_against_the_law_fails(monkeypatch, key, failing):
    gain = lawful()
    if key == (32, BANDWIDTHS[0]):
        gain[key] = gain[16, BANDWIDTHS[0]]  # as fast as on the smaller array
        for bandwidth in BANDWIDTHS[1:]:
            gain[32, bandwidth] = gain[key] + bandwidth / 1e13
            gain[16, bandwidth] = gain[32, bandwidth] + 1
    elif key is not None:
        gain[key] = gain[16, BANDWIDTHS[2]]  # more bandwidth without effect
    monkeypatch.setattr(sat_sweep, "speedups", lambda: gain)
    assert {claim.id for claim in claims() if not claim.passed} == failing


def test_the_default_point_is_the_training_experiment_s(monkeypatch):
    spec = make_machine("sat").spec
    bandwidth = spec.memory.bandwidth_bytes_per_s
    assert (spec.array.rows, bandwidth) == (32, BANDWIDTHS[1])
    monkeypatch.setattr(sat_sweep, "SIDES", (32,))
    monkeypatch.setattr(sat_sweep, "BANDWIDTHS", (bandwidth,))
    (gain,) = speedups.__wrapped__().values()
    runs = simulate_iterations(sat_sweep.NETWORK)
    assert gain == runs["dense", (2, 8)].cycles / runs["bdwp", (2, 8)].cycles
