"""Matrix files that are wrong get one line; those that are merely odd, the right product."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from scipy import io, sparse

from hwsim.experiments.spgemm_counts import product_counts

REAL = "%%MatrixMarket matrix coordinate real general\n"


def typed(kind: str, body: str) -> str:
    return f"%%MatrixMarket matrix coordinate {kind}\n{body}"


FORM = "a well-formed Matrix Market file"
WRONG = {
    "no header": ("3 3 1\n1 1 1\n", "a Matrix Market header", "3 3 1"),
    "empty file": ("", "a Matrix Market header", "''"),
    "fewer entries than announced": (REAL + "3 3 2\n1 1 1\n", FORM, "Truncated"),
    "more entries than announced": (REAL + "3 3 1\n1 1 1\n2 2 1\n", FORM, "too long"),
    "row beyond the matrix": (REAL + "3 3 1\n4 1 1\n", FORM, "Row index"),
    "column 0": (REAL + "3 3 1\n1 0 1\n", FORM, "Column index"),
    "coordinate beyond 64 bits": (REAL + "3 3 1\n99999999999999999999 1 1\n", FORM, "range"),
    "rows beyond 32 bits": (REAL + "4294967299 3 1\n1 1 1\n", "1 to 67108864", "4294967299 x 3"),
    "negative rows": (REAL + "-3 3 1\n1 1 1\n", FORM, "negative"),
    "not a number": (REAL + "3 3 1\n1 1 nan\n", "finite values", "1 NaN or Inf"),
    "infinite": (REAL + "3 3 1\n1 1 inf\n", "finite values", "1 NaN or Inf"),
    "a word": (REAL + "3 3 1\n1 1 one\n", FORM, "floating-point"),
    "no rows": (REAL + "0 3 0\n", "1 to 67108864", "0 x 3"),
    "skew diagonal": (typed("real skew-symmetric", "3 3 1\n2 2 1\n"), "no diagonal", "row 2"),
    "hermitian diagonal": (
        typed("complex hermitian", "3 3 1\n2 2 1 1\n"),
        "a real diagonal",
        "row 2",
    ),
    "symmetric, not square": (typed("real symmetric", "3 4 1\n2 1 1\n"), "square", "3 x 4"),
    "integer beyond 2^53": (
        typed("integer general", "3 3 1\n1 1 9007199254740993\n"),
        "integers up to 2^53",
        "9007199254740993",
    ),
}


@pytest.mark.parametrize("name", list(WRONG))
def test_a_wrong_file_gets_one_line(hwsim: Callable[..., Any], tmp_path: Path, name: str) -> None:
    text, need, found = WRONG[name]
    path = tmp_path / "a.mtx"
    path.write_text(text)
    refusal = hwsim("run", str(path), "--machine", "piuma").refusal()
    assert "a.mtx" in refusal[0] or refusal[0] == "model: values"
    assert need in refusal[1]
    assert found in refusal[2]


def test_row_pointers_that_go_back_are_refused(hwsim: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    sparse.save_npz(path, sparse.csr_array(np.eye(3)))
    parts = dict(np.load(path))
    parts["indptr"] = np.array([0, 2, 1, 3])
    np.savez(path, **parts)
    field, _, found = hwsim("run", str(path), "--machine", "piuma").refusal()
    assert "a.npz" in field
    assert "indptr" in found or "pointer" in found


def test_shapes_that_do_not_conform_are_refused(hwsim: Callable[..., Any]) -> None:
    a, b = ("uniform:n=4,cols=5,density=0.5", "uniform:n=4,cols=5,density=0.5")
    field, need, found = hwsim("run", a, "--machine", "piuma", "--b", b).refusal()
    assert field == "--b"
    assert "5 rows" in need
    assert "4 x 5" in found


def odd_matrices() -> st.SearchStrategy[sparse.coo_array]:
    """Return matrices with empty rows, full rows, repeated entries, or none at all."""

    def build(rows: int, columns: int, places: list[int], full: list[int]) -> sparse.coo_array:
        places += [row * columns + column for row in full for column in range(columns)]
        at = np.array(places, np.int64) % (rows * columns)
        values = np.arange(1, len(at) + 1) % 7 - 3.0  # zeros among them
        return sparse.coo_array((values, (at // columns, at % columns)), shape=(rows, columns))

    extents = st.integers(1, 40)
    return st.builds(
        build,
        extents,
        extents,
        st.lists(st.integers(0, 1600), max_size=60),
        st.lists(st.integers(0, 39), max_size=2),
    )


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(matrix=odd_matrices(), kernel=st.sampled_from(["smash-v1", "smash-v3", "row-heap"]))
@example(matrix=sparse.coo_array((3, 3)), kernel="smash-v3")
@example(matrix=sparse.coo_array(np.ones((8, 64))), kernel="smash-v3")
def test_an_odd_matrix_gives_scipys_product(
    hwsim: Callable[..., Any], tmp_path: Path, matrix: sparse.coo_array, kernel: str
) -> None:
    """Tables of 16 slots hold no full row's bound: rows are split over ranges of columns."""
    path = tmp_path / "a.mtx"
    io.mmwrite(path, matrix, field="real", symmetry="general")
    other = tmp_path / "b.mtx"
    io.mmwrite(other, matrix.T, field="real", symmetry="general")
    flags = (
        ("--set", "smash.slots=16", "--set", "smash.load_percent=50")
        if kernel != "row-heap"
        else ()
    )
    where = ("run", str(path), "--machine", "piuma", "--kernel", kernel, "--b", str(other))
    document = hwsim(*where, *flags, "--verify", "--json", "-").document
    assert document["verification"][0]["equal"]
    pattern = matrix.tocsr()
    assert document["nnz_out"] == product_counts(pattern, pattern.T.tocsr())[1]
