"""Check the bytes of one product, level by level, against counts by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hwsim.core.program import Program
from hwsim.sat.traffic import LEVELS

M, K, N = 64, 160, 96
"""3 column tiles and 5 reduction tiles of 32."""

TILINGS: list[tuple[tuple[int, int, int], str]] = [
    ((64, 96, 160), "mn"),
    ((16, 96, 160), "mn"),
    ((64, 32, 160), "mn"),
    ((24, 64, 160), "mn"),
    ((24, 64, 160), "nm"),
    ((64, 32, 160), "nm"),
    ((16, 32, 64), "mn"),
    ((24, 64, 32), "mn"),
]


def moved(program: Program) -> dict[str, dict[str, int]]:
    levels: dict[str, dict[str, int]] = program.meta["ops"][0]["bytes"]
    assert tuple(levels) == LEVELS
    return levels


@pytest.mark.parametrize(("tile", "order"), TILINGS)
def test_sums_are_carried_between_all_reduction_tiles(
    linear: Callable[..., Any], lower_plan: Callable[..., Any], tile: Any, order: str
) -> None:
    # Each result is summed over 5 reduction tiles: stored and read again 4 times, also where a
    # macro tile ends, and complete once.
    _, program = lower_plan(linear(M, K, N), tile, order=order)
    result_bytes = M * N * 4
    levels = moved(program)
    assert levels["partial_sums"] == {"read": 4 * result_bytes, "write": 4 * result_bytes}
    assert levels["output_buffer"] == {"read": M * N * 2, "write": result_bytes}


def test_os_keeps_its_sums_in_the_array(
    linear: Callable[..., Any], lower_plan: Callable[..., Any]
) -> None:
    _, program = lower_plan(linear(M, K, N), (64, 96, 160), dataflow="os")
    levels = moved(program)
    assert levels["partial_sums"] == {"read": 0, "write": 0}
    # A is read for each of 3 column tiles, B for each of 2 row tiles.
    assert levels["activation_buffer"]["read"] == 3 * M * K * 2
    assert levels["weight_buffer"]["read"] == 2 * K * N * 2


def test_ws_reads_weights_once_and_activations_per_column_tile(
    linear: Callable[..., Any], lower_plan: Callable[..., Any]
) -> None:
    _, program = lower_plan(linear(M, K, N), (64, 96, 160))
    levels = moved(program)
    assert levels["weight_buffer"] == {"read": K * N * 2, "write": K * N * 2}
    assert levels["activation_buffer"] == {"read": 3 * M * K * 2, "write": M * K * 2}
    assert levels["dram"] == {"read": (K * N + M * K) * 2, "write": M * N * 2}


def test_pruned_weights_move_in_compact_form(
    linear: Callable[..., Any], lower_plan: Callable[..., Any]
) -> None:
    _, program = lower_plan(linear(M, K, N, (2, 8)), (64, 96, 160), nm=(2, 8))
    # 20 groups of 8, 2 slots each of 16 + 3 bits.
    assert moved(program)["weight_buffer"]["write"] == 20 * 2 * N * 19 // 8


@pytest.mark.evidence("sat", "T1")
@pytest.mark.parametrize(("tile", "order"), TILINGS)
def test_what_instructions_move_is_what_is_counted(
    linear: Callable[..., Any], lower_plan: Callable[..., Any], tile: Any, order: str
) -> None:
    machine, program = lower_plan(linear(M, K, N), tile, order=order)
    rows, times = program.instructions, program.dynamic_counts()
    sizes = rows["mem_bytes"] * times
    is_write = rows["is_write"] == 1
    read, written = int(sizes[~is_write].sum()), int(sizes[is_write].sum())
    assert moved(program)["dram"] == {"read": read, "write": written}
    issued = int((rows["macs"] * times).sum())
    assert machine.run(program).stats.issued_macs == issued
