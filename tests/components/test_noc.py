"""Networks deliver every packet, in order, at the latency and the throughput theory gives."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from math import sqrt
from typing import Any

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
    NetworkRun,
    NetworkSpec,
    Topology,
    mesh_topology,
    network_state,
    packet_flits,
    run_packets,
)
from hwsim.core.errors import HwsimError, InputError
from hwsim.core.result import STALL_REASONS

Packet = tuple[int, int, int, int]
"""Cycle of submission, source, destination, bytes."""


def send(spec: NetworkSpec, packets: list[Packet], **options: Any) -> NetworkRun:
    columns = np.array(packets, np.int64).reshape(-1, 4).T
    return run_packets(spec, *columns, **options)


def saturate(
    spec: NetworkSpec, destinations: np.ndarray, size_bytes: int = 1, until: int | None = None
) -> NetworkRun:
    """Let node i send to destinations[i, :] in turn, all there from cycle 0 on."""
    nodes, count = destinations.shape
    source = np.tile(np.arange(nodes), count)
    zero = np.zeros(nodes * count, np.int64)
    return run_packets(spec, zero, source, destinations.T.ravel(), zero + size_bytes, until=until)


# --- zero load -----------------------------------------------------------------------------------


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


# --- throughput ----------------------------------------------------------------------------------


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


# --- conservation, order, progress ---------------------------------------------------------------

sizes = st.integers(0, 100)
options = st.fixed_dictionaries(
    {
        "router_cycles": st.integers(0, 3),
        "link_cycles": st.integers(1, 4),
        "credit_cycles": st.integers(1, 3),
        "queue_flits": st.integers(1, 5),
        "policy": st.sampled_from(["round_robin", "oldest"]),
    }
)


@st.composite
def networks(draw: st.DrawFn, virtual: st.SearchStrategy[bool] | None = None) -> NetworkSpec:
    common = draw(options)
    if virtual is not None:
        common |= {"virtual_queues": draw(virtual), "iterations": draw(st.integers(1, 3))}
    if draw(st.booleans()):
        return CrossbarSpec(nodes=6, **common)
    return MeshSpec(width=3, height=2, **common)


packet_lists = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 5), st.integers(0, 5), sizes), max_size=40
)


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


# --- accounts ------------------------------------------------------------------------------------


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


# --- against a plain model -----------------------------------------------------------------------


class PlainNetwork:
    """The contract once more: messages for flits and credits, every router in every cycle."""

    def __init__(self, spec: NetworkSpec) -> None:
        self.spec, self.plan = spec, spec.topology()
        routers, ports = self.plan.ends.shape[:2]
        inputs = [(r, p) for r in range(routers) for p in range(ports)]
        self.queue: dict[tuple[int, int], deque[Any]] = {key: deque() for key in inputs}
        self.credits = dict.fromkeys(inputs, spec.queue_flits)
        self.owner: dict[tuple[int, int], tuple[int, int] | None] = dict.fromkeys(inputs)
        self.last = dict.fromkeys(inputs, -1)
        self.mail: dict[int, list[tuple[str, Any]]] = {}
        self.busy = np.zeros((routers, ports), np.int64)

    def post(self, t: int, kind: str, value: Any) -> None:
        self.mail.setdefault(t, []).append((kind, value))

    def far_end(self, router: int, out: int) -> tuple[int, int] | None:
        end, port = self.plan.ends[router, out].tolist()
        return (end, port) if end >= 0 else None

    def choose(self, packets: list[Packet], router: int, out: int) -> tuple[int, int] | None:
        """Return the input that output ``out`` of ``router`` serves now."""
        far = self.far_end(router, out)
        if far is not None and self.credits[far] == 0:
            return None
        asking = []
        for port in range(self.plan.ends.shape[1]):
            if not self.queue[router, port] or self.queue[router, port][0][2] > self.now:
                continue
            packet, flit, _ = self.queue[router, port][0]
            owner = self.owner[router, out]
            may = owner == (router, port) or (owner is None and flit == 0)
            if self.plan.route[router, packets[packet][2]] == out and may:
                asking.append(port)
        ports = self.plan.ends.shape[1]
        if self.spec.policy == "oldest":
            key = {p: (packets[self.queue[router, p][0][0]][0], p) for p in asking}
        else:
            key = {p: ((p - self.last[router, out] - 1) % ports, p) for p in asking}
        return (router, min(asking, key=key.__getitem__)) if asking else None

    def deliver(self, packets: list[Packet]) -> list[int]:
        flits = [packet_flits(self.spec, size) for *_, size in packets]
        waiting: list[deque[int]] = [deque() for _ in self.plan.entries]
        for index in sorted(range(len(packets)), key=lambda i: packets[i][0]):
            waiting[packets[index][1]].append(index)
        sent, arrived = [0] * len(packets), [-1] * len(packets)
        self.now = 0
        while min(arrived, default=0) < 0:
            for kind, value in self.mail.pop(self.now, []):
                if kind == "credit":
                    self.credits[value] += 1
                else:
                    key, packet, flit = value
                    self.queue[key].append((packet, flit, self.now + self.spec.router_cycles))
            for source, line in enumerate(waiting):
                entry = tuple(self.plan.entries[source].tolist())
                if line and packets[line[0]][0] <= self.now and self.credits[entry] > 0:
                    packet = line[0]
                    self.credits[entry] -= 1
                    ready = self.now + self.spec.router_cycles
                    self.queue[entry].append((packet, sent[packet], ready))
                    sent[packet] += 1
                    if sent[packet] == flits[packet]:
                        line.popleft()
            moves = [
                (key, out, router)
                for router in range(self.plan.ends.shape[0])
                for out in range(self.plan.ends.shape[1])
                if (key := self.choose(packets, router, out)) is not None
            ]
            for key, out, router in moves:
                packet, flit, _ = self.queue[key].popleft()
                self.last[router, out] = key[1]
                self.busy[router, out] += 1
                is_tail = flit + 1 == flits[packet]
                self.owner[router, out] = None if is_tail else key
                self.post(self.now + self.spec.credit_cycles, "credit", key)
                arrival = self.now + self.spec.link_cycles
                far = self.far_end(router, out)
                if far is not None:
                    self.credits[far] -= 1
                    self.post(arrival, "flit", (far, packet, flit))
                elif is_tail:
                    arrived[packet] = arrival
            self.now += 1
        return arrived


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


# --- stepping ------------------------------------------------------------------------------------


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


@pytest.fixture
def interpret(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return what turns the compiled functions of the kernels into Python functions."""

    def apply() -> None:
        for name, function in list(vars(kernels).items()):
            if hasattr(function, "py_func"):
                monkeypatch.setattr(kernels, name, function.py_func)

    return apply


@pytest.mark.parametrize("has_virtual_queues", [False, True])
def test_interpreted_kernels_agree_with_compiled_ones(
    has_virtual_queues: bool, interpret: Callable[[], None]
) -> None:
    rng = np.random.default_rng(9)
    packets = [(int(t), int(a), int(b), int(s)) for t, a, b, s in rng.integers(0, 6, (80, 4))]
    spec = MeshSpec(width=3, height=2, virtual_queues=has_virtual_queues, iterations=2)
    compiled = send(spec, packets)
    interpret()
    plain = send(spec, packets)
    for name, values in vars(plain).items():
        if isinstance(values, np.ndarray):
            assert np.array_equal(values, getattr(compiled, name)), name


def test_what_cannot_be_sent_is_refused() -> None:
    spec = CrossbarSpec(nodes=4)
    with pytest.raises(InputError, match="network.sources: need values from 0 below 4, found 4"):
        send(spec, [(0, 4, 0, 1)])
    with pytest.raises(InputError, match="network.sizes_bytes: need values from 0, found -1"):
        send(spec, [(0, 0, 0, -1)])
    with pytest.raises(InputError, match="columns of one length"):
        run_packets(spec, np.zeros(1), np.zeros(2), np.zeros(1), np.zeros(1))
    assert send(spec, []).cycles == 0
