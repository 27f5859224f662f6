"""``run --area``, ``--memories`` and ``--trace x.pftrace``: what they add to a run."""

from __future__ import annotations

import jsonschema
import pytest

from hwsim.core.area import BOARDS

RUN = ("run", "resnet18-32", "--sparsity", "nm:2:8")


def test_area_and_memories_add_to_a_run_and_change_no_cycle(hwsim):
    plain = hwsim(*RUN, "--json", "-").document
    outcome = hwsim(*RUN, "--area", "--memories", "--json", "-")
    assert outcome.status == 0
    document = outcome.document
    jsonschema.validate(document, hwsim("schema", "run").document["schema"])
    assert document["cycles"] == plain["cycles"]
    assert "area" not in plain
    assert "memory_models" not in plain
    area = document["area"]
    assert area["board_has"] == BOARDS["vcu1525"]
    assert area["is_extrapolated"] == any(part["outside"] for part in area["parts"])
    for resource, total in area["total"].items():
        assert total == sum(part["cells"][resource] for part in area["parts"])
    rows = {row["model"]: row for row in document["memory_models"]}
    assert list(rows) == ["ideal", "simple", "dram"]
    assert rows["ideal"]["cycles"] < min(rows["simple"]["cycles"], rows["dram"]["cycles"])
    assert rows["simple"]["cycles"] == document["cycles"]
    assert [row["is_this_run"] for row in rows.values()] == [False, True, False]


def test_an_array_beyond_the_synthesised_sizes_is_flagged(hwsim):
    area = hwsim(*RUN, "--area", "--set", "array.rows=256", "--json", "-").document["area"]
    assert area["is_extrapolated"]
    assert [part["unit"] for part in area["parts"] if part["outside"]]


def test_a_protobuf_trace_is_written_and_can_be_packed(hwsim, tmp_path):
    for name, magic in (("t.pftrace", b"\x0a"), ("t.pftrace.gz", b"\x1f\x8b")):
        path = tmp_path / name
        assert hwsim(*RUN, "--trace", path).status == 0
        assert path.read_bytes().startswith(magic)
    assert (tmp_path / "t.pftrace").stat().st_size > (tmp_path / "t.pftrace.gz").stat().st_size


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        (("memory.device=ddr9",), "memory.device"),
        (("memory.channels=0",), "memory.channels"),
        (("memory.channels=3",), "dram.ddr4-2400.channels"),
        (("memory.model=dream",), "memory.model"),
    ],
)
def test_a_wrong_memory_is_named(hwsim, settings, field):
    flags = [word for setting in ("memory.model=dram", *settings) for word in ("--set", setting)]
    assert hwsim(*RUN, *flags).refusal()[0] == field


def test_area_of_a_machine_without_rtl_sizes_is_refused(hwsim):
    refusal = hwsim("run", "resnet18-32", "--machine", "cpu", "--area").refusal()
    assert refusal[:2] == ("--area", "a machine whose units were synthesised for its board")
