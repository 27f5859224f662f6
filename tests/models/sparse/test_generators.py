"""Check generated matrices against counts that follow from their definitions."""

from __future__ import annotations

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
        ("stencil7:3", "model"),
    ],
)
def test_what_cannot_be_drawn_is_refused_by_name(source: str, field: str) -> None:
    with pytest.raises(InputError) as caught:
        generate(source)
    assert str(caught.value).startswith(field)
