"""``hwsim network`` and ``hwsim scratchpad``: measure on-chip components beside closed forms."""

from __future__ import annotations

import json
from math import prod
from typing import Annotated, Any

import typer

from hwsim.core.errors import InputError

__all__ = ["network", "scratchpad"]

MOST_NODES = 1024
"""Nodes of a measured network: every pair of them has a place in its tables."""

Settings = Annotated[
    list[str] | None, typer.Option("--set", help="key=value of the component; repeatable.")
]
Seed = Annotated[int, typer.Option(min=0, help="Of everything random.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def network(
    shape: Annotated[str, typer.Argument(help="crossbar:N or mesh:WxH.")],
    pattern: Annotated[
        list[str] | None,
        typer.Option(help="uniform, neighbour, mirror or hotspot; repeatable. All if none."),
    ] = None,
    size: Annotated[int, typer.Option(help="Bytes of a packet.")] = 16,
    cycles: Annotated[int, typer.Option(help="Length of a measurement.")] = 2000,
    settings: Settings = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> int:
    """Measure a crossbar or mesh: flits per node and cycle, latency under load."""
    from hwsim.components.noc_load import PATTERNS, characterise_network

    spec = _network_spec(shape, settings or [])
    rows = [
        characterise_network(spec, name, size_bytes=size, cycles=cycles, seed=seed).to_json()
        for name in pattern or PATTERNS
    ]
    document = {"shape": shape, "spec": spec.model_dump(), "size_bytes": size, "cycles": cycles}
    if as_json:
        print(json.dumps({**document, "seed": seed, "patterns": rows}, indent=1))
        return 0
    print("pattern    flits per node and cycle, at most (link)      alone  latency by share of it")
    for row in rows:
        curve = [f"{p['offered']:.0%} {p['mean_cycles']:.1f}" for p in row["latency"]]
        most = f"{row['limit']:.3f} ({row['limit_link']})"
        head = f"{row['pattern']:10} {row['accepted']:.3f}, {most:34} {row['alone_cycles']:6.1f}"
        print(f"{head}  {', '.join(curve)}")
    return 0


def scratchpad(
    pattern: Annotated[
        list[str] | None, typer.Option(help="stride:S, random or hot; repeatable.")
    ] = None,
    steps: Annotated[int, typer.Option(help="Reads per port.")] = 2000,
    settings: Settings = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> int:
    """Measure a banked scratchpad: words per cycle, waiting."""
    from hwsim.components.sram import SramSpec
    from hwsim.components.sram_load import characterise_pad

    spec = SramSpec().override(settings or [])
    names = pattern or ["stride:1", "stride:2", "stride:16", "random", "hot"]
    rows = [characterise_pad(spec, name, steps=steps, seed=seed).to_json() for name in names]
    if as_json:
        document = {"spec": spec.model_dump(), "steps": steps, "seed": seed, "patterns": rows}
        print(json.dumps(document, indent=1))
        return 0
    print("pattern     words per cycle, at most (rule)           waiting  conflicts")
    for row in rows:
        most = f"{row['limit']:.2f} ({row['rule']})"
        print(
            f"{row['pattern']:10} {row['words_per_cycle']:7.2f}, {most:30} "
            f"{row['waiting']:8.2f} {row['conflict_share']:9.1%}"
        )
    return 0


def _network_spec(shape: str, settings: list[str]) -> Any:
    from hwsim.components.noc import CrossbarSpec, MeshSpec

    kind, _, size = shape.partition(":")
    sides = size.split("x")
    names = {"crossbar": ("nodes",), "mesh": ("width", "height")}.get(kind, ())
    if len(sides) != len(names) or not all(side.isdecimal() for side in sides):
        raise InputError("SHAPE", "crossbar:N or mesh:WxH", repr(shape))
    if any(len(side) > 4 for side in sides) or prod(map(int, sides)) > MOST_NODES:
        raise InputError("SHAPE", f"at most {MOST_NODES} nodes", repr(shape))
    values = dict(zip(names, map(int, sides), strict=True))
    spec = CrossbarSpec if kind == "crossbar" else MeshSpec
    return spec.build(values).override(settings)
