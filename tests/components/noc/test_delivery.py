"""Every packet arrives, in order, at the cycle of a plain model, however time is advanced."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.components import noc_kernels as kernels
from hwsim.components.noc import (
    EAST,
    WEST,
    CrossbarSpec,
    MeshSpec,
    NetworkSpec,
    Topology,
    mesh_topology,
    network_state,
    packet_flits,
)
from hwsim.core.errors import HwsimError
from tests.components.noc.plain_network import PlainNetwork
from tests.components.noc.traffic import Packet, networks, packet_lists, saturate, send


@given(spec=networks(virtual=st.booleans()), packets=packet_lists)
@settings(max_examples=100, deadline=None)
def test_every_packet_is_delivered_in_order_and_accounted_for(
    spec: NetworkSpec, packets: list[Packet]
) -> None:
    run = send(spec, packets)
    assert (run.delivered_cycles >= 0).all()
    flits = [packet_flits(spec, size) for *_, size in packets]
    ejected, injected = Counter[int](), Counter[int]()
    for (_, source, destination, _), count in zip(packets, flits, strict=True):
        ejected[destination] += count
        injected[source] += count
    for node in range(6):
        router, port = (0, node) if isinstance(spec, CrossbarSpec) else (node, 0)
        assert run.busy_cycles[router, port] == ejected[node]
        assert run.source_busy_cycles[node] == injected[node]
    last: dict[tuple[int, int], int] = {}
    for index in sorted(range(len(packets)), key=lambda i: packets[i][0]):
        _, source, destination, _ = packets[index]
        arrival = int(run.delivered_cycles[index])
        assert arrival > last.get((source, destination), -1)
        last[source, destination] = arrival
    for name, account in run.links().items():
        assert account.total == run.cycles, name
        assert account.idle >= 0, name


def test_long_packets_through_shallow_queues_do_not_deadlock() -> None:
    rng = np.random.default_rng(6)
    spec = MeshSpec(width=4, height=4, queue_flits=1)
    run = saturate(spec, rng.integers(0, 16, (16, 40)), size_bytes=16 * 7)
    assert (run.delivered_cycles > 0).all()


def ring(nodes: int) -> Topology:
    """Return a ring that only goes round one way, each router waiting for the next."""
    plan = mesh_topology(nodes, 1)
    ends = plan.ends.copy()
    ends[nodes - 1, EAST] = (0, WEST)
    route = np.where(np.eye(nodes, dtype=bool), 0, EAST)
    return Topology(route, ends, plan.entries, plan.port_names)


def test_a_ring_without_virtual_channels_deadlocks_and_says_so() -> None:
    packets = [(0, node, (node + 2) % 4, 16 * 8) for node in range(4)]
    spec = MeshSpec(width=4, height=1, queue_flits=2)
    with pytest.raises(HwsimError, match=r"4 packets stuck in routers \[0, 1, 2, 3\]"):
        send(spec, packets, topology=ring(4))
    lone = send(spec, packets[3:], topology=ring(4))  # 3 -> 0 -> 1
    last_flit = 7 // 2 * 3 + 7 % 2  # two slots per round trip of 3
    assert lone.delivered_cycles.tolist() == [3 * 2 + last_flit]


@given(spec=networks(), packets=packet_lists)
@settings(max_examples=60, deadline=None)
def test_any_traffic_is_delivered_by_the_contract(spec: NetworkSpec, packets: list[Packet]) -> None:
    plain = PlainNetwork(spec)
    expected = plain.deliver(packets)
    run = send(spec, packets)
    assert run.delivered_cycles.tolist() == expected
    assert run.busy_cycles.tolist() == plain.busy.tolist()


def test_the_plain_model_refutes_another_credit_delay() -> None:
    packets = [(0, 0, 2, 200)]
    spec = MeshSpec(width=3, height=1, queue_flits=2)
    slower = MeshSpec(width=3, height=1, queue_flits=2, credit_cycles=2)
    assert PlainNetwork(spec).deliver(packets) == send(spec, packets).delivered_cycles.tolist()
    assert PlainNetwork(slower).deliver(packets) != send(spec, packets).delivered_cycles.tolist()


def test_advancing_in_pieces_changes_nothing() -> None:
    rng = np.random.default_rng(8)
    spec = MeshSpec(width=3, height=2, link_cycles=7, queue_flits=2)
    packets = sorted(
        (int(t), int(a), int(b), int(s))
        for t, a, b, s in rng.integers(0, 6, (60, 4)) * [9, 1, 1, 16]
    )
    whole = send(spec, packets)
    state = network_state(spec, len(packets))
    columns = np.array(packets).T
    flits = np.array([packet_flits(spec, size) for size in columns[3]])
    kernels.submit_packets(state, columns[1], columns[2], flits, columns[0])
    popped = []
    for until in range(1, whole.cycles + 1, 5):
        kernels.advance_network(state, until)
        while (row := kernels.pop_delivered(state, until - 1)) >= 0:
            popped.append(row)
    kernels.advance_network(state, kernels.NEVER)
    while (row := kernels.pop_delivered(state, kernels.NEVER)) >= 0:
        popped.append(row)
    assert state.packets[:, kernels.DELIVERED].tolist() == whole.delivered_cycles.tolist()
    assert state.outputs[:, :, kernels.STALL].tolist() == whole.stall_cycles.tolist()
    assert sorted(popped) == list(range(len(packets)))
    arrival = whole.delivered_cycles[popped]
    assert (np.diff(arrival) >= 0).all()


def test_until_leaves_later_deliveries_open() -> None:
    run = send(CrossbarSpec(nodes=2), [(0, 0, 1, 1), (5, 0, 1, 1)], until=6)
    assert run.delivered_cycles.tolist() == [2, -1]
    assert run.cycles == 6


@pytest.mark.parametrize("has_virtual_queues", [False, True])
def test_interpreted_kernels_agree_with_compiled_ones(
    has_virtual_queues: bool, interpret: Callable[..., None]
) -> None:
    rng = np.random.default_rng(9)
    packets = [(int(t), int(a), int(b), int(s)) for t, a, b, s in rng.integers(0, 6, (80, 4))]
    spec = MeshSpec(width=3, height=2, virtual_queues=has_virtual_queues, iterations=2)
    compiled = send(spec, packets)
    interpret(kernels)
    plain = send(spec, packets)
    for name, values in vars(plain).items():
        if isinstance(values, np.ndarray):
            assert np.array_equal(values, getattr(compiled, name)), name
