"""Measure Ramulator 2.1 on the traces of ``hwsim validate memory`` where someone has built it.

``python -m benchmarks.ramulator write DIR`` writes per case ``NAME.trace`` and ``NAME.json`` (the
settings). A driver linked to Ramulator plays them (docs/memory.md says how) and leaves
``NAME.done``, int64 per request, and ``NAME.stats.json``: ``{"commands": {"ACT": 1, …}}``.
``python -m benchmarks.ramulator collect DIR COMMIT [FILE]`` turns these into the recorded figures;
``python -m benchmarks.ramulator speed`` prints requests per second of CPU time of this project,
``… closed`` why closed rows differ.

A trace is rows of eight little-endian int64: arrival, byte address, is_write, rank (or pseudo
channel), bank group, bank, row, column.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hwsim.components.dram.address import FIELDS, parse_mapping
from hwsim.components.dram.controller import serve
from hwsim.components.dram.devices import Device
from hwsim.experiments.ramulator import RECORDED
from hwsim.experiments.ramulator_cases import (
    CASES,
    IN_FLIGHT,
    N_REQUESTS,
    PRESETS,
    SEED,
    Case,
    case_device,
    controller,
    make_trace,
    their_settings,
)

__all__ = ["collect", "main", "trace_rows", "write"]

COMMANDS = {"PREpb": "PRE", "PREab": "PREA"}
"""Ramulator's names of commands -> this project's, where they differ."""
SPEED_TRACES = ("stream", "random", "mix-random")


def trace_rows(device: Device, case: Case) -> NDArray[np.int64]:
    """Return the trace of a case : int64[request, 8], addresses mapped as well."""
    requests = make_trace(device, case.trace)
    burst = requests["address"] // device.burst_bytes
    found = {field: np.zeros(len(requests), np.int64) for field in FIELDS}
    for field, shift, mask, into in parse_mapping(device, case.mapping).tolist():
        found[FIELDS[field]] |= (burst >> shift & mask) << into
    column = found["Co"] * device.burst_length
    places = (found["Ra"], found["Bg"], found["Ba"], found["Ro"], column)
    return np.stack(
        [requests["arrival"], requests["address"], requests["is_write"], *places], axis=1
    )


def write(folder: Path) -> None:
    """Write traces and settings of every case."""
    folder.mkdir(parents=True, exist_ok=True)
    for case in CASES:
        rows = trace_rows(case_device(case.device), case)
        rows.astype("<i8").tofile(folder / f"{case.name}.trace")
        settings = json.dumps(their_settings(case), indent=1)
        (folder / f"{case.name}.json").write_text(settings + "\n", "utf-8")


def collect(folder: Path, commit: str, output: Path) -> None:
    """Write the recorded figures from what a driver left in ``folder``."""
    cases = {}
    for case in CASES:
        rows = np.fromfile(folder / f"{case.name}.trace", "<i8").reshape(-1, 8)
        done = np.fromfile(folder / f"{case.name}.done", "<i8")
        latency = (done - rows[:, 0])[rows[:, 2] == 0].mean()
        stats = json.loads((folder / f"{case.name}.stats.json").read_text("utf-8"))
        issued = {COMMANDS.get(name, name): n for name, n in stats["commands"].items() if n}
        cases[case.name] = {
            "cycles": int(done.max()),
            "read_latency": round(float(latency), 3),
            "commands": issued,
        }
    document = {
        "simulator": "Ramulator 2.1",
        "commit": commit,
        "build": "public sources reduced to device, controller, scheduler, refresh, row policy "
        "and address mapper; own front end and configuration reader (docs/memory.md)",
        "traces": {
            "generator": "hwsim.experiments.ramulator_cases.make_trace",
            "seed": SEED,
            "requests": N_REQUESTS,
            "in_flight": IN_FLIGHT,
        },
        "settings": {name: their_settings(Case(name, "stream")) for name in PRESETS},
        "cases": cases,
    }
    output.write_text(json.dumps(document, indent=1) + "\n", "utf-8")


def print_speed() -> None:
    """Print requests per second of user time, compiled, five runs of each trace together."""
    for case in (c for c in CASES if c.trace in SPEED_TRACES and c.name == f"{c.device}-{c.trace}"):
        device = case_device(case.device)
        requests = make_trace(device, case.trace)
        serve(device, requests.copy(), controller(case), in_flight=IN_FLIGHT)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
        for _ in range(5):
            serve(device, requests.copy(), controller(case), in_flight=IN_FLIGHT)
        spent = resource.getrusage(resource.RUSAGE_SELF).ru_utime - before
        print(f"{case.name:24} {5 * len(requests) / spent / 1e6:.2f} M requests/s")


def main(arguments: list[str]) -> int:
    """Write, collect or time; 2 if asked for anything else."""
    match arguments:
        case ["write", folder]:
            write(Path(folder))
        case ["collect", folder, commit]:
            collect(Path(folder), commit, RECORDED)
        case ["collect", folder, commit, output]:
            collect(Path(folder), commit, Path(output))
        case ["speed"]:
            print_speed()
        case ["closed"]:
            from benchmarks.closed_cap import print_closed

            print_closed()
        case _:
            print("usage: write DIR | collect DIR COMMIT [FILE] | speed | closed", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
