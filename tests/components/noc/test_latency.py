"""A lone packet arrives when theory says; what holds others up is accounted for."""

from __future__ import annotations

import numpy as np
import pytest

from hwsim.components.noc import (
    CrossbarSpec,
    MeshSpec,
    packet_flits,
    run_packets,
)
from hwsim.core.errors import InputError
from hwsim.core.result import STALL_REASONS
from tests.components.noc.traffic import send


@pytest.mark.parametrize("router_cycles", [0, 1, 3])
@pytest.mark.parametrize("link_cycles", [1, 2, 50])
@pytest.mark.parametrize("size_bytes", [1, 16, 17, 100])
def test_zero_load_latency_is_hops_times_router_and_link_plus_serialisation(
    router_cycles: int, link_cycles: int, size_bytes: int
) -> None:
    timing = {"router_cycles": router_cycles, "link_cycles": link_cycles, "queue_flits": 64}
    mesh = MeshSpec(width=4, height=3, **timing)
    flits = -(-size_bytes // 16)
    for source, destination in ((0, 11), (11, 0), (3, 8), (5, 5), (4, 6)):
        dx = abs(source % 4 - destination % 4)
        dy = abs(source // 4 - destination // 4)
        run = send(mesh, [(9, source, destination, size_bytes)])
        expected = 9 + (dx + dy + 1) * (router_cycles + link_cycles) + flits - 1
        assert run.delivered_cycles.tolist() == [expected]
    run = send(CrossbarSpec(nodes=5, **timing), [(9, 1, 4, size_bytes)])
    assert run.delivered_cycles.tolist() == [9 + router_cycles + link_cycles + flits - 1]


def test_packets_are_whole_flits_headers_included() -> None:
    spec = CrossbarSpec(flit_bytes=8, header_bytes=4)
    assert [packet_flits(spec, size) for size in (0, 4, 5, 12, 13)] == [1, 1, 2, 2, 3]
    assert packet_flits(CrossbarSpec(), 0) == 1


def test_mesh_goes_along_x_before_y() -> None:
    run = send(MeshSpec(width=3, height=3), [(0, 0, 8, 1)])
    used = {name for name, account in run.links().items() if account.busy}
    path = {"router0.east", "router1.east", "router2.south", "router5.south", "router8.local"}
    assert used == path | {"node0"}


def test_a_blocked_link_is_charged_to_the_network() -> None:
    """Two packets of 4 flits to one node: the second's source waits for room, then for the link."""
    spec = CrossbarSpec(nodes=3, router_cycles=0, queue_flits=2)
    run = send(spec, [(0, 0, 2, 64), (0, 1, 2, 64)])
    assert run.delivered_cycles.tolist() == [4, 8]
    links = run.links()
    assert (links["router0.2"].busy, links["router0.2"].idle) == (8, 0)
    waiting = links["node1"]  # two flits enter at once; a slot is free again in cycles 5 and 6
    assert (waiting.busy, waiting.stall["network"], waiting.idle) == (4, 3, 1)
    assert sum(waiting.stall[r] for r in STALL_REASONS if r != "network") == 0


def test_a_link_without_credit_is_stalled_not_idle() -> None:
    """One slot and a round trip of 3: a flit in cycle 1, then every third cycle."""
    spec = MeshSpec(width=2, height=1, queue_flits=1)
    run = send(spec, [(0, 0, 1, 16 * 4)])
    east = run.links()["router0.east"]
    assert east.busy == 4
    assert east.stall["network"] == 3 * 1  # the next flit is there one cycle before its credit


def test_what_cannot_be_sent_is_refused() -> None:
    spec = CrossbarSpec(nodes=4)
    with pytest.raises(InputError, match="network.sources: need values from 0 below 4, found 4"):
        send(spec, [(0, 4, 0, 1)])
    with pytest.raises(InputError, match="network.sizes_bytes: need values from 0, found -1"):
        send(spec, [(0, 0, 0, -1)])
    with pytest.raises(InputError, match="columns of one length"):
        run_packets(spec, np.zeros(1), np.zeros(2), np.zeros(1), np.zeros(1))
    assert send(spec, []).cycles == 0
