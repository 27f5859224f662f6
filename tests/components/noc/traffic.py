"""Draw networks and packets, and send them."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from hwsim.components.noc import (
    CrossbarSpec,
    MeshSpec,
    NetworkRun,
    NetworkSpec,
    run_packets,
)

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
