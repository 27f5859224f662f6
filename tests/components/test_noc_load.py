"""Loaded networks stay below the closed form of their busiest link, and reach it unqueued."""

from __future__ import annotations

from typing import Any

import pytest

from hwsim.components.noc import CrossbarSpec, MeshSpec, NetworkSpec
from hwsim.components.noc_load import PATTERNS, characterise_network, flit_limit
from hwsim.core.errors import InputError

SLOW = {"router_cycles": 3, "link_cycles": 4, "credit_cycles": 2, "queue_flits": 3}


def limit(spec: NetworkSpec, pattern: str) -> float:
    nodes = len(spec.topology().entries)
    return flit_limit(spec, PATTERNS[pattern](spec, nodes))[0]


@pytest.mark.parametrize(("width", "height"), [(8, 4), (5, 5), (4, 7), (9, 1)])
def test_uniform_traffic_is_limited_by_the_bisection(width: int, height: int) -> None:
    # Of the left part's flits the right one's share crosses, over one link per row: r L R / w <= 1.
    wide = max(width, height)
    left = wide // 2
    expected = min(1.0, wide / (left * (wide - left)))
    assert limit(MeshSpec(width=width, height=height), "uniform") == pytest.approx(expected)


@pytest.mark.parametrize(
    ("spec", "pattern", "expected"),
    [
        (CrossbarSpec(nodes=6), "uniform", 1.0),
        (CrossbarSpec(nodes=6), "hotspot", 1 / 6),
        (CrossbarSpec(nodes=6), "mirror", 1.0),
        (MeshSpec(width=6, height=2), "mirror", 1 / 3),  # three flits cross the middle per step
        (MeshSpec(width=6, height=2), "hotspot", 1 / 12),
        (MeshSpec(width=6, height=2), "neighbour", 1.0),
        # A slot is taken for link + router + credit = 9 cycles, one way across the middle.
        (MeshSpec(width=2, height=1, **SLOW), "mirror", 3 / 9),
        # And in a crossbar's input for router + credit = 4.
        (CrossbarSpec(nodes=3, router_cycles=3, queue_flits=2), "mirror", 2 / 4),
    ],
)  # fmt: skip
def test_limits_are_the_busiest_links(spec: NetworkSpec, pattern: str, expected: float) -> None:
    assert limit(spec, pattern) == pytest.approx(expected)


def measure(spec: NetworkSpec, pattern: str, **changed: Any) -> Any:
    options = {"size_bytes": 16, "cycles": 600, "seed": 3} | changed
    return characterise_network(spec, pattern, **options)


@pytest.mark.parametrize("pattern", ["neighbour", "mirror", "hotspot"])
def test_fixed_destinations_reach_the_limit(pattern: str) -> None:
    found = measure(MeshSpec(width=4, height=2), pattern, cycles=1500)
    assert found.accepted <= found.limit + 1e-9
    assert found.accepted == pytest.approx(found.limit, rel=0.01)


def test_heads_of_queues_hold_up_uniform_traffic() -> None:
    fifo = CrossbarSpec(nodes=8, router_cycles=0)
    found = measure(fifo, "uniform", cycles=2500)
    assert found.accepted == pytest.approx(0.6184, abs=0.012)  # Karol et al. 1987, 8 ports
    virtual = fifo.model_copy(update={"virtual_queues": True, "queue_flits": 64})
    assert found.accepted < measure(virtual, "uniform").accepted <= found.limit


def test_latency_starts_at_that_of_a_lone_packet_and_grows() -> None:
    spec = MeshSpec(width=4, height=2, router_cycles=2)
    found = measure(spec, "uniform", size_bytes=40)
    # Uniform over 4 x 2, oneself included: |dx| is 5/4 and |dy| 1/2 on average; three flits.
    assert found.alone_cycles == pytest.approx((5 / 4 + 1 / 2 + 1) * (2 + 1) + 2)
    means = [point.mean_cycles for point in found.latency]
    assert found.alone_cycles <= means[0] < 1.2 * found.alone_cycles
    assert means == sorted(means)
    assert all(point.p95_cycles >= point.mean_cycles for point in found.latency)


@pytest.mark.parametrize(
    ("pattern", "changed", "named"),
    [
        ("zigzag", {}, "--pattern: need one of hotspot"),
        ("uniform", {"size_bytes": 0}, "--size: need at least 1, found 0"),
        ("uniform", {"cycles": 0}, "--cycles: need at least 1, found 0"),
    ],
)
def test_bad_input_is_named(pattern: str, changed: dict[str, int], named: str) -> None:
    with pytest.raises(InputError, match=named):
        measure(CrossbarSpec(nodes=2), pattern, **changed)
