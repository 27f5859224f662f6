"""Append the layers of a transformer language model to a graph, for prompts and single steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwsim.core.graph import OpKind
from hwsim.core.units import ceil_div
from models.build import GraphBuilder
from models.llm.config import LlmConfig, MoeConfig

__all__ = ["Span", "add_layer", "add_norm"]


@dataclass(frozen=True)
class Span:
    """How many tokens run through the layers, and how many they can attend to.

    A prompt has ``tokens`` = ``context`` and is masked if ``is_causal``; a step of decoding has
    one token that attends to ``context`` tokens, itself included, the others from the cache.
    Which extent of an op is the context is noted in its ``attrs["grows"]``.
    """

    tokens: int
    context: int
    is_causal: bool = False


def add_layer(
    b: GraphBuilder,
    config: LlmConfig,
    name: str,
    layer: int,
    x: str,
    span: Span,
    *,
    rng: np.random.Generator,
    is_crossed: bool = False,
) -> str:
    """Append one transformer layer ``name`` to ``x`` [1, tokens, hidden]; return its output.

    ``is_crossed`` adds attention to the ``context`` tokens of an encoder, whose keys and values
    are graph inputs. ``rng`` draws the experts that are routed to.
    """
    if config.is_encoder_only:  # normalised after each residual sum, as BERT is
        y = _attention(b, config, f"{name}.attn", x, x, span)
        x = add_norm(b, config, f"{name}.attn_norm", y)
        y = _ffn(b, config, f"{name}.ffn", x, config.ffn, residual=x)
        return add_norm(b, config, f"{name}.ffn_norm", y)
    h = add_norm(b, config, f"{name}.attn_norm", x)
    x = _attention(b, config, f"{name}.attn", h, x, span)
    if is_crossed:
        h = add_norm(b, config, f"{name}.cross_norm", x)
        x = _attention(b, config, f"{name}.cross", h, x, span, is_crossed=True)
    h = add_norm(b, config, f"{name}.ffn_norm", x)
    if config.moe is not None and config.moe.is_routed(layer):
        return _routed(b, config, config.moe, f"{name}.moe", h, x, rng)
    return _ffn(b, config, f"{name}.ffn", h, config.ffn, residual=x)


def add_norm(b: GraphBuilder, config: LlmConfig, name: str, x: str) -> str:
    """Append the model's normalisation of the last axis."""
    if config.norm == "layer":
        return b.layer_norm(name, x, config.epsilon)
    shape = b.shape(x)
    scale = b.weight(f"{name}.weight", shape[-1:])
    attrs = {"function": "rms", "axis": len(shape) - 1, "epsilon": config.epsilon}
    return b.add(OpKind.NORMALIZATION, name, [x, scale], shape, attrs=attrs)


def _attention(
    b: GraphBuilder,
    config: LlmConfig,
    name: str,
    h: str,
    residual: str,
    span: Span,
    *,
    is_crossed: bool = False,
) -> str:
    """Append attention of ``h``, its output projection and the residual sum."""
    q = b.linear(f"{name}.q", h, config.inner, bias=config.qkv_bias)
    if config.has_rope:
        q = _rotate(b, config, f"{name}.q", q)
    shape = (config.kv_heads, span.context, config.head_dim)
    if is_crossed:
        keys, values = (b.input(f"{name}.{part}_encoded", shape) for part in "kv")
    else:
        keys = b.linear(f"{name}.k", h, config.kv_width, bias=config.qkv_bias)
        if config.has_rope:
            keys = _rotate(b, config, f"{name}.k", keys)
        values = b.linear(f"{name}.v", h, config.kv_width, bias=config.qkv_bias)
        keys = _cached(b, config, f"{name}.k", keys, span)
        values = _cached(b, config, f"{name}.v", values, span)
    group = config.heads // config.kv_heads
    q = _split(b, f"{name}.q", q, config.heads, config.head_dim)
    q = b.reshape(f"{name}.q.grouped", q, (config.kv_heads, group * span.tokens, config.head_dim))
    facts = {"heads": config.heads, "is_causal": span.is_causal, "grows": "n"}
    rows = group * span.tokens
    dims = {"batch": config.kv_heads, "m": rows, "k": config.head_dim, "n": span.context}
    scores = b.add(
        OpKind.MATMUL,
        f"{name}.scores",
        [q, keys],
        (config.kv_heads, rows, span.context),
        dims=dims,
        attrs={"transpose_b": True, **facts},
    )
    attrs: dict[str, Any] = {
        "axes": [2],
        "scale": config.head_dim**-0.5,
        "is_causal": span.is_causal,
    }
    attrs["grows"] = "n"
    if config.is_encoder_decoder:
        attrs["scale"] = 1.0  # T5 folds it into the initial weights
    shares = b.add(OpKind.SOFTMAX, f"{name}.softmax", [scores], b.shape(scores), attrs=attrs)
    dims = {"batch": config.kv_heads, "m": rows, "k": span.context, "n": config.head_dim}
    mixed = b.add(
        OpKind.MATMUL,
        f"{name}.mix",
        [shares, values],
        (config.kv_heads, rows, config.head_dim),
        dims=dims,
        attrs={**facts, "grows": "k"},
    )
    mixed = b.reshape(f"{name}.heads", mixed, (config.heads, span.tokens, config.head_dim))
    if span.tokens > 1:
        mixed = b.transpose(f"{name}.joined", mixed, (1, 0, 2))
    mixed = b.reshape(f"{name}.mixed", mixed, (1, span.tokens, config.inner))
    out = b.linear(f"{name}.o", mixed, config.hidden, bias=config.o_bias)
    return b.elementwise(f"{name}.residual", "add", out, residual)


def _rotate(b: GraphBuilder, config: LlmConfig, name: str, x: str) -> str:
    """Append rotary position embedding: x cos + rotate_half(x) sin, tables as graph inputs."""
    shape = b.shape(x)
    tables = []
    for table in ("cos", "sin"):
        tensor = f"rope.{table}.{shape[-1]}"
        tables.append(tensor if tensor in b.tensors else b.input(tensor, shape))
    turned = b.elementwise(
        f"{name}.rope_sin", "rotate_half_mul", x, tables[1], head_dim=config.head_dim
    )
    kept = b.elementwise(f"{name}.rope_cos", "mul", x, tables[0])
    return b.elementwise(f"{name}.rope", "add", kept, turned)


def _split(b: GraphBuilder, name: str, x: str, heads: int, head_dim: int) -> str:
    """Return ``x`` [1, tokens, heads * head_dim] as [heads, tokens, head_dim]."""
    tokens = b.shape(x)[1]
    if tokens == 1:
        return b.reshape(f"{name}.split", x, (heads, 1, head_dim))
    x = b.reshape(f"{name}.split", x, (tokens, heads, head_dim))
    return b.transpose(f"{name}.turned", x, (1, 0, 2))


def _cached(b: GraphBuilder, config: LlmConfig, name: str, x: str, span: Span) -> str:
    """Return keys or values [kv_heads, context, head_dim]: of the prompt, or cache and new row."""
    x = _split(b, name, x, config.kv_heads, config.head_dim)
    if span.context == span.tokens:
        return x
    old = (config.kv_heads, span.context - span.tokens, config.head_dim)
    shape = (config.kv_heads, span.context, config.head_dim)
    operands = [b.input(f"{name}.cached", old), x]
    return b.add(
        OpKind.CONCAT, f"{name}.cache", operands, shape, attrs={"axis": 1, "grows": "rows"}
    )


def _ffn(
    b: GraphBuilder,
    config: LlmConfig,
    name: str,
    h: str,
    width: int,
    *,
    residual: str | None = None,
) -> str:
    """Append a feed-forward network, gated or not, and the residual sum if there is one."""
    function = {"gelu_new": "gelu_tanh"}.get(config.activation, config.activation)
    first = b.linear(f"{name}.gate", h, width, bias=config.has_bias)
    x = b.elementwise(f"{name}.act", function, first)
    if config.is_gated:
        up = b.linear(f"{name}.up", h, width, bias=config.has_bias)
        x = b.elementwise(f"{name}.mul", "mul", up, x)
    x = b.linear(f"{name}.down", x, config.hidden, bias=config.has_bias)
    return x if residual is None else b.elementwise(f"{name}.residual", "add", x, residual)


def _routed(
    b: GraphBuilder,
    config: LlmConfig,
    moe: MoeConfig,
    name: str,
    h: str,
    residual: str,
    rng: np.random.Generator,
) -> str:
    """Append router, the experts that some token is routed to, shared experts and the sum.

    A prompt's tokens are spread evenly over its experts; which ones they are is drawn from ``rng``.
    Choices are numbered from all tokens' first to all tokens' last: an expert takes ``each`` of
    them, so that a choice's number is its row in the experts' joined results.
    """
    tokens = b.shape(h)[1]
    shares = b.softmax(f"{name}.softmax", b.linear(f"{name}.router", h, moe.experts, bias=False))
    active = min(moe.experts, tokens * moe.top_k)
    chosen = sorted(int(e) for e in rng.choice(moe.experts, active, replace=False))
    each = ceil_div(tokens * moe.top_k, active)
    results = []
    for index, expert in enumerate(chosen):
        x, share = h, b.slice(f"{name}.share{expert}", shares, -1, expert, 1)
        if each != tokens:
            x = _pick(b, f"{name}.tokens{expert}", h, each, index * each)
            share = _pick(b, f"{name}.shares{expert}", share, each, index * each)
        y = _ffn(b, config, f"{name}.e{expert}", x, moe.ffn)
        results.append(b.elementwise(f"{name}.weighted{expert}", "mul", y, share))
    if tokens > 1:
        joined = b.concat(f"{name}.experts", results, 1)
        results = [
            _pick(b, f"{name}.back{i}", joined, tokens, i * tokens) for i in range(moe.top_k)
        ]
    if moe.shared_ffn:
        results.append(_shared(b, config, moe, name, h))
    return _sum(b, name, residual, results)


def _shared(b: GraphBuilder, config: LlmConfig, moe: MoeConfig, name: str, h: str) -> str:
    y = _ffn(b, config, f"{name}.shared", h, moe.shared_ffn)
    if not moe.has_shared_gate:
        return y
    gate = b.linear(f"{name}.shared_gate", h, 1, bias=False)
    gate = b.elementwise(f"{name}.shared_sigmoid", "sigmoid", gate)
    return b.elementwise(f"{name}.shared_weighted", "mul", y, gate)


def _sum(b: GraphBuilder, name: str, residual: str, results: Sequence[str]) -> str:
    for index, y in enumerate(results):
        residual = b.elementwise(f"{name}.sum{index}", "add", y, residual)
    return residual


def _pick(b: GraphBuilder, name: str, x: str, tokens: int, first: int) -> str:
    """Append a gather of ``tokens`` rows of [1, rows, width] from ``first`` on, going round."""
    shape = (1, tokens, b.shape(x)[2])
    return b.add(OpKind.GATHER, name, [x], shape, attrs={"axis": 1, "first": first})
