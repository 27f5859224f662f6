"""Check generated matrices against counts that follow from their definitions."""

from __future__ import annotations

import networkx
import numpy as np
import pytest

from hwsim.core.errors import InputError
from models.sparse.generators import generate


def test_rmat_has_exactly_its_edges_and_about_its_products() -> None:
    a = generate("rmat", seed=1)
    assert (a.shape, a.nnz) == ((16384, 16384), 254_211)
    products = int(np.diff(a.indptr).astype(np.int64)[a.indices].sum())
    p, q, r, s = 0.51, 0.09, 0.09, 0.31
    expected = a.nnz**2 * ((p + r) * (p + q) + (q + s) * (r + s)) ** 14
    # The closed form is for draws with repeats; without them hubs are a little smaller.
    assert 0.85 * expected < products < expected


def test_equal_seeds_give_equal_matrices() -> None:
    for source in (
        "rmat:scale=8,edges=500",
        "uniform:50",
        "powerlaw:n=200,edges=300",
        "delaunay:40",
    ):
        first, again, other = generate(source, 3), generate(source, 3), generate(source, 4)
        assert (first != again).nnz == 0
        assert (first != other).nnz > 0
        assert (generate(f"{source},seed=3", 9) != first).nnz == 0


def test_stencils_have_their_closed_forms() -> None:
    for side in range(1, 9):  # kron stores small blocks densely
        assert generate(f"stencil9:{side}").nnz == (3 * side - 2) ** 2
        assert generate(f"stencil5:{side}").nnz == 5 * side**2 - 4 * side


@pytest.mark.parametrize(
    ("source", "edges"),
    [
        ("rmat:scale=1", 1),  # a quarter of 4
        ("rmat:6", 993),  # 254,211 / 16,384 of 64
        ("rmat:scale=4,a=0.6,b=0.2,c=0.2", 3**4 // 4),
        ("rmat:scale=4,a=1,b=0,c=0", 1),
        ("rmat:6,edges=0", 0),
        ("powerlaw:100", 800),
        ("powerlaw:n=16", 16 * 16 // 8),
        ("powerlaw", 65_536),
    ],
)
def test_edges_follow_the_size_unless_said(source: str, edges: int) -> None:
    assert generate(source).nnz == edges


@pytest.mark.parametrize("order", [2, 3, 4, 7])
def test_mycielskis_graphs_are_networkxs(order: int) -> None:
    graph = networkx.mycielski_graph(order)
    expected = networkx.to_scipy_sparse_array(graph, nodelist=sorted(graph))
    a = generate(f"mycielskian:{order}")
    assert (a != expected).nnz == 0
    # Vertices n -> 2 n + 1, edges e -> 3 e + n, from one edge.
    vertices, edges = 2, 1
    for _ in range(order - 2):
        vertices, edges = 2 * vertices + 1, 3 * edges + vertices
    assert (a.shape[0], a.nnz) == (vertices, 2 * edges)


def test_uniform_has_its_density() -> None:
    for density in (0.0, 0.1, 0.9, 1.0):
        a = generate(f"uniform:n=30,cols=20,density={density}")
        assert (a.shape, a.nnz) == ((30, 20), round(600 * density))


def test_a_triangulation_is_symmetric_and_planar() -> None:
    a = generate("delaunay:100")
    assert ((a != 0) != (a.T != 0)).nnz == 0
    assert a.nnz <= 2 * (3 * 100 - 6)


@pytest.mark.parametrize(
    ("source", "field"),
    [
        ("rmat:scale=0", "rmat.scale"),
        ("rmat:a=0.9,b=0.2", "rmat.a"),
        ("rmat:edges=-1", "rmat.edges"),
        ("rmat:scale=4,edges=1000", "rmat.edges"),
        ("rmat:scale=x", "rmat.scale"),
        ("rmat:skale=3", "rmat"),
        ("uniform:density=2", "uniform.density"),
        ("uniform:density=nan", "uniform.density"),
        ("powerlaw:alpha=1", "powerlaw.alpha"),
        ("delaunay:2", "delaunay.points"),
        ("rmat:scale=4,a=1,b=0,c=0,edges=2", "rmat.edges"),  # one cell only
        ("rmat:scale=8,a=0.999999,b=0,c=0,edges=9000", "rmat.edges"),  # as good as one
        ("powerlaw:n=50,alpha=1.01", "powerlaw.edges"),  # all ends at one vertex
        ("stencil5:0", "stencil5.side"),
        ("mycielskian:1", "mycielskian.order"),
        ("stencil7:3", "model"),
    ],
)
def test_what_cannot_be_drawn_is_refused_by_name(source: str, field: str) -> None:
    with pytest.raises(InputError) as caught:
        generate(source)
    assert str(caught.value).startswith(field)
