"""Attach a checkpoint's weights to a graph, by the names of Hugging Face's models."""

from __future__ import annotations

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
_FAMILIES = {
    "llama": ("model.layers.", _LLAMA, {"norm": "model.norm"}),
    "mistral": ("model.layers.", _LLAMA, {"norm": "model.norm"}),
    "qwen2": ("model.layers.", _LLAMA, {"norm": "model.norm"}),
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
    if not layer.startswith("l") or rest not in layers:
        return None
    return f"{prefix}{layer[1:]}.{layers[rest]}.{part}"


def attach_weights(graph: OpGraph, config: LlmConfig, files: Sequence[Path]) -> None:
    """Attach the values in ``files`` to every weight of ``graph``, matrices as [k, n].

    Raises :class:`InputError` naming a tensor that is missing, of other extents or no floating
    point. Mixtures of experts stay without values, with a note.
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
