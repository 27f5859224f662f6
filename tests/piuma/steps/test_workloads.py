"""Check workloads of several kernels: each step against numpy, the whole against its definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.sparse import csgraph

from hwsim.core.machine import make_machine
from hwsim.core.result import Result
from mappers.greedy import map_graph
from models.sparse.generators import generate
from models.sparse.layers import normalised
from models.sparse.ppr import transition_matrix
from models.sparse.teddy import kept_edges
from models.sparse.workloads import WORKLOADS, workload_graph
from models.workload import Workload

Outputs = dict[str, Any]
FEW = {
    "ppr": ("ppr.iterations=3", "ppr.walks=3", "ppr.queries=5"),
    "khop": ("khop.sources=5",),
}


def run_workload(
    kernel: str, matrix: sparse.csr_array, extra: tuple[str, ...] = (), seed: int = 0
) -> tuple[Result, Outputs]:
    """Return the run and its outputs, each equal to golden up to rounding."""
    machine = make_machine("piuma", settings=("smash.hash=mult", *FEW.get(kernel, ()), *extra))
    parameters = machine.workload_parameters(kernel)
    workload = Workload(kernel=kernel, seed=seed, parameters=parameters)
    graph = workload_graph("test", matrix, workload, None, 6)
    program = machine.lower(graph, map_graph(graph, machine))
    bounds = machine.bounds(program)
    result = machine.run(program, {})
    golden = machine.golden(program, {})
    assert result.outputs.keys() == golden.keys()
    for name, expected in golden.items():
        assert_same(result.outputs[name], expected)
    assert bounds.min_cycles <= result.cycles <= bounds.max_cycles
    return result, result.outputs


def assert_same(found: Any, expected: Any) -> None:
    if expected.dtype.names is None:
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=0)
        return
    assert (found[["row", "col"]] == expected[["row", "col"]]).all()
    np.testing.assert_allclose(found["value"], expected["value"], rtol=1e-9, atol=0)


def as_matrix(entries: Any, shape: tuple[int, int]) -> Any:
    dense = np.zeros(shape)
    dense[entries["row"], entries["col"]] = entries["value"]
    return dense


def graph_of(n: int, nonzeros: int, seed: int) -> sparse.csr_array:
    rng = np.random.default_rng(seed)
    dense = np.zeros((n, n))
    dense.reshape(-1)[rng.integers(0, n * n, nonzeros)] = rng.integers(1, 9, nonzeros)
    return sparse.csr_array(dense)


@pytest.mark.evidence("piuma", "T0")
@pytest.mark.parametrize("kernel", WORKLOADS)
@settings(max_examples=5, deadline=None, derandomize=True)
@given(
    n=st.sampled_from([1, 2, 9, 30]),
    share=st.sampled_from([0.0, 0.1, 1.0]),
    extra=st.sampled_from([(), ("blocks=4",), ("mtp.threads=3", "mtp.pipelines=1")]),
)
def test_every_step_equals_golden(
    kernel: str, n: int, share: float, extra: tuple[str, ...]
) -> None:
    run_workload(kernel, graph_of(n, round(share * n * n), n), extra)


def test_a_wrong_step_shows_in_the_comparison() -> None:
    _, outputs = run_workload("teddy", graph_of(9, 30, 0))
    wrong = outputs["hops"].copy()
    wrong["value"][0] += 1
    with pytest.raises(AssertionError):
        assert_same(wrong, outputs["hops"])


@pytest.mark.evidence("piuma", "T0")
def test_levels_are_those_of_a_breadth_first_search() -> None:
    a = generate("powerlaw:n=80,edges=200", 3)
    result, outputs = run_workload("khop", a, ("khop.hops=4",), seed=2)
    sources = np.flatnonzero((outputs["level"] == 0).any(axis=0))
    distances = csgraph.shortest_path(a, unweighted=True, indices=sources)
    distances[(distances > 4) | np.isinf(distances)] = -1
    assert (outputs["level"] == distances).all()
    kinds = [step["kernel"] for step in result.extra["steps"]]
    assert kinds == ["smash-v3", "filter-seen"] * 4
    assert [layer.cycles for layer in result.layers] == [
        step["cycles"] for step in result.extra["steps"]
    ]
    assert result.cycles == sum(layer.cycles for layer in result.layers)


def exact_ppr(w: sparse.csr_array, sources: Any) -> Any:
    """Solve p = c e + (1 - c) p W for every source."""
    n = w.shape[0]
    unit = np.eye(n)[sources]
    return np.linalg.solve((np.eye(n) - 0.85 * w.toarray()).T, 0.15 * unit.T).T


def ppr_error(outputs: Outputs, w: sparse.csr_array, sources: Any) -> Any:
    return np.abs(outputs["ppr"] - exact_ppr(w, sources)).sum(axis=1)


@pytest.mark.evidence("piuma", "T0")
def test_pagerank_sums_to_one_and_errs_by_what_still_flows() -> None:
    a = generate("stencil9:6")
    a.data = np.abs(a.data)
    w = transition_matrix(a)
    sources = np.sort(np.random.default_rng(1).choice(36, 5, replace=False))
    exact = ("ppr.threshold=0", "ppr.iterations=4")
    _, with_index = run_workload("ppr", a, (*exact, "ppr.walks=40"), seed=1)
    np.testing.assert_allclose(with_index["ppr"].sum(axis=1), 1, rtol=0, atol=1e-12)
    index = as_matrix(with_index["index"], (36, 36))
    np.testing.assert_allclose(index.sum(axis=1), 1, rtol=0, atol=1e-12)
    _, without = run_workload("ppr", a, (*exact, "ppr.walks=0"), seed=1)
    left = 0.85**5  # restarts of five rounds are summed
    np.testing.assert_allclose(without["ppr"].sum(axis=1), 1 - left, rtol=0, atol=1e-12)
    np.testing.assert_allclose(ppr_error(without, w, sources), left, rtol=1e-9)
    # What flows on is 0.85^4 of everything; the index knows where to, up to sampling.
    assert (ppr_error(with_index, w, sources) < 0.5 * 0.85**4).all()


def test_small_flows_are_dropped() -> None:
    a = graph_of(40, 200, 5)
    _, outputs = run_workload("ppr", a, ("ppr.threshold=0.05",))
    for name in ("f1", "f2", "f3"):
        assert (outputs[name]["value"] >= 0.05).all()
    assert len(outputs["f2"]) < len(outputs["g2"])


@pytest.mark.evidence("piuma", "T0")
@pytest.mark.parametrize("share", [0.0, 0.3, 0.95])
def test_the_edges_that_score_least_go_and_loops_stay(share: float) -> None:
    dense = (graph_of(25, 120, 4).toarray() + np.eye(25)) > 0
    dense |= dense.T
    result, outputs = run_workload(
        "teddy", sparse.csr_array(dense * 1.0), (f"teddy.prune={share}",)
    )
    kept = as_matrix(outputs["kept"], (25, 25))
    degrees = dense.sum(axis=1)
    g = (dense / np.sqrt(degrees)).sum(axis=1) / degrees**2
    scores = np.outer(g, g)
    is_edge = dense & ~np.eye(25, dtype=bool)
    dropped = is_edge & (kept == 0)
    assert dropped.sum() == min(int(share * dense.sum()), is_edge.sum())
    assert (np.diag(kept) == 1).all()
    if 0 < dropped.sum() < is_edge.sum():
        assert scores[dropped].max() <= scores[is_edge & (kept > 0)].min() * (1 + 1e-12)
    assert (as_matrix(outputs["hops"], (25, 25)) == kept @ kept).all()
    left = kept_edges(sparse.csr_array(dense * 1.0), share)
    products = int(np.diff(left.indptr)[left.indices].sum())
    assert result.extra["steps"][-1]["partial_products"] == products


def test_of_equal_scores_the_first_edges_go() -> None:
    ring = sparse.csr_array(np.roll(np.eye(12), 1, axis=1) + np.roll(np.eye(12), -1, axis=1))
    _, outputs = run_workload("teddy", ring, ("teddy.prune=0.5",))
    rows = np.repeat(np.arange(12), 2)
    assert (outputs["kept"]["row"] == rows[12:]).all()


def test_a_graph_convolution_is_its_formula() -> None:
    a = graph_of(20, 60, 7)
    _, outputs = run_workload("gcn", a, ("gcn.hidden=11",))
    dense = ((a.toarray() != 0) | np.eye(20, dtype=bool)) * 1.0
    root = np.diag(1 / np.sqrt(dense.sum(axis=1)))
    np.testing.assert_allclose(normalised(a).toarray(), root @ dense @ root, rtol=1e-12)
    layer = np.maximum(root @ dense @ root @ outputs["xw"], 0)
    np.testing.assert_allclose(outputs["layer"], layer, rtol=1e-9, atol=1e-12)
    assert (outputs["layer"] == 0).any()
    assert (outputs["layer"] > 0).any()


@pytest.mark.parametrize("block", [1, 2, 4, 8])
def test_a_perceptron_of_blocks_is_a_dense_one(block: int) -> None:
    a = graph_of(21, 40, 8)
    a.data -= 4
    result, outputs = run_workload("mlp", a, (f"mlp.block={block}",))
    x = np.random.default_rng(0).integers(-4, 5, (-(-21 // block) * block, 6))
    hidden = np.maximum(a.toarray() @ x[:21], 0)
    assert (outputs["h1"][:21] == hidden).all()
    assert (outputs["h2"][:21] == np.maximum(a.toarray() @ hidden, 0)).all()
    assert (outputs["h2"][21:] == 0).all()
    mix = result.extra["instruction_mix"]
    assert mix["fmul"] == result.extra["partial_products"]


@pytest.mark.parametrize("product", ["row-heap", "row-esc", "smash-v1"])
def test_products_may_be_those_of_another_kernel(product: str) -> None:
    a = graph_of(30, 90, 9)
    _, usual = run_workload("teddy", a)
    result, other = run_workload("teddy", a, (f"teddy.product={product}",))
    assert other["hops"].tobytes() == usual["hops"].tobytes()
    assert result.extra["steps"][-1]["kernel"] == product
