"""Compute a machine's validation tier from recorded evidence, never from a constant.

A record says which checks passed and on which sources: the files that make up the machine (see
:mod:`hwsim.experiments.machine_sources`) and a hash over them. It is written by the test suite
(``pytest --record-evidence``) and by ``hwsim validate``'s claims; a record whose hash no longer
matches the sources counts for nothing.

A tier needs all lower ones.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from hwsim.experiments.machine_sources import machine_sources
from hwsim.report.counters import TIER_MEANINGS

__all__ = ["Evidence", "record", "tier_evidence", "tier_of"]

_CO_SIMULATED = {
    "flightllm": ("csd_chain", "units"),
    "piuma": ("simulator_units", "verilator"),
    "sat": ("topn_sorter", "uspe", "systolic_tile"),
}
"""Units whose RTL must have been compared, by ``tests/rtl/MACHINE/test_UNIT.py``, for T3.

A machine without an entry has no RTL to compare and stays below T3.
"""

_WITHOUT_RTL = {
    "cpu": "it stands for cores whose RTL is not public; llvm-mca and an emulator are its reference"
}
"""Machine -> why there is nothing that T3 could compare."""

_ROOT = Path(__file__).resolve().parents[2]
_FILE = Path(__file__).with_name("evidence.json")


@dataclass(frozen=True)
class Evidence:
    """A machine's tier and one sentence saying why it is not higher."""

    tier: str
    reason: str


@lru_cache
def _sources(machine: str) -> tuple[str, ...]:
    return machine_sources(machine)


def _hash(files: Iterable[str]) -> str:
    """Return a hash over names and contents; a missing file has a content of its own."""
    digest = hashlib.sha256()
    for name in files:
        path = _ROOT / name
        content = path.read_bytes() if path.is_file() else b"missing"
        digest.update(f"{name}\n{len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def record(machine: str, tier: str, check: str, is_passed: bool) -> None:
    """Add one check's outcome for the present sources to the record file.

    Raises :class:`ValueError` if there is no such machine's code.
    """
    files = _sources(machine)
    if not files:
        raise ValueError(f"need a machine with sources in hwsim/, found {machine!r}")
    data = _load()
    entry = data.get(machine)
    sources = _hash(files)
    if entry is None or entry["sources"] != sources:
        entry = {"sources": sources, "files": list(files), "checks": {}}
    entry["checks"].setdefault(tier, {})[check] = is_passed
    data[machine] = entry
    partial = _FILE.with_suffix(".partial")
    partial.write_text(json.dumps(data, indent=1, sort_keys=True) + "\n")
    partial.replace(_FILE)


def _load() -> dict[str, Any]:
    if not _FILE.exists():
        return {}
    loaded: dict[str, Any] = json.loads(_FILE.read_text())
    return loaded


def tier_evidence(machine: str) -> Evidence:
    """Return the highest tier for which every recorded check, and at least one, passed."""
    entry = _load().get(machine)
    if entry is None:
        return Evidence("none", "no checks recorded; run `make test`")
    # What a file imports changes only with the file: the recorded list is the present one.
    if entry["sources"] != _hash(entry.get("files", ())):
        return Evidence("none", "sources changed since the recorded checks; run `make test`")
    reached = "none"
    for tier, meaning in TIER_MEANINGS.items():
        if tier == "T3" and machine in _WITHOUT_RTL:
            return Evidence(reached, f"T3 compares RTL: {_WITHOUT_RTL[machine]}")
        checks = entry["checks"].get(tier, {})
        failed = sorted(name for name, passed in checks.items() if not passed)
        if failed:
            return Evidence(reached, f"{tier} fails: {failed[0]}")
        if not checks:
            return Evidence(reached, f"no check recorded for {tier} ({meaning})")
        lacking = _not_compared(machine, checks) if tier == "T3" else ""
        if lacking:
            return Evidence(reached, f"T3 needs RTL of {lacking}")
        reached = tier
    return Evidence(reached, "all tiers checked on these sources")


def _not_compared(machine: str, checks: Iterable[str]) -> str:
    """Return in words the RTL that T3 needs and ``checks`` do not compare, or nothing."""
    units = _CO_SIMULATED.get(machine, ())
    if not units:
        return "its units, of which it has none"
    files = {check.partition("::")[0] for check in checks}
    return ", ".join(u for u in units if f"tests/rtl/{machine}/test_{u}.py" not in files)


def tier_of(machine: str) -> str:
    """Return the tier's name."""
    return tier_evidence(machine).tier
