"""Read sparse matrices from files, and say which sources are such matrices."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import io, sparse

from hwsim.core.errors import InputError, reason_of
from hwsim.core.graph import OpGraph
from models.sparse.build import check_extents, product_graph
from models.sparse.generators import generate, is_generator
from models.sparse.packaged import is_packaged, load_packaged
from models.sparse.workloads import WORKLOADS, workload_graph
from models.workload import PhaseError, Workload

__all__ = ["is_sparse_source", "load_sparse", "read_matrix"]

MAX_ENTRIES = 1 << 28
"""Entries of a file at most."""
MAX_INTEGER = 1 << 53
"""Magnitude of whole numbers at most: values are doubles."""
_DENSE_COLUMNS = 32
"""Columns of dense operands unless --batch says otherwise."""


def is_sparse_source(source: str) -> bool:
    """Return whether ``source`` is a sparse matrix: generated, packaged, .mtx[.gz] or .npz."""
    if is_generator(source) or is_packaged(source) or source.endswith((".mtx", ".mtx.gz")):
        return True
    return source.endswith(".npz") and _is_scipy_npz(Path(source))


def load_sparse(source: str, workload: Workload, batch: int | None) -> OpGraph:
    """Return the graph of the product that ``workload`` asks for, of the matrix ``source``."""
    if workload.phase != "infer":
        raise PhaseError(source, ("infer",), workload.phase)
    notes: list[str] = []
    a = _read("model", source, workload.seed)
    b = None
    if workload.other is not None:
        b = _read("--b", workload.other, workload.seed + 1)
    is_complex = any(matrix is not None and matrix.dtype.kind == "c" for matrix in (a, b))
    a = _as_real(source, a, notes, is_complex=is_complex)
    if workload.kernel in WORKLOADS:
        graph = workload_graph(source, a, workload, batch, _DENSE_COLUMNS)
        graph.notes += notes
        return graph
    if workload.other is not None:
        b = _as_real(workload.other, b, notes, is_complex=is_complex)
    graph = product_graph(
        source, workload.kernel, a, b, features=batch or _DENSE_COLUMNS, seed=workload.seed
    )
    graph.notes += notes
    return graph


def read_matrix(source: str, seed: int = 0, notes: list[str] | None = None) -> sparse.csr_array:
    """Return the matrix as float64 by rows, columns in order, repeated entries summed.

    A complex matrix becomes the real one of 2 x 2 blocks ((re, -im), (im, re)), whose products
    are those of the complex one; ``notes`` says so.

    Raises
    ------
    InputError
        Naming the file and what is wrong with it, or the generator's parameter.
    """
    matrix = _read("model", source, seed)
    return _as_real(
        source, matrix, [] if notes is None else notes, is_complex=matrix.dtype.kind == "c"
    )


def _read(field: str, source: str, seed: int) -> Any:
    """Return the matrix that option ``field`` names, in whatever form and type it came."""
    if is_generator(source):
        return generate(source, seed)
    matrix = load_packaged(source, field) if is_packaged(source) else _read_file(field, source)
    if matrix.dtype.kind in "iu" and matrix.nnz:
        least, most = int(matrix.data.min()), int(matrix.data.max())
        if max(-least, most) > MAX_INTEGER:
            found = str(most if most > -least else least)
            raise InputError(source, "integers up to 2^53, which doubles hold exactly", found)
    return matrix


def _as_real(source: str, matrix: Any, notes: list[str], *, is_complex: bool) -> sparse.csr_array:
    """Return ``matrix`` by rows; as blocks of 2 x 2 if it or the other operand ``is_complex``."""
    if is_complex:
        blocks = sparse.kron(matrix.real, [[1, 0], [0, 1]])
        if matrix.dtype.kind == "c":
            blocks = blocks + sparse.kron(matrix.imag, [[0, -1], [1, 0]])
        matrix = blocks
        check_extents(source, matrix.shape)
        notes.append(f"{Path(source).name}: complex values run as real blocks of 2 x 2")
    result: Any = sparse.csr_array(matrix, dtype=np.float64)
    result.sum_duplicates()
    found: sparse.csr_array = result
    return found


def _read_file(field: str, source: str) -> Any:
    path = Path(source)
    if not path.is_file():
        raise InputError(field, "an existing file or a generator", repr(source))
    return _read_npz(path) if source.endswith(".npz") else _read_mtx(path)


def _read_mtx(path: Path) -> sparse.coo_array:
    """Return a Matrix Market file's matrix; scipy's reader, its complaints on one line."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            header = file.readline()
        if not header.lower().startswith(b"%%matrixmarket"):
            found = header[:40].decode("utf-8", "replace").strip()
            raise InputError(str(path), "a Matrix Market header", repr(found))
        rows, cols, entries, form, _, symmetry = io.mminfo(str(path))
        if symmetry != "general" and rows != cols:
            raise InputError(str(path), f"a square matrix, as it is {symmetry}", f"{rows} x {cols}")
        check_extents(str(path), (rows, cols))
        if entries > MAX_ENTRIES or (form == "array" and rows * cols > MAX_ENTRIES):
            raise InputError(str(path), f"at most {MAX_ENTRIES} entries", str(entries))
        matrix = sparse.coo_array(io.mmread(str(path), spmatrix=False))
        _check_diagonal(path, matrix.diagonal(), symmetry)
    except (ValueError, OSError, OverflowError, EOFError, StopIteration) as error:
        raise InputError(str(path), "a well-formed Matrix Market file", reason_of(error)) from None
    return matrix


def _check_diagonal(path: Path, diagonal: NDArray[Any], symmetry: str) -> None:
    """Raise :class:`InputError` for a diagonal that the stated symmetry rules out."""
    wrong = {"skew-symmetric": diagonal, "hermitian": diagonal.imag}.get(symmetry)
    if wrong is not None and wrong.any():
        need = "no diagonal" if symmetry == "skew-symmetric" else "a real diagonal"
        place = int(np.flatnonzero(wrong)[0])
        found = f"{diagonal[place]} at row {place + 1}"
        raise InputError(str(path), f"{need}, as the matrix is {symmetry}", found)


def _is_scipy_npz(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return {"format.npy", "data.npy", "shape.npy"} <= set(archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def _read_npz(path: Path) -> Any:
    try:
        matrix: Any = sparse.load_npz(path)
        if len(matrix.shape) == 2:
            check_extents(str(path), matrix.shape)
        if hasattr(matrix, "indptr"):  # else pointers that go back would give other entries
            matrix.check_format(full_check=True)
        return sparse.coo_array(matrix)
    except (ValueError, OSError, KeyError, EOFError, IndexError, zipfile.BadZipFile) as error:
        raise InputError(str(path), "a sparse matrix saved by scipy", reason_of(error)) from None
