"""Find the files that decide what a machine does: what its code imports, however deep.

Roots are all modules of the machine's own folders, ``hwsim/MACHINE`` and ``rtl/MACHINE``. Imports
are read from the syntax tree, those inside functions too. The list of machines is left out, so that
another machine's entry says nothing about this one.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

__all__ = ["machine_sources"]

_ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = ("hwsim", "mappers", "models", "rtl")
_LISTS_OF_MACHINES = ("hwsim/core/registry.py",)
_DATA_SUFFIXES = (".json", ".toml")


def machine_sources(machine: str, root: Path = _ROOT) -> tuple[str, ...]:
    """Return the paths, relative to ``root`` and sorted, of the files ``machine`` is made of.

    Besides modules these are the data files that a module names and that lie in its folder. A
    machine without folders of its own has none.
    """
    folders = (root / "hwsim" / machine, root / "rtl" / machine)
    waiting = {path for folder in folders for path in folder.rglob("*.py")}
    found: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path in found or path.relative_to(root).as_posix() in _LISTS_OF_MACHINES:
            continue
        found.add(path)
        tree = ast.parse(path.read_text())
        waiting |= {file for name in _imported(tree) for file in _files_of(name, root)}
        found |= set(_data_files(tree, path.parent))
    return tuple(sorted(path.relative_to(root).as_posix() for path in found))


def _imported(tree: ast.Module) -> Iterator[str]:
    """Yield every imported module; of ``from a import b`` both ``a`` and ``a.b``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _files_of(module: str, root: Path) -> Iterator[Path]:
    """Yield the files that importing ``module`` runs: its packages' and its own."""
    parts = module.split(".")
    if parts[0] not in _PACKAGES:
        return
    for depth in range(1, len(parts) + 1):
        place = root.joinpath(*parts[:depth])
        for path in (place / "__init__.py", place.with_suffix(".py")):
            if path.is_file():
                yield path


def _data_files(tree: ast.Module, folder: Path) -> Iterator[Path]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            name = node.value
            if name.endswith(_DATA_SUFFIXES) and (folder / name).is_file():
                yield folder / name
