"""Networks pass what theory gives: head of line, bisection, credits per round trip."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest

from hwsim.components.noc import (
    EAST,
    WEST,
    CrossbarSpec,
    MeshSpec,
)
from tests.components.noc.traffic import saturate, send


def throughput(spec: CrossbarSpec, cycles: int, rng: np.random.Generator) -> float:
    """Return flits per node and cycle under saturated uniform traffic."""
    run = saturate(spec, rng.integers(0, spec.nodes, (spec.nodes, cycles)), until=cycles)
    return int((run.delivered_cycles >= 0).sum()) / (spec.nodes * cycles)


def test_two_inputs_without_virtual_queues_pass_three_quarters() -> None:
    """Both heads fresh, or one left over and one fresh: they differ with probability 1/2 each."""
    found = throughput(CrossbarSpec(nodes=2, router_cycles=0), 20_000, np.random.default_rng(1))
    assert abs(found - 0.75) < 5 * 0.25 / sqrt(20_000)  # (1 or 2 flits) / 2 have deviation 1/4


def test_large_crossbar_without_virtual_queues_saturates_at_2_minus_sqrt_2() -> None:
    """Karol, Hluchyj and Morgan 1987: 0.6553 at 4 ports, 0.6184 at 8, 0.5858 in the limit."""
    rng = np.random.default_rng(2)
    for nodes, expected, tolerance in ((4, 0.6553, 0.01), (8, 0.6184, 0.01)):
        found = throughput(CrossbarSpec(nodes=nodes, router_cycles=0), 8000, rng)
        assert found == pytest.approx(expected, abs=tolerance)
    found = throughput(CrossbarSpec(nodes=64, router_cycles=0), 2000, rng)
    assert found == pytest.approx(2 - sqrt(2), abs=0.01)


def test_virtual_queues_lift_the_head_of_line_limit() -> None:
    spec = CrossbarSpec(nodes=16, router_cycles=0, virtual_queues=True, queue_flits=64)
    rng = np.random.default_rng(3)
    assert throughput(spec, 3000, rng) > 0.9
    more = spec.model_copy(update={"iterations": 3})
    assert throughput(more, 3000, rng) > throughput(spec, 3000, rng)


@pytest.mark.parametrize("has_virtual_queues", [False, True])
@pytest.mark.parametrize("flits", [1, 3])
def test_a_permutation_passes_at_full_rate(has_virtual_queues: bool, flits: int) -> None:
    spec = CrossbarSpec(nodes=7, virtual_queues=has_virtual_queues)
    permutation = np.random.default_rng(4).permutation(7)
    run = saturate(spec, np.tile(permutation[:, None], (1, 50)), 16 * flits)
    assert run.cycles == 50 * flits - 1 + spec.router_cycles + spec.link_cycles
    assert (run.busy_cycles == 50 * flits).all()


def test_hot_spot_passes_one_flit_per_cycle_in_turns() -> None:
    run = saturate(CrossbarSpec(nodes=5, router_cycles=0), np.full((5, 40), 2))
    assert run.cycles == 5 * 40  # the first flit arrives in cycle 1
    in_order = np.argsort(run.delivered_cycles) % 5
    assert in_order.tolist() == [0, 1, 2, 3, 4] * 40


@pytest.mark.parametrize("depth", [1, 2, 3, 5, 9, 20])
def test_a_link_carries_its_credits_per_round_trip(depth: int) -> None:
    """A slot is taken for link + router + credit cycles: 9 here."""
    spec = MeshSpec(
        width=3, height=1, router_cycles=2, link_cycles=4, credit_cycles=3, queue_flits=depth
    )
    count = 900
    run = send(spec, [(0, 0, 2, 1)] * count)
    rate = min(1.0, depth / 9)
    assert run.cycles == pytest.approx(count / rate, abs=3 * 9)


def test_mesh_reaches_its_bisection_bound() -> None:
    """Every node of the left half sends to its mirror image: each row shares one link."""
    width, count = 8, 60
    spec = MeshSpec(width=width, height=2)
    node = np.arange(width * 2)
    mirror = node - node % width + (width - 1 - node % width)
    left = node[node % width < width // 2]
    packets = [(0, int(n), int(mirror[n]), 1) for n in left for _ in range(count)]
    run = send(spec, packets)
    crossing = width // 2 * count  # flits over each row's middle link
    zero_load = width * (spec.router_cycles + spec.link_cycles)
    assert crossing <= run.cycles <= crossing + zero_load
    assert run.busy_cycles[[3, 11], EAST].tolist() == [crossing] * 2


@pytest.mark.parametrize("width", [4, 8])
def test_uniform_traffic_stays_below_the_bisection_bound(width: int) -> None:
    """Half of the traffic of N nodes crosses 2 * width links: at most 4 / width per node."""
    spec, cycles = MeshSpec(width=width, height=width, queue_flits=16), 1500
    nodes = width * width
    destinations = np.random.default_rng(5).integers(0, nodes, (nodes, cycles))
    run = saturate(spec, destinations, until=cycles)
    middle = np.arange(width) * width + width // 2
    crossing = run.busy_cycles[middle - 1, EAST].sum() + run.busy_cycles[middle, WEST].sum()
    assert crossing <= 2 * width * cycles
    delivered = int((run.delivered_cycles >= 0).sum()) / (nodes * cycles)
    assert 0.5 * 4 / width < delivered < 4 / width
