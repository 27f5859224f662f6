"""Check counted programs against compiled ones."""

from __future__ import annotations

import numpy as np
import pytest

from hwsim.core.machine import make_machine
from hwsim.flightllm.isa import MM, MV, UNITS, program_bytes
from hwsim.flightllm.lower import FlightProgram, layer_body
from hwsim.flightllm.plan import Layer
from hwsim.flightllm.spec import PRESETS, FlightSpec
from hwsim.flightllm.storage import at_length, layer_counts, product_cycles, storage_of_lengths
from hwsim.flightllm.timing import play_body
from mappers.greedy import map_graph
from models.llm.config import parse_config
from models.llm.graph import llm_graph
from models.workload import Workload
from tests.flightllm.test_trace import TINY

SPEC = PRESETS["vhk158"]
assert isinstance(SPEC, FlightSpec)


def program(workload: Workload) -> FlightProgram:
    machine = make_machine("flightllm", "vhk158")
    graph = llm_graph("tiny", parse_config(TINY), workload)
    compiled = machine.lower(graph, map_graph(graph, machine))
    assert isinstance(compiled, FlightProgram)
    return compiled


def size(workload: Workload) -> int:
    counts = program(workload).counts().tolist()
    return program_bytes(dict(zip(UNITS, counts, strict=True)))


@pytest.mark.parametrize(
    "layer",
    [
        Layer("linear", 1, k=688, n=1280, functions=("mul",), operands=1),
        Layer("scores", 1, k=128, n=1040, heads=8, group=2, context=1040, functions=("softmax",)),
        Layer("linear", 640, k=256, n=64, functions=("mul",), operands=1),
        Layer(
            "scores",
            256,
            k=128,
            n=256,
            heads=5,
            context=256,
            functions=("softmax",),
            is_causal=True,
        ),
        Layer("norm", 384, n=512, function="rmsnorm"),
    ],
)
def test_counting_a_layer_is_compiling_it(layer: Layer) -> None:
    body = layer_body(layer, 1, SPEC)
    assert layer_counts(layer, SPEC).tolist() == body.counts().tolist()
    assert product_cycles(layer, SPEC) == play_body(body).busy[MV if layer.tokens == 1 else MM]


def test_lengths_move_contexts_and_a_prompts_rows() -> None:
    scores = Layer("scores", 1, k=64, n=16, heads=2, context=16)
    assert at_length(scores, 48) == Layer("scores", 1, k=64, n=48, heads=2, context=48)
    linear = Layer("linear", 1, k=64, n=16)
    assert at_length(linear, 48) == linear
    assert at_length(Layer("linear", 128, k=64, n=16), 384).tokens == 384


def test_all_lengths_are_the_sum_of_their_buckets() -> None:
    spec = SPEC.model_copy(update={"max_tokens": 256})
    steps = [size(Workload(phase="decode", kv_tokens=kv)) for kv in range(16, 257, 16)]
    prompts = [size(Workload(phase="prefill", seq_tokens=seq)) for seq in (128, 256)]
    step = [run.layer for run in program(Workload(phase="decode", kv_tokens=100)).runs]
    prompt = [run.layer for run in program(Workload(phase="prefill", seq_tokens=5)).runs]
    assert storage_of_lengths(step, prompt, spec) == {
        "max_tokens": 256,
        "steps_bytes": sum(steps),
        "prompts_bytes": sum(prompts),
        "one_per_length_bytes": 4 * (16 * sum(steps) + 128 * sum(prompts)),
        "bucketed_bytes": 4 * (sum(steps) + sum(prompts)),
        "shared_bytes": sum(steps) + sum(prompts),
    }


def test_counts_are_whole_numbers() -> None:
    assert layer_counts(Layer("norm", 1, n=512, function="rmsnorm"), SPEC).dtype == np.int64
