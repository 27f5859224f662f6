"""Read a run document: per-layer rows, where the cycles went, and what limits the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from hwsim.core.errors import InputError
from hwsim.core.gemm import GEMM_KINDS, gemm_dims
from hwsim.core.result import STALL_REASONS, UnitStats
from hwsim.report.quantities import read_number

__all__ = [
    "OFF_CHIP_LEVELS",
    "LayerRow",
    "Part",
    "Run",
    "check_run",
    "compute_unit",
    "cycle_parts",
    "layer_rows",
    "moved_bytes",
    "parts_of",
    "read_account",
]

Run = Mapping[str, Any]
"""A run document as :meth:`hwsim.core.result.Result.to_json` gives it."""

OFF_CHIP_LEVELS = ("dram", "hbm", "ddr")
"""Names under which machines report off-chip memory."""
REQUIRED: dict[str, type] = {
    "cycles": Integral,
    "clock_hz": Integral,
    "time_s": Real,
    "layers": list,
    "units": Mapping,
}
"""Keys without which no page, figure or comparison can be made."""
_KINDS: dict[type, str] = {
    Integral: "a whole number",
    Real: "a number",
    list: "a list",
    Mapping: "a table",
}


@dataclass(frozen=True)
class Part:
    """A share of an account. ``state`` is ``busy``, ``idle`` or a stall reason."""

    state: str
    label: str
    cycles: int
    share: float


@dataclass(frozen=True)
class LayerRow:
    """What a table or figure says about one layer; None where the document does not say."""

    index: int
    name: str
    kind: str
    stage: str
    unit: str
    gemm: str
    dataflow: str
    note: str
    cycles: int
    share: float
    account: UnitStats
    utilization: float | None
    macs: int
    issued_macs: int
    useful_macs: int
    dram_bytes: int
    dense_cycles: float | None

    @property
    def speedup(self) -> float | None:
        """Return dense cycles over cycles."""
        return self.dense_cycles / self.cycles if self.dense_cycles and self.cycles else None

    @property
    def density(self) -> float | None:
        """Return useful over dense multiply-accumulates."""
        return self.useful_macs / self.macs if self.macs else None

    @property
    def parts(self) -> list[Part]:
        """Return the non-zero parts of the layer's account in stacking order."""
        return parts_of(self.account)


def check_run(document: Any, where: str) -> Run:
    """Return ``document`` if it is a run document, else raise :class:`InputError` naming why."""
    need = "a run document (from hwsim run --json)"
    if not isinstance(document, Mapping):
        raise InputError(where, need, type(document).__name__)
    for key, kind in REQUIRED.items():
        if not isinstance(document.get(key), kind) or isinstance(document.get(key), bool):
            raise InputError(where, need, f"no {key!r}, {_KINDS[kind]}")
    if document["clock_hz"] < 1:
        raise InputError(where, need, f"clock_hz {document['clock_hz']}")
    for index, layer in enumerate(document["layers"]):
        if not isinstance(layer, Mapping) or not {"name", "cycles"} <= set(layer):
            raise InputError(where, need, f"layers[{index}] without 'name' and 'cycles'")
    return document


def read_account(entry: Mapping[str, Any]) -> UnitStats:
    """Return the account of a unit or layer entry; absent reasons count zero."""
    reasons = dict.fromkeys(STALL_REASONS, 0)
    for name, cycles in entry.get("stall", {}).items():
        reasons[name] = int(cycles)
    return UnitStats(int(entry.get("busy", 0)), reasons, int(entry.get("idle", 0)))


def parts_of(account: UnitStats) -> list[Part]:
    """Return the non-zero parts of an account: busy, stalls in the enum's order, idle."""
    total = account.total or 1
    states = [("busy", account.busy), *account.stall.items(), ("idle", account.idle)]
    return [Part(state, state, cycles, cycles / total) for state, cycles in states if cycles]


def moved_bytes(levels: Mapping[str, Mapping[str, int]]) -> int:
    """Return bytes read plus written off chip."""
    return sum(sum(levels.get(name, {}).values()) for name in OFF_CHIP_LEVELS)


def compute_unit(run: Run) -> str:
    """Return the unit that most of the layers' cycles are charged to."""
    weights: dict[str, int] = {}
    for layer in run["layers"]:
        unit = str(layer.get("unit", ""))
        weights[unit] = weights.get(unit, 0) + int(layer["cycles"])
    if weights:
        return max(weights, key=lambda unit: weights[unit])
    return max(run["units"], key=lambda unit: int(run["units"][unit].get("busy", 0)), default="")


def _gemm_text(layer: Mapping[str, Any]) -> str:
    """Return ``m×k×n`` (times groups) from the mapping or derived from the dims, else extents."""
    dims = layer.get("dims", {})
    found = layer.get("mapping", {}).get("gemm")
    if not isinstance(found, Mapping):
        found = dims
        if layer.get("kind") in GEMM_KINDS:
            try:
                found = gemm_dims(layer["kind"], dims).to_json()
            except (KeyError, InputError):
                found = dims
    if {"m", "k", "n"} <= set(found):
        groups = int(found.get("groups", found.get("batch", 1)))
        text = f"{found['m']}×{found['k']}×{found['n']}"
        return f"{groups}·({text})" if groups > 1 else text
    if set(dims) == {"elems"}:
        return f"{dims['elems']:,} elems"
    return " ".join(f"{name}={extent}" for name, extent in dims.items())


def layer_rows(run: Run) -> list[LayerRow]:
    """Return one row per layer in graph order."""
    total = int(run["cycles"]) or 1
    peak = run.get("peak_macs_per_cycle")
    dense = run.get("baseline", {}).get("layers", {})
    rows = []
    for index, layer in enumerate(run["layers"]):
        cycles, useful = int(layer["cycles"]), int(layer.get("useful_macs", 0))
        slots = cycles * peak if peak else 0
        mapping = layer.get("mapping", {})
        rows.append(
            LayerRow(
                index=index + 1,
                name=str(layer["name"]),
                kind=str(layer.get("kind", "")),
                stage=str(layer.get("stage", "")),
                unit=str(layer.get("unit", "")),
                gemm=_gemm_text(layer),
                dataflow=str(mapping.get("dataflow", "")),
                note=str(mapping.get("note", "")),
                cycles=cycles,
                share=cycles / total,
                account=read_account(layer),
                utilization=useful / slots if slots else None,
                macs=int(layer.get("macs", 0)),
                issued_macs=int(layer.get("issued_macs", 0)),
                useful_macs=useful,
                dram_bytes=moved_bytes(layer.get("bytes", {})),
                dense_cycles=read_number(dense.get(layer["name"])),
            )
        )
    return rows


def cycle_parts(run: Run) -> list[Part]:
    """Return where all cycles of the run went, largest first.

    The layers' accounts sum to the run's cycles, so these parts do too: busy cycles are kept per
    unit, stall reasons and idle are summed over all layers.
    """
    busy: dict[str, int] = {}
    rest: dict[str, int] = {}
    for layer in run["layers"]:
        account, unit = read_account(layer), str(layer.get("unit", ""))
        busy[unit] = busy.get(unit, 0) + account.busy
        for state, cycles in (*account.stall.items(), ("idle", account.idle)):
            if cycles:
                rest[state] = rest.get(state, 0) + cycles
    if not run["layers"] and run["units"]:
        unit = compute_unit(run)
        return sorted(parts_of(read_account(run["units"][unit])), key=lambda p: -p.cycles)
    total = int(run["cycles"]) or 1
    parts = [Part("busy", f"{unit} busy", n, n / total) for unit, n in busy.items() if n]
    parts += [Part(state, state, n, n / total) for state, n in rest.items()]
    return sorted(parts, key=lambda part: -part.cycles)
