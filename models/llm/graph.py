"""Build the graph of a language model's phase: a prompt, one step, a whole request."""

from __future__ import annotations

from collections import Counter

import numpy as np

from hwsim.core.errors import InputError
from hwsim.core.graph import Op, Operand, OpGraph, Stage, TensorInfo
from models.build import GraphBuilder
from models.llm.config import LlmConfig
from models.llm.layers import Span, add_layer, add_norm
from models.llm.parameters import active_parameters, total_parameters
from models.workload import Workload

__all__ = ["DECODE_BUCKET", "PREFILL_BUCKET", "llm_graph"]

DECODE_BUCKET = 16
PREFILL_BUCKET = 128
"""Contexts and prompts of one bucket share a program (FlightLLM's length-adaptive compilation)."""


def llm_graph(name: str, config: LlmConfig, workload: Workload) -> OpGraph:
    """Return the graph of ``workload``; raise :class:`InputError` naming a flag that is wrong.

    A step's input is the hidden vector of its token and its output the scores of all words:
    embedding and sampling are outside, as on FlightLLM. In a ``request`` the steps whose contexts
    share a bucket are one group of ops, run ``attrs["repeats"]`` times at the bucket's length.
    """
    rng = np.random.default_rng(workload.seed)
    if workload.phase in ("prefill", "infer"):
        tokens = _tokens(workload.seq_tokens, "--seq", config)
        graph = _prompt(name, config, tokens, rng)
    elif config.is_encoder_only:
        raise InputError("--phase", f"prefill for {name}, an encoder", repr(workload.phase))
    elif workload.phase == "decode":
        graph = _step(name, config, _tokens(workload.kv_tokens, "--kv", config), rng)
    elif workload.phase == "request":
        graph = _request(name, config, workload, rng)
    else:
        need = f"prefill, decode or request for {name}"
        raise InputError("--phase", need, repr(workload.phase))
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
        -(-(prompt + i) // DECODE_BUCKET) * DECODE_BUCKET for i in range(1, generate + 1)
    )
    parts = [_relabelled(_prompt(name, config, prompt, rng), "prefill", 1)]
    step = _step(name, config, max(steps), rng)
    parts += [
        _relabelled(_at_context(step, bucket), f"decode{bucket}", steps[bucket])
        for bucket in sorted(steps)
    ]
    return OpGraph(
        name,
        [op for part in parts for op in part.ops()],
        [tensor for part in parts for tensor in part.tensors.values()],
        [tensor for part in parts for tensor in part.inputs],
        [tensor for part in parts for tensor in part.outputs],
    )


def _at_context(step: OpGraph, context: int) -> OpGraph:
    """Return ``step``, a verified graph, at another context; ops are copied unchecked."""
    tensors = dict(step.tensors)

    def resize(name: str, axis: int, extent: int) -> int:
        shape = list(tensors[name].shape)
        shape[axis] = extent
        tensors[name] = TensorInfo.model_construct(
            name=name, shape=tuple(shape), dtype=tensors[name].dtype
        )
        return tensors[name].elems

    def resized(op: Op) -> Op:
        grows = op.attrs.get("grows")
        dims = dict(op.dims)
        if grows == "rows":
            resize(op.inputs[0].tensor, 1, context - 1)
            dims["elems"] = resize(op.output, 1, context)
        elif grows == "k":
            dims["k"] = context
        else:
            elems = resize(op.output, 2, context)
            dims = {**dims, "n": context} if op.is_gemm else {"elems": elems}
        return op.model_copy(update={"dims": dims})

    ops = [resized(op) if "grows" in op.attrs else op for op in step.ops()]
    return OpGraph(step.name, ops, list(tensors.values()), step.inputs, step.outputs)


def _relabelled(graph: OpGraph, prefix: str, repeats: int) -> OpGraph:
    """Return ``graph`` with its names behind ``prefix/`` and its ops marked with ``repeats``."""

    def moved(op: Op) -> Op:
        return Op.model_construct(
            name=f"{prefix}/{op.name}",
            kind=op.kind,
            dims=op.dims,
            inputs=tuple(
                Operand.model_construct(
                    tensor=f"{prefix}/{o.tensor}", role=o.role, pattern=o.pattern
                )
                for o in op.inputs
            ),
            output=f"{prefix}/{op.output}",
            stage=op.stage,
            attrs={**op.attrs, "repeats": repeats},
        )

    return OpGraph(
        graph.name,
        [moved(op) for op in graph.ops()],
        [
            TensorInfo.model_construct(name=f"{prefix}/{t.name}", shape=t.shape, dtype=t.dtype)
            for t in graph.tensors.values()
        ],
        [f"{prefix}/{tensor}" for tensor in graph.inputs],
        [f"{prefix}/{tensor}" for tensor in graph.outputs],
    )
