"""Language models that cannot be run: exit 2, one line that names field, need and found."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

CONFIG = {
    "model_type": "llama",
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "vocab_size": 40,
    "max_position_embeddings": 64,
}
STEP = ("--machine", "flightllm", "--phase", "decode", "--kv", "20")
F32 = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}


def checkpoint(header: dict[str, Any], size: int) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(size)


def folder(tmp_path: Path, config: dict[str, Any], weights: bytes | None = None) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(config))
    if weights is not None:
        (tmp_path / "model.safetensors").write_bytes(weights)
    return tmp_path


@pytest.mark.parametrize("key", sorted(CONFIG.keys() - {"max_position_embeddings"}))
def test_a_missing_key_is_named(hwsim, tmp_path, key):
    config = {name: value for name, value in CONFIG.items() if name != key}
    field, _, found = hwsim("run", folder(tmp_path, config), *STEP).refusal()
    assert field == f"config.{key}"
    assert found in ("none", "None")


@pytest.mark.parametrize(
    ("changes", "field", "part"),
    [
        ({"model_type": "rwkv"}, "config.model_type", "llama"),
        ({"num_hidden_layers": 10**9}, "config.num_hidden_layers", "1 to 1024"),
        ({"hidden_size": "48"}, "config.hidden_size", "an integer"),
        ({"num_attention_heads": 5}, "config.num_attention_heads", "divisor of 48"),
        ({"intermediate_size": 65537}, "op l0.ffn.down: buffers.b_depth", "4097 k blocks"),
    ],
)
def test_a_bad_value_is_named(hwsim, tmp_path, changes, field, part):
    found = hwsim("run", folder(tmp_path, CONFIG | changes), *STEP).refusal()
    assert found[0] == field
    assert part in found[1]


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (checkpoint({"a": F32}, 8), "16 bytes of data"),
        (struct.pack("<Q", 1 << 40) + b"{}", "within its 10 bytes"),
        (checkpoint({"a": F32, "b": F32 | {"data_offsets": [8, 24]}}, 24), "from byte 16 on"),
        (checkpoint({"a": F32 | {"dtype": "Q9"}}, 16), "a dtype of"),
        (checkpoint({"a": F32 | {"shape": [1 << 62, 1 << 62]}}, 16), "a shape and two"),
        (b"", "within its 0 bytes"),
        (checkpoint({"a": F32}, 16), "a tensor model.layers.0"),
    ],
)
def test_a_hostile_checkpoint_is_refused(hwsim, tmp_path, data, part):
    _, need, _ = hwsim("run", folder(tmp_path, CONFIG, data), *STEP).refusal()
    assert part in need


@pytest.mark.parametrize(
    ("flags", "field", "need"),
    [
        (["--phase", "decode", "--kv", "65"], "--kv", "1 to 64 tokens of this model"),
        (["--phase", "prefill", "--seq", "65"], "--seq", "1 to 64 tokens of this model"),
        (
            ["--phase", "request", "--prompt", "60", "--generate", "5"],
            "--generate",
            "at most 64 tokens with --prompt 60",
        ),
        ([*STEP[2:], "--sparsity", "nm:3:16"], "--sparsity", "nm:N:16 with N of 2, 4, 8 or 16"),
        ([*STEP[2:], "--sparsity", "nm:2:8"], "--sparsity", "nm:N:16 with N of 2, 4, 8 or 16"),
        ([*STEP[2:], "--set", "cores=9"], "hbm.channels", "72 for 9 cores"),
        ([*STEP[2:], "--set", "is_fused=3"], "is_fused", "true or false"),
    ],
)
def test_lengths_densities_and_specs_that_cannot_be(hwsim, tmp_path, flags, field, need):
    found = hwsim("run", folder(tmp_path, CONFIG), "--machine", "flightllm", *flags).refusal()
    assert found[:2] == (field, need)
