"""Recorded sizes: every unit's sweep is complete, and Yosys gives again what is recorded."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hwsim.components.area import area_file, area_model, area_units, board_counts, term_value
from hwsim.core.area import parameters_of
from hwsim.core.errors import InputError
from rtl.emit import to_rtlil
from rtl.synth.record import record_sweep
from rtl.synth.sizes import SWEEPS, find_sweep
from rtl.synth.sweep import Sweep
from rtl.synth.xilinx import MEMORY_LUTS, RESOURCES, count_cells, synthesize, worker


@pytest.mark.parametrize("sweep", SWEEPS.values(), ids=str)
def test_a_sweep_has_more_sizes_than_terms_and_distinct_ones(sweep: Sweep) -> None:
    sizes = [tuple(parameters_of(spec)[name] for name in sweep.parameters) for spec in sweep.sizes]
    assert len(set(sizes)) == len(sizes) >= max(4, len(sweep.terms) + 1)
    flat = parameters_of(sweep.sizes[0])
    for term in sweep.terms:
        assert term_value(term, flat) >= 0


def test_every_sweep_is_recorded_at_its_sizes() -> None:
    assert area_units() == sorted(SWEEPS)
    for unit, sweep in SWEEPS.items():
        model = area_model(unit)
        asked = [
            {name: parameters_of(spec)[name] for name in sweep.parameters} for spec in sweep.sizes
        ]
        assert model.sizes == asked, f"hwsim rtl synth --record {unit}"
        assert model.terms == sweep.terms


def test_recorded_sizes_name_their_rtl_and_equal_rtl_has_equal_cells() -> None:
    for unit in area_units():
        rows = json.loads(area_file(unit).read_text())["sizes"]
        cells_of = {row["rtl"]: row["cells"] for row in rows}
        assert all(cells_of), unit
        assert [cells_of[row["rtl"]] for row in rows] == [row["cells"] for row in rows], unit


def test_a_record_holds_what_synthesis_counted() -> None:
    told: list[str] = []
    sweep = SWEEPS["common/fifo"]

    def count(unit: Any) -> dict[str, int]:
        to_rtlil(unit, "unit")  # Amaranth warns of units that nobody elaborates
        return {"lut": unit.spec.width_bits, "lutram": 1, "carry": 2}

    found = record_sweep(sweep, told.append, count)
    assert [row["cells"] for row in found["sizes"]] == [
        {"lut": spec.width_bits} for spec in sweep.sizes
    ]
    assert found["module"] == "rtl.common.fifo"
    assert len(told) == len(sweep.sizes)


def test_a_size_whose_rtl_is_known_is_not_synthesised_again() -> None:
    sweep = SWEEPS["common/fifo"]
    counted: list[int] = []

    def count(unit: Any) -> dict[str, int]:
        to_rtlil(unit, "unit")
        counted.append(unit.spec.width_bits)
        return {"lut": unit.spec.width_bits}

    first = record_sweep(sweep, lambda text: None, count)
    assert len(counted) == len(sweep.sizes)
    known = first["sizes"][1:]
    again = record_sweep(sweep, lambda text: None, count, known)
    assert counted[len(sweep.sizes) :] == [sweep.sizes[0].model_dump()["width_bits"]]
    assert again == first


def test_a_slices_own_multiplexers_are_used_where_a_sweep_says_so() -> None:
    assert "-widemux" not in worker()
    assert "-uram -widemux 9 -top" in worker(9)
    assert worker(9).replace("-widemux 9 ", "") == worker()
    assert SWEEPS["flightllm/csd_chain"].wide_mux_inputs == 9


def test_synthesis_repeats_a_recorded_size() -> None:
    sweep = SWEEPS["common/fifo"]
    cells = synthesize(sweep.component(sweep.sizes[0]))
    recorded = area_model("common/fifo").cells[0]
    assert board_counts(cells) == recorded


def test_cells_that_hold_memory_count_as_their_luts() -> None:
    counts = count_cells({"LUT6": 3, "LUT2": 2, "RAM32M16": 2, "SRL16E": 5, "FDRE": 7, "IBUF": 9})
    assert counts["lut"] == 5
    assert counts["memory_lut"] == 2 * MEMORY_LUTS["RAM32M16"] + 5
    assert counts["ff"] == 7
    assert sum(counts[name] for name in RESOURCES if name not in ("lut", "lutram", "ff")) == 0


def test_an_unknown_unit_is_refused_with_a_near_name() -> None:
    with pytest.raises(InputError, match="sat/uspe"):
        find_sweep("sat/usp")
