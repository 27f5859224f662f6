"""``hwsim memory``: list DRAM devices, or measure one."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwsim.core.errors import InputError

if TYPE_CHECKING:
    from hwsim.components.dram.devices import Device

__all__ = ["memory"]

LONGEST = 18
"""Digits of a number below 2^63; Python itself refuses to read very long ones."""


def memory(
    context: typer.Context,
    device: Annotated[str, typer.Argument(help="Device to measure; none: list them.")] = "",
    pattern: Annotated[
        list[str] | None, typer.Option(help="stream, stride, random or mixed; repeatable.")
    ] = None,
    channels: Annotated[
        int | None, typer.Option(help="Channels, the device's own if none.")
    ] = None,
    scheduler: Annotated[str, typer.Option(help="frfcfs or fcfs.")] = "frfcfs",
    page: Annotated[str, typer.Option(help="open or closed rows.")] = "open",
    drain_end: Annotated[
        str, typer.Option(help="When a drain of writes ends: at a count or a level of queued ones.")
    ] = "count",
    activated_first: Annotated[
        bool, typer.Option(help="Serve the burst that opened a row before all others.")
    ] = False,
    refresh: Annotated[str, typer.Option(help="all_bank, per_bank or none.")] = "all_bank",
    timing: Annotated[
        list[str] | None, typer.Option(help="NAME=CLOCKS instead of the device's; repeatable.")
    ] = None,
    requests: Annotated[
        Path | None, typer.Option(help="File of lines 'clock address bytes R|W' to serve.")
    ] = None,
    mapping: Annotated[str, typer.Option(help="Address mapping, e.g. RoRaBaCoBgCh.")] = "",
    hashed: Annotated[bool, typer.Option(help="Hash banks with rows.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of random addresses and arrivals.")] = 0,
    report: Annotated[Path | None, typer.Option(help="Folder of a page with figures.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Measure a DRAM device: efficiency per pattern, latency under load, rows, refresh."""
    from hwsim.components.dram.devices import device_names, load_device

    if not device:
        _check_alone(context)
        _print_devices([load_device(name) for name in device_names()], as_json)
        return 0
    from hwsim.components.dram.state import Controller

    controller = Controller(
        scheduler=scheduler,  # type: ignore[arg-type]  # checked by Controller
        page=page,  # type: ignore[arg-type]
        drain_end=drain_end,  # type: ignore[arg-type]
        is_activated_first=activated_first,
        refresh=refresh,  # type: ignore[arg-type]
        mapping=mapping,
        is_hashed=hashed,
    )
    chosen = load_device(device, channels).with_timings(_timings(timing or []))
    if requests is not None:
        if pattern or report is not None:
            raise InputError("--requests", "neither --pattern nor --report", "both")
        _print_served(_serve_file(chosen, controller, requests), as_json)
        return 0
    document = _measure(chosen, controller, pattern, seed)
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


def _check_alone(context: typer.Context) -> None:
    """Refuse options about a device if none is named."""
    for name in context.params:
        source = context.get_parameter_source(name)
        if (
            name not in ("device", "as_json")
            and source is not None
            and source.name == "COMMANDLINE"
        ):
            raise InputError("--" + name.replace("_", "-"), "a device to measure", "none")


def _timings(settings: list[str]) -> dict[str, int]:
    """Return the clocks by name of ``NAME=CLOCKS``."""
    clocks = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        if not value.isdecimal() or len(value) > LONGEST:
            raise InputError("--timing", "NAME=CLOCKS", repr(setting))
        clocks[name] = int(value)
    return clocks


def _serve_file(device: Device, controller: Any, path: Path) -> dict[str, Any]:
    """Serve the requests of a file and return what ``--json`` prints."""
    from hwsim.components.dram.characterise import latencies
    from hwsim.components.dram.controller import count_events, serve
    from hwsim.components.dram.request_file import read_requests

    requests = read_requests(path)
    counts = count_events(serve(device, requests, controller))
    clocks = int(requests["done"].max() - requests["arrival"][0])
    moved = counts.bytes_read + counts.bytes_written
    return {
        "device": device.name,
        "requests": len(requests),
        "clocks": clocks,
        "share": moved * device.clock_hz / clocks / device.peak_bytes_per_s,
        "latency_ns": latencies(device, requests),
        "counts": vars(counts),
    }


def _print_served(document: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(document, indent=1))
        return
    counts = document["counts"]
    print(
        f"{document['device']}: {document['requests']} requests in {document['clocks']} clocks, "
        f"{document['share']:.1%} of the peak"
    )
    for kind, latency in document["latency_ns"].items():
        print(
            f"  {kind:8}{latency['mean']:.0f} ns mean latency, {latency['p95']:.0f} ns at the 95th "
            f"percentile, {latency['most']:.0f} ns at most"
        )
    print(f"  bytes   {counts['bytes_read']} read, {counts['bytes_written']} written")
    print(
        f"  bursts  {counts['hits']} hit, {counts['misses']} miss, {counts['conflicts']} conflict"
    )
    issued = [f"{count} {name}" for name, count in counts["commands"].items() if count]
    print(f"  issued  {', '.join(issued)}")


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
    for kind in ("read", "write"):
        curves = {
            name: curve
            for name, curve in document["latency"].items()
            if curve[0][f"{kind}_mean_ns"] is not None
        }
        if curves:
            print(f"  {kind} latency in ns, mean (95th percentile), by offered share of the peak")
        for name, curve in curves.items():
            points = [
                f"{p['offered']:.0%} {p[f'{kind}_mean_ns']:.0f} ({p[f'{kind}_p95_ns']:.0f})"
                for p in curve
            ]
            print(f"  {name:8} {', '.join(points)}")
