"""Read independent matrix products from an ``.npz`` archive."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from hwsim.core.errors import InputError
from hwsim.core.graph import OpGraph, OpKind
from models.build import GraphBuilder

__all__ = ["read_matrices"]


def read_matrices(path: Path, m: int = 1) -> OpGraph:
    """Return one LINEAR op per 2-D array [k, n] of ``path``, each fed by its own input [m, k].

    Raises
    ------
    InputError
        If the archive is malformed, holds pickled objects or an array that is not a real matrix.
    """
    g = GraphBuilder(path.stem)
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        what = str(error).splitlines()[0]
        raise InputError(str(path), "an npz archive without pickled objects", what) from None
    outputs = []
    for name, values in arrays.items():
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
