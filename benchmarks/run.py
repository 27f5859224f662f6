"""Measure everything and write the report: ``python -m benchmarks.run --report reports/bench``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.page import markdown_table, write_bench
from benchmarks.rows import GROUPS, Row
from hwsim.experiments.host import describe_host

__all__ = ["main", "measure_groups"]

Group = Callable[[int], Iterator[Row]]


def measure_groups(
    groups: Mapping[str, Group], n: int, tell: Callable[[str], None]
) -> tuple[list[Row], list[str]]:
    """Return the rows of all groups, and one line per group that could not finish."""
    rows: list[Row] = []
    failures: list[str] = []
    for name, group in groups.items():
        tell(f"measure {name}")
        try:
            for row in group(n):
                tell(f"  {row.metric}")
                rows.append(row)
        except RuntimeError as error:
            failures.append(f"{name}: {error}")
    return rows, failures


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.run", description=__doc__)
    parser.add_argument("--report", type=Path, default=Path("reports/bench"))
    parser.add_argument("--only", nargs="+", choices=sorted(GROUPS), default=list(GROUPS))
    parser.add_argument("--samples", type=int, default=5, help="per median")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the chosen groups, write the report, return 1 if something could not be measured."""
    options = _parse(arguments)
    host = describe_host()
    groups = {name: GROUPS[name] for name in options.only}
    rows, failures = measure_groups(
        groups, options.samples, lambda line: print(line, file=sys.stderr)
    )
    page = write_bench(rows, host, options.report, failures)
    print(markdown_table(rows), end="")
    for line in failures:
        print(f"Not measured: {line}", file=sys.stderr)
    print(f"Look at {page}")
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
