"""Generate sparse matrices by name: ``NAME`` or ``NAME:VALUE`` or ``NAME:key=value,…``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from hwsim.core.errors import InputError, unknown_name

__all__ = ["GENERATORS", "Generator", "generate", "is_generator"]

Matrix = sparse.csr_array
Ints = NDArray[np.int64]

MAX_NONZEROS = 1 << 28
"""Non-zeros that a generator draws at most (some GiB on the host)."""
_PATIENCE = 1 << 20
"""Draws beyond 100 per edge until a generator is given up."""
_RMAT_SCALE, _RMAT_EDGES = 14, 254_211
"""The calibrated graph's size; others have as many edges per vertex (15.5), up to their limit."""


@dataclass(frozen=True)
class Generator:
    """One family of matrices.

    Attributes
    ----------
    description : str
        One line for ``hwsim models``.
    defaults : dict of str to int or float
        Parameters; the first is the one that may be given without its name. Edges of -1 are as
        many per vertex as a matrix of default size has.
    build : callable(parameters, rng) -> csr_array
        Draws the matrix; values are small integers, so that products are exact.
    """

    description: str
    defaults: dict[str, int | float]
    build: Callable[[dict[str, Any], np.random.Generator], Matrix]


def is_generator(source: str) -> bool:
    """Return whether ``source`` names a generator."""
    return source.partition(":")[0] in GENERATORS


def generate(source: str, seed: int = 0) -> Matrix:
    """Return the matrix that ``source`` describes; ``seed`` counts unless ``source`` has one.

    Raises
    ------
    InputError
        Naming the generator or the parameter that cannot be.
    """
    name, _, text = source.partition(":")
    if name not in GENERATORS:
        raise unknown_name("model", name, GENERATORS)
    parameters = _read_parameters(name, text)
    rng = np.random.Generator(np.random.PCG64(int(parameters.get("seed", seed))))
    return GENERATORS[name].build(parameters, rng)


def _read_parameters(name: str, text: str) -> dict[str, Any]:
    known = GENERATORS[name].defaults
    parameters: dict[str, Any] = dict(known)
    for part in filter(None, text.split(",")):
        key, separator, value = part.partition("=")
        if not separator:
            key, value = next(iter(known)), key
        if key not in known and key != "seed":
            raise unknown_name(name, key, [*known, "seed"])
        is_whole = isinstance(known.get(key, 0), int)
        try:
            parameters[key] = int(value) if is_whole else float(value)
        except ValueError:
            need = "an integer" if is_whole else "a number"
            raise InputError(f"{name}.{key}", need, repr(value)) from None
        if not parameters[key] >= 0 or parameters[key] > MAX_NONZEROS:
            raise InputError(f"{name}.{key}", f"0 to {MAX_NONZEROS}", value)
    return parameters


def _require(name: str, condition: bool, need: str, found: Any) -> None:
    if not condition:
        raise InputError(name, need, str(found))


def _with_values(
    rows: Ints, cols: Ints, shape: tuple[int, int], rng: np.random.Generator
) -> Matrix:
    """Return the matrix of distinct coordinates with values 1 to 9."""
    values = rng.integers(1, 10, len(rows)).astype(np.float64)
    matrix: Any = sparse.csr_array((values, (rows, cols)), shape=shape)
    matrix.sort_indices()
    found: Matrix = matrix
    return found


def _distinct(
    name: str,
    draw: Callable[[int], Ints],
    wanted: int,
    shape: tuple[int, int],
    rng: np.random.Generator,
) -> Matrix:
    """Return a matrix of exactly ``wanted`` distinct coordinates, drawing again for repeats.

    ``draw`` returns row * columns + column of so many coordinates. Those drawn first are kept.
    Skewed draws that hardly bring new ones are given up, in the name of the parameter ``name``.
    """
    keys = np.zeros(0, np.int64)
    turn = drawn = 0
    while len(keys) < wanted:
        need = f"fewer: {drawn} draws gave {len(keys)} distinct ones"
        _require(name, drawn <= 100 * wanted + _PATIENCE, need, wanted)
        # From the 32nd turn on each draws twice as much as the one before.
        count = max(1024, wanted - len(keys)) << min(12, max(0, turn - 31))
        turn, drawn = turn + 1, drawn + count
        more = draw(count)
        keys, first = np.unique(np.concatenate([keys, more]), return_index=True)
        keys = keys[np.argsort(first)][:wanted]
    return _with_values(keys // shape[1], keys % shape[1], shape, rng)


def _rmat(p: dict[str, Any], rng: np.random.Generator) -> Matrix:
    scale = p["scale"]
    a, b, c = p["a"], p["b"], p["c"]
    _require("rmat.scale", 1 <= scale <= 26, "1 to 26", scale)
    _require("rmat.a, b, c", a + b + c <= 1, "a sum of at most 1", a + b + c)
    size = 1 << scale
    quadrants = sum(share > 0 for share in (a, b, c, 1 - a - b - c))
    limit = max(1, quadrants**scale // 4)
    edges = min(p["edges"], limit)
    if edges < 0:
        edges = min(round(size * _RMAT_EDGES / (1 << _RMAT_SCALE)), limit, MAX_NONZEROS)
    need = f"at most {limit} at scale {scale}"
    _require("rmat.edges", p["edges"] <= limit, need, p["edges"])

    def draw(count: int) -> Ints:
        rows = np.zeros(count, np.int64)
        cols = np.zeros(count, np.int64)
        for _ in range(scale):
            u = rng.random(count)
            rows = 2 * rows + (u >= a + b)
            cols = 2 * cols + (((u >= a) & (u < a + b)) | (u >= a + b + c))
        keys: Ints = rows * size + cols
        return keys

    return _distinct("rmat.edges", draw, edges, (size, size), rng)


def _uniform(p: dict[str, Any], rng: np.random.Generator) -> Matrix:
    rows = p["n"]
    cols = p["cols"] or rows
    _require("uniform.n", rows >= 1, "at least 1", rows)
    _require("uniform.density", p["density"] <= 1, "0 to 1", p["density"])
    wanted = round(rows * cols * p["density"])
    _require("uniform.density", wanted <= MAX_NONZEROS, f"{MAX_NONZEROS} non-zeros", wanted)
    if wanted > rows * cols // 2:
        keys = rng.permutation(rows * cols)[:wanted]
        return _with_values(keys // cols, keys % cols, (rows, cols), rng)

    def draw(count: int) -> Ints:
        return rng.integers(0, rows * cols, count)

    return _distinct("uniform.density", draw, wanted, (rows, cols), rng)


def _powerlaw(p: dict[str, Any], rng: np.random.Generator) -> Matrix:
    n, alpha = p["n"], p["alpha"]
    edges = p["edges"] if p["edges"] >= 0 else min(8 * n, n * n // 8)
    _require("powerlaw.n", n >= 1, "at least 1", n)
    _require("powerlaw.alpha", alpha > 1, "above 1", alpha)
    _require("powerlaw.edges", edges <= n * n // 8, f"at most {n * n // 8}", edges)
    weight = np.arange(1, n + 1, dtype=np.float64) ** (-1.0 / (alpha - 1.0))
    chance = np.cumsum(weight / weight.sum())
    order = rng.permutation(n)

    def draw(count: int) -> Ints:
        ends = np.minimum(np.searchsorted(chance, rng.random((2, count))), n - 1)
        keys: Ints = order[ends[0]].astype(np.int64) * n + order[ends[1]]
        return keys

    return _distinct("powerlaw.edges", draw, edges, (n, n), rng)


def _stencil(p: dict[str, Any], points: int) -> Matrix:
    """Return the matrix of a grid of ``side`` x ``side`` points: centre points - 1, others -1."""
    side = p["side"]
    _require(f"stencil{points}.side", 1 <= side <= 4096, "1 to 4096", side)
    line = sparse.diags_array([1.0, 1.0, 1.0], offsets=[-1, 0, 1], shape=(side, side))
    eye = sparse.eye_array(side)
    if points == 9:
        pattern: Any = sparse.kron(line, line)
    else:
        pattern = (sparse.kron(line, eye) + sparse.kron(eye, line)) > 0
    matrix: Any = sparse.csr_array(pattern, dtype=np.float64)
    matrix.eliminate_zeros()  # kron keeps those of small, dense blocks
    matrix.data[:] = -1.0
    matrix.setdiag(points - 1.0)
    matrix.sort_indices()
    found: Matrix = matrix
    return found


def _mycielskian(p: dict[str, Any]) -> Matrix:
    """Return the graph that Mycielski's construction makes of one edge in ``order`` - 2 steps.

    A step copies every vertex, joins the copy to the neighbours of the original and all copies to
    one more vertex. The chromatic number is ``order``; no three vertices are joined.
    """
    order = p["order"]
    _require("mycielskian.order", 2 <= order <= 18, "2 to 18", order)
    edges = np.array([[0, 1]])
    n = 2
    for _ in range(order - 2):
        shadows = np.arange(n, 2 * n)
        hub = np.stack([shadows, np.full(n, 2 * n)], axis=1)
        edges = np.concatenate([edges, edges + [0, n], edges[:, ::-1] + [0, n], hub])
        n = 2 * n + 1
    ends = np.concatenate([edges, edges[:, ::-1]]).T
    matrix: Any = sparse.csr_array((np.ones(ends.shape[1]), tuple(ends)), shape=(n, n))
    matrix.sort_indices()
    found: Matrix = matrix
    return found


def _delaunay(p: dict[str, Any], rng: np.random.Generator) -> Matrix:
    from scipy.spatial import Delaunay

    n = p["points"]
    _require("delaunay.points", 4 <= n <= 1 << 22, f"4 to {1 << 22}", n)
    corners = Delaunay(rng.random((n, 2))).simplices.astype(np.int64)
    ends = np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]])
    keys = np.unique(np.concatenate([ends[:, 0] * n + ends[:, 1], ends[:, 1] * n + ends[:, 0]]))
    return _with_values(keys // n, keys % n, (n, n), rng)


GENERATORS: dict[str, Generator] = {
    "rmat": Generator(
        "R-MAT graph; by default calibrated to a sparse product of 6.2 M multiplications",
        {"scale": _RMAT_SCALE, "edges": -1, "a": 0.51, "b": 0.09, "c": 0.09},
        _rmat,
    ),
    "uniform": Generator(
        "coordinates drawn uniformly", {"n": 1000, "density": 0.05, "cols": 0}, _uniform
    ),
    "powerlaw": Generator(
        "ends drawn by Zipf-like weights with degree exponent alpha",
        {"n": 8192, "edges": -1, "alpha": 2.1},
        _powerlaw,
    ),
    "stencil9": Generator(
        "9-point stencil on a square grid (98: the pattern of matrix fv1)",
        {"side": 98},
        lambda p, rng: _stencil(p, 9),
    ),
    "stencil5": Generator(
        "5-point stencil on a square grid", {"side": 64}, lambda p, rng: _stencil(p, 5)
    ),
    "mycielskian": Generator(
        "Mycielski's triangle-free graph (11: matrix mycielskian11), dense for a graph",
        {"order": 11},
        lambda p, rng: _mycielskian(p),
    ),
    "delaunay": Generator("Delaunay triangulation of random points", {"points": 8192}, _delaunay),
}
"""Name -> generator."""
