"""Check that configurations give the published numbers of parameters, and bad ones one line."""

from __future__ import annotations

from typing import Any

import pytest

from hwsim.core.errors import InputError
from models.llm.config import parse_config
from models.llm.graph import llm_graph
from models.llm.parameters import active_parameters, expert_parameters, total_parameters
from models.llm.presets import CONFIGS
from models.workload import Workload

LLAMA = CONFIGS["llama2-7b"]


@pytest.mark.parametrize(
    ("name", "total"), [("llama2-7b", 6_738_415_616), ("opt-6.7b", 6_658_473_984)]
)
def test_dense_models_have_exactly_their_parameters(name: str, total: int) -> None:
    config = parse_config(CONFIGS[name])
    assert total_parameters(config) == active_parameters(config) == total
    assert expert_parameters(config) == 0


@pytest.mark.parametrize(
    ("name", "total", "active"),
    [
        ("mixtral-8x7b", 46.70, 12.88),
        ("deepseek-moe-16b", 16.38, 2.83),
        ("qwen1.5-moe", 14.32, 2.69),
    ],
)
def test_mixtures_have_their_total_and_active_parameters(
    name: str, total: float, active: float
) -> None:
    config = parse_config(CONFIGS[name])
    assert round(total_parameters(config) / 1e9, 2) == total
    assert round(active_parameters(config) / 1e9, 2) == active


@pytest.mark.parametrize(
    ("name", "experts"),
    [
        ("switch-base-128", 12 * 128 * 2 * 768 * 3072),
        ("switch-large-128", 24 * 128 * 2 * 1024 * 4096),
        ("switch-c2048", 30 * 2048 * 2 * 2080 * 6144),
    ],
)
def test_switch_experts_are_two_matrices_in_every_routed_layer(name: str, experts: int) -> None:
    assert expert_parameters(parse_config(CONFIGS[name])) == experts


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("llama2-7b", 262_144),
        ("opt-6.7b", 262_144),
        ("mixtral-8x7b", 65_536),
        ("deepseek-moe-16b", 114_688),
        ("qwen1.5-moe", 98_304),
    ],
)
def test_keys_and_values_of_a_token_take_their_bytes(name: str, size: int) -> None:
    assert parse_config(CONFIGS[name]).kv_bytes_per_token() == size


def llama_like(hidden: int, ffn: int, layers: int, heads: int, kv: int, **more: Any) -> Any:
    """Return a configuration with LLaMA's keys."""
    values = {"hidden_size": hidden, "intermediate_size": ffn, "num_hidden_layers": layers}
    return {**LLAMA, **values, "num_attention_heads": heads, "num_key_value_heads": kv, **more}


MISTRAL = llama_like(4096, 14336, 32, 32, 8, model_type="mistral", sliding_window=4096)
QWEN2 = llama_like(3584, 18944, 28, 28, 4, model_type="qwen2", vocab_size=152064)


@pytest.mark.parametrize(
    ("values", "total"),
    [  # of the published checkpoints
        (llama_like(5120, 13824, 40, 40, 40), 13_015_864_320),
        (llama_like(8192, 28672, 80, 64, 8), 68_976_648_192),
        (llama_like(4096, 14336, 32, 32, 8, vocab_size=128256), 8_030_261_248),
        (MISTRAL, 7_241_732_096),
        (QWEN2, 7_615_616_512),
    ],
)
def test_relatives_of_llama_have_exactly_their_parameters(values: Any, total: int) -> None:
    assert total_parameters(parse_config(values)) == total


def test_biases_of_attention_include_that_of_its_output() -> None:
    # LlamaAttention gives all four projections one; Qwen2 none to the output.
    values = llama_like(64, 80, 3, 8, 2, vocab_size=40, max_position_embeddings=32)
    step = Workload(phase="decode", kv_tokens=4)

    def sizes(more: dict[str, Any]) -> tuple[int, int]:
        config = parse_config(values | more)
        return total_parameters(config), llm_graph("m", config, step).totals()["weight_elems"]

    plain, queries, each = sizes({}), 64 + 2 * 16, 3
    for more, output in (({"attention_bias": True}, 64), ({"model_type": "qwen2"}, 0)):
        found = sizes(more)
        assert [a - b for a, b in zip(found, plain, strict=True)] == [each * (queries + output)] * 2


def test_a_window_of_attention_bounds_the_context() -> None:
    assert parse_config(MISTRAL | {"max_position_embeddings": 32768}).max_tokens == 4096
    whole = {"max_position_embeddings": 32768, "sliding_window": None}
    assert parse_config(MISTRAL | whole).max_tokens == 32768
    unused = QWEN2 | whole | {"sliding_window": 4096, "use_sliding_window": False}
    assert parse_config(unused).max_tokens == 32768


def test_old_copies_have_as_many_key_heads_as_heads() -> None:
    values = {key: value for key, value in LLAMA.items() if key != "num_key_value_heads"}
    assert parse_config(values) == parse_config(LLAMA)


def test_early_mixtral_names_are_understood() -> None:
    values = {**CONFIGS["mixtral-8x7b"], "model_type": "mistral", "num_experts": 8}
    values["num_experts_per_token"] = values.pop("num_experts_per_tok")
    del values["num_local_experts"]
    assert parse_config(values) == parse_config(CONFIGS["mixtral-8x7b"])


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"hidden_size": None}, "config.hidden_size"),
        ({"num_hidden_layers": 0}, "config.num_hidden_layers"),
        ({"num_hidden_layers": True}, "config.num_hidden_layers"),
        ({"num_hidden_layers": 10**9}, "config.num_hidden_layers"),
        ({"hidden_size": 10**30}, "config.hidden_size"),
        ({"vocab_size": "many"}, "config.vocab_size"),
        ({"num_attention_heads": 33}, "config.num_attention_heads"),
        ({"num_key_value_heads": 5}, "config.num_key_value_heads"),
        ({"hidden_act": "swish2"}, "config.hidden_act"),
        ({"rms_norm_eps": -1}, "config.rms_norm_eps"),
        ({"tie_word_embeddings": "no"}, "config.tie_word_embeddings"),
        ({"model_type": "lama"}, "config.model_type"),
        ({"model_type": None}, "config.model_type"),
        ({"model_type": 7}, "config.model_type"),
    ],
)
def test_a_bad_key_is_named(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_config({**LLAMA, **changes})
    assert caught.value.field == field
    assert "\n" not in str(caught.value)


def test_more_experts_per_token_than_experts_are_refused() -> None:
    with pytest.raises(InputError, match="num_experts_per_tok: need at most 8"):
        parse_config({**CONFIGS["mixtral-8x7b"], "num_experts_per_tok": 9})
