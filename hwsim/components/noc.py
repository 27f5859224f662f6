"""Deliver packets over a crossbar or a 2D mesh, flit by flit, exact to the cycle.

Cycle contract
--------------
- A packet is cut into ceil((header_bytes + size_bytes) / flit_bytes) flits. Its source moves one
  flit per cycle into the router, from the cycle of submission on.
- A flit that came into a router in cycle a may leave it from cycle a + router_cycles on, and takes
  link_cycles to the next router or, through the last link, to its node. A packet is delivered in
  the cycle in which its last flit arrives. Alone in the network it takes

      hops * (router_cycles + link_cycles) + flits - 1

  where hops counts the routers passed: 1 in a crossbar, |dx| + |dy| + 1 in a mesh.
- Wormhole switching: an output belongs to one packet from its first flit to its last. Queues of
  ``queue_flits`` behind every input give back-pressure: a flit moves only when the slot that it
  takes on the far side is free, which its sender learns credit_cycles after a flit left it. So a
  link carries at most queue_flits flits per link_cycles + router_cycles + credit_cycles.
- An input sends one flit per cycle, an output takes one. ``virtual_queues`` gives each input a
  queue per output, matched by ``iterations`` rounds of iSLIP (McKeown, The iSLIP scheduling
  algorithm for input-queued switches, IEEE/ACM ToN 1999); without them the first packet of an
  input blocks those behind it, which limits a large crossbar under uniform traffic to
  2 - sqrt(2) = 0.586 (Karol, Hluchyj and Morgan 1987).
- A mesh routes along x, then along y: no cycle of waiting routers is possible (Dally and Seitz
  1987). Packets of one source and destination take one path through FIFO queues: they stay in
  order. Nodes take every flit at once.

Accounts: a link is busy in cycles in which a flit enters it, stalled (``network``) in those in
which one is ready for it and none can enter, else idle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hwsim.components import noc_kernels as kernels
from hwsim.components.arbiter import POLICIES
from hwsim.core.errors import HwsimError, InputError
from hwsim.core.machine import Spec
from hwsim.core.result import UnitStats
from hwsim.core.units import ceil_div

__all__ = [
    "CrossbarSpec",
    "MeshSpec",
    "NetworkRun",
    "NetworkSpec",
    "Topology",
    "crossbar_topology",
    "mesh_topology",
    "network_state",
    "packet_flits",
    "run_packets",
]

LOCAL, EAST, WEST, NORTH, SOUTH = range(5)
"""Ports of a mesh router; x grows to the east, y to the south."""


@dataclass(frozen=True)
class Topology:
    """Who is behind which output, and which output leads where.

    Attributes
    ----------
    route : int64[router, node]
        Output port towards each node.
    ends : int64[router, port, 2]
        Router and input port behind each output; (NODE, node) for a node, (NOTHING, 0) for none.
    entries : int64[node, 2]
        Router and input port that each node's packets enter by.
    port_names : tuple of str
        Names of the ports of every router.
    """

    route: NDArray[np.int64]
    ends: NDArray[np.int64]
    entries: NDArray[np.int64]
    port_names: tuple[str, ...]


class NetworkSpec(Spec):
    """What crossbars and meshes have in common."""

    flit_bytes: int = Field(16, ge=1, description="width of a link: bytes per cycle")
    header_bytes: int = Field(0, ge=0, description="added to every packet")
    router_cycles: int = Field(1, ge=0)
    link_cycles: int = Field(1, ge=1)
    credit_cycles: int = Field(1, ge=1, description="from a flit's leaving to its slot's reuse")
    queue_flits: int = Field(8, ge=1, description="depth of a queue")
    virtual_queues: bool = Field(False, description="a queue per input and output")
    iterations: int = Field(1, ge=1, description="rounds of matching per cycle")
    policy: Literal["round_robin", "oldest"] = "round_robin"

    def topology(self) -> Topology:
        """Return the network's topology."""
        raise NotImplementedError


class CrossbarSpec(NetworkSpec):
    """One router between ``nodes`` nodes."""

    nodes: int = Field(16, ge=1)

    def topology(self) -> Topology:
        """Return the network's topology."""
        return crossbar_topology(self.nodes)


class MeshSpec(NetworkSpec):
    """``width`` x ``height`` routers with one node each; node = y * width + x."""

    width: int = Field(4, ge=1)
    height: int = Field(4, ge=1)

    def topology(self) -> Topology:
        """Return the network's topology."""
        return mesh_topology(self.width, self.height)


def crossbar_topology(nodes: int) -> Topology:
    """Return one router whose output i leads to node i."""
    node = np.arange(nodes)
    ends = np.stack([np.full(nodes, kernels.NODE), node], axis=1)
    entries = np.stack([np.zeros(nodes, np.int64), node], axis=1)
    names = tuple(str(i) for i in range(nodes))
    return Topology(node[None, :].copy(), ends[None], entries, names)


def mesh_topology(width: int, height: int) -> Topology:
    """Return a mesh that routes along x first, then along y."""
    nodes = width * height
    node = np.arange(nodes)
    x, y = node % width, node // width
    dx, dy = x[None, :] - x[:, None], y[None, :] - y[:, None]
    along_y = np.where(dy > 0, SOUTH, np.where(dy < 0, NORTH, LOCAL))
    route = np.where(dx > 0, EAST, np.where(dx < 0, WEST, along_y))
    ends = np.full((nodes, 5, 2), kernels.NOTHING, np.int64)
    ends[:, LOCAL, 0], ends[:, LOCAL, 1] = kernels.NODE, node
    steps = (
        (EAST, WEST, x < width - 1, 1),
        (WEST, EAST, x > 0, -1),
        (SOUTH, NORTH, y < height - 1, width),
        (NORTH, SOUTH, y > 0, -width),
    )
    for out, far_input, has_link, step in steps:
        ends[has_link, out, 0] = node[has_link] + step
        ends[has_link, out, 1] = far_input
    entries = np.stack([node, np.full(nodes, LOCAL)], axis=1)
    return Topology(route, ends, entries, ("local", "east", "west", "north", "south"))


def packet_flits(spec: NetworkSpec, size_bytes: int) -> int:
    """Return the flits of a packet of ``size_bytes``; an empty one is a flit."""
    return max(ceil_div(spec.header_bytes + size_bytes, spec.flit_bytes), 1)


def network_state(
    spec: NetworkSpec, capacity: int, topology: Topology | None = None
) -> kernels.Network:
    """Return an idle network with room for ``capacity`` packets on the way.

    For :mod:`hwsim.components.noc_kernels`; ``topology`` in place of the Spec's own allows others.
    """
    plan = topology or spec.topology()
    routers, ports = plan.ends.shape[:2]
    queues = routers * ports * (ports if spec.virtual_queues else 1)
    fixed = np.zeros(kernels.FIXED, np.int64)
    fixed[: kernels.NOW] = [
        *(spec.router_cycles, spec.link_cycles, spec.credit_cycles),
        *(POLICIES[spec.policy], spec.iterations),
    ]
    outputs = np.full((routers, ports, kernels.OUTPUT_COLUMNS), -1, np.int64)
    outputs[:, :, [kernels.BUSY, kernels.STALL]] = 0
    sources = np.full((len(plan.entries), kernels.SOURCE_COLUMNS), -1, np.int64)
    sources[:, [kernels.SOURCE_BUSY, kernels.SOURCE_STALL]] = 0
    sources[:, [kernels.ENTRY_ROUTER, kernels.ENTRY_PORT]] = plan.entries
    return kernels.Network(
        fixed=fixed,
        route=np.ascontiguousarray(plan.route, np.int64),
        ends=np.ascontiguousarray(plan.ends, np.int64),
        heads=np.zeros((queues, 2), np.int64),
        slots=np.zeros((queues, spec.queue_flits, 4), np.int64),
        outputs=outputs,
        inputs=np.full((routers, ports, kernels.INPUT_COLUMNS), -1, np.int64),
        routers=np.zeros(routers, np.int64),
        sources=sources,
        packets=np.full((max(capacity, 1), kernels.PACKET_COLUMNS), -1, np.int64),
        delivered=np.zeros(max(capacity, 1), np.int64),
    )


@dataclass(frozen=True)
class NetworkRun:
    """What became of packets, in their order.

    Attributes
    ----------
    cycles : int
        Cycle of the last delivery, or ``until``; 0 without packets.
    entered_cycles, delivered_cycles : int64[packet]
        First flit's injection, last flit's arrival; -1 if not within ``until``.
    busy_cycles, stall_cycles : int64[router, port]
        Per output link.
    source_busy_cycles, source_stall_cycles : int64[node]
        Per link from a node into its router.
    topology : Topology
        Names and ends of the links.
    """

    cycles: int
    entered_cycles: NDArray[np.int64]
    delivered_cycles: NDArray[np.int64]
    busy_cycles: NDArray[np.int64]
    stall_cycles: NDArray[np.int64]
    source_busy_cycles: NDArray[np.int64]
    source_stall_cycles: NDArray[np.int64]
    topology: Topology

    def links(self) -> dict[str, UnitStats]:
        """Return each link's account over ``cycles``: busy, stalled by ``network``, idle."""
        found = {}
        for router, port in np.argwhere(self.topology.ends[:, :, 0] != kernels.NOTHING).tolist():
            name = f"router{router}.{self.topology.port_names[port]}"
            busy, stall = self.busy_cycles[router, port], self.stall_cycles[router, port]
            found[name] = self._account(int(busy), int(stall))
        for node, busy in enumerate(self.source_busy_cycles.tolist()):
            found[f"node{node}"] = self._account(busy, int(self.source_stall_cycles[node]))
        return found

    def _account(self, busy: int, stall: int) -> UnitStats:
        account = UnitStats(busy=busy, idle=self.cycles - busy - stall)
        account.stall["network"] = stall
        return account


def run_packets(
    spec: NetworkSpec,
    times: NDArray[np.int64],
    sources: NDArray[np.int64],
    destinations: NDArray[np.int64],
    sizes_bytes: NDArray[np.int64],
    *,
    until: int | None = None,
    topology: Topology | None = None,
) -> NetworkRun:
    """Deliver packets; those of one source leave it in order of time, then of the arrays.

    Parameters
    ----------
    spec : NetworkSpec
        The network.
    times, sources, destinations, sizes_bytes : int64[packet]
        Cycle of submission, nodes, and payload.
    until : int, optional
        Stop at this cycle; to the last delivery if left out.
    topology : Topology, optional
        In place of the Spec's own.

    Raises
    ------
    InputError
        If the arrays disagree in length or a value is out of range.
    HwsimError
        If packets are left that can never move, which only a cyclic route allows.
    """
    names = ("times", "sources", "destinations", "sizes_bytes")
    columns = [np.asarray(c).astype(np.int64) for c in (times, sources, destinations, sizes_bytes)]
    plan = topology or spec.topology()
    _check(dict(zip(names, columns, strict=True)), len(plan.entries))
    time, source, destination, size = columns
    order = np.argsort(time, kind="stable")
    flits = np.maximum(-(-(spec.header_bytes + size) // spec.flit_bytes), 1)
    state = network_state(spec, len(time), plan)
    kernels.submit_packets(state, source[order], destination[order], flits[order], time[order])
    end = int(kernels.advance_network(state, kernels.NEVER if until is None else until))
    if end == kernels.NEVER:
        _raise_deadlock(state)
    return _collect(state, plan, order, until)


def _collect(
    state: kernels.Network, plan: Topology, order: NDArray[np.int64], until: int | None
) -> NetworkRun:
    """Return what happened to the packets that were submitted in ``order``."""
    packets = np.empty((len(order), kernels.PACKET_COLUMNS), np.int64)
    packets[order] = state.packets[: len(order)]
    delivered = packets[:, kernels.DELIVERED]
    if until is not None:
        delivered = np.where(delivered < until, delivered, -1)
    return NetworkRun(
        cycles=int(delivered.max(initial=0)) if until is None else until,
        entered_cycles=packets[:, kernels.ENTERED],
        delivered_cycles=delivered,
        busy_cycles=state.outputs[:, :, kernels.BUSY],
        stall_cycles=state.outputs[:, :, kernels.STALL],
        source_busy_cycles=state.sources[:, kernels.SOURCE_BUSY],
        source_stall_cycles=state.sources[:, kernels.SOURCE_STALL],
        topology=plan,
    )


def _check(columns: dict[str, NDArray[np.int64]], nodes: int) -> None:
    lengths = [len(column) for column in columns.values()]
    if len(set(lengths)) > 1:
        raise InputError("network.packets", "columns of one length", str(lengths))
    for name, column in columns.items():
        limit = nodes if name in ("sources", "destinations") else None
        below = "" if limit is None else f" below {limit}"
        for value in (column.min(initial=0), column.max(initial=0)):
            if value < 0 or (limit is not None and value >= limit):
                raise InputError(f"network.{name}", f"values from 0{below}", str(value))


def _raise_deadlock(state: kernels.Network) -> None:
    """Raise an error that names the routers whose packets wait for each other."""
    stuck = np.flatnonzero(state.routers).tolist()
    left, now = int(state.fixed[kernels.OPEN]), int(state.fixed[kernels.NOW])
    found = f"{left} packets stuck in routers {stuck} from cycle {now}"
    raise HwsimError("network", "routes without cycles of waiting routers", found)
