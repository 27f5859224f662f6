"""Read real sparse matrices that ship inside installed packages: ``PACKAGE:NAME``."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from hwsim.core.errors import InputError, unknown_name

__all__ = ["PACKAGES", "is_packaged", "load_packaged", "packaged_names"]

_SCIPY = {"illc1850": "A_real", "mhd1280b": "A_complex"}
"""Names in the Harwell-Boeing collection -> keys of the test data of scipy's PROPACK wrapper."""
_NETWORKX = {
    "davis": "davis_southern_women_graph",
    "florentine": "florentine_families_graph",
    "karate": "karate_club_graph",
    "les_miserables": "les_miserables_graph",
}


def _folder(package: str) -> Path:
    """Return where ``package`` is installed, without importing it."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise InputError("model", f"the package {package} to be installed", "none")
    return Path(spec.origin).parent


def _pyamg_files() -> dict[str, Path]:
    paths = _folder("pyamg").glob("gallery/example_data/*.mat")
    return {path.stem: path for path in sorted(paths)}


def _load_pyamg(name: str) -> Any:
    from scipy.io import loadmat

    return loadmat(str(_pyamg_files()[name]))["A"]


def _load_scipy(name: str) -> Any:
    path = _folder("scipy") / "sparse/linalg/tests/propack_test_data.npz"
    if not path.is_file():
        raise InputError("model", "a scipy installed with its tests", "none")
    with np.load(path, allow_pickle=True) as data:  # objects of scipy's own
        return data[_SCIPY[name]].item()


def _load_networkx(name: str) -> Any:
    import networkx

    graph = getattr(networkx, _NETWORKX[name])()
    return networkx.to_scipy_sparse_array(graph, dtype=np.float64, format="csr")


PACKAGES: dict[str, tuple[Callable[[], list[str]], Callable[[str], Any]]] = {
    "networkx": (lambda: list(_NETWORKX), _load_networkx),
    "pyamg": (lambda: list(_pyamg_files()), _load_pyamg),
    "scipy": (lambda: list(_SCIPY), _load_scipy),
}
"""Package -> its matrices' names, and the function that loads one."""


def is_packaged(source: str) -> bool:
    """Return whether ``source`` names a package that ships matrices."""
    package, separator, _ = source.partition(":")
    return bool(separator) and package in PACKAGES


def packaged_names(package: str) -> list[str]:
    """Return the names of the matrices that ``package`` ships."""
    return PACKAGES[package][0]()


def load_packaged(source: str, field: str = "model") -> Any:
    """Return the scipy matrix that ``source`` names; errors are about ``field``.

    Raises
    ------
    InputError
        If the package is not installed, or ships no such matrix.
    """
    package, _, name = source.partition(":")
    if name not in packaged_names(package):
        raise unknown_name(field, name, packaged_names(package))
    return PACKAGES[package][1](name)
