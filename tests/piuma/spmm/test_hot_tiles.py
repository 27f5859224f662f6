"""Check SpMM on single-threaded pipelines and on both kinds: results, traffic, shares of work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse

from hwsim.core.errors import InputError
from hwsim.piuma.spec import PiumaSpec
from hwsim.piuma.spmm.tiles import cut_tiles, row_panels, tile_columns
from tests.piuma.matrices import whole

Product = Callable[..., Any]
SMALL = ("spmm.tile_rows=7", "spmm.tile_cols=5")


def skewed() -> sparse.csr_array:
    """One dense block in an otherwise thin matrix: a tile worth taking."""
    dense = whole(64, 64, 40, 1).toarray()
    dense[:8, :8] = 3.0
    dense[3] = 2.0
    return sparse.csr_array(dense)


@pytest.mark.evidence("piuma", "T0")
@pytest.mark.parametrize("kernel", ["spmm-stp", "spmm-mixed"])
@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(
    extents=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    nonzeros=st.sampled_from([0, 1, 30, 400]),
    features=st.sampled_from([1, 8, 11]),
    extra=st.sampled_from([(), SMALL, (*SMALL, "blocks=2"), ("stp.pipelines=1",)]),
)
def test_products_equal_scipy(
    product: Product,
    kernel: str,
    extents: tuple[int, int],
    nonzeros: int,
    features: int,
    extra: tuple[str, ...],
) -> None:
    a = whole(*extents, nonzeros, 4)
    result, found, golden = product(kernel, a, None, extra, features)
    assert found.tobytes() == golden.tobytes()
    assert result.extra["instruction_mix"].get("fmul", 0) == a.nnz * features


def test_both_kinds_of_pipelines_work_where_a_tile_is_dense(product: Product) -> None:
    settings_ = ("spmm.tile_rows=8", "spmm.tile_cols=8", "dram.latency_cycles=10")
    result, found, golden = product("spmm-mixed", skewed(), None, settings_, 32)
    assert found.tobytes() == golden.tobytes()
    units = result.stats.units
    assert units["b0.stp0"].busy + units["b0.stp1"].busy > 1000
    assert units["b0.mtp0"].busy > 1000
    assert result.extra["instruction_mix"]["afadd"] > 0  # rows that both add to
    found[3, 0] += 1
    assert found.tobytes() != golden.tobytes()


@pytest.mark.parametrize("has_cold", [False, True])
def test_a_tiling_keeps_every_nonzero_once(has_cold: bool) -> None:
    a = skewed()
    spec = PiumaSpec().override(["spmm.tile_rows=9", "spmm.tile_cols=10", "dram.latency_cycles=1"])
    found = cut_tiles(spec, (a.indptr, a.indices, a.data), (64, 64, 32), has_cold=has_cold)
    dense = sparse.csr_array(
        (found.cold_val, found.cold_col, found.cold_ptr), shape=a.shape
    ).toarray()
    assert has_cold == bool(found.cold_val.size)
    for low, high, col, cols, place, _ in found.tiles.tolist():
        ptr = found.ptr[place : place + high - low + 1]
        for row in range(low, high):
            span = slice(ptr[row - low], ptr[row - low + 1])
            assert (found.col[span] < cols).all()
            dense[row, found.col[span] + col] += found.val[span]
    assert (dense == a.toarray()).all()
    assert len(found.tiles) > 0
    assert found.firsts[-1] == len(found.tiles)
    zeroed = found.tiles[:, 5]
    rows = np.concatenate([np.arange(t[0], t[0] + t[5]) for t in found.tiles])
    assert (np.bincount(rows, minlength=64) == found.is_shared).all()  # each once
    assert ((zeroed == 0) | (zeroed == found.tiles[:, 1] - found.tiles[:, 0])).all()


def test_an_odd_share_of_the_scratchpad_leaves_room_for_flags(product: Product) -> None:
    # A third of 4160 bytes is 21 lines and a rest; one line holds the flag, 20 a dense row each.
    spec = PiumaSpec().override(["spad.capacity_bytes=4160", "stp.pipelines=3"])
    assert tile_columns(spec, 8) == 20
    settings_ = ("spad.capacity_bytes=4160", "stp.pipelines=3")
    _, found, golden = product("spmm-stp", whole(30, 40, 600, 3), None, settings_, 8)
    assert found.tobytes() == golden.tobytes()


def test_row_panels_hold_equal_work_within_the_most_rows() -> None:
    lengths = np.full(40, 5)
    lengths[7] = 100  # 340 rows and entries in two parts: 170 lie in the first 13 rows
    ptr = np.concatenate([[0], np.cumsum(lengths)])
    assert row_panels(PiumaSpec(), ptr, 1).tolist() == [0, 12, 40]
    spec = PiumaSpec().override(["spmm.tile_rows=6"])
    assert row_panels(spec, ptr, 1).tolist() == [0, 6, 7, 8, 14, 20, 26, 32, 38, 40]


def test_the_longest_tiles_go_first_each_to_the_idlest_pipeline() -> None:
    a = sparse.csr_array(np.tril(np.ones((64, 64))))
    spec = PiumaSpec().override(["spmm.tile_rows=4", "spmm.tile_cols=16"])
    found = cut_tiles(spec, (a.indptr, a.indices, a.data), (64, 64, 32), has_cold=False)
    loads = []
    for begin, end in zip(found.firsts[:-1], found.firsts[1:], strict=True):
        mine = found.tiles[begin:end]
        loads.append(sum(int(found.ptr[t[4] + t[1] - t[0]] - found.ptr[t[4]]) for t in mine))
    assert sum(loads) == a.nnz
    assert abs(loads[0] - loads[1]) < 16 * 4  # at most one tile apart


def test_dense_rows_are_fetched_once_per_tile(product: Product) -> None:
    a = whole(30, 40, 600, 3)
    settings_ = ("spmm.tile_rows=10", "spmm.tile_cols=15")
    result, _, _ = product("spmm-stp", a, None, settings_, 8)
    panels = len(row_panels(PiumaSpec().override(settings_), a.indptr, 1)) - 1
    assert panels >= 30 // 10
    assert result.stats.bytes["dma"] == {"read": 30 * 8 * 8, "write": panels * 40 * 8 * 8}


@pytest.mark.parametrize(
    ("kernel", "setting", "field"),
    [
        ("spmm-stp", "stp.pipelines=0", "stp"),
        ("spmm-mixed", "mtp.pipelines=0", "mtp"),
        ("spmm-stp", "spad.capacity_bytes=4096", "spad"),
    ],
)
def test_what_does_not_fit_is_refused(
    product: Product, kernel: str, setting: str, field: str
) -> None:
    with pytest.raises(InputError, match=field):
        product(kernel, whole(5, 5, 9, 0), None, (setting,), 256)
