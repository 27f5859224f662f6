"""``hwsim memory``: list DRAM devices, or measure one."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from hwsim.components.dram.devices import Device

__all__ = ["memory"]


def memory(
    device: Annotated[str, typer.Argument(help="Device to measure; none: list them.")] = "",
    pattern: Annotated[
        list[str] | None, typer.Option(help="stream, stride, random or mixed; repeatable.")
    ] = None,
    channels: Annotated[
        int | None, typer.Option(help="Channels, the device's own if none.")
    ] = None,
    scheduler: Annotated[str, typer.Option(help="frfcfs or fcfs.")] = "frfcfs",
    page: Annotated[str, typer.Option(help="open or closed rows.")] = "open",
    refresh: Annotated[str, typer.Option(help="all_bank, per_bank or none.")] = "all_bank",
    mapping: Annotated[str, typer.Option(help="Address mapping, e.g. RoRaBaCoBgCh.")] = "",
    hashed: Annotated[bool, typer.Option(help="Hash banks with rows.")] = False,
    seed: Annotated[int, typer.Option(help="Of random addresses and arrivals.")] = 0,
    report: Annotated[Path | None, typer.Option(help="Folder of a page with figures.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Measure a DRAM device: efficiency per pattern, latency under load, rows, refresh."""
    from hwsim.components.dram.devices import device_names, load_device

    if not device:
        _print_devices([load_device(name) for name in device_names()], as_json)
        return 0
    from hwsim.components.dram.state import Controller

    controller = Controller(
        scheduler=scheduler,  # type: ignore[arg-type]  # checked by Controller
        page=page,  # type: ignore[arg-type]
        refresh=refresh,  # type: ignore[arg-type]
        mapping=mapping,
        is_hashed=hashed,
    )
    document = _measure(load_device(device, channels), controller, pattern, seed)
    if report is not None:
        from hwsim import __version__
        from hwsim.report.memory import write_memory

        command = shlex.join(["hwsim", *sys.argv[1:]])
        origin = {"command": command, "seed": seed, "versions": {"hwsim": __version__}}
        write_memory(document, origin, report)
    if as_json:
        print(json.dumps(document, indent=1))
    else:
        _print_measured(document)
    return 0


def _print_devices(devices: list[Device], as_json: bool) -> None:
    rows = [
        {
            "name": d.name,
            "description": d.description,
            "peak_bytes_per_s": d.peak_bytes_per_s,
            "capacity_bytes": d.capacity_bytes,
            "controllers": d.controllers,
            "mapping": d.mapping,
        }
        for d in devices
    ]
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    for row in rows:
        peak = f"{row['peak_bytes_per_s'] / 1e9:7.1f} GB/s"
        print(f"{row['name']:14}{peak}  {row['description']}")


def _measure(
    device: Device, controller: Any, patterns: list[str] | None, seed: int
) -> dict[str, Any]:
    """Return the document of ``--json``."""
    from hwsim.components.dram.characterise import PATTERNS, characterise, loaded_latency

    names = patterns or list(PATTERNS)
    results = [characterise(device, name, controller, seed=seed) for name in names]
    curves = {name: loaded_latency(device, name, controller, seed=seed) for name in names}
    return {
        "device": device.name,
        "description": device.description,
        "source": device.source,
        "clock_hz": device.clock_hz,
        "peak_bytes_per_s": device.peak_bytes_per_s,
        "controller": vars(controller),
        "seed": seed,
        "patterns": [result.to_json() for result in results],
        "latency": {name: [point.to_json() for point in curve] for name, curve in curves.items()},
        "timings": [
            {"timing": name, "clocks": clocks, "source": device.timing_sources[name]}
            for name, clocks in device.timings.items()
        ],
    }


def _print_measured(document: dict[str, Any]) -> None:
    peak = document["peak_bytes_per_s"] / 1e9
    print(f"{document['device']}: {document['description']}, peak {peak:.1f} GB/s")
    print("  pattern  of peak   GB/s  at most (rule)    hits   misses  conflicts  refreshing")
    for row in document["patterns"]:
        limit = f"{row['limit']:.1%} ({row['limit_rule']})"
        print(
            f"  {row['pattern']:8}{row['share']:7.1%}{row['bytes_per_s'] / 1e9:8.1f}  {limit:16}"
            f"{row['hits']:8}{row['misses']:8}{row['conflicts']:10}{row['refresh_share']:11.1%}"
        )
    print("  latency in ns, mean (95th percentile), by offered share of the peak")
    for name, curve in document["latency"].items():
        points = [f"{p['offered']:.0%} {p['mean_ns']:.0f} ({p['p95_ns']:.0f})" for p in curve]
        print(f"  {name:8} {', '.join(points)}")
