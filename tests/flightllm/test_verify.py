"""Check that --verify compares values by instruction with golden, and notices a wrong one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hwsim.experiments import quantised_model
from hwsim.experiments.pipeline import RunRequest, execute
from hwsim.flightllm import functional
from tests.flightllm.test_trace import TINY


@pytest.fixture
def folder(tmp_path: Path) -> str:
    (tmp_path / "config.json").write_text(json.dumps(TINY | {"hidden_size": 64}))
    return str(tmp_path)


def verified(model: str, **asked: Any) -> list[dict[str, Any]]:
    return execute(RunRequest(model, "flightllm", is_verified=True, **asked)).verification


@pytest.mark.parametrize(
    "asked",
    [
        {"phase": "decode", "kv_tokens": 20, "sparsity": "block:16x1:0.5"},
        {"phase": "prefill", "seq_tokens": 19, "sparsity": "nm:4:16"},
        {"phase": "request", "prompt_tokens": 14, "generate_tokens": 4},
    ],
)
def test_products_and_the_whole_model_equal_golden(folder: str, asked: dict[str, Any]) -> None:
    records = verified(folder, **asked)
    assert all(record["equal"] for record in records)
    assert records[-1]["layer"] == "whole model"


def test_a_prompt_of_a_mixture_in_codewords_equals_golden(tmp_path: Path) -> None:
    mixture = {"model_type": "mixtral", "num_local_experts": 3, "num_experts_per_tok": 2}
    small = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1}
    (tmp_path / "config.json").write_text(json.dumps(TINY | mixture | small | {"vocab_size": 40}))
    asked = {"phase": "prefill", "seq_tokens": 3}
    plain = verified(str(tmp_path), **asked)
    coded = verified(
        str(tmp_path), **asked, settings=("experts.format=qmoe", "experts.unit.entries=330")
    )
    assert all(record["equal"] for record in (*plain, *coded))
    assert [record["layer"] for record in coded] == [record["layer"] for record in plain]


def test_a_chain_that_forgets_its_overflow_is_noticed(folder: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(functional, "split_lanes", lambda lane, p: (p >> 18, p & 0x3FFFF))
    records = verified(folder, phase="decode", kv_tokens=20)
    assert not any(record["equal"] for record in records if record["layer"] != "l0.attn.scores")


def test_a_large_model_is_checked_op_by_op_only(folder: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(quantised_model, "MAX_MODEL_MACS", 1000)
    records = verified(folder, phase="decode", kv_tokens=20)
    assert [r["layer"] for r in records][-1] == "lm_head"
    assert all(record["equal"] for record in records)
