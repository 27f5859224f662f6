"""Read a Hugging Face ``config.json`` into the shape of a language model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwsim.core.errors import InputError, reason_of, unknown_name

__all__ = ["LlmConfig", "MoeConfig", "parse_config", "read_config"]

MAX_CONFIG_BYTES = 1 << 20
"""A configuration is some kilobytes; anything larger is not one."""


@dataclass(frozen=True)
class MoeConfig:
    """Routed feed-forward experts of a layer.

    ``experts`` of width ``ffn`` of which ``top_k`` run per token; ``shared_ffn`` is the width of
    the experts that every token passes (0: none), behind a sigmoid gate if ``has_shared_gate``.
    Layer i is routed if i >= ``first`` and (i - ``offset``) is a multiple of ``step``.
    """

    experts: int
    top_k: int
    ffn: int
    shared_ffn: int = 0
    has_shared_gate: bool = False
    first: int = 0
    step: int = 1
    offset: int = 0

    def is_routed(self, layer: int) -> bool:
        """Return whether ``layer`` has experts."""
        return layer >= self.first and (layer - self.offset) % self.step == 0


@dataclass(frozen=True)
class LlmConfig:
    """Shape of a transformer language model; extents in elements."""

    family: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int
    max_tokens: int
    activation: str = "silu"
    is_gated: bool = True
    norm: str = "rms"
    epsilon: float = 1e-5
    has_rope: bool = True
    rope_theta: float = 10000.0
    qkv_bias: bool = False
    o_bias: bool = False
    has_bias: bool = False
    is_tied: bool = False
    position_rows: int = 0
    token_types: int = 0
    encoder_layers: int = 0
    moe: MoeConfig | None = None
    relative_buckets: int = 0

    @property
    def inner(self) -> int:
        """Return the width of queries."""
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Return the width of keys, and of values."""
        return self.kv_heads * self.head_dim

    @property
    def is_encoder_decoder(self) -> bool:
        """Return whether a decoder attends to the output of an encoder."""
        return self.family == "switch_transformers"

    @property
    def is_encoder_only(self) -> bool:
        """Return whether there is nothing to generate."""
        return self.family == "bert"

    def kv_bytes_per_token(self, element_bytes: int = 1) -> int:
        """Return the bytes that keys and values of one token take over all layers."""
        return 2 * self.layers * self.kv_width * element_bytes


def read_config(path: Path) -> LlmConfig:
    """Return the configuration in ``path``; raise :class:`InputError` naming file or key."""
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise InputError(str(path), f"at most {MAX_CONFIG_BYTES} bytes", "more")
        values = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError("model", "a readable config.json", f"{path}: {reason_of(error)}") from None
    if not isinstance(values, dict):
        raise InputError("model", "a JSON object in config.json", type(values).__name__)
    return parse_config(values)


def parse_config(values: Mapping[str, Any]) -> LlmConfig:
    """Return the shape described by the keys of a ``config.json``.

    Raises :class:`InputError` naming a key that is missing or of a wrong value, or the
    architecture if it is none of the known ones.
    """
    keys = _Keys(values)
    family = values.get("model_type")
    if family == "mistral" and "num_experts" in values:
        family = "mixtral"  # early copies of Mixtral's configuration
    if not isinstance(family, str):
        raise InputError("config.model_type", f"one of {', '.join(_FAMILIES)}", repr(family))
    if family not in _FAMILIES:
        raise unknown_name("config.model_type", family, _FAMILIES)
    config = _FAMILIES[family](keys)
    if config.heads % config.kv_heads:
        need = f"a divisor of {config.heads} heads"
        raise InputError("config.num_key_value_heads", need, str(config.kv_heads))
    return config


MAX_LAYERS = 1024
"""Layers that a graph is built for; the deepest models have fewer than 200."""
MAX_EXTENT = 1 << 24
"""Of any other count."""


class _Keys:
    """The keys of a configuration, checked as they are asked for."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values

    def count(self, *names: str, default: int | None = None, least: int = 1) -> int:
        """Return the positive integer under the first of ``names`` that is there."""
        name = next((n for n in names if self.values.get(n) is not None), None)
        if name is None:
            if default is None:
                raise InputError(f"config.{names[0]}", "a value", "none")
            return default
        value = self.values[name]
        most = MAX_LAYERS if name.endswith("_layers") else MAX_EXTENT
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise InputError(f"config.{name}", f"an integer, {least} to {most}", repr(value))
        return value

    def flag(self, name: str, default: bool) -> bool:
        value = self.values.get(name, default)
        if not isinstance(value, bool):
            raise InputError(f"config.{name}", "true or false", repr(value))
        return value

    def number(self, name: str, default: float) -> float:
        value = self.values.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e12:
            raise InputError(f"config.{name}", "a positive number", repr(value))
        return float(value)

    def word(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        value = self.values.get(name, default)
        if value not in choices:
            raise InputError(f"config.{name}", f"one of {', '.join(choices)}", repr(value))
        return str(value)


_ACTIVATIONS = ("silu", "relu", "gelu", "gelu_new")


def _decoder(keys: _Keys, family: str, **more: Any) -> LlmConfig:
    """Return a decoder with the keys that LLaMA introduced."""
    hidden, heads = keys.count("hidden_size"), keys.count("num_attention_heads")
    if keys.flag("mlp_bias", False):
        raise InputError("config.mlp_bias", "false", "true")
    if "head_dim" not in keys.values and hidden % heads:
        raise InputError("config.num_attention_heads", f"a divisor of {hidden}", str(heads))
    values: dict[str, Any] = {
        "hidden": hidden,
        "layers": keys.count("num_hidden_layers"),
        "heads": heads,
        "kv_heads": keys.count("num_key_value_heads", default=heads),
        "head_dim": keys.count("head_dim", default=max(1, hidden // heads)),
        "ffn": keys.count("intermediate_size"),
        "vocab": keys.count("vocab_size"),
        "max_tokens": keys.count("max_position_embeddings", default=2048),
        "activation": keys.word("hidden_act", "silu", _ACTIVATIONS),
        "epsilon": keys.number("rms_norm_eps", 1e-6),
        "rope_theta": keys.number("rope_theta", 10000.0),
        "qkv_bias": keys.flag("attention_bias", False),
        "o_bias": keys.flag("attention_bias", False),
        "is_tied": keys.flag("tie_word_embeddings", False),
    }
    return LlmConfig(family, **(values | more))


def _window(keys: _Keys, *, is_used: bool = True) -> int:
    """Return the longest context: no attention window, where there is one, is ever exceeded."""
    most = keys.count("max_position_embeddings", default=2048)
    return min(most, keys.count("sliding_window", default=most)) if is_used else most


def _mistral(keys: _Keys) -> LlmConfig:
    return _decoder(keys, "mistral", max_tokens=_window(keys))


def _qwen2(keys: _Keys) -> LlmConfig:
    longest = _window(keys, is_used=keys.flag("use_sliding_window", False))
    return _decoder(keys, "qwen2", qkv_bias=True, o_bias=False, max_tokens=longest)


def _opt(keys: _Keys) -> LlmConfig:
    hidden, heads = keys.count("hidden_size"), keys.count("num_attention_heads")
    if keys.count("word_embed_proj_dim", default=hidden) != hidden:
        found = str(keys.values["word_embed_proj_dim"])
        raise InputError("config.word_embed_proj_dim", f"hidden_size {hidden}", found)
    positions = keys.count("max_position_embeddings", default=2048)
    if not keys.flag("do_layer_norm_before", True):
        raise InputError("config.do_layer_norm_before", "true", "false")
    return LlmConfig(
        "opt",
        hidden=hidden,
        layers=keys.count("num_hidden_layers"),
        heads=heads,
        kv_heads=heads,
        head_dim=_whole(hidden, heads),
        ffn=keys.count("ffn_dim"),
        vocab=keys.count("vocab_size"),
        max_tokens=positions,
        activation=keys.word("activation_function", "relu", _ACTIVATIONS),
        is_gated=False,
        norm="layer",
        has_rope=False,
        qkv_bias=keys.flag("enable_bias", True),
        o_bias=keys.flag("enable_bias", True),
        has_bias=keys.flag("enable_bias", True),
        is_tied=keys.flag("tie_word_embeddings", True),
        position_rows=positions + 2,  # OPT's table begins at position 2
    )


def _whole(hidden: int, heads: int) -> int:
    if hidden % heads:
        raise InputError("config.num_attention_heads", f"a divisor of {hidden}", str(heads))
    return hidden // heads


def _routed(keys: _Keys, experts: int, **more: Any) -> MoeConfig:
    top_k = keys.count("num_experts_per_tok", "num_experts_per_token")
    if top_k > experts:
        raise InputError("config.num_experts_per_tok", f"at most {experts} experts", str(top_k))
    return MoeConfig(experts, top_k, **more)


def _mixtral(keys: _Keys) -> LlmConfig:
    experts = keys.count("num_local_experts", "num_experts")
    moe = _routed(keys, experts, ffn=keys.count("intermediate_size"))
    return _decoder(keys, "mixtral", moe=moe)


def _deepseek(keys: _Keys) -> LlmConfig:
    width = keys.count("moe_intermediate_size")
    moe = _routed(
        keys,
        keys.count("n_routed_experts"),
        ffn=width,
        shared_ffn=width * keys.count("n_shared_experts", default=0, least=0),
        first=keys.count("first_k_dense_replace", default=0, least=0),
        step=keys.count("moe_layer_freq", default=1),
    )
    return _decoder(keys, "deepseek", moe=moe)


def _qwen2_moe(keys: _Keys) -> LlmConfig:
    moe = _routed(
        keys,
        keys.count("num_experts"),
        ffn=keys.count("moe_intermediate_size"),
        shared_ffn=keys.count("shared_expert_intermediate_size"),
        has_shared_gate=True,
        step=keys.count("decoder_sparse_step", default=1),
    )
    biased = keys.flag("qkv_bias", True)
    return _decoder(keys, "qwen2_moe", moe=moe, qkv_bias=biased, o_bias=False)


def _switch(keys: _Keys) -> LlmConfig:
    """Return a Switch Transformer; every ``step``-th layer is routed, counted from the second."""
    heads, ffn = keys.count("num_heads"), keys.count("d_ff")
    layers = keys.count("num_decoder_layers", "num_layers")
    step = keys.count("decoder_sparse_step", "encoder_sparse_step")
    moe = MoeConfig(keys.count("num_experts"), 1, ffn, step=step, offset=step - 1)
    return LlmConfig(
        "switch_transformers",
        hidden=keys.count("d_model"),
        layers=layers,
        heads=heads,
        kv_heads=heads,
        head_dim=keys.count("d_kv"),
        ffn=ffn,
        vocab=keys.count("vocab_size"),
        max_tokens=keys.count("n_positions", default=512),
        activation=keys.word("dense_act_fn", "relu", _ACTIVATIONS),
        is_gated=keys.flag("is_gated_act", False),
        epsilon=keys.number("layer_norm_epsilon", 1e-6),
        has_rope=False,
        is_tied=keys.flag("tie_word_embeddings", True),
        encoder_layers=keys.count("num_layers"),
        relative_buckets=keys.count("relative_attention_num_buckets", default=32),
        moe=moe,
    )


def _bert(keys: _Keys) -> LlmConfig:
    hidden, heads = keys.count("hidden_size"), keys.count("num_attention_heads")
    positions = keys.count("max_position_embeddings")
    return LlmConfig(
        "bert",
        hidden=hidden,
        layers=keys.count("num_hidden_layers"),
        heads=heads,
        kv_heads=heads,
        head_dim=_whole(hidden, heads),
        ffn=keys.count("intermediate_size"),
        vocab=keys.count("vocab_size"),
        max_tokens=positions,
        activation=keys.word("hidden_act", "gelu", _ACTIVATIONS),
        is_gated=False,
        norm="layer",
        epsilon=keys.number("layer_norm_eps", 1e-12),
        has_rope=False,
        qkv_bias=True,
        o_bias=True,
        has_bias=True,
        is_tied=True,
        position_rows=positions,
        token_types=keys.count("type_vocab_size", default=2),
    )


_FAMILIES = {
    "llama": lambda keys: _decoder(keys, "llama"),
    "mistral": _mistral,
    "qwen2": _qwen2,
    "opt": _opt,
    "mixtral": _mixtral,
    "switch_transformers": _switch,
    "deepseek": _deepseek,
    "qwen2_moe": _qwen2_moe,
    "bert": _bert,
}
