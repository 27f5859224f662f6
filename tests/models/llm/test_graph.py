"""Check what graphs of language models compute: steps equal prompts, experts, extents."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hwsim.core.errors import InputError
from hwsim.core.graph import OpGraph, Stage
from models.build import with_random_weights
from models.llm.config import LlmConfig, parse_config
from models.llm.graph import llm_graph
from models.llm.presets import CONFIGS
from models.reference import execute as run_graph
from models.workload import Workload

TINY: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 11,
    "max_position_embeddings": 64,
}


def rope(tokens: range, width: int, head_dim: int) -> dict[str, np.ndarray]:
    """Return the tables of positions ``tokens`` (Su et al. 2021)."""
    angles = np.outer(tokens, 10000.0 ** (-np.arange(0, head_dim, 2) / head_dim))
    angles = np.tile(np.concatenate([angles, angles], axis=1), width // head_dim)
    return {f"rope.{f.__name__}.{width}": f(angles)[None].astype("f4") for f in (np.cos, np.sin)}


def tables(config: LlmConfig, tokens: range) -> dict[str, np.ndarray]:
    widths = (config.inner, config.kv_width)
    return rope(tokens, widths[0], config.head_dim) | rope(tokens, widths[1], config.head_dim)


def test_steps_with_a_cache_give_what_the_whole_prompt_gives() -> None:
    config = parse_config(TINY)
    rng = np.random.default_rng(1)
    tokens = 5
    prompt = with_random_weights(
        llm_graph("tiny", config, Workload(phase="prefill", seq_tokens=tokens)), rng
    )
    hidden = rng.standard_normal((1, tokens, config.hidden), dtype=np.float32)
    whole = run_graph(prompt, {"hidden": hidden, **tables(config, range(tokens))})
    for position in range(1, tokens):  # the step at position 0 has no cache to read
        context = position + 1
        step = llm_graph("tiny", config, Workload(phase="decode", kv_tokens=context))
        step.weights.update(prompt.weights)
        inputs = {"hidden": hidden[:, position : position + 1]}
        inputs |= tables(config, range(position, position + 1))
        for name in step.inputs:
            if name.endswith(".cached"):
                part = name.removesuffix(".cached")
                inputs[name] = first_rows(prompt, config, part, hidden, position)
        out = run_graph(step, inputs)["lm_head"]
        np.testing.assert_allclose(out[0, 0], whole["lm_head"][0, position], rtol=2e-4, atol=2e-5)


def first_rows(
    prompt: OpGraph, config: LlmConfig, part: str, hidden: np.ndarray, rows: int
) -> np.ndarray:
    """Return the keys or values [kv_heads, rows, head_dim] that the prompt computes."""
    source = part if part.endswith(".v") else f"{part}.rope"
    graph = OpGraph(
        "part", list(prompt.ops()), list(prompt.tensors.values()), prompt.inputs, [source],
        prompt.weights,
    )  # fmt: skip
    tokens = hidden.shape[1]
    out = run_graph(graph, {"hidden": hidden, **tables(config, range(tokens))})[source]
    return out.reshape(tokens, config.kv_heads, config.head_dim).transpose(1, 0, 2)[:, :rows]


def test_causal_rows_do_not_see_later_tokens() -> None:
    config = parse_config(TINY)
    rng = np.random.default_rng(2)
    graph = with_random_weights(
        llm_graph("tiny", config, Workload(phase="prefill", seq_tokens=4)), rng
    )
    hidden = rng.standard_normal((1, 4, config.hidden), dtype=np.float32)
    later = hidden.copy()
    later[:, 3] += 1
    first, second = (
        run_graph(graph, {"hidden": x, **tables(config, range(4))})["lm_head"]
        for x in (hidden, later)
    )
    np.testing.assert_array_equal(first[:, :3], second[:, :3])
    assert np.abs(first[:, 3] - second[:, 3]).max() > 1e-3


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_every_model_has_a_prompt_and_a_step(name: str) -> None:
    values = {**CONFIGS[name]}
    layers = ("num_hidden_layers", "num_layers", "num_decoder_layers")
    values |= {key: 2 for key in layers if key in values}
    config = parse_config(values)
    for workload in (
        Workload(phase="prefill", seq_tokens=3),
        Workload(phase="decode", kv_tokens=17),
    ):
        graph = llm_graph(name, config, workload)
        graph.verify()
        assert {op.stage for op in graph.ops()} == {Stage(workload.phase)}


def test_a_step_reads_the_experts_it_is_routed_to_and_no_other() -> None:
    config = parse_config(CONFIGS["mixtral-8x7b"])
    graph = llm_graph("mixtral", config, Workload(phase="decode", kv_tokens=9))
    gates = [op.name for op in graph.ops() if op.name.endswith(".gate")]
    assert len(gates) == 2 * config.layers
    other = llm_graph("mixtral", config, Workload(phase="decode", kv_tokens=9, seed=1))
    assert gates != [op.name for op in other.ops() if op.name.endswith(".gate")]


def test_a_request_is_its_prompt_and_the_steps_of_each_bucket() -> None:
    config = parse_config(TINY)
    work = Workload(phase="request", prompt_tokens=14, generate_tokens=20)
    graph = llm_graph("tiny", config, work)
    graph.verify()
    contexts = [14 + i for i in range(1, 21)]
    steps = {op.name.split("/")[0]: op.attrs["joined_steps"] for op in graph.ops()}
    assert steps == {
        "prefill": 1,
        "decode16": sum(c <= 16 for c in contexts),
        "decode32": sum(16 < c <= 32 for c in contexts),
        "decode48": sum(c > 32 for c in contexts),
    }
    alone = llm_graph("tiny", config, Workload(phase="decode", kv_tokens=32))
    for op in alone.ops():
        joined = graph.op(f"decode32/{op.name}")
        counted = "batch" if op.is_gemm else "elems"
        assert joined.dims == {**op.dims, counted: 16 * op.dims[counted]}
        assert joined.macs() == 16 * op.macs()


def test_a_requests_parts_share_their_weights() -> None:
    config = parse_config(TINY)
    request = Workload(phase="request", prompt_tokens=14, generate_tokens=20)
    prompt = Workload(phase="prefill", seq_tokens=14)
    joined, alone = (llm_graph("tiny", config, work).totals() for work in (request, prompt))
    assert joined["weight_elems"] == alone["weight_elems"]


@pytest.mark.parametrize(
    ("workload", "field"),
    [
        (Workload(phase="prefill", seq_tokens=65), "--seq"),
        (Workload(phase="prefill"), "--seq"),
        (Workload(phase="decode"), "--kv"),
        (Workload(phase="request", prompt_tokens=4), "--generate"),
        (Workload(phase="request", prompt_tokens=60, generate_tokens=5), "--generate"),
        (Workload(phase="train"), "--phase"),
    ],
)
def test_lengths_beyond_the_model_are_refused(workload: Workload, field: str) -> None:
    with pytest.raises(InputError) as caught:
        llm_graph("tiny", parse_config(TINY), workload)
    assert caught.value.field == field
