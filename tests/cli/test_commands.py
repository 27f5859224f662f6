"""compare, diff, machines, models, validate, schema and the files a run leaves behind."""

from __future__ import annotations

import gzip
import json
import logging

import jsonschema
import pytest

from hwsim import __version__
from hwsim.cli.main import main
from hwsim.core.errors import HwsimError
from hwsim.core.machine import machine_names, make_machine
from hwsim.core.result import Claim
from hwsim.experiments import registry
from models.llm.presets import CONFIGS
from models.sparse.generators import GENERATORS
from models.zoo import ZOO


def claim(simulated, *, gated=True, reference=100.0):
    return Claim(
        id="made-up",
        what="a value",
        simulated=simulated,
        reference=reference,
        unit="cycles",
        tolerance=0.01,
        basis="derived",
        gated=gated,
        source="this test",
    )


@pytest.fixture
def made_up(monkeypatch):
    """Return a function that makes ``validate`` check the given claims instead of the real."""

    def replace(*claims):
        monkeypatch.setattr(registry, "run_experiments", lambda names: list(claims))
        monkeypatch.setattr(registry, "experiment_charts", lambda names: [])

    return replace


def test_version_is_printed_alone(hwsim):
    assert hwsim("--version").out == f"hwsim {__version__}\n"


def test_help_names_every_command(hwsim):
    outcome = hwsim("--help")
    assert outcome.status == 0
    names = ["run", "compare", "sim", "machines", "models", "diff", "validate", "schema", "rtl"]
    assert [name for name in names if name not in outcome.out] == []


def test_machines_lists_presets_dataflows_and_a_computed_tier(hwsim):
    rows = hwsim("machines", "--json").document
    assert [row["name"] for row in rows] == machine_names()
    known = make_machine("sat").capabilities()
    (sat,) = (row for row in rows if row["name"] == "sat")
    assert sat["presets"] == list(known.presets)
    assert sat["dataflows"] == list(known.dataflows)
    assert sat["tier"] in ("none", "T0", "T1", "T2", "T3", "T4")
    assert sat["tier_reason"]


def test_machines_and_models_read_well_without_json(hwsim):
    machines, models = hwsim("machines"), hwsim("models")
    assert (machines.status, models.status) == (0, 0)
    assert "sat:" in machines.out
    assert "dataflows  ws, os" in machines.out
    assert [name for name in (*ZOO, *CONFIGS) if name not in models.out] == []


def test_models_lists_the_zoo_with_input_shapes(hwsim):
    rows = hwsim("models", "--json").document
    names = [row["name"] for row in rows]
    assert names[: len(ZOO) + len(CONFIGS)] == [*ZOO, *CONFIGS]
    assert {*GENERATORS, "networkx:karate", "scipy:illc1850"} <= set(names)
    shapes = {row["name"]: row["inputs"] for row in rows}
    assert shapes["resnet50"] == {"image": [1, 3, 224, 224]}


def test_compare_takes_the_phase_of_a_language_model(hwsim, tmp_path):
    values = {"model_type": "llama", "hidden_size": 64, "intermediate_size": 96}
    values |= {"num_hidden_layers": 1, "num_attention_heads": 4, "vocab_size": 40}
    (tmp_path / "config.json").write_text(json.dumps(values))
    step = ("--phase", "decode", "--kv", 7)
    flags = ("compare", tmp_path, "--machines", "sat,flightllm", *step)
    lines = hwsim(*flags, "--json", tmp_path / "c.json").out.splitlines()
    sat, flightllm = json.loads((tmp_path / "c.json").read_text())
    # FlightLLM's machine makes weights of its own sparse: there is no dense run to compare with.
    assert ["1.00×" in line for line in lines if " on " in line] == [True, False]
    assert flightllm["baseline"] == {}
    assert sat["macs"] == flightllm["macs"] > 0
    assert {layer["stage"] for layer in sat["layers"]} == {"decode"}


def test_compare_runs_every_named_machine_in_order(hwsim, matrices, tmp_path):
    asked = "sat,sat:scalesim"
    documents = hwsim("compare", matrices, "--machines", asked, "--json", "-").document
    assert [run["preset"] for run in documents] == ["vcu1525", "scalesim"]
    flags = ("compare", matrices, "--machines", asked, "--report", tmp_path / "r")
    outcome = hwsim(*flags, "--json", tmp_path / "c.json")
    assert outcome.status == 0
    assert outcome.out.count(" on sat (") == 2
    assert json.loads((tmp_path / "c.json").read_text()) == documents
    assert (tmp_path / "r" / "index.html").exists()


def test_compare_refuses_a_machine_before_the_first_run(hwsim, matrices, monkeypatch):
    monkeypatch.setattr("hwsim.experiments.runs.execute", lambda *_: pytest.fail("simulated"))
    flags = ("compare", matrices, "--machines", "sat,piuma", "--sparsity", "nm:2:8")
    assert hwsim(*flags).refusal() == ("--sparsity", "one of dense on piuma", "'nm:2:8'")


def test_diff_shows_what_changed_layer_by_layer(hwsim, matrices, tmp_path):
    dense, sparse = tmp_path / "dense.json", tmp_path / "sparse.json"
    hwsim("run", matrices, "--json", dense)
    hwsim("run", matrices, "--sparsity", "nm:2:8", "--json", sparse)
    cycles = [json.loads(path.read_text())["cycles"] for path in (dense, sparse)]
    found = hwsim("diff", dense, sparse, "--json").document
    assert found["totals"]["cycles"]["a"] == cycles[0]
    assert found["totals"]["cycles"]["b"] == cycles[1]
    assert found["totals"]["cycles"]["delta"] == cycles[1] - cycles[0]
    text = hwsim("diff", dense, sparse)
    assert text.status == 0
    assert "wide" in text.out


def test_diff_of_a_run_with_itself_has_no_deltas(hwsim, matrices, tmp_path):
    path = tmp_path / "run.json"
    hwsim("run", matrices, "--json", path)
    found = hwsim("diff", path, path, "--json").document
    assert all(measure["delta"] == 0 for measure in found["totals"].values())


@pytest.mark.parametrize("text", ["{}", "[1]", "cycles", '{"cycles": 1}'])
def test_diff_refuses_what_is_no_run_document(hwsim, tmp_path, text):
    path = tmp_path / "other.json"
    path.write_text(text)
    assert str(path) in hwsim("diff", path, path).refusal()[0] + path.as_posix()


def test_validate_prints_claims_valid_against_the_printed_schema(hwsim, made_up):
    made_up(claim(100.5), claim(99.9, gated=False))
    schema = hwsim("schema", "validate").document["schema"]
    outcome = hwsim("validate", "scalesim", "--json")
    assert outcome.status == 0
    jsonschema.validate(outcome.document, schema)
    first = outcome.document[0]
    assert first["error"] == pytest.approx((100.5 - 100) / 100)
    assert first["passed"]


@pytest.mark.parametrize(("gated", "status", "word"), [(True, 1, "FAIL"), (False, 0, "miss")])
def test_only_a_gated_claim_that_fails_exits_1(hwsim, made_up, gated, status, word):
    made_up(claim(100.0), claim(102.0, gated=gated))
    as_json, as_text = hwsim("validate", "--json"), hwsim("validate")
    assert (as_json.status, as_text.status) == (status, status)
    assert [entry["passed"] for entry in as_json.document] == [True, False]
    assert word in as_text.out


def test_validate_writes_a_report_of_its_claims(hwsim, made_up, tmp_path):
    made_up(claim(100.0))
    assert hwsim("validate", "--report", tmp_path / "v").status == 0
    assert "made-up" in (tmp_path / "v" / "index.html").read_text()


def test_schema_describes_every_counter_with_its_unit(hwsim):
    document = hwsim("schema", "run").document
    assert document["counters"]["cycles"]["unit"] == "cycles"
    assert all(entry["meaning"] and entry["unit"] for entry in document["counters"].values())


@pytest.mark.parametrize("name", ["trace.json", "trace.json.gz"])
def test_a_trace_opens_as_json_and_spans_the_run(hwsim, matrices, tmp_path, name):
    path = tmp_path / name
    run = hwsim("run", matrices, "--trace", path, "--json", "-").document
    raw = path.read_bytes()
    trace = json.loads(gzip.decompress(raw) if name.endswith("gz") else raw)
    spans = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    assert spans
    end_us = max(event["ts"] + event["dur"] for event in spans)
    assert end_us == pytest.approx(run["time_s"] * 1e6, rel=1e-6)


def test_a_trace_does_not_change_the_run(hwsim, matrices, tmp_path):
    flags = ("run", matrices, "--json", "-")
    assert hwsim(*flags, "--trace", tmp_path / "t.json").document == hwsim(*flags).document


def test_a_report_folder_holds_the_run_and_its_pages(hwsim, matrices, tmp_path):
    folder = tmp_path / "report"
    flags = ("run", matrices, "--report", folder, "--json", tmp_path / "run.json")
    assert hwsim(*flags).status == 0
    data = json.loads((folder / "results.json").read_text())
    assert data["results"][0]["cycles"] == json.loads((tmp_path / "run.json").read_text())["cycles"]
    assert all((folder / name).is_file() for name in data["files"])


def test_sim_verifies_every_layer_and_writes_the_report(hwsim, matrices, tmp_path):
    outcome = hwsim("sim", matrices, "--jobs", 1, "--report", tmp_path / "sim")
    assert outcome.status == 0
    data = json.loads((tmp_path / "sim" / "results.json").read_text())
    (run,) = data["results"]
    assert [record["equal"] for record in run["verification"]] == [True, True]
    assert run["baseline"]["speedup"] > 1


def test_an_error_that_is_not_the_user_s_exits_1_in_one_line(hwsim, matrices, monkeypatch):
    from hwsim.experiments import runs

    def broken(*_, **__):
        raise HwsimError("pe stepping", "golden outputs", "off by 1")

    monkeypatch.setattr(runs, "execute", broken)
    outcome = hwsim("run", matrices)
    assert outcome.status == 1
    assert (outcome.out, outcome.err) == (
        "",
        "error: pe stepping: need golden outputs, found off by 1\n",
    )


def test_an_interrupt_exits_130(hwsim, matrices, monkeypatch):
    from hwsim.experiments import runs

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "execute", interrupted)
    outcome = hwsim("run", matrices)
    assert (outcome.status, outcome.out) == (130, "")


def test_verbose_logs_steps_to_stderr_only(matrices, capfd, monkeypatch):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.setattr(logging.getLogger(), "level", logging.WARNING)
    with pytest.raises(SystemExit):
        main(["--verbose", "run", str(matrices), "--json", "-"])
    out, err = capfd.readouterr()
    assert json.loads(out)
    assert "simulate" in err
