"""Read independent matrix products from an ``.npz`` archive."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError, reason_of
from hwsim.core.graph import OpGraph, OpKind
from models.build import GraphBuilder

__all__ = ["read_arrays", "read_matrices"]


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of an archive by name; raise :class:`InputError` if it is no such file."""
    if path.is_file() and not zipfile.is_zipfile(path):
        raise InputError(str(path), "an npz archive", "no zip file")
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        need = "an npz archive without pickled objects"
        raise InputError(str(path), need, reason_of(error)) from None


def read_matrices(path: Path, m: int = 1) -> OpGraph:
    """Return one LINEAR op per 2-D array [k, n] of ``path``, each fed by its own input [m, k].

    Raises
    ------
    InputError
        If the archive is malformed, holds pickled objects or an array that is not a real matrix.
    """
    g = GraphBuilder(path.stem)
    outputs = []
    for name, values in read_arrays(path).items():
        if values.ndim != 2 or values.dtype.kind not in "fi" or 0 in values.shape:
            found = f"{values.dtype} {values.shape}"
            raise InputError(f"{path}: {name}", "a real matrix [k, n]", found)
        k, n = values.shape
        x = g.input(f"{name}.x", (m, k))
        weight = g.weight(f"{name}.weight", (k, n), values)
        dims = {"batch": m, "m": 1, "k": k, "n": n}
        outputs.append(g.add(OpKind.LINEAR, name, [x, weight], (m, n), dims=dims))
    if not outputs:
        raise InputError(str(path), "at least one matrix", "none")
    return g.build(outputs)
