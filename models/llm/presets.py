"""Hold the configurations of well-known language models, as their ``config.json`` has them."""

from __future__ import annotations

from typing import Any

__all__ = ["CONFIGS", "DESCRIPTIONS"]

_SWITCH: dict[str, Any] = {
    "model_type": "switch_transformers",
    "d_kv": 64,
    "vocab_size": 32128,
    "encoder_sparse_step": 2,
    "decoder_sparse_step": 2,
    "is_gated_act": False,
    "num_experts": 128,
}

CONFIGS: dict[str, dict[str, Any]] = {
    "llama2-7b": {
        "model_type": "llama",
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "vocab_size": 32000,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
    },
    "opt-6.7b": {
        "model_type": "opt",
        "hidden_size": 4096,
        "ffn_dim": 16384,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "vocab_size": 50272,
        "word_embed_proj_dim": 4096,
        "max_position_embeddings": 2048,
    },
    "mixtral-8x7b": {
        "model_type": "mixtral",
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 32000,
        "num_local_experts": 8,
        "num_experts_per_tok": 2,
        "max_position_embeddings": 32768,
        "rope_theta": 1e6,
    },
    "switch-base-128": _SWITCH
    | {"d_model": 768, "d_ff": 3072, "num_heads": 12, "num_layers": 12, "num_decoder_layers": 12},
    "switch-large-128": _SWITCH
    | {"d_model": 1024, "d_ff": 4096, "num_heads": 16, "num_layers": 24, "num_decoder_layers": 24},
    # The public configuration of c2048 has 12 decoder layers, every second layer routed and tied
    # tables; the checkpoint has these (QMoE's loader corrects them too).
    "switch-c2048": _SWITCH
    | {
        "d_model": 2080,
        "d_ff": 6144,
        "num_heads": 30,
        "num_layers": 15,
        "num_decoder_layers": 15,
        "num_experts": 2048,
        "encoder_sparse_step": 1,
        "decoder_sparse_step": 1,
        "tie_word_embeddings": False,
    },
    "deepseek-moe-16b": {
        "model_type": "deepseek",
        "hidden_size": 2048,
        "intermediate_size": 10944,
        "moe_intermediate_size": 1408,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
        "vocab_size": 102400,
        "n_routed_experts": 64,
        "n_shared_experts": 2,
        "num_experts_per_tok": 6,
        "first_k_dense_replace": 1,
        "moe_layer_freq": 1,
        "max_position_embeddings": 4096,
    },
    "qwen1.5-moe": {
        "model_type": "qwen2_moe",
        "hidden_size": 2048,
        "intermediate_size": 5632,
        "moe_intermediate_size": 1408,
        "shared_expert_intermediate_size": 5632,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
        "vocab_size": 151936,
        "num_experts": 60,
        "num_experts_per_tok": 4,
        "decoder_sparse_step": 1,
        "max_position_embeddings": 8192,
        "rope_theta": 1e6,
    },
}
"""Name -> configuration."""

DESCRIPTIONS = {
    "llama2-7b": "LLaMA 2 7B",
    "opt-6.7b": "OPT 6.7B",
    "mixtral-8x7b": "Mixtral 8x7B, 8 experts, top 2",
    "switch-base-128": "Switch Transformer base, 128 experts, top 1",
    "switch-large-128": "Switch Transformer large, 128 experts, top 1",
    "switch-c2048": "Switch Transformer c, 2048 experts, top 1",
    "deepseek-moe-16b": "DeepSeekMoE 16B, 64 experts, top 6, 2 shared",
    "qwen1.5-moe": "Qwen1.5-MoE A2.7B, 60 experts, top 4, shared experts",
}
