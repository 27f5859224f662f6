"""Counts of peer accelerators on matrices small enough to count by hand, and by brute force."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from hwsim.experiments import spgemm_counts
from hwsim.experiments.pipeline import RunRequest, execute
from hwsim.experiments.spgemm_counts import RADIX, fetched_bytes, merged_inputs, peer_rows
from hwsim.experiments.spgemm_peers import BYTES_PER_S, gamma_ns


def rows_of(*rows: list[int], columns: int) -> sparse.csr_array:
    dense = np.zeros((len(rows), columns))
    for row, places in enumerate(rows):
        dense[row, places] = 1
    return sparse.csr_array(dense)


def test_rows_of_b_that_fit_are_fetched_once() -> None:
    a, b = rows_of([0, 1], [0], [], columns=3), rows_of([0, 1], [2], [0, 1, 2], columns=3)
    # Row 2 is never used; rows of 2 and 1 entries of 12 bytes, 4 more each.
    assert fetched_bytes(a, b) == 2 * 12 + 4 + 12 + 4


@pytest.mark.parametrize(("capacity", "fetches"), [(31, 4), (32, 3), (47, 3), (48, 3)])
def test_rows_that_do_not_fit_are_fetched_again(capacity: int, fetches: int) -> None:
    # Rows of 16 bytes used in the order 0 1 0 2 ... with room for one, two and three of them.
    order = [[0], [1], [0], [2]]
    a, b = rows_of(*order, columns=3), rows_of([0], [1], [2], columns=3)
    assert fetched_bytes(a, b, capacity) == 16 * fetches


def test_a_row_larger_than_the_cache_is_fetched_at_each_use() -> None:
    a, b = rows_of([0], [0], columns=2), rows_of([0, 1], [0], columns=2)
    assert fetched_bytes(a, b, 20) == 2 * 28


def brute_merges(a: sparse.csr_array, b: sparse.csr_array) -> int:
    """Merge sets of columns RADIX at a time, counting what enters."""
    total = 0
    for row in range(a.shape[0]):
        fibres = [set(b[[k]].indices.tolist()) for k in a[[row]].indices.tolist()]
        while len(fibres) > 1:
            total += sum(len(fibre) for fibre in fibres)
            fibres = [set().union(*fibres[at : at + RADIX]) for at in range(0, len(fibres), RADIX)]
        if len(a[[row]].indices) == 1:
            total += len(fibres[0])
    return total


@pytest.mark.parametrize("radix", [2, 3, 64])
@pytest.mark.parametrize("density", [0.05, 0.6])
def test_merger_inputs_equal_brute_force(
    monkeypatch: pytest.MonkeyPatch, radix: int, density: float
) -> None:
    monkeypatch.setattr(spgemm_counts, "RADIX", radix)
    monkeypatch.setitem(globals(), "RADIX", radix)
    rng = np.random.default_rng(radix)
    a, b = (
        sparse.csr_array(sparse.random_array((30, 30), density=density, rng=rng, format="csr"))
        for _ in range(2)
    )
    assert merged_inputs(a, b) == brute_merges(a, b)


def test_peers_state_their_limit_and_bytes() -> None:
    a = rows_of(*[[0, 1, 2]] * 3, columns=3)
    gamma, outerspace = peer_rows(a, a, 9)
    moved = (12 * 9 + 4 * 3) * 3
    assert gamma["bytes"] == moved
    assert gamma["time_s"] == gamma_ns(moved, 27) / 1e9
    assert gamma["limit"] == "memory"
    assert outerspace["bytes"] == 24 * 27 + 8 * (9 + 3) + 2 * (12 * 9 + 4 * 3) + 12 * 9
    assert outerspace["time_s"] == pytest.approx(outerspace["bytes"] / BYTES_PER_S)


def test_a_run_carries_its_peers() -> None:
    request = RunRequest("stencil9:6", machine="piuma", kernel="smash-v3")
    assert [row["machine"] for row in execute(request).extra["peers"]] == ["Gamma", "OuterSPACE"]
    assert "peers" not in execute(RunRequest("stencil9:6", machine="piuma", kernel="spmv")).extra
