"""Check the closed forms against counts made by hand and against SCALE-Sim's printed ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwsim.core.errors import InputError
from hwsim.core.units import ceil_div
from hwsim.sat.spec import PRESETS, ArraySpec
from hwsim.sat.timing import ArrayGemm, gemm_timing, lane_cycles

SCALESIM = PRESETS["scalesim"]
BARE: dict[str, Any] = {
    "multiplier_latency_cycles": 0,
    "adder_latency_cycles": 1,
    "interleave": 1,
}
"""No latency to hide: a product is issued, multiplied and added within its cycle."""


def cycles(array: ArraySpec, dataflow: str, m: int, k: int, n: int, nm: str = "1:1") -> int:
    return gemm_timing(array, dataflow, product(m, k, n, nm)).cycles


def product(m: int, k: int, n: int, nm: str = "1:1") -> ArrayGemm:
    nm_n, nm_m = (int(part) for part in nm.split(":"))
    return ArrayGemm(m, k, n, nm_n, nm_m)


@pytest.mark.evidence("sat", "T2")
@pytest.mark.parametrize(
    ("m", "n", "k", "ws", "os", "is_"),
    [
        (512, 512, 512, 155135, 146943, 155135),
        (128, 64, 256, 3551, 2543, 5055),
        (37, 91, 53, 785, 689, 739),
        (1, 1000, 2048, 194559, 67519, 70015),
    ],
)
def test_scalesim_preset_gives_the_counts_that_scalesim_prints(
    m: int, n: int, k: int, ws: int, os: int, is_: int
) -> None:
    for dataflow, printed in (("ws", ws), ("os", os), ("is", is_)):
        assert cycles(SCALESIM.array, dataflow, m, k, n) == printed


@pytest.mark.evidence("sat", "T2")
@pytest.mark.parametrize(("nm", "printed"), [("2:4", 77567), ("2:8", 38783)])
def test_scalesim_preset_gives_the_printed_counts_of_nm_weights(nm: str, printed: int) -> None:
    assert cycles(SCALESIM.array, "ws", 512, 512, 512, nm) == printed


def test_scalesim_has_nm_weights_only_when_they_are_stationary() -> None:
    for dataflow in ("os", "is"):
        with pytest.raises(InputError, match="ws for N:M weights"):
            cycles(SCALESIM.array, dataflow, 8, 8, 8, "2:4")
    with pytest.raises(InputError, match="one of ws, os, is"):
        cycles(SCALESIM.array, "rs", 8, 8, 8)


@given(st.integers(1, 99), st.integers(1, 99), st.integers(1, 99), st.integers(1, 9))
def test_scalesim_breakdown_adds_up(m: int, k: int, n: int, side: int) -> None:
    array = ArraySpec(rows=side, cols=side, timing="scalesim")
    for dataflow in ("ws", "os", "is"):
        timing = gemm_timing(array, dataflow, ArrayGemm(m, k, n))
        assert timing.busy + timing.fill + timing.load == timing.cycles
        assert min(timing.busy, timing.fill, timing.load) >= 0


def test_ws_dense_streams_every_row_and_pays_skew_per_tile() -> None:
    # k = 576 on 32 rows: 18 reduction tiles, n = 64: 2 column tiles. Each streams 1024 rows and
    # waits 31 + 31 cycles for rows and columns; the first load of 32 weights is exposed.
    array = ArraySpec(**BARE)
    assert cycles(array, "ws", 1024, 576, 64) == 18 * 2 * (1024 + 62) + 32


def test_ws_nm_streams_n_slots_per_row_and_n_cycles_per_hop() -> None:
    # 2:8 covers 256 of k per tile: 3 reduction tiles (the third a quarter full) and 2 column
    # tiles. A row of A takes 2 cycles, a row of PEs follows 2 cycles later, a load is 32 x 2.
    array = ArraySpec(**BARE)
    assert cycles(array, "ws", 1024, 576, 64, "2:8") == 3 * 2 * (2 * 1024 + 31 * 2 + 31) + 64


def test_os_dense_works_through_k_then_shifts_out() -> None:
    # 1024 rows: 32 row tiles, 64 columns: 2; each takes 576 products, 62 of skew, 32 to drain.
    array = ArraySpec(**BARE)
    assert cycles(array, "os", 1024, 576, 64) == 32 * 2 * (576 + 62 + 32)


def test_os_nm_takes_n_slots_per_group() -> None:
    # 72 groups of 8, 2 slots each.
    array = ArraySpec(**BARE)
    assert cycles(array, "os", 1024, 576, 64, "2:8") == 32 * 2 * (2 * 72 + 62 + 32)


def test_one_product_on_one_pe_pays_load_or_drain_and_the_latencies() -> None:
    array = ArraySpec(rows=1, cols=1, multiplier_latency_cycles=3, adder_latency_cycles=5)
    assert cycles(array, "ws", 1, 1, 1) == 1 + 1 + 3 + (5 - 1)
    assert cycles(array, "os", 1, 1, 1) == 1 + 1 + 3 + (5 - 1)


def test_os_without_interleaving_pays_the_adder_latency_per_product() -> None:
    # One partial sum per PE: the next product waits until the adder has returned the sum.
    array = ArraySpec(rows=1, cols=1, interleave=1, adder_latency_cycles=6)
    timing = gemm_timing(array, "os", product(1, 100, 1))
    assert timing.busy == 100
    assert timing.hazard == 99 * (6 - 1)
    # Six tiles interleaved fill the adder: 600 products without a bubble.
    full = ArraySpec(rows=1, cols=1, interleave=6, adder_latency_cycles=6)
    hidden = gemm_timing(full, "os", product(6, 100, 1))
    assert (hidden.busy, hidden.hazard) == (600, 0)


def test_ws_pays_the_adder_latency_between_slots_of_one_entry() -> None:
    # A single row of A with 4 slots: 3 waits of L - 1. Dense rows use new partial sums: no wait.
    array = ArraySpec(rows=1, cols=1, interleave=8, adder_latency_cycles=6)
    assert gemm_timing(array, "ws", product(1, 8, 1, "4:8")).hazard == 3 * (6 - 1)
    assert gemm_timing(array, "ws", product(1000, 1, 1)).hazard == 0


@given(
    rows=st.integers(1, 40),
    m=st.integers(1, 60),
    adder=st.integers(1, 8),
    nm=st.sampled_from(["1:1", "2:4", "4:8"]),
)
def test_a_shadow_load_hides_behind_the_tile_before(rows: int, m: int, adder: int, nm: str) -> None:
    # A tile lasts at least a hop of N cycles per row, which is what its load takes.
    array = ArraySpec(rows=rows, cols=4, adder_latency_cycles=adder)
    timing = gemm_timing(array, "ws", product(m, 1000, 4, nm))
    assert timing.load == rows * int(nm[0])


def test_with_skew_overlap_a_load_longer_than_the_stream_shows() -> None:
    # Tiles stream 5 rows x 2 slots = 10 cycles, and leave after 3 hops of 2 and 2 columns more.
    array = ArraySpec(**BARE, rows=4, cols=3)
    plain = gemm_timing(array, "ws", product(5, 16, 2, "2:2"))
    load, tile = 4 * 2, 10 + 3 * 2 + 2
    assert plain.cycles == load + 2 * tile
    # The last PE has its weights after 3 hops and 3 columns; only then can 8 cycles of load for
    # the tile after the next begin, so that tiles start 6 + 3 + 8 cycles apart, not 10.
    overlapped = gemm_timing(
        array.model_copy(update={"overlap_skew": True}), "ws", product(5, 16, 2, "2:2")
    )
    assert overlapped.cycles == load + (3 * 2 + 3 + load) + tile
    # Once the stream is longer than that, tiles follow each other without a gap.
    long = gemm_timing(
        array.model_copy(update={"overlap_skew": True}), "ws", product(50, 16, 2, "2:2")
    )
    assert long.cycles == load + 50 * 2 + (50 * 2 + 3 * 2 + 2)
    assert long.load == load


def test_without_shadow_weights_every_load_shows() -> None:
    array = ArraySpec(**BARE, rows=4, cols=3, has_double_buffered_weights=False)
    tile = 5 + 3 + 2
    timing = gemm_timing(array, "ws", product(5, 16, 3))
    assert timing.cycles == 4 * (4 + tile)
    assert timing.load == 4 * 4


def test_edge_feed_limits_groups_wider_than_it() -> None:
    # 1:16 through 8 elements per cycle: a group takes 2 beats, a slot only 1 cycle.
    array = ArraySpec(**BARE, rows=1, cols=1, edge_elems_per_cycle=8)
    timing = gemm_timing(array, "ws", product(100, 16, 1, "1:16"))
    assert timing.busy == 100
    assert timing.resource == 100  # one wait per group, the first group's first beat included
    wide = array.model_copy(update={"edge_elems_per_cycle": 16})
    assert gemm_timing(wide, "ws", product(100, 16, 1, "1:16")).resource == 0


@pytest.mark.parametrize("dataflow", ["ws", "os"])
def test_2_16_beats_2_8_only_if_the_edge_feeds_8_elements_per_cycle(dataflow: str) -> None:
    # A group of 2:16 gives 2 cycles of work: 16 elements must arrive in 2 cycles.
    def sparse(edge: int, nm: str) -> int:
        return cycles(ArraySpec(edge_elems_per_cycle=edge), dataflow, 3136, 4096, 256, nm)

    assert sparse(8, "2:16") < 0.6 * sparse(8, "2:8")
    assert sparse(4, "2:16") > 0.9 * sparse(4, "2:8")


@pytest.mark.parametrize("flag", ["overlap_skew", "overlap_drain"])
@given(
    m=st.integers(1, 300),
    k=st.integers(1, 300),
    n=st.integers(1, 100),
    nm=st.sampled_from(["1:1", "2:4", "2:8"]),
)
def test_overlap_never_costs_cycles(flag: str, m: int, k: int, n: int, nm: str) -> None:
    plain = ArraySpec(rows=8, cols=8)
    overlapped = plain.model_copy(update={flag: True})
    for dataflow in ("ws", "os"):
        assert cycles(overlapped, dataflow, m, k, n, nm) <= cycles(plain, dataflow, m, k, n, nm)


@given(m=st.integers(1, 200), k=st.integers(1, 200), n=st.integers(1, 70))
def test_issued_slots_are_whole_tiles(m: int, k: int, n: int) -> None:
    array = ArraySpec(rows=8, cols=4)
    gemm = product(m, k, n, "2:8")
    ws = gemm_timing(array, "ws", gemm).issued_macs(array)
    os = gemm_timing(array, "os", gemm).issued_macs(array)
    groups, columns = ceil_div(k, 8), ceil_div(n, 4) * 4
    assert ws == m * ceil_div(groups, 8) * 8 * 2 * columns
    assert os == ceil_div(m, 8) * 8 * groups * 2 * columns
    assert min(ws, os) >= m * groups * 2 * n


@given(
    m=st.integers(1, 200),
    k=st.integers(1, 200),
    n=st.integers(1, 70),
    nm=st.sampled_from(["1:1", "2:8"]),
    flag=st.sampled_from(["overlap_skew", "overlap_drain", ""]),
)
def test_stored_sums_cost_os_a_shift_of_r_cycles_per_tile_and_ws_nothing(
    m: int, k: int, n: int, nm: str, flag: str
) -> None:
    array = ArraySpec(rows=8, cols=4, **({flag: True} if flag else {}))
    first = product(m, k, n, nm)
    later = first._replace(is_continued=True)
    fresh, continued = (gemm_timing(array, "os", gemm) for gemm in (first, later))
    load = ceil_div(m, 8) * ceil_div(n, 4) * 8
    # The first tile along k starts from zero: nothing is shifted in.
    assert (fresh.load, continued.load) == (0, load)
    assert continued == replace(fresh, load=load, cycles=fresh.cycles + load)
    assert gemm_timing(array, "ws", later) == gemm_timing(array, "ws", first)


def test_lane_of_one_ragged_step_ends_after_its_entries() -> None:
    # 3 entries, one slot, 2 beats per group: the last group is complete in cycle 5, issued there.
    assert lane_cycles(0, 8, 3, 1, 6, 2, True) == 3 * (2 - 1) + 3


def test_unknown_dataflow_is_refused() -> None:
    with pytest.raises(InputError, match="one of ws, os"):
        cycles(ArraySpec(), "is", 8, 8, 8)
