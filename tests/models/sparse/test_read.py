"""Check that sparse files are read as scipy wrote them, and that broken ones get one line."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from scipy import io, sparse

from hwsim.core.errors import InputError
from models.sparse.read import is_sparse_source, load_sparse, read_matrix
from models.workload import Workload

HEAD = "%%MatrixMarket matrix coordinate real general\n"


def written(folder: Path, text: str) -> str:
    path = folder / "a.mtx"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{HEAD}2 3 2\n1 1 2.5\n2 3 -1\n", [[2.5, 0, 0], [0, 0, -1]]),
        (f"{HEAD}2 2 2\n1 1 1\n1 1 2\n", [[3, 0], [0, 0]]),
        (f"{HEAD}2 2 0\n", [[0, 0], [0, 0]]),
        ("%%MatrixMarket matrix coordinate pattern general\n2 2 1\n2 1\n", [[0, 0], [1, 0]]),
        ("%%MatrixMarket matrix coordinate integer symmetric\n2 2 1\n2 1 4\n", [[0, 4], [4, 0]]),
        (
            "%%MatrixMarket matrix coordinate real skew-symmetric\n2 2 1\n2 1 4\n",
            [[0, -4], [4, 0]],
        ),
        ("%%MatrixMarket matrix array real general\n2 2\n1\n2\n3\n4\n", [[1, 3], [2, 4]]),
    ],
)
def test_every_kind_is_read(tmp_path: Path, text: str, expected: list[list[float]]) -> None:
    source = written(tmp_path, text)
    assert is_sparse_source(source)
    assert read_matrix(source).toarray().tolist() == expected


def test_compressed_files_and_scipys_archives_are_read(tmp_path: Path) -> None:
    a = sparse.random_array((9, 7), density=0.3, rng=np.random.default_rng(0), format="csr")
    io.mmwrite(tmp_path / "a.mtx", a)
    (tmp_path / "b.mtx.gz").write_bytes(gzip.compress((tmp_path / "a.mtx").read_bytes()))
    sparse.save_npz(tmp_path / "c.npz", a)
    for name in ("a.mtx", "b.mtx.gz", "c.npz"):
        assert is_sparse_source(str(tmp_path / name))
        np.testing.assert_allclose(read_matrix(str(tmp_path / name)).toarray(), a.toarray())


def test_complex_products_are_those_of_real_blocks(tmp_path: Path) -> None:
    a = sparse.coo_array(np.array([[1 + 2j, 0], [3j, 4]]))
    io.mmwrite(tmp_path / "a.mtx", a)
    notes: list[str] = []
    real = read_matrix(str(tmp_path / "a.mtx"), 0, notes)
    square = (real @ real).toarray()
    complex_square = (a @ a).toarray()
    assert (square[::2, ::2] == complex_square.real).all()
    assert (square[1::2, ::2] == complex_square.imag).all()
    assert len(notes) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1 1 1\n1 1 1\n",
        HEAD,
        f"{HEAD}2 2\n",
        f"{HEAD}2 2 2\n1 1 1\n",
        f"{HEAD}2 2 1\n1 1 1\n2 2 1\n",
        f"{HEAD}2 2 1\n3 1 1\n",
        f"{HEAD}2 2 1\n0 1 1\n",
        f"{HEAD}2 2 1\n1 1 x\n",
        f"{HEAD}2 2 1\n99999999999999999999 1 1\n",
        f"{HEAD}-2 2 1\n1 1 1\n",
        f"{HEAD}2 2 1\n1 1 nan\n",
        f"{HEAD}2 2 1\n1 1 inf\n",
        f"{HEAD}0 0 0\n",
        f"{HEAD}2 2 999999999999\n1 1 1\n",
        f"{HEAD}9999999999 9999999999 1\n1 1 1\n",
        f"{HEAD}67108865 2 1\n1 1 1\n",
        f"{HEAD}2 67108865 1\n1 1 1\n",
        "%%MatrixMarket matrix coordinate integer general\n1 1 1\n1 1 9007199254740993\n",
        "%%MatrixMarket matrix coordinate integer general\n1 1 1\n1 1 -9007199254740993\n",
        "%%MatrixMarket matrix coordinate real mirrored\n2 2 1\n1 1 1\n",
        "%%MatrixMarket matrix coordinate real symmetric\n2 3 1\n1 1 1\n",
        "%%MatrixMarket matrix coordinate real skew-symmetric\n2 2 2\n1 1 3\n2 1 1\n",
        "%%MatrixMarket matrix coordinate complex hermitian\n2 2 2\n1 1 1 2\n2 1 1 1\n",
    ],
)
def test_a_broken_file_gets_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError) as caught:
        load_sparse(written(tmp_path, text), Workload(), None)
    assert "\n" not in str(caught.value)


def test_the_largest_exact_integers_are_read(tmp_path: Path) -> None:
    head = "%%MatrixMarket matrix coordinate integer general\n"
    a = read_matrix(written(tmp_path, f"{head}1 2 2\n1 1 {1 << 53}\n1 2 -{1 << 53}\n"))
    assert a.data.tolist() == [2.0**53, -(2.0**53)]


@pytest.mark.parametrize(
    ("indptr", "indices", "shape"),
    [
        ([0, 2, 1, 2], [0, 1], [3, 3]),  # pointers that go back
        ([0, 1, 2, 9], [0, 1], [3, 3]),
        ([0, 1, 2, 2], [0, 7], [3, 3]),
        ([0, 1, 2, 2], [0, -1], [3, 3]),
        ([0, 1, 2, 2], [0, 1], [3, 1 << 40]),
    ],
)
def test_a_broken_archive_gets_one_line(
    tmp_path: Path, indptr: list[int], indices: list[int], shape: list[int]
) -> None:
    arrays = {"data": np.ones(2), "indices": np.array(indices), "indptr": np.array(indptr)}
    path = tmp_path / "a.npz"
    np.savez(path, format=np.array(b"csr"), shape=np.array(shape), **arrays)
    with pytest.raises(InputError, match="a.npz") as caught:
        read_matrix(str(path))
    assert "\n" not in str(caught.value)


def test_a_real_operand_follows_a_complex_one(tmp_path: Path) -> None:
    first = sparse.coo_array(np.array([[1 + 2j, 0], [3j, 4]]))
    second = sparse.coo_array(np.array([[0, 2.0], [5, 1]]))
    paths = [str(tmp_path / name) for name in ("c.mtx", "r.mtx")]
    for path, matrix in zip(paths, (first, second), strict=True):
        io.mmwrite(path, matrix)
    for one, other, product in (
        (*paths, first @ second),
        (*paths[::-1], second @ first),
    ):
        graph = load_sparse(one, Workload(other=other), None)
        a, b = (
            sparse.csr_array(tuple(graph.weights[f"{x}.{y}"] for y in ("val", "col", "ptr")))
            for x in "ab"
        )
        found = (a @ b).toarray()
        assert (found[::2, ::2] + 1j * found[1::2, ::2] == product.toarray()).all()
        assert len(graph.notes) == 2


def test_the_second_operand_is_named(tmp_path: Path) -> None:
    source = written(tmp_path, f"{HEAD}2 3 1\n1 1 1\n")
    for other in ("none.mtx", "networkx:nobody"):
        with pytest.raises(InputError, match="^--b: need"):
            load_sparse(source, Workload(other=other), None)


def test_shapes_that_do_not_conform_are_refused(tmp_path: Path) -> None:
    source = written(tmp_path, f"{HEAD}2 3 1\n1 1 1\n")
    with pytest.raises(InputError, match="--b: need 3 rows"):
        load_sparse(source, Workload(other=source), None)
    graph = load_sparse(source, Workload(), None)  # without a second matrix: its own transpose
    (op,) = graph.ops()
    assert (op.dims["m"], op.dims["n"]) == (2, 2)


def test_a_missing_file_and_a_wrong_phase_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="existing file"):
        load_sparse(str(tmp_path / "none.mtx"), Workload(), None)
    with pytest.raises(InputError, match="--phase"):
        load_sparse("rmat:scale=4,edges=9", Workload(phase="train"), None)
