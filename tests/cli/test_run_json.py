"""The run document: valid against its schema, and every identity of the contract holds."""

from __future__ import annotations

import json

import jsonschema
import pytest

from hwsim.core.machine import make_machine
from hwsim.core.result import STALL_REASONS
from models.zoo import load_model

MODEL = "resnet18-32"


@pytest.fixture(scope="module")
def documents(tmp_path_factory):
    """Return {fidelity: run document} of one pruned network, made once per worker."""
    from hwsim.cli.main import main

    folder = tmp_path_factory.mktemp("runs")
    found = {}
    for name, flags in {"cycle": (), "estimate": ("--estimate",)}.items():
        path = folder / f"{name}.json"
        with pytest.raises(SystemExit) as stop:
            main(["run", MODEL, "--sparsity", "nm:2:8", "--json", str(path), *flags])
        assert stop.value.code == 0
        found[name] = json.loads(path.read_text())
    return found


@pytest.fixture(params=["cycle", "estimate"])
def run(request, documents):
    return documents[request.param]


def total(account):
    return account["busy"] + sum(account["stall"].values()) + account["idle"]


def broken_identities(run):
    """Return the names of the contract's identities that ``run`` breaks."""
    layers, units = run["layers"], run["units"]
    accounts = [*layers, *units.values()]
    peak = run["cycles"] * run["peak_macs_per_cycle"]
    parts = sum(run["energy_by_component_pj"].values())
    checks = {
        "layer cycles": sum(layer["cycles"] for layer in layers) == run["cycles"],
        "layer accounts": all(total(layer) == layer["cycles"] for layer in layers),
        "unit accounts": all(total(unit) == run["cycles"] for unit in units.values()),
        "stall reasons": all(set(a["stall"]) == set(STALL_REASONS) for a in accounts),
        "energy": parts == pytest.approx(run["energy_pj"], rel=1e-9),
        "utilization": run["utilization"] == pytest.approx(run["useful_macs"] / peak, rel=1e-12),
        "utilization range": 0 <= run["utilization"] <= 1,
        "time": run["time_s"] == pytest.approx(run["cycles"] / run["clock_hz"], rel=1e-12),
        "unique names": len({layer["name"] for layer in layers}) == len(layers),
        "macs": sum(layer["macs"] for layer in layers) == run["macs"],
        "useful": run["useful_macs"] <= min(run["macs"], run["issued_macs"]),
        "order": all(a["end_cycle"] <= b["end_cycle"] for a, b in zip(layers, layers[1:])),  # noqa: B905 (pairs)
        "speedup": run["baseline"]["speedup"]
        == pytest.approx(run["baseline"]["dense_cycles"] / run["cycles"], rel=1e-12),
    }
    return [name for name, holds in checks.items() if not holds]


def test_stdout_is_exactly_one_json_document_valid_against_the_printed_schema(hwsim, matrices):
    schema = hwsim("schema", "run").document["schema"]
    outcome = hwsim("run", matrices, "--json", "-")
    assert outcome.status == 0
    assert outcome.err == ""
    assert outcome.out.count("\n") == 1
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(outcome.document, schema)


def test_the_schema_refuses_a_document_that_lacks_a_stall_reason(hwsim, matrices):
    schema = hwsim("schema", "run").document["schema"]
    run = hwsim("run", matrices, "--json", "-").document
    del run["layers"][0]["stall"]["hazard"]
    with pytest.raises(jsonschema.ValidationError, match="hazard"):
        jsonschema.validate(run, schema)


def test_a_network_s_document_is_valid(hwsim, run):
    jsonschema.validate(run, hwsim("schema", "run").document["schema"])


def test_every_identity_of_the_contract_holds(run):
    assert broken_identities(run) == []


@pytest.mark.parametrize(
    ("damage", "name"),
    [
        (lambda run: run["layers"][3].update(cycles=run["layers"][3]["cycles"] + 1), "layer"),
        (lambda run: run["units"]["stce"]["stall"].update(dram=10**12), "unit accounts"),
        (lambda run: run["layers"][0]["stall"].pop("sync"), "stall reasons"),
        (lambda run: run.update(energy_pj=run["energy_pj"] * (1 + 1e-8)), "energy"),
        (lambda run: run.update(utilization=run["utilization"] / 2), "utilization"),
        (lambda run: run.update(time_s=run["time_s"] + 1e-9), "time"),
        (lambda run: run["layers"][1].update(name=run["layers"][0]["name"]), "unique names"),
    ],
)
def test_a_damaged_document_breaks_an_identity(documents, damage, name):
    run = json.loads(json.dumps(documents["cycle"]))
    damage(run)
    assert any(name in broken for broken in broken_identities(run))


def test_layers_are_the_graph_s_operators_in_topological_order(run):
    graph = load_model(MODEL)
    assert [layer["name"] for layer in run["layers"]] == [op.name for op in graph.ops()]
    assert [layer["kind"] for layer in run["layers"]] == [op.kind.value for op in graph.ops()]
    assert run["macs"] == graph.totals()["macs"]


def test_the_baseline_names_every_layer_s_dense_cycles(run):
    dense = run["baseline"]["layers"]
    assert list(dense) == [layer["name"] for layer in run["layers"]]
    assert sum(dense.values()) == run["baseline"]["dense_cycles"]


def test_an_estimate_has_the_same_form_and_says_what_it_is(documents):
    cycle, estimate = documents["cycle"], documents["estimate"]
    assert (cycle["fidelity"], estimate["fidelity"]) == ("cycle", "estimate")
    assert set(cycle) == set(estimate)
    same = ("macs", "useful_macs", "issued_macs", "bytes", "spec_hash", "program_hash")
    assert {key: cycle[key] for key in same} == {key: estimate[key] for key in same}
    assert 0.5 < estimate["cycles"] / cycle["cycles"] < 2  # a prediction, not a bound


def test_a_dense_run_is_its_own_baseline(hwsim, matrices):
    run = hwsim("run", matrices, "--json", "-").document
    assert run["baseline"]["dense_cycles"] == run["cycles"]
    assert run["baseline"]["speedup"] == 1.0


def test_kept_weights_are_the_useful_ones(hwsim, matrices):
    flags = ("--sparsity", "nm:1:4", "--batch", 3, "--json", "-")
    run = hwsim("run", matrices, *flags).document
    assert run["macs"] == 3 * (64 * 96 + 160 * 24)
    assert run["useful_macs"] * 4 == run["macs"]


def test_two_runs_print_the_same_document(hwsim, matrices):
    flags = ("run", matrices, "--sparsity", "nm:2:8", "--seed", 5, "--json", "-")
    first, second = hwsim(*flags).document, hwsim(*flags).document
    assert first == second
    assert first["seed"] == 5


def test_settings_override_the_spec_file_which_overrides_the_preset(hwsim, matrices, tmp_path):
    spec = tmp_path / "spec.toml"
    spec.write_text("[array]\nrows = 16\ncols = 16\n")
    flags = ("--spec", spec, "--set", "array.cols=8", "--json", "-")
    run = hwsim("run", matrices, "--preset", "vcu1525", *flags).document
    default = make_machine("sat", "vcu1525").spec
    assert run["spec"]["array"]["rows"] == 16  # from the file
    assert run["spec"]["array"]["cols"] == 8  # from --set, over the file's 16
    assert run["spec"]["clock_hz"] == default.clock_hz  # from the preset
    assert run["peak_macs_per_cycle"] == 16 * 8
    assert run["spec_hash"] != default.spec_hash()


def test_a_json_spec_file_means_the_same_as_toml(hwsim, matrices, tmp_path):
    as_toml, as_json = tmp_path / "a.toml", tmp_path / "a.json"
    as_toml.write_text("clock_hz = 100000000\n[array]\nrows = 16\n")
    as_json.write_text('{"clock_hz": 100000000, "array": {"rows": 16}}')
    runs = [hwsim("run", matrices, "--spec", s, "--json", "-").document for s in (as_toml, as_json)]
    assert runs[0] == runs[1]
    assert runs[0]["clock_hz"] == 100_000_000


@pytest.mark.parametrize("dataflow", ["ws", "os"])
def test_the_asked_dataflow_is_the_one_that_runs(hwsim, matrices, dataflow):
    run = hwsim("run", matrices, "--dataflow", dataflow, "--json", "-").document
    assert {layer["mapping"]["dataflow"] for layer in run["layers"]} == {dataflow}


@pytest.mark.parametrize("detail", ["tile", "pe"])
@pytest.mark.parametrize("sparsity", ["dense", "nm:2:8"])
def test_stepping_gives_the_fast_run_s_cycles(hwsim, matrices, detail, sparsity):
    flags = ("run", matrices, "--sparsity", sparsity, "--batch", 5, "--json", "-")
    fast = hwsim(*flags).document
    stepped = hwsim(*flags, "--detail", detail).document
    assert stepped["cycles"] == fast["cycles"]
    assert [x["cycles"] for x in stepped["layers"]] == [x["cycles"] for x in fast["layers"]]
    assert stepped["units"] == fast["units"]


def test_verify_records_every_product_as_equal_to_golden(hwsim, matrices):
    outcome = hwsim("run", matrices, "--sparsity", "nm:2:8", "--verify", "--json", "-")
    assert outcome.status == 0
    records = outcome.document["verification"]
    assert [record["layer"] for record in records] == ["wide", "deep"]
    assert all(record["equal"] for record in records)


def test_outputs_that_differ_from_golden_exit_1(hwsim, matrices, monkeypatch):
    from hwsim.experiments import verify

    wrong = [{"layer": "wide", "equal": False, "max_abs_error": 1.0}]
    monkeypatch.setattr(verify, "verify_layers", lambda session, seed: wrong)
    outcome = hwsim("run", matrices, "--verify", "--json", "-")
    assert outcome.status == 1
    assert outcome.document["verification"] == wrong


def test_a_second_process_for_the_baseline_changes_nothing(hwsim, matrices):
    flags = ("run", matrices, "--sparsity", "nm:2:8", "--json", "-")
    assert hwsim(*flags, "--jobs", 2).document == hwsim(*flags).document


def test_operators_without_a_unit_are_listed_with_their_share(hwsim, documents):
    run = hwsim("run", MODEL, "--preset", "scalesim", "--json", "-").document
    untimed = {entry["name"]: entry for entry in run["unmodelled"]}
    # SCALE-Sim times matrix products only: everything else has to be named.
    others = [x["name"] for x in run["layers"] if x["kind"] not in ("conv", "linear")]
    assert set(untimed) <= set(others)
    assert untimed
    assert all(0 <= entry["bytes_share"] <= 1 for entry in untimed.values())
    assert documents["cycle"]["unmodelled"] == []
