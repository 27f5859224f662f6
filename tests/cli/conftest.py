"""Run the command in this process and offer the small inputs that the tests share."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwsim.cli.main import main

REFUSAL = re.compile(r"error: (?P<field>.+?): need (?P<need>.+), found (?P<found>.+)\n")


@dataclass(frozen=True)
class Outcome:
    """Exit status and both streams of one command."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Return stdout as exactly one JSON document."""
        return json.loads(self.out)

    def refusal(self) -> tuple[str, str, str]:
        """Return (field, need, found) of a refused command; fail if it broke the contract."""
        assert self.status == 2, self
        assert self.out == ""
        assert self.err.count("\n") == 1, self.err
        match = REFUSAL.fullmatch(self.err)
        assert match is not None, self.err
        return match["field"], match["need"], match["found"]


Command = Callable[..., Outcome]


@pytest.fixture
def hwsim(capfd: pytest.CaptureFixture[str]) -> Command:
    """Return a function that runs ``hwsim`` with the given arguments."""

    def command(*arguments: object) -> Outcome:
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        assert isinstance(stop.value.code, int)
        return Outcome(stop.value.code, out, err)

    return command


@pytest.fixture(scope="session")
def matrices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an archive of two weight matrices: a model that runs in milliseconds."""
    path = tmp_path_factory.mktemp("model") / "pair.npz"
    rng = np.random.default_rng(7)
    np.savez(path, wide=rng.standard_normal((64, 96)), deep=rng.standard_normal((160, 24)))
    return path
