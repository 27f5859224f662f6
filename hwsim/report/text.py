"""Summarise a run on a terminal or any other text stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TextIO

from hwsim.report.accounts import OFF_CHIP_LEVELS, LayerRow, Run, cycle_parts, layer_rows
from hwsim.report.area import area_doubts, area_pairs
from hwsim.report.bottleneck import describe_bottleneck
from hwsim.report.counters import TIER_MEANINGS
from hwsim.report.quantities import (
    format_bytes,
    format_count,
    format_energy,
    format_exact,
    format_percent,
    format_ratio,
    format_time,
    read_number,
)
from hwsim.report.stages import StageRow, stage_rows

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["NO_TIER", "headline", "tier_text", "write_summary"]

TOP_LAYERS = 10
NO_TIER = ("", "none")
"""What documents without recorded evidence say."""


def tier_text(tier: str) -> str:
    """Return a tier with its meaning, or that no evidence is recorded."""
    meaning = TIER_MEANINGS.get(tier[:2])
    if tier in NO_TIER:
        return "none recorded: no accuracy is claimed"
    return f"{tier}: {meaning}" if meaning and tier == tier[:2] else tier


def headline(run: Run) -> list[tuple[str, str]]:
    """Return the key figures of a run as (label, value) pairs."""
    pairs = [
        ("cycles", format_exact(run["cycles"])),
        ("simulated time", format_time(run.get("time_s"))),
        ("clock", f"{format_count(run.get('clock_hz'))}Hz"),
        ("utilisation", format_percent(run.get("utilization"))),
        ("useful / dense MACs", _macs_text(run)),
    ]
    baseline = run.get("baseline", {})
    if baseline.get("dense_cycles"):
        speedup = format_ratio(read_number(baseline.get("speedup")))
        dense = format_exact(read_number(baseline["dense_cycles"]))
        pairs.append(("against dense", f"{speedup} (dense {dense} cycles)"))
    for level in (name for name in OFF_CHIP_LEVELS if name in run.get("bytes", {})):
        moved = run["bytes"][level]
        read, write = format_bytes(moved.get("read")), format_bytes(moved.get("write"))
        pairs.append((level, f"{read} read, {write} written"))
    if run.get("energy_pj"):
        pairs.append(("energy", format_energy(run["energy_pj"])))
    if run.get("verification"):
        pairs.append(("outputs", _verification_text(run["verification"])))
    pairs += area_pairs(run)
    return pairs + [("tier", tier_text(str(run.get("tier", ""))))]


def _verification_text(records: Sequence[Mapping[str, Any]]) -> str:
    equal = sum(bool(record["equal"]) for record in records)
    text = f"{equal} of {len(records)} checks equal the golden model"
    counts = [r["nonfinite_gradients"] for r in records if "nonfinite_gradients" in r]
    if counts:
        text += f"; {format_exact(sum(counts))} gradients not finite"
    return text


def _macs_text(run: Run) -> str:
    useful, dense = run.get("useful_macs"), run.get("macs")
    share = f" ({format_percent(useful / dense)})" if useful is not None and dense else ""
    return f"{format_count(useful)} / {format_count(dense)}{share}"


def _stalls_text(row: LayerRow) -> str:
    lost = sorted((p for p in row.parts if p.state != "busy"), key=lambda part: -part.cycles)
    return ", ".join(f"{part.label} {format_percent(part.share)}" for part in lost[:1])


def _layer_table(rows: Sequence[LayerRow], total: int) -> Table:
    from rich.table import Table
    from rich.text import Text

    title = f"{len(rows)} most expensive of {total} layers"
    table = Table(title=title, box=None, padding=(0, 2, 0, 0), title_justify="left")
    has_dense = any(row.dense_cycles is not None for row in rows)
    heads = ["kind", "cycles", "share", "busy", "util", "DRAM"] + ["vs dense"] * has_dense
    cells = [_layer_cells(row, has_dense) for row in rows]
    table.add_column("layer", overflow="ellipsis", no_wrap=True)
    for index, head in enumerate(heads):
        # Only the names at both ends may be shortened; numbers never are.
        width = max(len(head), *(len(row[index]) for row in cells))
        justify: Literal["left", "right"] = "right" if index else "left"
        table.add_column(head, justify=justify, no_wrap=True, min_width=width)
    width = max(len("lost to"), *(len(_stalls_text(row)) for row in rows))
    table.add_column("lost to", overflow="ellipsis", no_wrap=True, min_width=min(width, 18))
    for row, texts in zip(rows, cells, strict=True):
        table.add_row(*(Text(text) for text in (row.name, *texts, _stalls_text(row))))
    return table


def _layer_cells(row: LayerRow, has_dense: bool) -> list[str]:
    busy = row.account.busy / row.cycles if row.cycles else None
    return [
        row.kind,
        format_exact(row.cycles),
        *(format_percent(share) for share in (row.share, busy, row.utilization)),
        format_bytes(row.dram_bytes),
        *([format_ratio(row.speedup)] if has_dense else []),
    ]


def _numbers_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Return a table of a name and right-aligned numbers, none of them shortened."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0))
    for index, head in enumerate(heads):
        table.add_column(head, justify="right" if index else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(text) for text in row))
    return table


def _stage_table(stages: Sequence[StageRow]) -> Table:
    has_dense = any(stage.dense_cycles is not None for stage in stages)
    heads = ["stage", "cycles", "share", "array busy", "DRAM"] + ["vs dense"] * has_dense
    rows = [
        [
            stage.name,
            format_exact(stage.cycles),
            format_percent(stage.share),
            format_exact(stage.array_busy_cycles),
            format_bytes(stage.dram_bytes),
            *([format_ratio(stage.speedup)] if has_dense else []),
        ]
        for stage in stages
    ]
    return _numbers_table(heads, rows)


def _memory_table(run: Run) -> Table:
    rows = [
        [
            f"{row['model']}{' (this run)' if row['is_this_run'] else ''}",
            format_exact(row["cycles"]),
            format_time(row["time_s"]),
            format_ratio(row["cycles"] / run["cycles"] if run["cycles"] else None),
            format_exact(row["dram_stall_cycles"]),
        ]
        for row in run["memory_models"]
    ]
    return _numbers_table(["memory", "cycles", "time", "of this run", "stalled by dram"], rows)


def _peer_table(run: Run) -> Table:
    rows = [
        [
            row["machine"],
            format_time(row["time_s"]),
            format_percent(row["time_s"] / run["time_s"]) if run["time_s"] else "-",
            f"{row['memory_bytes_per_s'] / 1e9:.0f} GB/s",
            row["limit"],
        ]
        for row in run["peers"]
    ]
    return _numbers_table(["closed form", "time", "of this run", "memory", "limit"], rows)


def _schedule_table(schedule: Mapping[str, Any]) -> Table:
    heads = ["N:M", "from step", "steps", "beta", "cycles per step", "share"]
    rows = [
        [
            frame["nm"] or "dense",
            format_exact(frame["from_step"]),
            format_exact(frame["steps"]),
            f"{frame['beta']:.3g}",
            format_exact(frame["cycles_per_step"]),
            format_percent(frame["share"]),
        ]
        for frame in schedule["frames"]
    ]
    return _numbers_table(heads, rows)


def _schedule_line(schedule: Mapping[str, Any]) -> str:
    return (
        f"Training run: {format_exact(schedule['steps'])} steps in "
        f"{format_time(schedule['time_s'])} ({format_exact(schedule['cycles'])} cycles), "
        f"{format_ratio(schedule['speedup'])} as fast as dense training"
    )


def write_summary(
    run: Run, stream: TextIO, *, top: int = TOP_LAYERS, width: int | None = None
) -> None:
    """Write headline, bottleneck, where the cycles went and the costliest layers to ``stream``.

    Parameters
    ----------
    run : dict
        A run document.
    stream : text stream
        Colours are used only if it is a terminal.
    top : int
        Layers in the table.
    width : int or None
        Columns; None takes the terminal's, or 100 elsewhere.
    """
    from rich.console import Console
    from rich.text import Text

    is_terminal = stream.isatty()
    console = Console(file=stream, width=width or (None if is_terminal else 100), highlight=False)
    name = f"{run.get('model', '?')} on {run.get('machine', '?')} ({run.get('preset', '?')})"
    fidelity = "" if run.get("fidelity") != "estimate" else "  [estimate: closed form only]"
    console.print(Text(f"{name}{fidelity}", style="bold"))
    for label, value in headline(run):
        console.print(Text(f"  {label:<20} {value}"))
    console.print()
    console.print(Text(" ".join(describe_bottleneck(run))))
    parts = cycle_parts(run)
    where = " · ".join(f"{part.label} {format_percent(part.share)}" for part in parts)
    console.print(Text(f"Cycles: {where}", style="dim"))
    if run.get("schedule"):
        console.print(Text(_schedule_line(run["schedule"])))
        console.print(_schedule_table(run["schedule"]))
    if run.get("memory_models"):
        console.print(Text("Memory models"))
        console.print(_memory_table(run))
    if run.get("peers"):
        console.print(Text("The same product on other accelerators"))
        console.print(_peer_table(run))
    stages = stage_rows(run)
    if stages:
        console.print(Text("Stages of an iteration"))
        console.print(_stage_table(stages))
    rows = layer_rows(run)
    costly = sorted(rows, key=lambda row: -row.cycles)[:top]
    if costly:
        console.print(_layer_table(costly, len(rows)))
    doubts = [f"area: {doubt}" for doubt in area_doubts(run["area"])] if run.get("area") else []
    for note in [*run.get("notes", []), *doubts]:
        console.print(Text(f"note: {note}"))
