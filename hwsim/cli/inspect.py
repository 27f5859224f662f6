"""``hwsim machines``, ``models``, ``diff``, ``validate`` and ``schema``."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from hwsim.core.errors import unknown_name

__all__ = ["diff", "machines", "models", "schema", "validate"]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def machines(as_json: AsJson = False) -> int:
    """List machines with presets, dataflows and validation tier."""
    from hwsim.core.machine import machine_class, machine_names, make_machine
    from hwsim.experiments.evidence import tier_evidence

    rows: list[dict[str, Any]] = []
    for name in machine_names():
        evidence = tier_evidence(name)
        known = make_machine(name).capabilities()
        rows.append(
            {
                "name": name,
                "description": (machine_class(name).__doc__ or "").splitlines()[0],
                "tier": evidence.tier,
                "tier_reason": evidence.reason,
                "presets": list(known.presets),
                "dataflows": list(known.dataflows),
                "patterns": list(known.patterns),
                "treatment": known.treatment,
            }
        )
    if as_json:
        print(json.dumps(rows, indent=2))
        return 0
    for row in rows:
        print(f"{row['name']}: {row['description']}")
        print(f"  tier       {row['tier']} ({row['tier_reason']})")
        print(f"  presets    {', '.join(row['presets'])}")
        print(f"  dataflows  {', '.join(row['dataflows'])}")
        print(f"  patterns   {', '.join(row['patterns'])}")
        for topic, text in row["treatment"].items():
            print(f"  {topic:10} {text}")
    return 0


def models(as_json: AsJson = False) -> int:
    """List built-in models, and generators and packages of sparse matrices."""
    from models.llm.presets import DESCRIPTIONS
    from models.sparse.generators import GENERATORS
    from models.sparse.packaged import PACKAGES, packaged_names
    from models.zoo import ZOO

    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "description": entry.description,
            "inputs": {key: list(shape) for key, shape in entry.inputs.items()},
        }
        for name, entry in ZOO.items()
    ]
    phases = "(phases prefill, decode, request)"
    rows += [
        {"name": name, "description": f"{text} {phases}"} for name, text in DESCRIPTIONS.items()
    ]
    rows += [
        {"name": name, "description": f"{entry.description} ({', '.join(entry.defaults)})"}
        for name, entry in GENERATORS.items()
    ]
    rows += [
        {"name": f"{package}:{name}", "description": "sparse matrix inside the package"}
        for package in PACKAGES
        if find_spec(package)
        for name in packaged_names(package)
    ]
    rows = [{"inputs": {}} | row for row in rows]
    if as_json:
        print(json.dumps(rows, indent=2))
        return 0
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        shapes = ", ".join(f"{k} {'x'.join(map(str, v))}" for k, v in row["inputs"].items())
        print(f"{row['name']:{width}}  {row['description']}{f' [{shapes}]' if shapes else ''}")
    return 0


def diff(
    first: Annotated[Path, typer.Argument(help="Run JSON.")],
    second: Annotated[Path, typer.Argument(help="Run JSON to compare with it.")],
    as_json: AsJson = False,
) -> int:
    """Compare two run JSON files layer by layer."""
    from hwsim.report.diff import diff_results, format_diff, load_run

    difference = diff_results(load_run(first), load_run(second))
    print(json.dumps(difference, indent=2) if as_json else format_diff(difference))
    return 0


def validate(
    names: Annotated[list[str] | None, typer.Argument(help="Default: everything.")] = None,
    as_json: AsJson = False,
    report: Annotated[Path | None, typer.Option("--report", help="Write a report.")] = None,
) -> int:
    """Check claims: simulated against published, derived, RTL and peer values."""
    from hwsim.experiments.registry import (
        EXPERIMENTS,
        experiment_charts,
        experiment_tables,
        run_experiments,
        unchecked_figures,
    )

    chosen = names or sorted(EXPERIMENTS)
    for name in chosen:
        if name not in EXPERIMENTS:
            raise unknown_name("NAME", name, EXPERIMENTS)
    claims = run_experiments(chosen)
    if report is not None:
        from hwsim.experiments.runs import write_report

        write_report(
            [],
            report,
            claims,
            title="hwsim validate",
            charts=experiment_charts(chosen),
            unchecked=unchecked_figures(chosen),
            tables=experiment_tables(chosen),
        )
    if as_json:
        print(json.dumps([claim.to_json() for claim in claims], indent=2))
    else:
        for claim in claims:
            verdict = "pass" if claim.passed else "FAIL" if claim.gated else "miss"
            print(
                f"{verdict:4}  {claim.id:34} {claim.simulated:>14.6g} {claim.unit:10} "
                f"reference {claim.reference:>12.6g}  error {claim.error:+z.2%} "
                f"(tolerance {claim.tolerance:.2%}, {claim.basis})"
            )
        for text in unchecked_figures(chosen):
            print(f"n/a   not checked: {text}")
    return 1 if any(claim.gated and not claim.passed for claim in claims) else 0


def schema(
    which: Annotated[str, typer.Argument(help="run or validate.")] = "run",
) -> int:
    """Print the JSON Schema of a document and a dictionary of its counters."""
    from hwsim.report.counters import COUNTERS
    from hwsim.report.schema import run_schema, validate_schema

    documents = {"run": run_schema, "validate": validate_schema}
    if which not in documents:
        raise unknown_name("WHICH", which, documents)
    counters = {
        name: {"meaning": meaning, "unit": unit} for name, (meaning, unit) in COUNTERS.items()
    }
    print(json.dumps({"schema": documents[which](), "counters": counters}, indent=2))
    return 0
