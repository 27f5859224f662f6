"""Check where operands lie: no two live ones overlap, transfers stay inside, addresses matter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.core.machine import make_machine
from hwsim.core.sparsity import NM
from hwsim.flightllm.body import pieces
from hwsim.flightllm.isa import LD, MM, MV, SPREAD, ST, STRIPED, disassemble, encode
from hwsim.flightllm.layout import Layout, Region, _first_fit
from hwsim.flightllm.lower import FlightProgram
from hwsim.flightllm.places import CACHE, INPUT, RESULT, WEIGHTS
from mappers.greedy import map_graph
from models.llm.config import parse_config
from models.llm.graph import llm_graph
from models.sparsify.magnitude import prune
from models.workload import Workload
from tests.flightllm.tiny_model import TINY

WORKLOADS = [
    Workload(phase="decode", kv_tokens=40),
    Workload(phase="prefill", seq_tokens=200),
    Workload(phase="request", prompt_tokens=30, generate_tokens=20),
]


def compiled(workload: Workload, preset: str = "u280", *asked: str) -> FlightProgram:
    machine = make_machine("flightllm", preset, settings=asked)
    graph = llm_graph("tiny", parse_config(TINY), workload)
    return machine.lower(graph, map_graph(graph, machine))  # type: ignore[return-value]


def overlaps(layout: Layout, runs: int) -> list[tuple[str, str]]:
    """Return the pairs of regions that share bytes in some run."""
    found = []
    for run in range(runs):
        live = [r for r in layout.regions if r.size and r.first <= run <= r.last]
        live.sort(key=lambda region: region.base)
        for low, high in zip(live, live[1:], strict=False):
            if low.base + low.size > high.base:
                found.append((low.name, high.name))
    return found


@pytest.mark.evidence("flightllm", "T2")
@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda w: w.phase)
@pytest.mark.parametrize("asked", [(), ("is_fused=false",)])
def test_no_two_live_tensors_overlap(workload: Workload, asked: tuple[str, ...]) -> None:
    program = compiled(workload, "u280", *asked)
    assert overlaps(program.layout, len(program.runs)) == []
    kinds = {region.kind for region in program.layout.regions}
    assert kinds == {"weights", "cache", "activation"}


def test_an_overlap_is_noticed() -> None:
    program = compiled(WORKLOADS[0])
    region = next(r for r in program.layout.regions if r.kind == "cache")
    region.base -= 64
    assert overlaps(program.layout, len(program.runs))


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 5)), max_size=30),
    st.integers(0, 3),
)
@settings(max_examples=50)
def test_places_are_given_away_only_when_free(lives: Any, bottom: int) -> None:
    regions = [
        Region(str(i), "activation", 64 * size, 0, first, first + more)
        for i, (first, more, size) in enumerate(sorted(lives))
    ]
    _first_fit(regions, 64 * bottom)
    assert overlaps(Layout(regions, []), 20) == []
    assert all(region.base >= 64 * bottom for region in regions)


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda w: w.phase)
@pytest.mark.parametrize("preset", ["u280", "vhk158"])
def test_transfers_stay_inside_their_operands(workload: Workload, preset: str) -> None:
    program = compiled(workload, preset)
    for number, run in enumerate(program.runs):
        code = program.code(run)
        moves = code[((code["unit"] == LD) & (code["flags"] & 1 == 0)) | (code["unit"] == ST)]
        assert (moves["operand"] > 0).all(), run.op
        shared = (moves["flags"] & (STRIPED | SPREAD)) > 0
        length = np.where(moves["flags"] & SPREAD > 0, moves["length"] / 8, moves["length"])
        ends = moves["address"] + length + (pieces(moves) - 1) * moves["stride"]
        factor = np.where(moves["flags"] & STRIPED > 0, 8, 1)
        for operand, region in program.layout.operands[number].items():
            mine = moves["operand"] == operand
            assert (moves["address"][mine] >= region.base * factor[mine]).all(), run.op
            room = (region.base + region.size) * factor[mine]
            assert (ends[mine] <= room).all(), (run.op, region)
        assert (moves["channel"][~shared] < 8).all()


def test_programs_of_one_model_agree_on_weights_and_caches() -> None:
    places = []
    for workload in (WORKLOADS[0], WORKLOADS[1], Workload(phase="decode", kv_tokens=2000)):
        regions = compiled(workload).layout.regions
        places.append({r.name: (r.base, r.size) for r in regions if r.kind != "activation"})
    assert places[0] == places[1] == places[2]


def test_a_prompts_keys_are_where_a_step_reads_them() -> None:
    program = compiled(WORKLOADS[2])
    found = {}
    for number, run in enumerate(program.runs):
        regions = program.layout.operands[number]
        if run.op in ("prefill/l1.attn.k", "decode32/l1.attn.scores", "decode48/l1.attn.k.cache"):
            found[run.op] = regions[RESULT if run.op.endswith("k") else CACHE].base
    assert len(found) == 3
    assert len(set(found.values())) == 1


def test_text_shows_addresses_strides_and_buffers() -> None:
    program = compiled(WORKLOADS[1])
    run = next(run for run in program.runs if run.op == "l1.ffn.down")
    lines = disassemble(encode(program.code(run)))
    loads = [line for line in lines if line.startswith("LD")]
    assert all("address=" in line for line in loads)
    # 32 blocks of k, each a piece of one block of 132 bytes out of four columns of them.
    assert any("stride=528" in line and "loop1=32" in line for line in loads)
    assert any(line.startswith("MM") and "b=2048" in line for line in lines)
    assert "address=" in program.disassemble(20)


def product(
    tokens: int, preset: str, nm_n: int = 16
) -> tuple[Any, FlightProgram, dict[str, Any], int]:
    machine = make_machine("flightllm", preset)
    phase = {"phase": "decode", "kv_tokens": 40} if tokens == 1 else {"phase": "prefill"}
    workload = Workload(**phase) if tokens == 1 else Workload(phase="prefill", seq_tokens=tokens)
    graph = llm_graph("tiny", parse_config(TINY), workload)
    rng = np.random.default_rng(tokens)
    name, k, n = "l1.ffn.down", 512, 256
    tensors = {f"{name}.b": rng.integers(-127, 128, (1, k, n)).astype(np.int8)}
    if nm_n < 16:
        graph = prune(graph, NM(nm_n=nm_n, nm_m=16))
        tensors[f"{name}.mask"] = NM(nm_n=nm_n, nm_m=16).sample_mask((k, n), rng)[None]
    inputs = {f"{name}.a": rng.integers(-127, 128, (1, tokens, k)).astype(np.int8)}
    program = machine.lower(graph, map_graph(graph, machine), tensors)
    assert isinstance(program, FlightProgram)
    return machine, program, inputs, next(i for i, r in enumerate(program.runs) if r.op == name)


def is_golden(machine: Any, program: FlightProgram, inputs: dict[str, Any]) -> bool:
    name = "l1.ffn.down"
    found, golden = machine.execute(program, inputs), machine.golden(program, inputs)
    return bool(found[name].tobytes() == golden[name].tobytes())


@pytest.mark.evidence("flightllm", "T1")
@pytest.mark.parametrize("tokens", [1, 150])
@pytest.mark.parametrize(("preset", "nm_n"), [("u280", 16), ("vhk158", 16), ("vhk158", 4)])
def test_products_meet_the_operands_at_their_addresses(tokens: int, preset: str, nm_n: int) -> None:
    machine, program, inputs, _ = product(tokens, preset, nm_n)
    assert is_golden(machine, program, inputs)


_WRONG = [("ld", "address", 64), ("ld", "bank", 8), ("ld", "channel", 1)] + [
    ("matrix", "a", 1),
    ("matrix", "b", 8),
]


@pytest.mark.parametrize(
    ("tokens", "unit", "field", "change"),
    [(1, *wrong) for wrong in _WRONG] + [(150, *wrong) for wrong in (*_WRONG, ("ld", "stride", 4))],
)
def test_a_wrong_field_gives_a_wrong_result(
    tokens: int, unit: str, field: str, change: int
) -> None:
    machine, program, inputs, number = product(tokens, "vhk158")
    code = program.bodies[program.runs[number].body].code
    if unit == "ld":
        is_chosen = (code["unit"] == LD) & (code["operand"] == WEIGHTS)
    else:
        is_chosen = code["unit"] == (MV if tokens == 1 else MM)
    row = np.flatnonzero(is_chosen)[0]
    code[field][row] += -change if code[field][row] >= change else change
    assert not is_golden(machine, program, inputs)


@pytest.mark.parametrize("operand", [WEIGHTS, INPUT])
def test_a_wrong_base_gives_a_wrong_result(operand: int) -> None:
    machine, program, inputs, number = product(1, "u280")
    bases = list(program.runs[number].bases)
    bases[operand] += 64
    program.runs[number] = replace(program.runs[number], bases=tuple(bases))
    assert not is_golden(machine, program, inputs)
