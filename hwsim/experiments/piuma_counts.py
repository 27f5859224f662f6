"""Count products and entries on known matrices, and what SMASH must conserve while it runs."""

from __future__ import annotations

from importlib.util import find_spec

from hwsim.core.result import Claim
from hwsim.experiments.claims import ClaimMaker
from hwsim.experiments.piuma_runs import calibrated, run_product
from hwsim.experiments.spgemm_counts import product_counts
from models.sparse.read import read_matrix

__all__ = ["PACKAGED", "claims", "missing_packages", "mycielskian_counts", "stencil_counts"]

PACKAGED = {
    "pyamg:airfoil": (11_300, 4_462),
    "pyamg:bar": (962_310, 110_466),
    "networkx:karate": (1_212, 698),
}
"""Matrix -> products and entries of its square, counted once from the archive by scipy."""

_DRAWN_PRODUCTS, _DRAWN_ENTRIES = 6_204_357, 5_113_162

_COUNTED = {
    "pyamg:local_disc_galerkin_diffusion": (1_427_102, 116_830),
    "pyamg:helmholtz_2D": (8 * 951_056, 4 * 192_512),  # complex: blocks of 2 x 2
}
"""Matrices whose products are counted, but not executed."""

_STENCILS = {"fv1": 98, "gr_30_30": 30}
"""Matrix of the SuiteSparse collection -> side of the grid whose 9-point stencil it is."""
_CONTRACT = "docs/piuma.md"
_DRAW = "counts of an independent draw by the same parameters (numpy, PCG64 seed 1)"

_exact = ClaimMaker("piuma-", _CONTRACT)
_drawn = ClaimMaker("piuma-rmat-", _DRAW, tolerance=0.02)


def claims() -> list[Claim]:
    """Return counts of executed runs, conservation laws, and the calibrated R-MAT's counts."""
    found: list[Claim] = []
    for name, side in _STENCILS.items():
        found += _counted(name, f"stencil9:{side}", *stencil_counts(side))
    for source, (products, entries) in PACKAGED.items():
        if find_spec(source.partition(":")[0]) is not None:
            found += _counted(source.partition(":")[2], source, products, entries)
    found += _counted("mycielskian7", "mycielskian:7", *mycielskian_counts(7))
    return [*found, *_not_executed(), *_calibration()]


def mycielskian_counts(order: int) -> tuple[int, int]:
    """Return products and entries of the square of Mycielski's graph of ``order``.

    Products are squared degrees' sum. A step from n vertices doubles their degrees d, adds n of
    d + 1 and one of n. Entries are pairs that share a neighbour: originals as before, original and
    copy like the originals, copies all (the last vertex), it and originals all, it and itself.
    """
    n, degrees, squares, pairs = 2, 2, 2, 2
    for _ in range(order - 2):
        squares, pairs = 5 * squares + 2 * degrees + n + n * n, 3 * pairs + (n + 1) ** 2
        n, degrees = 2 * n + 1, 3 * degrees + 2 * n
    return squares, pairs


def _not_executed() -> list[Claim]:
    """Products and entries of larger matrices, as this project reads and counts them."""
    found = []
    for source, expected in _COUNTED.items():
        if find_spec(source.partition(":")[0]) is None:
            continue
        a, name = read_matrix(source), source.partition(":")[2]
        for what, simulated, reference in zip(
            ("products", "entries"), product_counts(a, a), expected, strict=True
        ):
            text = f"{what} of the square of {name}, counted from the matrix"
            found.append(_exact(f"{name}-{what}", text, simulated, reference))
    return found


def missing_packages() -> list[str]:
    """Return the matrices that cannot be read here."""
    return [s for s in (*PACKAGED, *_COUNTED) if find_spec(s.partition(":")[0]) is None]


def stencil_counts(side: int) -> tuple[int, int]:
    """Return products and entries of the square of a 9-point stencil, side > 3.

    The stencil is the product of two tridiagonal patterns, each with two rows of 2 and others of 3
    entries, so that products are (9 (side - 2) + 8)^2; its square is the 25-point stencil.
    """
    return (9 * (side - 2) + 8) ** 2, (5 * side - 6) ** 2


def _counted(name: str, source: str, products: int, entries: int) -> list[Claim]:
    """Return what SMASH V3 executed, found, stored and got right on one matrix."""
    a = read_matrix(source)
    result, golden = run_product("smash-v3", a, has_outputs=True)
    extra, output = result.extra, result.outputs["product"]
    rows, threads = a.shape[0], 64
    beside = 8 * rows + 8 * threads + 2 * 16  # bounds, sums of threads, starts of two pipelines
    stored = result.stats.bytes["dram"]["write"] - beside
    right = (output == golden).sum() if len(output) == len(golden) else 0
    if not (a.data == a.data.round()).all():  # order of additions shows in the last bits
        gap = abs(output["value"] - golden["value"])
        right = (gap <= 1e-9 * max(1.0, abs(golden["value"]).max())).sum()
    return [
        _exact(f"{name}-products", f"products added for {name}", extra["accumulations"], products),
        _exact(f"{name}-entries", f"entries inserted for {name}", extra["insertions"], entries),
        _exact(
            f"{name}-values", f"entries of {name} equal to scipy's product", int(right), entries
        ),
        _exact(
            f"{name}-stored",
            f"bytes stored for {name}: 12 per entry, 4 per row and one more",
            stored,
            12 * entries + 4 * (rows + 1),
            "byte",
        ),
    ]


def _calibration() -> list[Claim]:
    """The calibrated R-MAT has the counts that another draw by the same parameters has."""
    matrix = calibrated()
    products, entries = product_counts(matrix, matrix)
    intensity = products / (12 * (2 * matrix.nnz + entries))
    return [
        _drawn("products", "products of the calibrated R-MAT's square", products, _DRAWN_PRODUCTS),
        _drawn(
            "compression",
            "products per entry of the same square",
            products / entries,
            _DRAWN_PRODUCTS / _DRAWN_ENTRIES,
        ),
        _drawn("intensity", "products per byte at 12 bytes per entry", intensity, 0.093),
    ]
