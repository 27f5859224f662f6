"""Check how instructions are collected."""

from __future__ import annotations

from hwsim.core.program import END, LOOP
from hwsim.core.result import STALL_REASONS
from hwsim.sat.isa import CHANNELS, OPCODES, UNITS, InstructionBuffer
from hwsim.sat.spec import ArraySpec
from hwsim.sat.timing import ArrayGemm, gemm_timing


def bit(name: str) -> int:
    return 1 << [channel.name for channel in CHANNELS].index(name)


def test_loops_of_one_leave_no_trace() -> None:
    code = InstructionBuffer()
    for count in (1, 3):
        with code.loop(count):
            code.lanes("vector", 5, wait="", release="")
    units = code.array()["unit"].tolist()
    vector = UNITS.index("vector")
    assert units == [vector, LOOP, vector, END]
    assert code.array()["count"].tolist()[1] == 3


def test_loads_and_stores_go_to_their_halves_of_the_dma_engine() -> None:
    code = InstructionBuffer()
    code.transfer("load_a", 10, wait="a_free", release="a_full")
    code.transfer("store", 20, wait="sums_full out_full", release="o_free")
    load, store = code.array()
    assert (UNITS[load["unit"]], OPCODES[load["opcode"]], load["mem_bytes"]) == (
        "dma_in",
        "load_a",
        10,
    )
    assert (load["wait"], load["release"], load["is_write"]) == (bit("a_free"), bit("a_full"), 0)
    assert (UNITS[store["unit"]], store["is_write"]) == ("dma_out", 1)
    assert store["wait"] == bit("sums_full") | bit("out_full")


def test_array_work_carries_its_losses_and_its_shape() -> None:
    array, gemm = ArraySpec(edge_elems_per_cycle=2), ArrayGemm(9, 64, 40, 2, 8)
    timing = gemm_timing(array, "ws", gemm)
    code = InstructionBuffer()
    code.op_id = 4
    for shape in (gemm, ArrayGemm(1, 1, 1), gemm):
        code.gemm("ws", shape, timing, 77, wait="a_full", release="a_free")
    rows = code.array()
    assert rows["operand"].tolist() == [0, 1, 0]  # equal shapes share an index
    assert list(code.shapes) == [("ws", gemm), ("ws", ArrayGemm(1, 1, 1))]
    first = rows[0]
    assert (first["op_id"], first["macs"], first["cycles"]) == (4, 77, timing.cycles)
    lost = dict(zip(STALL_REASONS, first["stall"].tolist(), strict=True))
    for reason in ("hazard", "resource", "fill", "load", "drain"):
        assert lost.pop(reason) == getattr(timing, reason)
    assert not any(lost.values())
    assert first["cycles"] - first["stall"].sum() == timing.busy


def test_channels_fit_the_masks_and_have_known_reasons() -> None:
    assert len({channel.name for channel in CHANNELS}) == len(CHANNELS) <= 62
    assert {channel.reason for channel in CHANNELS} <= set(STALL_REASONS)
