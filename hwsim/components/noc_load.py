"""Measure what a network carries under load, beside the closed form of its busiest link.

A pattern is a probability of every destination for every source. With all routes known, a link's
load per flit that each node injects follows, and no network passes more than the rate of a link
over the largest load (Dally and Towles, Principles and Practices of Interconnection Networks, 2004,
chapter 3).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.components.noc import MeshSpec, NetworkSpec, Topology, packet_flits, run_packets
from hwsim.components.noc_kernels import NODE
from hwsim.core.errors import InputError, unknown_name

__all__ = ["PATTERNS", "LoadPoint", "LoadResult", "characterise_network", "flit_limit"]

_OFFERED = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Loads of the latency curve, as shares of the closed form."""

Probabilities = NDArray[np.float64]


def _uniform(spec: NetworkSpec, nodes: int) -> Probabilities:
    del spec
    return np.full((nodes, nodes), 1 / nodes)


def _neighbour(spec: NetworkSpec, nodes: int) -> Probabilities:
    width = spec.width if isinstance(spec, MeshSpec) else nodes
    node = np.arange(nodes)
    return _certain(node - node % width + (node % width + 1) % width)


def _mirror(spec: NetworkSpec, nodes: int) -> Probabilities:
    width = spec.width if isinstance(spec, MeshSpec) else nodes
    node = np.arange(nodes)
    return _certain(node - node % width + width - 1 - node % width)


def _hotspot(spec: NetworkSpec, nodes: int) -> Probabilities:
    del spec
    return _certain(np.zeros(nodes, np.int64))


def _certain(destinations: NDArray[np.int64]) -> Probabilities:
    found = np.zeros((len(destinations), len(destinations)))
    found[np.arange(len(destinations)), destinations] = 1.0
    return found


PATTERNS: dict[str, Callable[[NetworkSpec, int], Probabilities]] = {
    "uniform": _uniform,
    "neighbour": _neighbour,
    "mirror": _mirror,
    "hotspot": _hotspot,
}
"""Uniform (oneself included); the next node of the row, around its end; the mirrored place of the
row, which all cross the middle for; everybody to node 0. A crossbar is one row."""


@dataclass(frozen=True)
class LoadPoint:
    """Latency at one offered load, in cycles; ``offered`` is a share of the closed form."""

    offered: float
    mean_cycles: float
    p95_cycles: float


@dataclass(frozen=True)
class LoadResult:
    """What a network makes of a pattern; rates in flits per node and cycle.

    Attributes
    ----------
    accepted, limit : float
        Saturated, measured; and the closed form, whose link is ``limit_link``.
    alone_cycles : float
        Mean latency of a packet that is alone: hops * (router + link) + flits - 1.
    latency : tuple of LoadPoint
    """

    pattern: str
    accepted: float
    limit: float
    limit_link: str
    alone_cycles: float
    latency: tuple[LoadPoint, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON's types."""
        return asdict(self)


def _routes(
    plan: Topology, probabilities: Probabilities
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the load of every output [router, port] and the hops [source, destination]."""
    nodes = len(plan.entries)
    source, target = (grid.ravel() for grid in np.indices((nodes, nodes)))
    router = plan.entries[source, 0]
    share = probabilities[source, target]
    load = np.zeros(plan.ends.shape[:2])
    hops = np.zeros(nodes * nodes, np.int64)
    on_way = np.arange(nodes * nodes)
    while len(on_way):
        if hops.max() > plan.ends.shape[0]:
            raise InputError("network.route", "routes that end", "a cycle")
        port = plan.route[router[on_way], target[on_way]]
        np.add.at(load, (router[on_way], port), share[on_way])
        hops[on_way] += 1
        end = plan.ends[router[on_way], port, 0]
        router[on_way] = end
        on_way = on_way[end != NODE]
    return load, hops.reshape(nodes, nodes)


def flit_limit(spec: NetworkSpec, probabilities: Probabilities) -> tuple[float, str]:
    """Return the most flits per node and cycle that any router could pass, and the link it is.

    A link between routers carries ``queue_flits`` per round trip of a credit at most, one into a
    node one per cycle; a node injects one per cycle.
    """
    plan = spec.topology()
    load, _ = _routes(plan, probabilities)
    round_trip = spec.link_cycles + spec.router_cycles + spec.credit_cycles
    link_rate = min(1.0, spec.queue_flits / round_trip)
    rate = np.where(plan.ends[:, :, 0] == NODE, 1.0, link_rate)
    entry = min(1.0, spec.queue_flits / max(spec.router_cycles + spec.credit_cycles, 1))
    bounds = np.where(load > 0, rate / np.maximum(load, 1e-12), np.inf)
    router, port = np.unravel_index(int(bounds.argmin()), bounds.shape)
    if bounds[router, port] >= entry:
        return entry, "injection"
    return float(bounds[router, port]), f"router{router}.{plan.port_names[port]}"


def characterise_network(
    spec: NetworkSpec, pattern: str, *, size_bytes: int, cycles: int, seed: int
) -> LoadResult:
    """Return what ``spec`` passes of ``pattern`` when saturated, and its latency below that.

    Parameters
    ----------
    spec : NetworkSpec
        The network.
    pattern : str
        One of :data:`PATTERNS`.
    size_bytes : int
        Payload of every packet.
    cycles : int
        Length of every measurement; its first fifth is left out.
    seed : int
        Of destinations and of arrivals, which are Poisson.

    Raises
    ------
    InputError
        If the pattern is unknown, or a number not positive.
    """
    if pattern not in PATTERNS:
        raise unknown_name("--pattern", pattern, PATTERNS)
    for name, value in (("--size", size_bytes), ("--cycles", cycles)):
        if value < 1:
            raise InputError(name, "at least 1", str(value))
    plan = spec.topology()
    probabilities = PATTERNS[pattern](spec, len(plan.entries))
    flits = packet_flits(spec, size_bytes)
    rng = np.random.default_rng(seed)
    limit, link = flit_limit(spec, probabilities)
    _, hops = _routes(plan, probabilities)
    alone = float((probabilities * hops).sum() / len(hops)) * (
        spec.router_cycles + spec.link_cycles
    )
    play = _Traffic(spec, probabilities, size_bytes, cycles, rng)
    accepted = play.delivered(np.zeros((len(hops), cycles // flits + 2), np.int64)) * flits
    points = tuple(play.latency(share, share * limit / flits) for share in _OFFERED)
    return LoadResult(pattern, accepted, limit, link, alone + flits - 1, points)


@dataclass(frozen=True)
class _Traffic:
    """Packets of one size whose destinations are drawn."""

    spec: NetworkSpec
    probabilities: Probabilities
    size_bytes: int
    cycles: int
    rng: np.random.Generator

    @property
    def _first(self) -> int:
        return self.cycles // 5

    def _play(self, times: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return submission and delivery (-1: not yet) of packets at ``times`` [node, packet]."""
        nodes, packets = times.shape
        edges = self.probabilities.cumsum(axis=1)
        drawn = self.rng.random((nodes, packets)) * edges[:, -1:]
        destinations = (drawn[:, :, None] >= edges[:, None, :]).sum(axis=2)
        source = np.repeat(np.arange(nodes), packets)
        sizes = np.full(nodes * packets, self.size_bytes)
        run = run_packets(
            self.spec, times.ravel(), source, destinations.ravel(), sizes, until=self.cycles
        )
        return times.ravel(), run.delivered_cycles

    def delivered(self, times: NDArray[np.int64]) -> float:
        """Return packets delivered per node and cycle."""
        _, done = self._play(times)
        return int((done >= self._first).sum()) / (len(times) * (self.cycles - self._first))

    def latency(self, offered: float, packets_per_cycle: float) -> LoadPoint:
        """Return the latency of packets that come at random, so many per node and cycle."""
        count = max(1, int(self.cycles * packets_per_cycle))
        times = np.sort(self.rng.integers(0, self.cycles, (len(self.probabilities), count)), axis=1)
        sent, done = self._play(times)
        waited = (done - sent)[(done >= 0) & (sent >= self._first)]
        if not len(waited):
            raise InputError("--cycles", "a time in which a packet arrives", str(self.cycles))
        return LoadPoint(offered, float(waited.mean()), float(np.percentile(waited, 95)))
