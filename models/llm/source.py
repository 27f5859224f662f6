"""Load a language model by zoo name, ``config.json`` or folder, with real weights if there are."""

from __future__ import annotations

from pathlib import Path

from hwsim.core.errors import InputError
from hwsim.core.graph import OpGraph
from models.llm.config import LlmConfig, parse_config, read_config
from models.llm.graph import llm_graph
from models.llm.presets import CONFIGS
from models.workload import Workload

__all__ = ["is_llm", "llm_config", "load_llm"]


def is_llm(source: str) -> bool:
    """Return whether ``source`` is a language model: a name, a ``config.json`` or its folder."""
    if source in CONFIGS:
        return True
    path = Path(source)
    return bool(source) and (path.suffix == ".json" or path.is_dir())


def llm_config(source: str) -> LlmConfig:
    """Return the configuration of a name, ``config.json`` or folder."""
    if source in CONFIGS:
        return parse_config(CONFIGS[source])
    path = Path(source)
    if path.is_dir():
        path = path / "config.json"
    if not path.is_file():
        raise InputError("model", "an existing config.json", repr(str(path)))
    return read_config(path)


def load_llm(source: str, workload: Workload) -> OpGraph:
    """Return the graph of ``workload``; a folder with ``.safetensors`` brings real weights.

    Raises :class:`InputError` naming the flag, file, key or tensor that cannot be used.
    """
    if workload.other is not None:
        raise InputError("--b", f"no second operand for {source}", repr(workload.other))
    path = Path(source)
    name = source if source in CONFIGS else (path if path.is_dir() else path.parent).name or "llm"
    config = llm_config(source)
    graph = llm_graph(name, config, workload)
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else []
    if files and workload.phase != "request":
        from models.llm.weights import attach_weights

        attach_weights(graph, config, files)
    return graph
