"""What tests of compiled components share."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest


@pytest.fixture
def interpret(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what turns the compiled functions of modules into Python functions, for one test.

    Name every module that calls them: each has its own reference.
    """

    def apply(*modules: ModuleType) -> None:
        for module in modules:
            for name, function in list(vars(module).items()):
                if hasattr(function, "py_func"):
                    monkeypatch.setattr(module, name, function.py_func)

    return apply
