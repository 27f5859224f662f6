"""Describe the run and validate documents as JSON Schema (draft 2020-12)."""

from __future__ import annotations

from typing import Any

from hwsim.core.result import SCHEMA_VERSION, STALL_REASONS
from hwsim.report.counters import COUNTERS

__all__ = ["COUNTERS", "run_schema", "validate_schema"]

Schema = dict[str, Any]

DRAFT = "https://json-schema.org/draft/2020-12/schema"
BASES = ("published", "artifact", "third-party", "derived", "rtl", "peer")
"""What a claim's reference rests on."""

_TEXT: Schema = {"type": "string"}
_TEXTS: Schema = {"type": "array", "items": _TEXT}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_AMOUNT: Schema = {"type": "number", "minimum": 0}
_NUMBER: Schema = {"type": "number"}


def _counter(path: str, kind: Schema) -> Schema:
    """Return ``kind`` described by the counter dictionary."""
    meaning, unit = COUNTERS[path]
    return {**kind, "description": f"{meaning} [{unit}]"}


def _closed(properties: dict[str, Schema], required: tuple[str, ...] = ()) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required or properties),
        "additionalProperties": False,
    }


def _table(entry: Schema) -> Schema:
    return {"type": "object", "additionalProperties": entry}


def _moved(prefix: str) -> Schema:
    directions = {
        "read": _counter(f"{prefix}bytes.*.read", _COUNT),
        "write": _counter(f"{prefix}bytes.*.write", _COUNT),
    }
    return _table(_closed(directions))


def _account(prefix: str) -> dict[str, Schema]:
    """Return the properties of one busy / stall / idle account."""
    reasons = {name: _counter(f"{prefix}.stall.{name}", _COUNT) for name in STALL_REASONS}
    return {
        "busy": _counter(f"{prefix}.busy", _COUNT),
        "stall": _closed(reasons),
        "idle": _counter(f"{prefix}.idle", _COUNT),
    }


def _layer() -> Schema:
    counted = {
        name: _counter(f"layers[].{name}", _COUNT)
        for name in ("start_cycle", "end_cycle", "cycles", "macs", "issued_macs", "useful_macs")
    }
    properties = {
        "name": {**_TEXT, "description": "unique in the run"},
        "kind": _TEXT,
        "stage": _TEXT,
        "dims": _table({"type": "integer"}),
        "mapping": {"type": "object"},
        "unit": {**_TEXT, "description": "compute unit that busy, stall and idle describe"},
        **counted,
        **_account("layers[]"),
        "bytes": _moved("layers[]."),
    }
    return {"type": "object", "properties": properties, "required": list(properties)}


def _baseline() -> Schema:
    return {
        "type": "object",
        "description": "the dense run that speed-ups refer to; empty if none was made",
        "properties": {
            "dense_cycles": _counter("baseline.dense_cycles", _AMOUNT),
            "speedup": _counter("baseline.speedup", _AMOUNT),
            "layers": _table(_counter("baseline.layers.*", _AMOUNT)),
        },
    }


def _run_required() -> dict[str, Schema]:
    texts = ("model", "machine", "preset", "fidelity", "spec_hash")
    counts = ("cycles", "macs", "issued_macs", "useful_macs")
    return {
        "schema_version": {"const": SCHEMA_VERSION},
        **dict.fromkeys(texts, _TEXT),
        "seed": {"type": "integer"},
        "clock_hz": _counter("clock_hz", {"type": "integer", "minimum": 1}),
        "time_s": _counter("time_s", _AMOUNT),
        **{name: _counter(name, _COUNT) for name in counts},
        "utilization": _counter("utilization", {**_AMOUNT, "maximum": 1}),
        "energy_pj": _counter("energy_pj", _AMOUNT),
        "energy_by_component_pj": _table(_counter("energy_by_component_pj.*", _AMOUNT)),
        "bytes": _moved(""),
        "units": _table(_closed(_account("units.*"))),
        "baseline": _baseline(),
        "layers": {"type": "array", "items": _layer()},
        "unmodelled": {"type": "array", "items": {"type": "object"}},
        "deviations": _TEXTS,
        "tier": {**_TEXT, "description": "highest validation tier with evidence, or empty"},
    }


def _schedule() -> Schema:
    counted = {"cycles": _COUNT, "time_s": _AMOUNT, "dense_cycles": _COUNT, "speedup": _AMOUNT}
    whole = {name: _counter(f"schedule.{name}", kind) for name, kind in counted.items()}
    counted = {
        "from_step": _COUNT,
        "steps": {"type": "integer", "minimum": 1},
        "beta": {**_AMOUNT, "maximum": 1},
        "cycles_per_step": _COUNT,
        "share": {**_AMOUNT, "maximum": 1},
    }
    frame = {name: _counter(f"schedule.frames[].{name}", kind) for name, kind in counted.items()}
    frame["nm"] = {"type": ["string", "null"], "description": "N:M of the mask; null: none"}
    frame["is_dense"] = {"type": "boolean", "description": "whether no product can be skipped"}
    steps = _counter("schedule.steps", {"type": "integer", "minimum": 1})
    properties = {"kind": _TEXT, "steps": steps, **whole}
    properties["frames"] = {"type": "array", "items": _closed(frame)}
    return {**_closed(properties), "description": "a whole training run; the rest is one step"}


def _area() -> Schema:
    def amounts(path: str, kind: Schema) -> Schema:
        return _table(_counter(path, kind))

    part = {
        "unit": _TEXT,
        "count": _counter("area.parts[].count", _COUNT),
        "parameters": _table({"type": "integer"}),
        "cells": amounts("area.parts[].cells.*", _COUNT),
        "sizes": _counter("area.parts[].sizes", _COUNT),
        "residual": amounts("area.parts[].residual.*", _AMOUNT),
        "left_out": amounts("area.parts[].left_out.*", _AMOUNT),
        "outside": {**_TEXTS, "description": "parameters that no synthesised size covers"},
    }
    properties: dict[str, Schema] = {
        "board": _TEXT,
        "total": amounts("area.total.*", _COUNT),
        "board_has": amounts("area.board_has.*", _COUNT),
        "share": amounts("area.share.*", _AMOUNT),
        "is_extrapolated": {"type": "boolean"},
        "parts": {"type": "array", "items": _closed(part)},
        "missing": {**_TEXTS, "description": "what has no RTL and is not counted"},
        "stale": {**_TEXTS, "description": "units whose RTL changed since their synthesis"},
        "tools": _TEXTS,
    }
    return {**_closed(properties), "description": "FPGA cells of the machine (--area)"}


def run_schema() -> Schema:
    """Return the JSON Schema of the run document; machines may add keys at the top level."""
    required = _run_required()
    optional: dict[str, Schema] = {
        "program_hash": _TEXT,
        "versions": _table(_TEXT),
        "peak_macs_per_cycle": _counter("peak_macs_per_cycle", {"type": "integer", "minimum": 0}),
        "memory_bytes_per_cycle": _counter(
            "memory_bytes_per_cycle", {"type": ["number", "string", "null"]}
        ),
        "notes": _TEXTS,
        "verification": {"type": "array", "items": {"type": "object"}},
        "spec": {"type": "object", "description": "the machine's parameters"},
        "mapper": _TEXT,
        "bound_cycles": {
            **_table(_COUNT),
            "description": "no order of the same tiles (work), no placement of the products that "
            "nobody waits for (slots) can take less, by closed form",
        },
        "pregenerated": {
            "type": "boolean",
            "description": "training: N:M weights are selected right after their update",
        },
        "schedule": _schedule(),
        "area": _area(),
        "memory_models": {
            "type": "array",
            "items": _closed(
                {
                    "model": {"enum": ["ideal", "simple", "dram"]},
                    "cycles": _counter("memory_models[].cycles", _COUNT),
                    "time_s": _counter("memory_models[].time_s", _AMOUNT),
                    "dram_stall_cycles": _counter("memory_models[].dram_stall_cycles", _COUNT),
                    "is_this_run": {"type": "boolean"},
                }
            ),
            "description": "the same run with other models of off-chip memory (--memories)",
        },
        "peers": {
            "type": "array",
            "items": _closed(
                {
                    "machine": _TEXT,
                    "time_s": _counter("peers[].time_s", _AMOUNT),
                    "bytes": _counter("peers[].bytes", _COUNT),
                    "memory_bytes_per_s": _counter("peers[].memory_bytes_per_s", _COUNT),
                    "limit": {"enum": ["memory", "merge"]},
                    "rule": _TEXT,
                }
            ),
            "description": "the same sparse product on other accelerators, by closed form",
        },
    }
    return {
        "$schema": DRAFT,
        "title": "hwsim run",
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
    }


def validate_schema() -> Schema:
    """Return the JSON Schema of the validate document: a list of claims."""
    claim: dict[str, Schema] = {
        "id": _TEXT,
        "what": _TEXT,
        "simulated": _NUMBER,
        "reference": _NUMBER,
        "unit": _TEXT,
        "error": {**_NUMBER, "description": "(simulated − reference) / reference"},
        "tolerance": _AMOUNT,
        "basis": {"enum": list(BASES)},
        "gated": {"type": "boolean", "description": "a failure makes the exit status 1"},
        "passed": {"type": "boolean"},
        "source": _TEXT,
    }
    entry = {"type": "object", "properties": claim, "required": list(claim)}
    return {"$schema": DRAFT, "title": "hwsim validate", "type": "array", "items": entry}
