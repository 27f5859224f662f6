"""Check the baselines of the sparse product against scipy, and their counts against their laws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse

from hwsim.core.errors import InputError
from hwsim.core.machine import make_machine
from mappers.greedy import map_graph
from models.sparse.build import product_graph
from tests.piuma.matrices import factors, whole

Product = Callable[..., Any]
KERNELS = ("row-heap", "row-esc", "inner", "outer")
OFF_CHIP = ("spad.capacity_bytes=8192",)
"""128 bytes per thread: heaps and sorts of more than four lists or pairs lie off chip."""


@pytest.mark.evidence("piuma", "T0")
@pytest.mark.parametrize("kernel", KERNELS)
@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(pair=factors(), setting=st.sampled_from([(), OFF_CHIP, ("mtp.pipelines=1",)]))
def test_products_equal_scipy(
    product: Product, kernel: str, pair: Any, setting: tuple[str, ...]
) -> None:
    result, found, golden = product(kernel, *pair, setting)
    assert found.tobytes() == golden.tobytes()
    dense = np.zeros((pair[0].shape[0], pair[1].shape[1]))
    dense[found["row"], found["col"]] = found["value"]
    assert (dense == pair[0].toarray() @ pair[1].toarray()).all()
    assert result.extra["nnz_out"] == len(found)


def written_beside(
    kernel: str, a: sparse.csr_array, b: sparse.csr_array, found: int, blocks: int
) -> int:
    """Return the bytes that a kernel stores off chip besides C, heaps and sorts in scratchpads."""
    rows, lengths = a.shape[0], np.diff(b.indptr)
    told = 64 * blocks * (8 if blocks == 1 else 8 + 8)  # a thread's count, and into its block's
    bounds = 8 * rows + told
    room = 12 * found + 4 * rows + told
    if kernel != "outer":
        return bounds + room
    products = int(lengths[a.indices].sum())
    lists = int((lengths[a.indices] > 0).sum())
    return bounds + room + 12 * products + (16 + 8 + 8) * lists  # ends, link, reservation


@pytest.mark.evidence("piuma", "T0")
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("blocks", [1, 4])
def test_counts_obey_conservation(product: Product, kernel: str, blocks: int) -> None:
    a, b = whole(60, 50, 300, 1), whole(50, 70, 300, 2)
    assert (np.diff(b.indptr) == 0).any()
    result, found, golden = product(kernel, a, b, (f"blocks={blocks}",))
    assert found.tobytes() == golden.tobytes()
    products = int(np.diff(b.indptr)[a.indices].sum())
    mix = result.extra["instruction_mix"]
    # Only pairs that meet are multiplied; a sum's first product is moved, or added to zero.
    assert mix["fmul"] == result.extra["partial_products"] == products
    assert mix["fadd"] == (products if kernel == "inner" else products - len(found))
    beside = written_beside(kernel, a, b, len(found), blocks)
    written = result.stats.bytes["dram"]["write"] - beside
    assert written == 12 * len(found) + 4 * (60 + 1)
    assert result.extra["nnz_out"] == len(found)


@pytest.mark.parametrize("kernel", KERNELS)
def test_floats_equal_scipy_up_to_rounding(product: Product, kernel: str) -> None:
    rng = np.random.default_rng(5)
    a = sparse.csr_array(sparse.random_array((40, 40), density=0.1, rng=rng, format="csr"))
    _, found, golden = product(kernel, a)
    assert (found[["row", "col"]] == golden[["row", "col"]]).all()
    np.testing.assert_allclose(found["value"], golden["value"], rtol=1e-9)
    golden["value"][0] *= 1 + 1e-8
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(found["value"], golden["value"], rtol=1e-9)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_product_lies_between_its_bounds(product: Product, kernel: str) -> None:
    a = whole(30, 30, 90, 8)
    machine = make_machine("piuma")
    graph = product_graph("bounded", kernel, a)
    bounds = machine.bounds(machine.lower(graph, map_graph(graph, machine)))
    result, _, _ = product(kernel, a)
    assert bounds.min_cycles <= result.cycles <= bounds.max_cycles


def test_columns_in_any_order_and_repeated_give_the_same(product: Product) -> None:
    a = whole(20, 20, 80, 3)
    rows = np.repeat(np.arange(20), np.diff(a.indptr))
    order = np.random.default_rng(0).permutation(a.nnz)
    halves = np.concatenate([a.data[order] - 1, np.ones(a.nnz)])
    places = np.tile(np.stack([rows[order], a.indices[order]]), 2)
    order = np.argsort(places[0], kind="stable")
    ptr = np.concatenate([[0], np.cumsum(np.bincount(places[0], minlength=20))])
    shuffled = sparse.csr_array((halves[order], places[1][order], ptr), shape=(20, 20))
    assert not shuffled.has_canonical_format
    for kernel in KERNELS:
        assert product(kernel, shuffled)[1].tobytes() == product(kernel, a)[1].tobytes()


@pytest.mark.parametrize("kernel", KERNELS)
def test_no_threads_no_product(product: Product, kernel: str) -> None:
    with pytest.raises(InputError, match=r"mtp\.pipelines"):
        product(kernel, whole(5, 5, 9, 0), None, ("mtp.pipelines=0",))
