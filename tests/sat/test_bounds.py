"""Check the bounds of a program against its instructions by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hwsim.core.units import ceil_div


def test_counts_multiply_through_nested_loops(
    linear: Callable[..., Any], lower_plan: Callable[..., Any]
) -> None:
    _, program = lower_plan(linear(160, 512, 320), (8, 32, 128))
    counts = program.dynamic_counts()
    assert sum(counts) == len(program)
    assert sum(counts) == sum(len(chunk) for chunk in program.chunks())


@pytest.mark.evidence("sat", "T1")
@pytest.mark.parametrize("bandwidth", [10**8, 25_600_000_000, 10**13])
def test_bounds_are_the_busiest_unit_and_everything_in_a_row(
    linear: Callable[..., Any], lower_plan: Callable[..., Any], bandwidth: int
) -> None:
    settings = (f"memory.bandwidth_bytes_per_s={bandwidth}", "memory.latency_cycles=7")
    machine, program = lower_plan(linear(64, 128, 96), (64, 96, 128), settings)
    (array_cycles,) = {int(row["cycles"]) for row in program.instructions if row["cycles"]}
    moved = (128 * 96 + 64 * 128 + 64 * 96) * 2
    rate = machine.spec.memory_bytes_per_cycle
    memory = ceil_div(moved * rate.denominator, rate.numerator)
    bounds = machine.bounds(program)
    assert bounds.min_cycles == max(array_cycles, memory)
    # Two loads and a store with a latency (and a ragged cycle) each; four instructions.
    assert bounds.max_cycles == array_cycles + memory + 3 * (7 + 1) + 4
    assert bounds.min_cycles <= machine.run(program).cycles <= bounds.max_cycles


def test_ideal_memory_leaves_only_the_units(
    linear: Callable[..., Any], lower_plan: Callable[..., Any]
) -> None:
    machine, program = lower_plan(linear(64, 128, 96), (64, 96, 128), ("memory.model=ideal",))
    array_cycles = int(program.instructions["cycles"].max())
    assert machine.bounds(program).min_cycles == array_cycles
    assert machine.run(program).cycles >= array_cycles
