"""Tell whether RTL has changed since something was made from it, without importing it."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path

__all__ = ["source_hash", "used_modules"]

_ROOT = Path(__file__).resolve().parents[1]
_PACKAGE = "rtl"


def source_hash(*modules: str) -> str:
    """Return a hash of ``modules`` and all modules of ``rtl`` that they import.

    Comments, docstrings and layout do not count.
    """
    digest = hashlib.sha256()
    for module in sorted(used_modules(*modules)):
        tree = ast.parse(_path(module).read_text())
        digest.update(f"{module}\n{ast.dump(_without_docstrings(tree))}\n".encode())
    return digest.hexdigest()[:16]


def used_modules(*modules: str) -> set[str]:
    """Return ``modules`` and what of ``rtl`` they import, directly or not."""
    found: set[str] = set()
    open_ = list(modules)
    while open_:
        module = open_.pop()
        if module not in found:
            found.add(module)
            open_ += _imports(ast.parse(_path(module).read_text()))
    return found


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (n for n in names if n.startswith(f"{_PACKAGE}.") and _path(n).is_file())


def _path(module: str) -> Path:
    return _ROOT.joinpath(*module.split(".")).with_suffix(".py")


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node, clean=False
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return tree
