"""Area of a whole machine: sums, shares, doubts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hwsim.components.area import area_model
from hwsim.core.area import BOARDS, FPGA_RESOURCES
from hwsim.core.errors import InputError
from hwsim.core.machine import machine_class, machine_names, make_machine
from hwsim.experiments import area


def test_parts_sum_to_the_total_and_shares_are_of_the_board() -> None:
    found = area.area_of(make_machine("sat"))
    for name in FPGA_RESOURCES:
        assert found["total"][name] == sum(part["cells"][name] for part in found["parts"])
        assert found["share"][name] == found["total"][name] / BOARDS["vcu1525"][name]
    instances = {part["unit"]: part["count"] for part in found["parts"]}
    assert instances["sat/uspe"] == 32 * 32
    assert instances["sat/west_lane"] == 32
    assert found["total"]["dsp48e2"] >= 32 * 32  # an FP16 product takes one
    # 13 MiB of buffers in UltraRAM of 4096 words of 8 bytes.
    assert found["total"]["uram"] == 13 * 2**20 // (4096 * 8)


def test_the_pe_is_counted_at_its_synthesised_size() -> None:
    found = area.area_of(make_machine("sat", settings=["array.rows=2", "array.cols=3"]))
    pe = next(part for part in found["parts"] if part["unit"] == "sat/uspe")
    model = area_model("sat/uspe")
    cells = model.cells[0]  # the first size is the default
    for name, residual in pe["residual"].items():
        assert pe["cells"][name] == pytest.approx(6 * cells[name], rel=residual + 0.02)
    assert pe["outside"] == []


def test_no_default_of_a_machine_is_extrapolated_or_stale() -> None:
    found = [
        (name, preset, area.area_of(machine))
        for name in machine_names()
        for preset in machine_class(name).presets()
        if (machine := make_machine(name, preset)).area() is not None
    ]
    assert {entry[:2] for entry in found} == {("sat", "vcu1525"), ("flightllm", "u280")}
    for name, _, document in found:
        assert not document["is_extrapolated"], name
        assert document["stale"] == [], name


def test_sizes_outside_are_named() -> None:
    found = area.area_of(make_machine("sat", settings=["array.interleave=64"]))
    assert found["is_extrapolated"]
    pe = next(part for part in found["parts"] if part["unit"] == "sat/uspe")
    assert any("array.interleave: 64" in text for text in pe["outside"])


def test_a_machine_without_rtl_is_refused() -> None:
    for name, preset in (("sat", "scalesim"), ("flightllm", "vhk158"), ("piuma", "block")):
        with pytest.raises(InputError, match=r"--area: need a machine whose units were synth"):
            area.area_of(make_machine(name, preset))


def test_flightllm_takes_the_dsps_and_memories_of_its_cores() -> None:
    found = area.area_of(make_machine("flightllm", "u280"))
    instances = {part["unit"]: part["count"] for part in found["parts"]}
    assert instances["flightllm/csd_chain"] == 3 * 4096 // 32  # two products per DSP, 16 in a chain
    assert instances["flightllm/dequant"] == 3 * (2048 + 32) // 16  # both buffers' ports
    assert found["board"] == "u280"
    # Chains alone, then what norms and softmax multiply.
    assert 3 * 2048 < found["total"]["dsp48e2"] < 1.1 * 3 * 2048
    # 8 MiB per core of UltraRAM of 32 KiB; block RAMs of 4 KiB for 1 MiB, 128, 256 and 64 KiB.
    assert found["total"]["uram"] == 3 * 8 * 2**20 // 2**15
    blocks = 3 * (1024 + 128 + 256 + 64) // 4
    assert found["total"]["ramb36"] == pytest.approx(blocks, rel=0.02)
    coded = area.area_of(make_machine("flightllm", "u280", settings=["experts.format=qmoe"]))
    assert coded["total"]["uram"] > found["total"]["uram"]  # the decoders' tables


def test_changed_sources_are_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    model = area_model("sat/uspe")
    monkeypatch.setattr(area, "source_hash", lambda *modules: model.sources)
    assert not area.is_stale(model)
    monkeypatch.setattr(area, "source_hash", lambda *modules: "another")
    assert area.is_stale(model)
    assert "sat/uspe" in area.area_of(make_machine("sat"))["stale"]


def test_boards_are_told_apart() -> None:
    design = make_machine("sat").area()
    assert design is not None
    machine = make_machine("sat")
    machine.area = lambda: replace(design, board="u280")  # type: ignore[method-assign]
    assert area.area_of(machine)["board_has"] == BOARDS["u280"]
