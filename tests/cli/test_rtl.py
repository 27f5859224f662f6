"""Does ``hwsim rtl`` print what scripts rely on?"""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from hwsim.cli import rtl as rtl_commands
from hwsim.cli.rtl_cases import CASES
from hwsim.core.errors import InputError
from rtl.formal.prove import ProofResult
from rtl.registry import UNITS


def _run(*arguments: str):
    return CliRunner().invoke(rtl_commands.app, list(arguments))


def test_every_unit_has_cases():
    assert CASES.keys() == UNITS.keys()


def test_list_prints_one_json_document_with_timings():
    result = _run("list", "--json")
    assert result.exit_code == 0
    rows = {row["unit"]: row for row in json.loads(result.stdout)}
    assert rows.keys() == UNITS.keys()
    assert rows["sat/topn_sorter"]["interval_cycles"] == 8


def test_emit_writes_verilog_and_rtlil_of_the_named_unit_only(tmp_path):
    result = _run("emit", "sat/topn_sorter", "--out", str(tmp_path), "--json")
    assert result.exit_code == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["sat_topn_sorter.il", "sat_topn_sorter.v"]
    assert "module sat_topn_sorter(" in (tmp_path / "sat_topn_sorter.v").read_text()


def test_cosim_passes_on_both_drivers():
    result = _run("cosim", "common/fifo", "--json")
    rows = json.loads(result.stdout)
    assert [row["driver"] for row in rows] == ["pysim", "verilator"]
    assert all(row["passed"] for row in rows)
    assert result.exit_code == 0


def test_cosim_of_a_broken_unit_exits_1_and_says_why(monkeypatch):
    from rtl.cosim.faults import Faulty

    unit = UNITS["sat/topn_sorter"]
    monkeypatch.setattr(type(unit), "build", lambda self: Faulty(self.component(self.spec), "flip"))
    result = _run("cosim", "sat/topn_sorter", "--json")
    assert result.exit_code == 1
    assert "outputs" in json.loads(result.stdout)[0]["error"]


@pytest.mark.parametrize(("status", "exit_code"), [("proved", 0), ("refuted", 1), ("unknown", 1)])
def test_prove_exits_1_unless_proved(monkeypatch, status, exit_code):
    monkeypatch.setattr(
        "rtl.formal.prove.prove_rtlil", lambda text, depth: ProofResult(status, depth, "")
    )
    result = _run("prove", "common/fifo", "--json")
    assert json.loads(result.stdout)[0]["status"] == status
    assert result.exit_code == exit_code


def test_synth_counts_cells():
    result = _run("synth", "sat/topn_sorter", "--json")
    [row] = json.loads(result.stdout)
    # At least the output register (2 x 19 bits and valid) and the slots of the same size.
    assert row["ff"] >= 2 * 2 * 19 + 1
    assert row["lut"] > 0
    assert row["dsp48e2"] == row["uram"] == row["ramb36"] == 0


def test_an_unknown_unit_is_an_input_error_with_a_near_name():
    result = _run("synth", "sat/topn_sortr")
    assert isinstance(result.exception, InputError)
    assert "UNIT: need one of" in str(result.exception)
    assert "did you mean sat/topn_sorter" in str(result.exception)


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setattr(rtl_commands.importlib.util, "find_spec", lambda name: None)
    result = _run("list")
    assert isinstance(result.exception, InputError)
    assert "hwsim[rtl]" in str(result.exception)
