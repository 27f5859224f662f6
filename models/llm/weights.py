"""Attach a checkpoint's weights to a graph, by the names of Hugging Face's models."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from hwsim.core.errors import InputError
from hwsim.core.graph import OpGraph
from models.llm.config import LlmConfig
from models.llm.safetensors_file import SafetensorsFile

__all__ = ["attach_weights", "checkpoint_name"]

_LLAMA = {
    "attn.q": "self_attn.q_proj",
    "attn.k": "self_attn.k_proj",
    "attn.v": "self_attn.v_proj",
    "attn.o": "self_attn.o_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "ffn.gate": "mlp.gate_proj",
    "ffn.up": "mlp.up_proj",
    "ffn.down": "mlp.down_proj",
}
_OPT = _LLAMA | {
    "attn.o": "self_attn.out_proj",
    "attn_norm": "self_attn_layer_norm",
    "ffn_norm": "final_layer_norm",
    "ffn.gate": "fc1",
    "ffn.down": "fc2",
}
_BERT = {
    "attn.q": "attention.self.query",
    "attn.k": "attention.self.key",
    "attn.v": "attention.self.value",
    "attn.o": "attention.output.dense",
    "attn_norm": "attention.output.LayerNorm",
    "ffn.gate": "intermediate.dense",
    "ffn.down": "output.dense",
    "ffn_norm": "output.LayerNorm",
}
_MIXTRAL = _LLAMA | {
    "moe.router": "block_sparse_moe.gate",
    "moe.e*.gate": "block_sparse_moe.experts.*.w1",
    "moe.e*.up": "block_sparse_moe.experts.*.w3",
    "moe.e*.down": "block_sparse_moe.experts.*.w2",
}
_SHARED = {
    "moe.router": "mlp.gate",
    **{f"moe.e*.{part}": f"mlp.experts.*.{part}_proj" for part in ("gate", "up", "down")},
}
_DEEPSEEK, _QWEN2_MOE = (
    _LLAMA
    | _SHARED
    | {f"moe.shared.{part}": f"mlp.{name}.{part}_proj" for part in ("gate", "up", "down")}
    for name in ("shared_experts", "shared_expert")
)
_OUTER = {"norm": "model.norm"}
_FAMILIES = {
    "llama": ("model.layers.", _LLAMA, _OUTER),
    "mistral": ("model.layers.", _LLAMA, _OUTER),
    "qwen2": ("model.layers.", _LLAMA, _OUTER),
    "mixtral": ("model.layers.", _MIXTRAL, _OUTER),
    "deepseek": ("model.layers.", _DEEPSEEK, _OUTER),
    "qwen2_moe": (
        "model.layers.",
        _QWEN2_MOE | {"moe.shared_gate": "mlp.shared_expert_gate"},
        _OUTER,
    ),
    "opt": ("model.decoder.layers.", _OPT, {"norm": "model.decoder.final_layer_norm"}),
    "bert": ("encoder.layer.", _BERT, {}),
}


def checkpoint_name(family: str, tensor: str) -> str | None:
    """Return the checkpoint's name of the graph's weight ``tensor``, None if it has none."""
    prefix, layers, outer = _FAMILIES[family]
    stem, _, part = tensor.rpartition(".")
    if stem in ("lm_head", *outer):
        return f"{outer.get(stem, stem)}.{part}"
    layer, _, rest = stem.partition(".")
    number = re.search(r"\be(\d+)\b", rest)  # of a routed expert, "*" in the tables
    known = rest if number is None else rest.replace(number[0], "e*")
    if not layer.startswith("l") or known not in layers:
        return None
    name = layers[known].replace("*", "" if number is None else number[1])
    return f"{prefix}{layer[1:]}.{name}.{part}"


def attach_weights(graph: OpGraph, config: LlmConfig, files: Sequence[Path]) -> None:
    """Attach the values in ``files`` to every weight of ``graph``, matrices as [k, n].

    Raises :class:`InputError` naming a tensor that is missing, of other extents or no floating
    point. Encoder-decoders stay without values, with a note.
    """
    if config.family not in _FAMILIES:
        graph.notes.append(f"weights of {config.family} checkpoints are not attached")
        return
    where = {name: file for file in map(SafetensorsFile, files) for name in file.names()}
    for op in graph.ops():
        for operand in op.inputs:
            name = operand.tensor
            source = checkpoint_name(config.family, name) if operand.role == "weight" else None
            if source is None:
                continue
            source = _known(source, where, config)
            values = where[source].read(source)
            if values.dtype.kind != "f":  # quantised codes without their scales
                found = f"{values.dtype} in {source}"
                raise InputError(f"weight {name}", "floating-point values", found)
            shape = graph.tensors[name].shape
            values = values.T if values.ndim == 2 else values
            if values.shape != shape:
                found = f"{list(values.shape)} in {source}"
                raise InputError(f"weight {name}", f"{list(shape)}", found)
            graph.weights[name] = values
    graph.notes.append(f"weights of {', '.join(file.name for file in files)}")


def _known(source: str, where: dict[str, SafetensorsFile], config: LlmConfig) -> str:
    names = [source, source.removeprefix("model."), f"bert.{source}"]
    if source == "lm_head.weight" and config.is_tied:
        part = "decoder." if config.family == "opt" else ""
        names.append(f"model.{part}embed_tokens.weight")
    for name in names:
        if name in where:
            return name
    raise InputError("model", f"a tensor {source} in the folder's .safetensors", "none")
