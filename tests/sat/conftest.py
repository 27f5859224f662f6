"""Offer small layers lowered for SAT under a plan of the test's choice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hwsim.core.graph import Op, OpGraph
from hwsim.core.machine import make_machine
from hwsim.core.program import Program
from hwsim.core.sparsity import NM
from hwsim.sat.machine import SatMachine
from hwsim.sat.plan import GemmPlan, Packing
from models.build import GraphBuilder

Lowered = tuple[SatMachine, Program]


def linear_graph(m: int, k: int, n: int, nm: tuple[int, int] | None = None) -> OpGraph:
    """Return one linear layer called "fc" without bias."""
    b = GraphBuilder("linear")
    graph = b.build([b.linear("fc", b.input("x", (m, k)), n, bias=False)])
    if nm is None:
        return graph
    (op,) = graph.ops()
    x, weight = op.inputs
    pruned = weight.model_copy(update={"pattern": NM(nm_n=nm[0], nm_m=nm[1])})
    return graph.replace(ops=[op.model_copy(update={"inputs": (x, pruned)})])


def make_plan(op: Op, machine: SatMachine, tile: tuple[int, int, int], **changes: Any) -> GemmPlan:
    """Return a plan of dense weights, rows outer, weight-stationary unless changed."""
    fields: dict[str, Any] = {"dataflow": "ws", "order": "mn", "nm": (1, 1)}
    fields |= {"packing": Packing("single", 1), "array": machine.spec.array, **changes}
    m_tile, n_tile, k_tile = tile
    return GemmPlan(op=op, m_tile=m_tile, n_tile=n_tile, k_tile=k_tile, **fields)


@pytest.fixture
def linear() -> Callable[..., OpGraph]:
    """Return a function of m, k, n and perhaps (N, M) that returns a one-layer graph."""
    return linear_graph


@pytest.fixture
def lower_plan() -> Callable[..., Lowered]:
    """Return a function that lowers a one-layer graph under given tiles and settings."""

    def lower(
        graph: OpGraph, tile: tuple[int, int, int], settings: tuple[str, ...] = (), **changes: Any
    ) -> Lowered:
        machine = make_machine("sat", settings=settings)
        assert isinstance(machine, SatMachine)
        (op,) = graph.ops()
        plan = make_plan(op, machine, tile, **changes)
        return machine, machine.lower(graph, [plan.to_mapping()])

    return lower
