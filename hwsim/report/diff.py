"""Compare two run documents layer by layer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hwsim.core.errors import InputError
from hwsim.report.accounts import check_run, moved_bytes
from hwsim.report.quantities import format_count, format_exact, format_percent, format_ratio

__all__ = ["diff_results", "format_diff", "load_run"]

IDENTITY = (
    "model",
    "machine",
    "preset",
    "fidelity",
    "phase",
    "training",
    "sparsity",
    "pruner",
    "dataflow",
    "batch",
    "spec_hash",
    "seed",
    "clock_hz",
)
"""What makes two runs different runs rather than different outcomes."""


def load_run(path: Path) -> dict[str, Any]:
    """Return the run document in ``path``; raise :class:`InputError` if it is none."""
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no JSON"
        raise InputError(str(path), "a run document (from hwsim run --json)", str(reason)) from None
    return dict(check_run(document, str(path)))


def _compare(a: float, b: float) -> dict[str, float | None]:
    return {"a": a, "b": b, "delta": b - a, "ratio": b / a if a else None}


def _measures(entry: Mapping[str, Any]) -> dict[str, int]:
    levels = entry.get("bytes", {})
    return {
        "cycles": int(entry["cycles"]),
        "useful_macs": int(entry.get("useful_macs", 0)),
        "dram_bytes": moved_bytes(levels),
        "bytes": sum(sum(moved.values()) for moved in levels.values()),
    }


def _compare_entries(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    before, after = _measures(a), _measures(b)
    return {name: _compare(before[name], after[name]) for name in before}


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    keys = list(dict.fromkeys([*a, *b]))
    return {k: {"a": a.get(k), "b": b.get(k)} for k in keys if a.get(k) != b.get(k)}


def diff_results(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    """Return how run ``b`` differs from run ``a``.

    Returns
    -------
    dict
        ``identity`` and ``spec``: differing keys with both values; ``totals`` and each of
        ``layers``: cycles, useful_macs, dram_bytes and bytes (all levels) as ``{a, b, delta,
        ratio}``, ratio = b / a or None; ``added`` and ``removed``: layer names only in b or a.

    Raises
    ------
    InputError
        If one of the documents is no run document.
    """
    first, second = check_run(a, "first file"), check_run(b, "second file")
    before = {layer["name"]: layer for layer in first["layers"]}
    after = {layer["name"]: layer for layer in second["layers"]}
    layers = [
        {"name": name, **_compare_entries(before[name], layer)}
        for name, layer in after.items()
        if name in before
    ]
    return {
        "identity": _differences(
            {key: first.get(key) for key in IDENTITY}, {key: second.get(key) for key in IDENTITY}
        ),
        "spec": _differences(_flatten(first.get("spec", {})), _flatten(second.get("spec", {}))),
        "totals": _compare_entries(first, second),
        "layers": layers,
        "added": [name for name in after if name not in before],
        "removed": [name for name in before if name not in after],
    }


def _row(name: str, entry: Mapping[str, Any], width: int) -> str:
    cycles = entry["cycles"]
    shown = name if len(name) <= width else f"{name[: width - 1]}…"
    relative = cycles["ratio"] - 1 if cycles["ratio"] is not None else None
    return (
        f"{shown:<{width}} {format_exact(cycles['a']):>15} {format_exact(cycles['b']):>15} "
        f"{cycles['delta']:>+15,.0f} {format_ratio(cycles['ratio']):>8} "
        f"{format_percent(relative, is_signed=True):>9} "
        f"{format_count(entry['useful_macs']['delta']):>9} "
        f"{format_count(entry['dram_bytes']['delta']):>9}"
    )


def format_diff(diff: Mapping[str, Any], *, only_changed: bool = True) -> str:
    """Return the comparison as text, layers with the largest change of cycles first."""
    lines = []
    for title, table in (("run", diff["identity"]), ("spec", diff["spec"])):
        lines += [f"{title}.{key}: {pair['a']} → {pair['b']}" for key, pair in table.items()]
    layers = sorted(diff["layers"], key=lambda entry: -abs(entry["cycles"]["delta"]))
    shown = [
        entry
        for entry in layers
        if not only_changed or any(entry[m]["delta"] for m in ("cycles", "useful_macs", "bytes"))
    ]
    width = min(max([len(entry["name"]) for entry in shown] + [5]), 36)
    lines.append(
        f"{'layer':<{width}} {'cycles a':>15} {'cycles b':>15} {'delta':>15} "
        f"{'b / a':>8} {'change':>9} {'Δ useful':>9} {'Δ DRAM B':>9}"
    )
    lines += [_row(entry["name"], entry, width) for entry in shown]
    lines.append(_row("total", diff["totals"], width))
    if len(shown) < len(layers):
        lines.append(f"{len(layers) - len(shown)} of {len(layers)} layers are equal")
    for title in ("added", "removed"):
        if diff[title]:
            lines.append(f"{title}: {', '.join(diff[title])}")
    return "\n".join(lines)
