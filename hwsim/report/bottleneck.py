"""Answer in a few sentences where a run's bottleneck is, from its accounts alone."""

from __future__ import annotations

from hwsim.report.accounts import LayerRow, Run, compute_unit, layer_rows, parts_of, read_account
from hwsim.report.counters import REASON_MEANINGS
from hwsim.report.quantities import format_percent, read_number

__all__ = ["describe_bottleneck", "is_memory_bound"]

DOMINANT_SHARE = 0.5
"""A part of the account above this share is called the bottleneck without qualification."""
WAITING_SHARE = 0.1
"""A unit that waits for memory less than this is not judged by the unit that it waits for."""
MENTIONED_SHARE = 0.02
"""Stall reasons below this share of the cycles are left out of the sentence."""


def is_memory_bound(row: LayerRow, peak: float, memory_bytes_per_cycle: float) -> bool:
    """Return whether the roofline's memory roof lies below its compute roof for this layer."""
    return row.useful_macs * memory_bytes_per_cycle < row.dram_bytes * peak


def _verdict(busy: float, idle: float, reasons: list[tuple[str, float]]) -> str:
    worst, share = reasons[0] if reasons else ("", 0.0)
    if busy >= DOMINANT_SHARE and busy >= share:
        return "Compute-bound"
    if idle > max(busy, share):
        return "Starved of work"
    return f"Bound by {worst}" if share > busy else f"No single bottleneck; most lost to {worst}"


def _busier(run: Run, unit: str, busy: float, stalls: list[tuple[str, float]]) -> str:
    """Return a verdict on a unit that works more than ``unit``, which waits for memory, or ""."""
    if not stalls or stalls[0][0] != "dram" or stalls[0][1] < WAITING_SHARE:
        return ""
    shares = {
        name: read_account(account).busy / (int(run["cycles"]) or 1)
        for name, account in run["units"].items()
    }
    most = max(shares, key=lambda name: shares[name])
    if most == unit or shares[most] <= max(busy, DOMINANT_SHARE):
        return ""
    return f"Bound by {most}, which works in {format_percent(shares[most])} of all cycles"


def _unit_sentence(run: Run, unit: str) -> str:
    parts = parts_of(read_account(run["units"][unit]))
    busy = sum(part.share for part in parts if part.state == "busy")
    idle = sum(part.share for part in parts if part.state == "idle")
    stalls = [(p.state, p.share) for p in parts if p.state not in ("busy", "idle")]
    stalls.sort(key=lambda item: -item[1])
    verdict = _verdict(busy, idle, stalls)
    if verdict == "Compute-bound":
        verdict = _busier(run, unit, busy, stalls) or verdict
    text = f"{verdict}: {unit} works in {format_percent(busy)} of all cycles"
    named = [item for item in stalls if item[1] >= MENTIONED_SHARE][:3]
    if named:
        reasons = "; ".join(
            f"{name} {format_percent(share)} ({REASON_MEANINGS.get(name, 'unknown reason')})"
            for name, share in named
        )
        stalled = sum(share for _, share in stalls)
        text += f" and stalls in {format_percent(stalled)} — {reasons}"
    if idle >= MENTIONED_SHARE:
        text += f"; it has no work in {format_percent(idle)}"
    return text + "."


def _layers_sentence(rows: list[LayerRow]) -> str:
    ranked = sorted(rows, key=lambda row: -row.cycles)[:3]
    if len(rows) < 2 or not ranked[0].cycles:
        return ""
    share = sum(row.share for row in ranked)
    names = ", ".join(f"{row.name} ({format_percent(row.share)})" for row in ranked)
    together = format_percent(share)
    return f"The {len(ranked)} most expensive of {len(rows)} layers take {together}: {names}."


def _padding_sentence(run: Run) -> str:
    issued, useful = int(run.get("issued_macs", 0)), int(run.get("useful_macs", 0))
    if not issued or (issued - useful) / issued < MENTIONED_SHARE:
        return ""
    wasted = format_percent((issued - useful) / issued)
    return f"{wasted} of the issued multiply-accumulate slots are padding or removed weights."


def _roofline_sentence(run: Run, rows: list[LayerRow]) -> str:
    peak = read_number(run.get("peak_macs_per_cycle"))
    memory = read_number(run.get("memory_bytes_per_cycle"))
    placed = [row for row in rows if row.useful_macs and row.dram_bytes]
    if not peak or not memory or not placed:
        return ""
    bound = [row for row in placed if is_memory_bound(row, peak, memory)]
    share = format_percent(sum(row.share for row in bound))
    text = f"By the roofline memory limits {len(bound)} of {len(placed)} matrix layers"
    if bound:
        text += f" ({share} of the cycles)"
    moved = sum(row.dram_bytes for row in rows) / (memory * (int(run["cycles"]) or 1))
    return f"{text}; the whole run takes {format_percent(moved)} of memory's rate."


def describe_bottleneck(run: Run) -> list[str]:
    """Return sentences: the unit's verdict, the costly layers, padding, the roofline's view."""
    rows = layer_rows(run)
    unit = compute_unit(run)
    sentences = [_unit_sentence(run, unit)] if unit in run["units"] else []
    sentences += [_layers_sentence(rows), _padding_sentence(run), _roofline_sentence(run, rows)]
    return [sentence for sentence in sentences if sentence]
