"""Compute a machine's validation tier from recorded evidence, never from a constant.

A record says which checks passed and on which sources (a hash over the files they exercise).
It is written by the test suite (``pytest --record-evidence``) and by ``hwsim validate``'s claims;
a record whose hash no longer matches the sources counts for nothing.

A tier needs all lower ones.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from hwsim.report.counters import TIER_MEANINGS

__all__ = ["Evidence", "record", "source_hash", "tier_evidence", "tier_of"]

_SOURCES = {"sat": ("hwsim/core", "hwsim/components", "hwsim/sat", "rtl/common", "rtl/sat")}
_CO_SIMULATED = {"sat": ("topn_sorter", "uspe", "systolic_tile")}
"""Units whose RTL must have been compared before a machine may claim T3."""

_ROOT = Path(__file__).resolve().parents[2]
_FILE = Path(__file__).with_name("evidence.json")


@dataclass(frozen=True)
class Evidence:
    """A machine's tier and one sentence saying why it is not higher."""

    tier: str
    reason: str


@lru_cache
def source_hash(machine: str) -> str:
    """Return a hash over the Python sources that ``machine``'s checks exercise."""
    digest = hashlib.sha256()
    for folder in _SOURCES[machine]:
        for path in sorted((_ROOT / folder).rglob("*.py")):
            digest.update(path.relative_to(_ROOT).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def record(machine: str, tier: str, check: str, is_passed: bool) -> None:
    """Add one check's outcome for the present sources to the record file."""
    data = _load()
    entry = data.get(machine)
    if entry is None or entry["sources"] != source_hash(machine):
        entry = {"sources": source_hash(machine), "checks": {}}
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
    if entry["sources"] != source_hash(machine):
        return Evidence("none", "sources changed since the recorded checks; run `make test`")
    reached = "none"
    for tier, meaning in TIER_MEANINGS.items():
        checks = entry["checks"].get(tier, {})
        failed = sorted(name for name, passed in checks.items() if not passed)
        if failed:
            return Evidence(reached, f"{tier} fails: {failed[0]}")
        if not checks:
            return Evidence(reached, f"no check recorded for {tier} ({meaning})")
        missing = [unit for unit in _CO_SIMULATED[machine] if f"test_{unit}.py" not in str(checks)]
        if tier == "T3" and missing:
            return Evidence(reached, f"T3 needs RTL of {', '.join(missing)}")
        reached = tier
    return Evidence(reached, "all tiers checked on these sources")


def tier_of(machine: str) -> str:
    """Return the tier's name."""
    return tier_evidence(machine).tier
