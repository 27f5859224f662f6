"""Hold the packages to the import rule: data and knowledge flow one way.

``core <- components <- each machine``; no machine imports another; models and mappers know only
core; rtl knows a machine's spec alone; reports never simulate.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hwsim.core.registry import REGISTRY

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("hwsim", "models", "mappers", "rtl")
MACHINES = sorted(
    {target.split(".")[1] for target in REGISTRY.values()}
    | {path.parent.name for path in ROOT.glob("hwsim/*/*spec.py")}
)
BARE = ("amaranth", "cocotb", "pulp", "matplotlib")
"""Libraries that nouns, components and machines do without."""

SPECS = [f"hwsim.{name}.{spec}" for name in MACHINES for spec in ("spec", "unit_spec")]
"""What hardware may know of a machine."""

Everything = None


@dataclass(frozen=True)
class Rule:
    """What the modules below ``package`` may import of ours (None: anything)."""

    package: str
    allowed: tuple[str, ...] | None
    banned_libraries: tuple[str, ...] = ()


def _machine_rule(name: str) -> Rule:
    own = f"hwsim.{name}"
    return Rule(own, ("hwsim.core", "hwsim.components", own), BARE)


RULES = [
    Rule("hwsim.core", ("hwsim.core",), BARE),
    Rule("hwsim.components", ("hwsim.core", "hwsim.components"), BARE),
    *(_machine_rule(name) for name in MACHINES),
    Rule("hwsim.report", ("hwsim.core", "hwsim.report"), ("amaranth", "cocotb", "pulp")),
    Rule("models", ("hwsim.core", "models")),
    Rule("mappers", ("hwsim.core", "mappers")),
    Rule("rtl", ("hwsim.core", *SPECS, "rtl")),
    Rule("hwsim.cli", Everything),
    Rule("hwsim.experiments", Everything),
    Rule("hwsim.explore", Everything),
]


def _is_inside(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def imported_modules(source: str) -> Iterator[tuple[int, str]]:
    """Yield (line, module) of every import, inside functions too; names count as submodules."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            for alias in node.names:
                yield node.lineno, f"{module}.{alias.name}"


def rule_of(module: str) -> Rule:
    """Return the rule that governs ``module``; a package without a rule may see nothing."""
    found = [rule for rule in RULES if _is_inside(module, rule.package)]
    return found[0] if found else Rule(module, (), BARE)


def _is_allowed(imported: str, rule: Rule) -> bool:
    return rule.allowed is None or any(_is_inside(imported, p) for p in rule.allowed)


def violations(module: str, source: str) -> list[str]:
    """Return one line per import of ``module`` that the rule forbids."""
    rule = rule_of(module)
    found = []
    for line, imported in imported_modules(source):
        top = imported.split(".")[0]
        if top == "":
            found.append(f"{module}:{line} imports {imported}, need the absolute name")
        elif top in rule.banned_libraries:
            found.append(f"{module}:{line} imports {top}")
        elif top in PACKAGES and not _is_allowed(imported, rule):
            found.append(f"{module}:{line} imports {imported}")
    return found


def _modules() -> Iterator[tuple[str, Path]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(part for part in parts if part != "__init__"), path


def test_every_module_obeys_the_import_rule() -> None:
    found = [
        line
        for module, path in _modules()
        if module not in PACKAGES  # the packages' own __init__ import nothing
        for line in violations(module, path.read_text())
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("hwsim.core.fake", "import hwsim.sat.spec"),
        ("hwsim.core.fake", "def late():\n    from models.zoo import load_model"),
        ("hwsim.core.fake", "import amaranth.hdl as hdl"),
        ("hwsim.components.fake", "from hwsim.sat import spec"),
        ("hwsim.sat.fake", "from hwsim.flightllm.unit_spec import Spec"),
        ("hwsim.sat.fake", "import mappers.greedy"),
        ("hwsim.sat.fake", "import matplotlib.pyplot as plt"),
        ("hwsim.sat.fake", "from .spec import SatSpec"),
        ("hwsim.sat.fake", "from hwsim import report"),
        ("hwsim.report.fake", "from hwsim.sat.spec import SatSpec"),
        ("models.fake", "from mappers.greedy import map_graph"),
        ("mappers.fake", "from hwsim.sat.plan import packings"),
        ("rtl.sat.fake", "from hwsim.sat.timing import lane_cycles"),
        ("rtl.piuma.fake", "from hwsim.piuma.hash_accumulate import HashTable"),
        ("hwsim.newmachine.fake", "import hwsim.components.engine"),
    ],
)
def test_the_checker_catches_a_violation(module: str, source: str) -> None:
    assert len(violations(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("hwsim.core.fake", "import numpy as np\nfrom hwsim.core.units import ceil_div"),
        ("hwsim.sat.fake", "from hwsim.components.engine import run_program"),
        ("mappers.fake", "from hwsim.core.machine import make_machine"),
        ("rtl.sat.fake", "from hwsim.sat.spec import SatSpec\nimport amaranth"),
        ("rtl.piuma.fake", "from hwsim.piuma.unit_spec import HashSpec"),
        ("hwsim.cli.fake", "import mappers.greedy, models.zoo, rtl.emit, hwsim.sat.pe"),
        ("hwsim.coredump.fake", "import os"),
    ],
)
def test_the_checker_allows_what_the_rule_allows(module: str, source: str) -> None:
    assert violations(module, source) == []


def test_a_name_that_only_begins_like_a_package_is_not_inside_it() -> None:
    assert not _is_inside("hwsim.sat.specials", "hwsim.sat.spec")
    assert _is_inside("hwsim.sat.spec.SatSpec", "hwsim.sat.spec")


@pytest.mark.parametrize("module", ["hwsim", "hwsim.cli.main", "hwsim.core.machine"])
def test_importing_the_front_door_leaves_heavy_libraries_alone(module: str) -> None:
    heavy = ["numba", "matplotlib", "amaranth", "onnx", "scipy", "pulp"]
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"
