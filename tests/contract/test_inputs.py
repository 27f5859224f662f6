"""Ask every registered machine for JSON that comes back equal and errors of one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from hwsim.core.errors import InputError, MappingError, SpecError
from hwsim.core.graph import OpGraph
from hwsim.core.machine import Machine, machine_class, make_machine
from hwsim.core.mapping import Mapping
from hwsim.core.result import SCHEMA_VERSION, STALL_REASONS
from mappers.greedy import map_graph

Lower = Callable[..., Any]


def one_line(error: Exception) -> str:
    text = str(error)
    assert "\n" not in text
    assert ": need " in text
    assert ", found " in text
    return text


def test_every_preset_round_trips_through_json(machine_name: str) -> None:
    for name, spec in machine_class(machine_name).presets().items():
        again = type(spec).build(json.loads(spec.model_dump_json()))
        assert again == spec, name
        assert again.spec_hash() == spec.spec_hash()


def test_presets_differ_in_their_hash(machine_name: str) -> None:
    presets = machine_class(machine_name).presets()
    documents = {spec.model_dump_json() for spec in presets.values()}  # a preset may have two names
    assert len({spec.spec_hash() for spec in presets.values()}) == len(documents) > 1


def test_mappings_and_graphs_round_trip_through_json(case: Any) -> None:
    again = OpGraph.from_json(case.graph.to_json())
    assert again.to_json() == case.graph.to_json()
    assert list(again.ops()) == list(case.graph.ops())
    for mapping in map_graph(case.graph, case.machine):
        assert Mapping.model_validate_json(mapping.model_dump_json()) == mapping


def test_a_graph_read_from_json_gives_the_same_program(case: Any) -> None:
    again = OpGraph.from_json(case.graph.to_json())
    program = case.machine.lower(again, map_graph(again, case.machine))
    assert program.program_hash() == case.program.program_hash()


def test_results_are_json_with_every_promised_key(case: Any) -> None:
    document = case.machine.run(case.program).to_json()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["schema_version"] == SCHEMA_VERSION
    for layer in document["layers"]:
        assert set(layer["stall"]) == set(STALL_REASONS)
    assert document["time_s"] == document["cycles"] / document["clock_hz"]
    energy = sum(document["energy_by_component_pj"].values())
    assert document["energy_pj"] == pytest.approx(energy, rel=1e-9)


@pytest.mark.graphs("convolutions")
def test_a_mapping_that_does_not_fit_names_resource_need_and_have(
    machine: Machine, machine_name: str, lower: Lower
) -> None:
    case = lower(machine_name, None, "convolutions")
    mappings = map_graph(case.graph, machine)
    for buffer, have in machine.spec.capacities().items():
        for need in (have, have + 1):
            index = next(i for i, mapping in enumerate(mappings) if mapping.buffer_bytes)
            changed = list(mappings)
            bytes_ = {**mappings[index].buffer_bytes, buffer: need}
            changed[index] = mappings[index].model_copy(update={"buffer_bytes": bytes_})
            if need == have:
                machine.lower(case.graph, changed)
                continue
            with pytest.raises(MappingError) as caught:
                machine.lower(case.graph, changed)
            text = one_line(caught.value)
            assert buffer in caught.value.resource
            assert (caught.value.need_amount, caught.value.have_amount) == (need, have)
            assert f"{need} bytes" in text
            assert f"{have} bytes" in text


def test_an_unknown_preset_is_refused_with_the_known_ones(machine_name: str) -> None:
    default = next(iter(machine_class(machine_name).presets()))
    with pytest.raises(InputError) as caught:
        make_machine(machine_name, default + "x")
    text = one_line(caught.value)
    assert text.startswith("--preset: ")
    assert f"did you mean {default}" in text


def test_an_unknown_machine_is_refused_with_the_known_ones(machine_name: str) -> None:
    with pytest.raises(InputError) as caught:
        make_machine(machine_name + "x")
    assert f"did you mean {machine_name}" in one_line(caught.value)


@pytest.mark.parametrize(
    "setting",
    ["clock_hs=1", "clock_hz=0", "clock_hz=-5", "clock_hz=fast", "clock_hz=1.5", "clock_hz", "=1"],
)
def test_a_bad_setting_is_refused_naming_its_key(machine_name: str, setting: str) -> None:
    with pytest.raises(SpecError) as caught:
        make_machine(machine_name, settings=[setting])
    text = one_line(caught.value)
    assert "clock_hz" in text or "--set" in text


def test_a_misspelt_key_is_answered_with_the_nearest(machine_name: str) -> None:
    with pytest.raises(SpecError, match="did you mean clock_hz"):
        make_machine(machine_name, settings=["clock_hs=1"])
    with pytest.raises(SpecError, match="did you mean clock_hz"):
        make_machine(machine_name, values={"clock_hs": 1})


def test_settings_win_over_the_spec_file_and_that_over_the_preset(machine_name: str) -> None:
    preset = make_machine(machine_name).clock_hz
    from_file = make_machine(machine_name, values={"clock_hz": preset + 1})
    from_set = make_machine(
        machine_name, values={"clock_hz": preset + 1}, settings=[f"clock_hz={preset + 2}"]
    )
    assert from_file.clock_hz == preset + 1
    assert from_set.clock_hz == preset + 2


@pytest.mark.graphs("one_product")
def test_a_dataflow_the_machine_lacks_is_refused(
    machine: Machine, machine_name: str, lower: Lower
) -> None:
    graph = lower(machine_name, None, "one_product").graph
    with pytest.raises(InputError) as caught:
        map_graph(graph, machine, dataflow="sideways")
    assert all(name in one_line(caught.value) for name in machine.capabilities().dataflows)


@pytest.mark.graphs("one_product")
def test_an_unknown_detail_is_refused(machine_name: str, lower: Lower) -> None:
    case = lower(machine_name, None, "one_product")
    with pytest.raises(InputError) as caught:
        case.machine.run(case.program, detail="guess")
    assert "fast" in one_line(caught.value)
