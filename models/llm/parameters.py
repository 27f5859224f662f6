"""Count the parameters of a language model, all of them and those that one token meets."""

from __future__ import annotations

from models.llm.config import LlmConfig, MoeConfig

__all__ = ["active_parameters", "expert_parameters", "total_parameters"]


def total_parameters(config: LlmConfig) -> int:
    """Return every parameter, tied tables once."""
    return _count(config, is_active=False)


def active_parameters(config: LlmConfig) -> int:
    """Return the parameters that one token meets: ``top_k`` routed experts instead of all."""
    return _count(config, is_active=True)


def expert_parameters(config: LlmConfig) -> int:
    """Return the parameters of all routed experts (0 without experts)."""
    if config.moe is None:
        return 0
    layers = [*range(config.layers)] + [*range(config.encoder_layers)]
    routed = sum(config.moe.is_routed(layer) for layer in layers)
    return routed * config.moe.experts * _ffn(config, config.moe.ffn)


def _count(config: LlmConfig, *, is_active: bool) -> int:
    tables = config.vocab * (1 if config.is_tied else 2)
    total = (tables + config.position_rows + config.token_types) * config.hidden
    for layer in range(config.layers):
        attentions = 2 if config.is_encoder_decoder else 1
        total += _layer(config, layer, attentions, is_active)
    for layer in range(config.encoder_layers):
        total += _layer(config, layer, 1, is_active)
    stacks = 2 if config.encoder_layers else 1
    total += stacks * _norm(config)  # final, or BERT's in front of the first layer
    return total + stacks * config.relative_buckets * config.heads


def _norm(config: LlmConfig) -> int:
    return config.hidden * (2 if config.norm == "layer" else 1)


def _layer(config: LlmConfig, layer: int, attentions: int, is_active: bool) -> int:
    moe = config.moe if config.moe is not None and config.moe.is_routed(layer) else None
    ffn = _ffn(config, config.ffn) if moe is None else _routed(config, moe, is_active)
    return attentions * (_attention(config) + _norm(config)) + ffn + _norm(config)


def _attention(config: LlmConfig) -> int:
    weights = 2 * config.hidden * (config.inner + config.kv_width)
    biases = (config.inner + 2 * config.kv_width) * config.qkv_bias
    return weights + biases + config.hidden * config.o_bias


def _ffn(config: LlmConfig, width: int) -> int:
    matrices = 3 if config.is_gated else 2
    return matrices * config.hidden * width + (width + config.hidden) * config.has_bias


def _routed(config: LlmConfig, moe: MoeConfig, is_active: bool) -> int:
    count = moe.top_k if is_active else moe.experts
    shared = _ffn(config, moe.shared_ffn) if moe.shared_ffn else 0
    gate = config.hidden * (moe.experts + moe.has_shared_gate)
    return count * _ffn(config, moe.ffn) + shared + gate
