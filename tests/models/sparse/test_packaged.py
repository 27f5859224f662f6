"""Matrices inside packages: sizes and products are the ones counted from the archives."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from hwsim.core.errors import InputError
from models.sparse import packaged
from models.sparse.packaged import PACKAGES, is_packaged, load_packaged, packaged_names
from models.sparse.read import is_sparse_source, read_matrix


def counts(a: sparse.csr_array) -> tuple[int, int]:
    """Return the products and entries of a matrix's square, whatever cancels."""
    ones = sparse.csr_array((np.ones(a.nnz), a.indices, a.indptr), shape=a.shape)
    return int(np.diff(a.indptr)[a.indices].sum()), (ones @ ones).nnz


@pytest.mark.parametrize(
    ("source", "shape", "nonzeros", "products", "entries"),
    [
        ("pyamg:airfoil", 260, 1682, 11_300, 4_462),
        ("pyamg:bar", 600, 23_402, 962_310, 110_466),
        ("pyamg:local_disc_galerkin_diffusion", 966, 35_338, 1_427_102, 116_830),
        ("networkx:karate", 34, 2 * 78, 1_212, 698),  # products: the sum of squared degrees
    ],
)
def test_counts_of_packaged_matrices(
    source: str, shape: int, nonzeros: int, products: int, entries: int
) -> None:
    a = read_matrix(source)
    assert a.shape == (shape, shape)
    assert a.nnz == nonzeros
    assert counts(a) == (products, entries)


def test_complex_matrices_become_real_blocks() -> None:
    notes: list[str] = []
    a = read_matrix("pyamg:helmholtz_2D", notes=notes)
    assert a.shape == (2 * 2880, 2 * 2880)
    assert a.nnz == 4 * 52_016
    assert counts(a) == (8 * 951_056, 4 * 192_512)
    assert "2 x 2" in notes[0]


@pytest.mark.parametrize("package", list(PACKAGES))
def test_every_name_loads(package: str) -> None:
    for name in packaged_names(package):
        source = f"{package}:{name}"
        assert is_packaged(source)
        assert is_sparse_source(source)
        assert load_packaged(source).nnz > 0


def test_unknown_names_and_missing_packages_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="airfoil"):
        read_matrix("pyamg:airfoyl")
    monkeypatch.setattr(packaged, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pyamg to be installed"):
        read_matrix("pyamg:airfoil")
    assert not is_packaged("pyamg")
    assert not is_packaged("numpy:x")
