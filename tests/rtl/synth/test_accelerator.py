"""The whole accelerator's cells: every lane and PE counted once, buffers by capacity."""

from __future__ import annotations

from amaranth.hdl import Fragment

from hwsim.core.area import BOARDS
from hwsim.sat.area import sat_area
from hwsim.sat.spec import ArraySpec, BufferSpec, SatSpec, SoreSpec, SorterSpec, WuveSpec
from rtl.sat.pre_gen_words import PreGenWords
from rtl.sat.uspe import Uspe
from rtl.sat.wuve import Wuve
from rtl.synth.accelerator import URAM_BYTES, accelerator_parts, buffer_urams
from rtl.synth.array import array_total, share_percent
from rtl.synth.xilinx import MEMORY_LUTS, RESOURCES, count_cells


def one_lut_each(seen):
    """Return a count that notes the unit and calls it one LUT."""

    def count(unit):
        seen.append(unit)
        Fragment.get(unit, None)  # Amaranth complains of units that are built and not elaborated
        return {**count_cells({}), "lut": 1}

    return count


def test_every_part_is_there_as_often_as_the_spec_says():
    seen = []
    parts = list(accelerator_parts(SatSpec(), one_lut_each(seen)))
    assert {name: number for name, number, _ in parts} == {
        "array: PE": 32 * 32,
        "array: west lane": 32,
        "array: north edge": 1,
        "array: south edge": 1,
        "array: control": 1,
        "WUVE lane": 32,
        "8 SORE lanes of both directions": 4,
        "buffers by capacity": 1,
    }
    # One LUT per part, and none for the buffers, which are counted and not synthesised.
    assert array_total(parts)["lut"] == 1024 + 32 + 3 + 32 + 4
    assert len(seen) == len(parts) - 1


def test_another_configuration_changes_counts_and_what_is_synthesised():
    sorter = SorterSpec(nm_n=1, nm_m=4)
    spec = SatSpec(
        array=ArraySpec(rows=8, cols=16),
        wuve=WuveSpec(lanes=6),
        sore=SoreSpec(lanes=10, sorter=sorter),
    )
    seen = []
    numbers = {name: number for name, number, _ in accelerator_parts(spec, one_lut_each(seen))}
    assert numbers["array: PE"] == 128
    assert numbers["array: west lane"] == 8
    assert numbers["WUVE lane"] == 6
    assert numbers["4 SORE lanes of both directions"] == 3  # ten lanes in groups of four
    [pe] = [unit for unit in seen if isinstance(unit, Uspe)]
    assert (pe.spec.array, pe.spec.nm_n, pe.spec.nm_m) == (spec.array, 1, 4)
    [lane] = [unit for unit in seen if isinstance(unit, Wuve)]
    assert lane.spec.wuve.lanes == 1
    [chain] = [unit for unit in seen if isinstance(unit, PreGenWords)]
    assert (chain.spec.sore.lanes, chain.spec.sore.sorter) == (4, sorter)


def test_the_area_model_counts_the_same_array():
    spec = SatSpec(array=ArraySpec(rows=8, cols=16))
    synthesised = {name: n for name, n, _ in accelerator_parts(spec, one_lut_each([]))}
    modelled = {part.unit: part.count for part in sat_area(spec).parts}
    assert synthesised["array: PE"] == modelled["sat/uspe"]
    assert synthesised["array: west lane"] == modelled["sat/west_lane"]
    for edge in ("north_edge", "south_edge"):
        assert synthesised[f"array: {edge.replace('_', ' ')}"] == modelled[f"sat/{edge}"]
    assert synthesised["array: control"] == modelled["sat/tile_control"]


def test_buffers_take_the_ultra_rams_that_hold_their_halves():
    # 3 x 4 MiB and 1 MiB in blocks of 32 KiB.
    assert buffer_urams(SatSpec()) == 3 * 128 + 32
    weights = 2 * URAM_BYTES
    tiny = BufferSpec(activation_bytes=1, weight_bytes=weights, output_bytes=1, lane_bytes=16)
    assert buffer_urams(SatSpec(buffers=tiny)) == 2 + 2 + 2 + 4
    above = tiny.model_copy(update={"weight_bytes": weights + 1})
    assert buffer_urams(SatSpec(buffers=above)) == 2 + 4 + 2 + 4


def test_shares_are_of_the_board_and_halves_of_block_rams_make_whole_ones():
    has = BOARDS["vcu1525"]
    total = {**count_cells({}), **has}
    assert set(share_percent(total).values()) == {100.0}
    total |= {"lut": 0, "memory_lut": has["lut"] // 2, "ramb36": 0, "ramb18": 3}
    share = share_percent(total)
    assert share["lut"] == 50.0
    assert share["ramb36"] == 100 * 2 / has["ramb36"]


def test_cells_are_counted_by_resource_and_memory_by_the_luts_it_takes():
    counts = count_cells({"LUT2": 3, "LUT6": 4, "RAM32M16": 2, "SRL16E": 5, "RAMB18E2": 1})
    assert counts["lut"] == 7
    assert counts["lutram"] == 2
    assert counts["memory_lut"] == 2 * MEMORY_LUTS["RAM32M16"] + 5
    assert counts["ramb18"] == 1
    assert set(RESOURCES) <= set(counts)
