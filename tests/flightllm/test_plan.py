"""Check which ops become layers, fused and not."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from hwsim.core.graph import OpGraph
from hwsim.core.machine import make_machine
from hwsim.core.result import Result
from hwsim.flightllm.isa import LD, MISC, ST
from hwsim.flightllm.lower import FlightProgram
from hwsim.flightllm.plan import plan_layers
from hwsim.flightllm.spec import PRESETS, FlightSpec
from mappers.greedy import map_graph
from models.llm.config import parse_config
from models.llm.graph import llm_graph
from models.workload import Workload
from tests.flightllm.test_trace import TINY

FUSED = PRESETS["u280"]
assert isinstance(FUSED, FlightSpec)
UNFUSED = FUSED.model_copy(update={"is_fused": False})
STEP = Workload(phase="decode", kv_tokens=40)
PROMPT = Workload(phase="prefill", seq_tokens=130)


WIDE = TINY | {"hidden_size": 1536, "intermediate_size": 3072, "num_attention_heads": 12}
"""Columns fill groups of 512 and three cores' shares of them."""


def graph(workload: Workload = STEP) -> OpGraph:
    return llm_graph("wide", parse_config(WIDE), workload)


def run(workload: Workload, *settings: str) -> tuple[FlightProgram, Result]:
    machine = make_machine("flightllm", "u280", settings=settings)
    g = graph(workload)
    program = machine.lower(g, map_graph(g, machine))
    assert isinstance(program, FlightProgram)
    return program, machine.run(program)


def kinds(spec: FlightSpec, workload: Workload = STEP) -> Counter[str]:
    return Counter(one.layer.kind for one in plan_layers(graph(workload), spec))


def test_a_fused_step_has_no_layer_of_element_wise_ops() -> None:
    # Two layers of q, k, v, o, gate, up, down and the head; two norms each and one at the end.
    assert kinds(FUSED) == {"linear": 15, "norm": 5, "cache": 4, "scores": 2, "mix": 2}


def test_unfused_every_op_is_a_layer() -> None:
    # Per layer: three ops of rotary embedding for q and for k, two residuals, SiLU, its product.
    more = {"softmax": 2, "eltwise": 2 * (3 + 3 + 2 + 2)}
    assert kinds(UNFUSED) == kinds(FUSED) + Counter(more)


@pytest.mark.parametrize("workload", [STEP, PROMPT])
def test_fusion_saves_traffic_and_cycles(workload: Workload) -> None:
    _, fused = run(workload)
    _, unfused = run(workload, "is_fused=false")
    assert unfused.cycles > fused.cycles
    for direction in ("read", "write"):
        assert unfused.stats.bytes["dram"][direction] > fused.stats.bytes["dram"][direction]
    unfused.check()


def test_unfused_vectors_pass_through_memory() -> None:
    program, _ = run(STEP, "is_fused=false")
    for one in program.runs:
        code = program.bodies[one.body].code
        if one.layer.kind in ("norm", "eltwise", "softmax"):
            units = code["unit"].tolist()
            first = units.index(MISC)
            assert LD in units[:first], one.op
            assert ST in units[first:], one.op
    add = next(one for one in program.runs if one.op == "l0.ffn.residual")
    # Both operands, a third of 1536 elements each: what one of three cores does.
    loads = program.bodies[add.body].code
    assert loads["length"][loads["unit"] == LD].tolist() == [512, 512]


def test_scores_without_their_softmax_end_with_the_products() -> None:
    program, _ = run(STEP, "is_fused=false")
    scores = next(one for one in program.runs if one.layer.kind == "scores")
    counts = np.bincount(program.bodies[scores.body].code["unit"], minlength=6)
    assert counts[MISC] == 0


def test_queries_and_keys_keep_the_published_share() -> None:
    machine = make_machine("flightllm", "u280")
    adapted = machine.adapt(graph())
    kept = {op.name: op.useful_macs() / op.macs() for op in adapted.ops() if op.is_gemm}
    sparse = {name for name, share in kept.items() if share < 1}
    assert sparse == {f"l{layer}.attn.{part}" for layer in (0, 1) for part in "qk"}
    assert kept["l0.attn.q"] == pytest.approx(0.7, abs=1e-6)
    result = machine.run(machine.lower(adapted, map_graph(adapted, machine)))
    assert result.stats.useful_macs < result.stats.macs
    for layer in result.layers:
        assert layer.useful_macs <= layer.issued_macs, layer.name
    dense = make_machine("flightllm", "u280", settings=["query_key_percent=100"])
    assert dense.adapt(graph()).totals() == graph().totals()
