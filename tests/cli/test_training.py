"""``run --phase train``: the document of an iteration, and flags that do not go together."""

from __future__ import annotations

import jsonschema
import pytest

from hwsim.core.result import STALL_REASONS
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
    assert found == expected
    assert {stage for _, _, stage in found} == {"ff", "bp", "wu"}
    assert document["macs"] == graph.totals()["macs"]
    assert document["useful_macs"] == graph.totals()["useful_macs"]


def test_every_unit_works_in_an_iteration(document):
    assert {"stce", "vector", "dma_in", "dma_out", "wuve", "sore"} == set(document["units"])
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
        (["--phase", "infer", *BDWP], "--training", "one of dense", "'bdwp'"),
        (BDWP, "--training", "one of dense", "'bdwp'"),  # phase infer is the default
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
