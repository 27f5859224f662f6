"""Check SMASH against scipy on shapes of all kinds, and its counts against conservation laws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse

from hwsim.core.errors import InputError
from models.sparse.generators import generate
from tests.piuma.matrices import factors, whole

Product = Callable[..., Any]
VERSIONS = ("smash-v1", "smash-v2", "smash-v3")
SMALL = ("spad.capacity_bytes=16384", "smash.window_rows=16", "smash.slots=64")
"""Windows of at most 32 entries: longer rows are split by columns."""


@pytest.mark.evidence("piuma", "T0")
@pytest.mark.parametrize("version", VERSIONS)
@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(
    pair=factors(), is_small=st.booleans(), name=st.sampled_from(["auto", "mult", "low_xor_row"])
)
def test_products_equal_scipy(
    product: Product, version: str, pair: Any, is_small: bool, name: str
) -> None:
    extra = (*(SMALL if is_small else ("spad.capacity_bytes=131072",)), f"smash.hash={name}")
    result, found, golden = product(version, *pair, extra)
    assert found.tobytes() == golden.tobytes()
    dense = np.zeros((pair[0].shape[0], pair[1].shape[1]))
    dense[found["row"], found["col"]] = found["value"]
    assert (dense == pair[0].toarray() @ pair[1].toarray()).all()
    assert result.extra["insertions"] == len(found)


@pytest.mark.evidence("piuma", "T0")
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("settings_", [(), SMALL, ("blocks=4",), ("smash.tag=global",)])
def test_counts_obey_conservation(
    product: Product, version: str, settings_: tuple[str, ...]
) -> None:
    a, b = whole(60, 50, 300, 1), whole(50, 70, 300, 2)
    result, found, golden = product(version, a, b, settings_)
    assert found.tobytes() == golden.tobytes()
    products = int(np.diff(b.indptr)[a.indices].sum())
    extra = result.extra
    assert extra["partial_products"] == extra["accumulations"] == products
    assert extra["insertions"] == extra["nnz_out"] == len(found)
    blocks = 4 if "blocks=4" in settings_ else 1
    # Besides the result: 8 bytes of bound per row; of sum per thread, and again into its block's
    # if there are several; 16 per block.
    told = 64 * blocks * (8 if blocks == 1 else 8 + 8)
    beside = 8 * 60 + told + 16 * blocks * (2 if version == "smash-v3" else 1)
    written = result.stats.bytes["dram"]["write"] - beside
    assert written == 12 * len(found) + 4 * (60 + blocks)


def test_a_wrong_sum_shows_in_the_comparison(product: Product) -> None:
    _, found, golden = product("smash-v3", whole(20, 20, 60, 3))
    found["value"][0] += 1
    assert found.tobytes() != golden.tobytes()


@pytest.mark.parametrize("version", VERSIONS)
def test_floats_equal_scipy_up_to_rounding(product: Product, version: str) -> None:
    rng = np.random.default_rng(5)
    a = sparse.random_array((80, 80), density=0.1, rng=rng, format="csr")
    _, found, golden = product(version, sparse.csr_array(a))
    assert (found[["row", "col"]] == golden[["row", "col"]]).all()
    np.testing.assert_allclose(found["value"], golden["value"], rtol=1e-9)


def test_a_stencil_has_the_published_counts(product: Product) -> None:
    # (3 · 98 - 2)^2 entries; products and results of the 9- and 25-point stencils.
    a = generate("stencil9:98")
    assert a.nnz == 292**2 == 85_264
    result, found, golden = product("smash-v3", a, None, ("smash.hash=mult",))
    assert result.extra["partial_products"] == 760_384
    assert result.extra["nnz_out"] == len(found) == 484**2 == 234_256
    assert found.tobytes() == golden.tobytes()


def test_dense_products_equal_numpy(product: Product) -> None:
    a = whole(30, 30, 200, 7)
    for kernel in ("spmv", "spmm", "sddmm"):
        for features in (1, 8, 11):
            _, found, golden = product(kernel, a, features=features)
            assert found.tobytes() == golden.tobytes(), (kernel, features)


@pytest.mark.parametrize(
    ("setting", "field"),
    [
        ("smash.slots=1048576", "smash.slots"),
        ("spad.capacity_bytes=4096", "spad"),
        ("stp.pipelines=0", "pipelines"),
    ],
)
def test_what_does_not_fit_is_refused(product: Product, setting: str, field: str) -> None:
    with pytest.raises(InputError, match=field):
        product("smash-v3", whole(5, 5, 9, 0), None, (setting,))
