"""Off-chip memory as ideal, fixed rate or DRAM commands: times differ, results do not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from hwsim.core.errors import InputError
from hwsim.core.result import Result
from hwsim.experiments.pipeline import RunRequest, prepare
from hwsim.piuma.spec import PiumaSpec

MATRIX = "uniform:n=40,density=0.1,seed=3"
MODELS = ("ideal", "simple", "dram")


def assert_close(found: Any, expected: Any) -> None:
    """Compare arrays, those of coordinates and values field by field."""
    for name in expected.dtype.names or [...]:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-9)


def run(model: str, *settings: str, kernel: str = "smash-v3", detail: str = "fast") -> Result:
    settings = (f"memory.model={model}", *settings)
    session = prepare(RunRequest(model=MATRIX, machine="piuma", kernel=kernel, settings=settings))
    result = session.machine.run(session.program, {}, detail=detail)
    golden = session.machine.golden(session.program, {})
    assert result.outputs.keys() == golden.keys()
    for name, values in golden.items():
        assert_close(result.outputs[name], values)
    return result


@pytest.fixture(scope="module")
def runs() -> Iterator[dict[str, Result]]:
    yield {model: run(model, "blocks=2") for model in MODELS}


def test_results_and_counts_do_not_depend_on_the_model(runs: dict[str, Result]) -> None:
    """Bytes that a kernel asks for, products and entries: threads race, but do the same work."""
    same: list[Any] = [
        (r.extra["partial_products"], r.extra["nnz_out"], r.extra["insertions"])
        for r in runs.values()
    ]
    assert same[0] == same[1] == same[2]
    first = runs["simple"].outputs
    for result in runs.values():
        for name, values in first.items():
            assert_close(result.outputs[name], values)


def test_slower_memory_takes_longer(runs: dict[str, Result]) -> None:
    assert runs["ideal"].cycles < runs["simple"].cycles
    assert runs["ideal"].cycles < runs["dram"].cycles


def test_every_burst_on_the_bus_is_a_column_command(runs: dict[str, Result]) -> None:
    """All writes are served at the end; a word takes a whole burst of 64 bytes."""
    extra, moved = runs["dram"].extra, runs["dram"].stats.bytes["dram"]
    commands, rows = extra["dram_commands"], extra["dram_rows"]
    bursts = commands["RD"] + commands["WR"]
    assert extra["dram_bus_bytes"] == 64 * bursts == 64 * sum(rows.values())
    assert commands["ACT"] == rows["misses"] + rows["conflicts"]
    assert sum(moved.values()) <= extra["dram_bus_bytes"]
    assert runs["simple"].extra["dram_bus_bytes"] < extra["dram_bus_bytes"]
    assert "dram_commands" not in runs["simple"].extra


def test_utilization_is_bursts_times_their_clocks(runs: dict[str, Result]) -> None:
    """8 clocks of 2.2 GHz per burst, two buses of one block each, a clock of 1 GHz."""
    result = runs["dram"]
    clocks = 8 * result.extra["dram_bus_bytes"] // 64
    assert result.extra["dram_utilization"] == pytest.approx(clocks / 2.2 / (2 * result.cycles))
    assert runs["ideal"].extra["dram_utilization"] == 0


def test_energy_is_by_commands(runs: dict[str, Result]) -> None:
    from hwsim.components.dram.devices import load_device
    from hwsim.components.energy_dram import dram_energy

    result = runs["dram"]
    parts = dram_energy(
        load_device("ddr5-4400", 2), result.extra["dram_commands"], result.cycles, 10**9
    )
    assert result.stats.energy_by_component_pj["dram"] == pytest.approx(sum(parts.values()))


def test_run_is_repeatable_and_within_bounds(runs: dict[str, Result]) -> None:
    again = run("dram", "blocks=2")
    assert again.cycles == runs["dram"].cycles
    assert again.extra["dram_commands"] == runs["dram"].extra["dram_commands"]
    for model in MODELS:
        settings = (f"memory.model={model}", "blocks=2")
        session = prepare(
            RunRequest(model=MATRIX, machine="piuma", kernel="smash-v3", settings=settings)
        )
        bounds = session.machine.bounds(session.program)
        assert bounds.min_cycles <= runs[model].cycles <= bounds.max_cycles


@pytest.mark.parametrize("kernel", ["row-heap", "outer", "spmv"])
def test_other_kernels_run_on_dram(kernel: str) -> None:
    assert run("dram", "memory.channels=2", kernel=kernel).extra["dram_commands"]["RD"] > 0


@pytest.mark.parametrize(
    ("setting", "field"),
    [
        ("memory.channels=3", "memory.channels"),
        ("memory.device=ddr9", "memory.device"),
    ],
)
def test_bad_memory_is_refused_by_name(setting: str, field: str) -> None:
    with pytest.raises(InputError, match=field):
        PiumaSpec().override(["memory.model=dram", setting])


def test_looking_at_every_cycle_changes_nothing(runs: dict[str, Result]) -> None:
    """Nor do 64 blocks change the product (``run`` compares it with golden's)."""
    plain = run("dram", "blocks=2", detail="tile")
    assert plain.stats.units == runs["dram"].stats.units
    assert plain.extra["dram_commands"] == runs["dram"].extra["dram_commands"]
    assert run("dram", "blocks=64", kernel="row-heap").extra["dram_rows"]["misses"] > 0


def test_an_estimate_has_the_same_document(runs: dict[str, Result]) -> None:
    request = RunRequest(model=MATRIX, machine="piuma", settings=("memory.model=dram",))
    session = prepare(request)
    estimated = session.machine.run(session.program, detail="estimate")
    assert estimated.to_json().keys() == runs["dram"].to_json().keys()
    assert set(estimated.extra["dram_commands"].values()) == {0}  # nothing is issued


def test_a_trace_with_dram_covers_the_run() -> None:
    request = RunRequest(model=MATRIX, machine="piuma", settings=("memory.model=dram",))
    session = prepare(request)
    result = session.machine.run(session.program, trace=True)
    again = session.machine.run(session.program)
    assert result.trace is not None
    assert result.cycles == again.cycles
