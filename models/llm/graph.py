"""Build the graph of a language model's phase: a prompt, one step, a whole request."""

from __future__ import annotations

from collections import Counter

import numpy as np

from hwsim.core.errors import InputError
from hwsim.core.graph import OpGraph, Stage
from hwsim.core.units import ceil_div
from models.build import GraphBuilder
from models.llm.config import LlmConfig
from models.llm.layers import Span, add_layer, add_norm
from models.llm.parameters import active_parameters, total_parameters
from models.llm.request import request_graph
from models.workload import PhaseError, Workload

__all__ = ["DECODE_BUCKET", "PREFILL_BUCKET", "llm_graph"]

DECODE_BUCKET = 16
PREFILL_BUCKET = 128
"""Contexts and prompts of one bucket share a program (FlightLLM's length-adaptive compilation)."""


def llm_graph(name: str, config: LlmConfig, workload: Workload) -> OpGraph:
    """Return the graph of ``workload``; raise :class:`InputError` naming a flag that is wrong.

    A step's input is the hidden vector of its token and its output the scores of all words:
    embedding and sampling are outside, as on FlightLLM. In a ``request`` an op stands for all steps
    whose contexts share a bucket (see :mod:`models.llm.request`).
    """
    rng = np.random.default_rng(workload.seed)
    if workload.phase == "prefill":
        tokens = _tokens(workload.seq_tokens, "--seq", config)
        graph = _prompt(name, config, tokens, rng)
    elif config.is_encoder_only:
        raise PhaseError(f"{name}, an encoder", ("prefill",), workload.phase)
    elif workload.phase == "decode":
        graph = _step(name, config, _tokens(workload.kv_tokens, "--kv", config), rng)
    elif workload.phase == "request":
        graph = _request(name, config, workload, rng)
    else:
        raise PhaseError(name, ("prefill", "decode", "request"), workload.phase)
    graph.notes.append(
        f"{total_parameters(config)} parameters, {active_parameters(config)} met by a token"
    )
    if config.moe is not None:
        graph.notes.append("experts routed to are drawn by --seed, a prompt's tokens evenly spread")
    if config.relative_buckets:
        graph.notes.append("relative position biases are left out")
    return graph


def _tokens(tokens: int | None, flag: str, config: LlmConfig) -> int:
    if tokens is None:
        raise InputError(flag, "a number of tokens", "none")
    if not 1 <= tokens <= config.max_tokens:
        raise InputError(flag, f"1 to {config.max_tokens} tokens of this model", str(tokens))
    return tokens


def _prompt(name: str, config: LlmConfig, tokens: int, rng: np.random.Generator) -> OpGraph:
    b = GraphBuilder(name)
    has_encoder = config.encoder_layers > 0
    is_causal = not (config.is_encoder_only or has_encoder)
    span = Span(tokens, tokens, is_causal=is_causal)
    x = b.input("hidden", (1, tokens, config.hidden))
    for layer in range(config.encoder_layers or config.layers):
        x = add_layer(b, config, f"l{layer}", layer, x, span, rng=rng)
    if not config.is_encoder_only:
        x = add_norm(b, config, "norm", x)
        if not has_encoder:
            x = b.linear("lm_head", x, config.vocab, bias=False)
    return _staged(b.build([x]), Stage.PREFILL)


def _step(name: str, config: LlmConfig, context: int, rng: np.random.Generator) -> OpGraph:
    b = GraphBuilder(name)
    x = b.input("hidden", (1, 1, config.hidden))
    for layer in range(config.layers):
        crossed = config.is_encoder_decoder
        x = add_layer(
            b, config, f"l{layer}", layer, x, Span(1, context), rng=rng, is_crossed=crossed
        )
    x = add_norm(b, config, "norm", x)
    x = b.linear("lm_head", x, config.vocab, bias=False)
    return _staged(b.build([x]), Stage.DECODE)


def _staged(graph: OpGraph, stage: Stage) -> OpGraph:
    return graph.replace(ops=[op.model_copy(update={"stage": stage}) for op in graph.ops()])


def _request(name: str, config: LlmConfig, workload: Workload, rng: np.random.Generator) -> OpGraph:
    prompt = _tokens(workload.prompt_tokens, "--prompt", config)
    generate = _tokens(workload.generate_tokens, "--generate", config)
    if prompt + generate > config.max_tokens:
        need = f"at most {config.max_tokens} tokens with --prompt {prompt}"
        raise InputError("--generate", need, str(generate))
    steps = Counter(
        ceil_div(prompt + i, DECODE_BUCKET) * DECODE_BUCKET for i in range(1, generate + 1)
    )
    read = _prompt(name, config, prompt, rng)
    step = _step(name, config, max(steps), rng)
    return request_graph(read, step, steps, shares_weights=not config.is_encoder_decoder)
