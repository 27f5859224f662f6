"""``run --phase train``: the document of an iteration, and flags that do not go together."""

from __future__ import annotations

import jsonschema
import numpy as np
import pytest

from hwsim.core.result import STALL_REASONS
from hwsim.sat.isa import UNITS
from models.training import training_graph
from models.zoo import load_model

MODEL = "resnet18-32"
TRAIN = ("run", MODEL, "--phase", "train", "--batch", 4)
BDWP = ("--training", "bdwp", "--sparsity", "nm:2:8")


@pytest.fixture
def document(hwsim):
    """Return the run document of one BDWP iteration at batch 4."""
    outcome = hwsim(*TRAIN, *BDWP, "--json", "-")
    assert outcome.status == 0
    assert outcome.err == ""
    assert outcome.out.count("\n") == 1
    return outcome.document


def total(account):
    return account["busy"] + sum(account["stall"].values()) + account["idle"]


def test_an_iteration_s_document_keeps_the_contract(hwsim, document):
    jsonschema.validate(document, hwsim("schema", "run").document["schema"])
    layers = document["layers"]
    assert sum(layer["cycles"] for layer in layers) == document["cycles"]
    assert all(total(layer) == layer["cycles"] for layer in layers)
    assert all(total(unit) == document["cycles"] for unit in document["units"].values())
    assert all(set(unit["stall"]) == set(STALL_REASONS) for unit in document["units"].values())
    parts = sum(document["energy_by_component_pj"].values())
    assert parts == pytest.approx(document["energy_pj"], rel=1e-9)
    assert document["useful_macs"] <= min(document["macs"], document["issued_macs"])
    assert len({layer["name"] for layer in layers}) == len(layers)
    for direction in ("read", "write"):
        moved = sum(layer["bytes"]["dram"][direction] for layer in layers)
        assert moved == document["bytes"]["dram"][direction]


def test_layers_are_the_operators_of_all_three_stages(document):
    forward = load_model(MODEL, batch=4, has_batch_norm=True)
    graph = training_graph(forward, "bdwp", (2, 8))
    expected = [(op.name, op.kind.value, op.stage.value) for op in graph.ops()]
    found = [(layer["name"], layer["kind"], layer["stage"]) for layer in document["layers"]]
    assert sorted(found) == sorted(expected)
    done = set(graph.tensors) - {op.output for op in graph.ops()}
    for name, _, _ in found:  # in the schedule's order, which is a topological one
        assert {operand.tensor for operand in graph.op(name).inputs} <= done
        done.add(graph.op(name).output)
    assert {stage for _, _, stage in found} == {"ff", "bp", "wu"}
    assert document["macs"] == graph.totals()["macs"]
    assert document["useful_macs"] == graph.totals()["useful_macs"]


def test_every_unit_works_in_an_iteration(document):
    assert set(UNITS) == set(document["units"])
    assert {"stce", "vector", "dma_in", "dma_out", "wuve", "sore"} <= set(UNITS)
    assert all(unit["busy"] > 0 for unit in document["units"].values())


def test_the_baseline_is_dense_training(hwsim, document):
    dense = hwsim(*TRAIN, "--json", "-").document
    assert document["baseline"]["dense_cycles"] == dense["cycles"]
    assert document["baseline"]["speedup"] == dense["cycles"] / document["cycles"] > 1
    assert list(document["baseline"]["layers"]) == [layer["name"] for layer in dense["layers"]]
    assert (dense["baseline"]["dense_cycles"], dense["baseline"]["speedup"]) == (
        dense["cycles"],
        1.0,
    )


def test_an_estimate_of_an_iteration_has_the_same_form(hwsim, document):
    estimate = hwsim(*TRAIN, *BDWP, "--estimate", "--json", "-").document
    assert set(estimate) == set(document)
    assert estimate["bytes"] == document["bytes"]
    assert 0.5 < estimate["cycles"] / document["cycles"] < 1.05


@pytest.mark.parametrize(
    ("flags", "field", "need", "found"),
    [
        (["--phase", "infer", *BDWP], "--training", "--phase train, or dense", "'bdwp'"),
        (BDWP, "--training", "--phase train, or dense", "'bdwp'"),  # phase infer is the default
        (
            ["--phase", "train", "--training", "bdwp"],
            "--sparsity",
            "nm:N:M for --training bdwp",
            "'dense'",
        ),
        (
            ["--phase", "train", "--training", "sdgp", "--sparsity", "unstructured:0.5"],
            "--sparsity",
            "nm:N:M for --training sdgp",
            "'unstructured:0.5'",
        ),
        (
            ["--phase", "train", "--training", "bdpw", "--sparsity", "nm:2:8"],
            "--training",
            "dense, sr-ste, sdgp, sdwp, bdwp",
            "'bdpw'",
        ),
        (
            ["--phase", "train", "--training", "bdwp", "--sparsity", "nm:9:8"],
            "--sparsity",
            "N from 1 to 8",
            "'nm:9:8'",
        ),
        (["--phase", "train", "--sparsity", "nm:2:8"], "--training", "bdwp", "'dense'"),
        (["--phase", "training"], "--phase", "one of infer, train", "'training'"),
    ],
    ids=str,
)
def test_flags_that_do_not_go_together_are_refused(hwsim, flags, field, need, found):
    refusal = hwsim("run", MODEL, *flags).refusal()
    assert refusal[0] == field
    assert need in refusal[1]
    assert refusal[2] == found


def archive(folder, **matrices):
    """Return the path of an archive of weight matrices."""
    path = folder / "net.npz"
    np.savez(path, **matrices)
    return path


def test_integer_weights_cannot_be_trained(hwsim, tmp_path):
    integers = archive(tmp_path, fine=np.ones((8, 8)), whole=np.ones((8, 8), dtype=np.int8))
    refusal = hwsim("run", integers, "--phase", "train").refusal()
    assert refusal == ("op whole", "floating-point tensors to train", "int8 whole.weight")


def test_a_graph_without_weights_has_nothing_to_train(hwsim, tmp_path):
    onnx = pytest.importorskip("onnx")
    info = [onnx.helper.make_tensor_value_info(name, 1, [2, 4]) for name in "xy"]
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    graph = onnx.helper.make_graph([node], "net", info[:1], info[1:])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "net.onnx")
    refusal = hwsim("run", tmp_path / "net.onnx", "--phase", "train").refusal()
    assert refusal == (
        "--training",
        "an output that depends on floating-point weights",
        "none in net",
    )


def test_a_batch_of_nothing_cannot_be_trained_on(hwsim, matrices):
    refusal = hwsim("run", matrices, "--phase", "train", "--batch", 0).refusal()
    assert refusal == ("--batch", "at least 1", "0")


def test_groups_longer_than_the_multiplexer_are_refused(hwsim, tmp_path):
    wide = archive(tmp_path, first=np.ones((8, 80)), last=np.ones((80, 80)))
    flags = ("--training", "bdwp", "--sparsity", "nm:2:40")
    refusal = hwsim("run", wide, "--phase", "train", *flags).refusal()
    assert refusal == ("last: operand multiplexer", "40 inputs", "32 inputs")


def test_channels_that_do_not_divide_stay_dense_and_are_noted(hwsim, tmp_path):
    rng = np.random.default_rng(0)
    odd = archive(tmp_path, first=rng.random((8, 8)), second=rng.random((20, 16)))
    document = hwsim("run", odd, "--phase", "train", *BDWP, "--json", "-").document
    assert "second stays dense in FF: Ci 20 not divisible by 8" in document["notes"]
    assert "first stays dense in FF: first layer" in document["notes"]
    assert not [note for note in document["notes"] if note.startswith("second stays dense in BP")]
    layers = {layer["name"]: layer for layer in document["layers"]}
    assert layers["second"]["useful_macs"] == layers["second"]["macs"]
    assert layers["second.bp"]["useful_macs"] == layers["second.bp"]["macs"] // 4
    assert {"second.bp.prune"} == {name for name in layers if name.endswith("prune")}


@pytest.mark.parametrize("method", [(), BDWP, ("--training", "sdgp", "--sparsity", "nm:2:8")])
def test_verification_covers_products_updates_selections_and_the_iteration(hwsim, tmp_path, method):
    rng = np.random.default_rng(1)
    net = archive(
        tmp_path, first=rng.standard_normal((8, 16)), second=rng.standard_normal((16, 24))
    )
    outcome = hwsim("run", net, "--phase", "train", *method, "--verify", "--json", "-")
    document = outcome.document
    assert outcome.status == 0
    records = {record["layer"]: record for record in document["verification"]}
    assert all(record["equal"] for record in records.values())
    kinds = ("linear", "matmul", "weight_update", "nm_prune")
    checked = [layer["name"] for layer in document["layers"] if layer["kind"] in kinds]
    assert sorted(records) == sorted([*checked, "whole iteration"])
    assert {"second", "second.bp", "second.wu", "second.weight.update"} <= set(records)


def test_a_wrong_update_ends_a_verified_run_with_status_1(hwsim, matrices, monkeypatch):
    from hwsim.sat import functional

    true = functional.update_weights

    def one_step_off(*given, **rule):
        w, v, half = true(*given, **rule)
        return np.nextafter(w, np.float32(np.inf)), v, half

    monkeypatch.setattr(functional, "update_weights", one_step_off)
    outcome = hwsim("run", matrices, "--phase", "train", "--verify", "--json", "-")
    assert outcome.status == 1
    wrong = [r["layer"] for r in outcome.document["verification"] if not r["equal"]]
    assert wrong == ["deep.weight.update", "wide.weight.update"]


def test_stepping_every_pe_of_an_iteration_gives_the_same_cycles(hwsim, tmp_path):
    rng = np.random.default_rng(2)
    net = archive(
        tmp_path, first=rng.standard_normal((8, 16)), second=rng.standard_normal((16, 24))
    )
    run = ("run", net, "--phase", "train", "--batch", 3, *BDWP, "--json", "-")
    small = ("--set", "array.rows=4", "--set", "array.cols=4", "--set", "array.interleave=2")
    fast, stepped = (hwsim(*run, *small, "--detail", level).document for level in ("fast", "pe"))
    assert {layer["stage"] for layer in stepped["layers"]} == {"ff", "bp", "wu"}
    assert stepped["layers"] == fast["layers"]
