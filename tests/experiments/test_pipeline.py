"""The road from request to result: each step sees what the request says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hwsim.core.errors import InputError
from hwsim.core.sparsity import NM
from hwsim.experiments.deviations import deviations_of
from hwsim.experiments.evidence import tier_of
from hwsim.experiments.main_job import MAIN_MODELS, main_requests
from hwsim.experiments.pipeline import (
    RunRequest,
    attach_baseline,
    dense_request,
    execute,
    prepare,
)


@pytest.fixture
def matrix(tmp_path: Path) -> str:
    """Return a model of one product."""
    np.savez(tmp_path / "one.npz", fc=np.random.default_rng(1).standard_normal((64, 32)))
    return str(tmp_path / "one.npz")


def test_the_pattern_lands_on_the_weights_of_the_lowered_graph(matrix):
    session = prepare(RunRequest(matrix, sparsity="nm:2:8"))
    (op,) = session.graph.ops()
    assert op.weight is not None
    assert op.weight.pattern == NM(nm_n=2, nm_m=8)
    assert op.useful_macs() * 4 == op.macs()


def test_a_pattern_the_machine_cannot_skip_is_refused(matrix):
    with pytest.raises(InputError, match="--sparsity: need one of dense, nm on sat"):
        prepare(RunRequest(matrix, sparsity="unstructured:0.5"))


@pytest.mark.parametrize("machine", ["sat", "cpu"])
def test_a_product_by_rows_needs_a_machine_that_runs_it(machine):
    with pytest.raises(InputError, match=f"--machine: need one that runs spgemm .*{machine}"):
        prepare(RunRequest("stencil9:4", machine=machine))


@pytest.mark.parametrize("machine", ["sat", "cpu"])
def test_masks_of_a_file_are_verified_like_any_pattern(machine, matrix, tmp_path):
    mask = np.zeros((64, 32), dtype=bool)
    mask[::8] = mask[1] = True  # at most 5 of 32, which is tighter than 2 of 8
    path = tmp_path / "masks.npz"
    np.savez(path, fc=mask)
    request = RunRequest(matrix, machine=machine, sparsity=str(path), is_verified=True)
    result = execute(request)
    assert result.verification
    assert all(check["equal"] for check in result.verification)
    (layer,) = result.layers
    assert layer.useful_macs == {"sat": 64 * 32 * 5 // 32, "cpu": 9 * 32}[machine]


def test_published_sparsity_is_refused_by_the_model_s_name(matrix):
    with pytest.raises(InputError, match="--sparsity: .* none published for resnet18"):
        prepare(RunRequest("resnet18", sparsity="published"))


def test_steps_are_told_in_order(matrix):
    steps: list[str] = []
    execute(RunRequest(matrix, sparsity="nm:2:8", is_verified=True), steps.append)
    assert steps == [
        "load, sparsify, map",
        "simulate",
        "dense baseline",
        "verify outputs against golden",
    ]


def test_a_prepared_session_is_not_prepared_again(matrix):
    request = RunRequest(matrix, has_baseline=False)
    session = prepare(request)
    Path(matrix).unlink()  # loading once more would fail
    assert execute(request, session=session).cycles > 0


def test_without_a_baseline_none_is_recorded(matrix):
    assert execute(RunRequest(matrix, has_baseline=False)).baseline == {}


def test_the_baseline_s_speedup_is_a_ratio_of_cycles(matrix):
    dense = execute(RunRequest(matrix, batch=64))
    sparse = execute(RunRequest(matrix, batch=64, sparsity="nm:1:8", has_baseline=False))
    attach_baseline(sparse, dense)
    assert sparse.baseline["dense_cycles"] == dense.cycles
    assert sparse.baseline["speedup"] == dense.cycles / sparse.cycles
    assert sparse.baseline["layers"] == {"fc": dense.cycles}


def test_seed_tier_and_deviations_reach_the_result(matrix):
    result = execute(RunRequest(matrix, seed=9))
    assert result.provenance.seed == 9
    assert result.tier == tier_of("sat")
    assert result.deviations == deviations_of("sat")


def test_what_the_machine_does_not_time_is_listed_with_its_share_of_bytes():
    result = execute(RunRequest("resnet18-32", preset="scalesim", has_baseline=False))
    graph = prepare(RunRequest("resnet18-32", preset="scalesim")).graph
    shares = {entry["name"]: entry["bytes_share"] for entry in result.unmodelled}
    untimed = [op.name for op in graph.ops() if not op.is_gemm]
    assert sorted(shares) == sorted(untimed)
    op = graph.op(untimed[0])
    moved = sum(graph.tensors[t].nbytes for t in [*(o.tensor for o in op.inputs), op.output])
    total = sum(tensor.nbytes for tensor in graph.tensors.values())
    assert shares[op.name] == pytest.approx(moved / total)


def test_the_main_job_verifies_every_model_with_a_baseline():
    requests = main_requests(None, RunRequest("", sparsity="nm:2:8", seed=4))
    assert [request.model for request in requests] == list(MAIN_MODELS)
    assert all(r.is_verified and r.has_baseline and r.seed == 4 for r in requests)
    (own,) = main_requests(["mine.onnx"], RunRequest("", sparsity="nm:1:4", batch=3))
    assert (own.model, own.sparsity, own.batch) == ("mine.onnx", "nm:1:4", 3)


@pytest.fixture
def layers(tmp_path: Path) -> str:
    """Return a model of three products, each an input of its own."""
    rng = np.random.default_rng(2)
    matrices = {name: rng.standard_normal((64, 64)) for name in ("first", "second", "third")}
    np.savez(tmp_path / "three.npz", **matrices)
    return str(tmp_path / "three.npz")


@pytest.mark.parametrize(
    ("training", "skipped"),
    [
        ("dense", set()),
        ("sr-ste", {"ff"}),
        ("sdwp", {"bp"}),
        ("sdgp", {"bp"}),
        ("bdwp", {"ff", "bp"}),
    ],
)
def test_training_skips_in_the_stages_of_its_method(training, skipped):
    sparsity = "dense" if training == "dense" else "nm:2:8"
    request = RunRequest("resnet18-32", phase="train", training=training, sparsity=sparsity)
    products = [op for op in prepare(request).graph.ops() if op.is_gemm]
    assert {op.stage.value for op in products if op.useful_macs() < op.macs()} == skipped


def test_layers_without_a_common_input_have_input_gradients_but_the_first(layers):
    session = prepare(RunRequest(layers, phase="train"))
    names = {op.name for op in session.graph.ops()}
    assert {"second.bp", "third.bp", "first.wu"} <= names
    assert "first.bp" not in names


@pytest.mark.parametrize("sparsity", ["dense", "block:4x4:0.5", "unstructured:0.5"])
def test_a_sparse_method_needs_groups_to_select_from(layers, sparsity):
    with pytest.raises(InputError, match="--sparsity: need nm:N:M for --training bdwp"):
        prepare(RunRequest(layers, phase="train", training="bdwp", sparsity=sparsity))


def test_groups_that_dense_training_would_ignore_are_refused(layers):
    with pytest.raises(InputError, match="--training: need sr-ste, .* for --sparsity nm:2:8"):
        prepare(RunRequest(layers, phase="train", sparsity="nm:2:8"))


def test_networks_are_trained_with_their_batch_normalisation():
    kinds = {
        phase: [op.kind.value for op in prepare(RunRequest("resnet18-32", phase=phase)).graph.ops()]
        for phase in ("infer", "train")
    }
    assert "normalization" not in kinds["infer"]
    assert kinds["train"].count("normalization") >= 20
    assert "weight_update" in kinds["train"]


def test_the_baseline_of_training_is_dense_training():
    request = RunRequest("resnet18-32", phase="train", training="bdwp", sparsity="nm:2:8")
    dense = dense_request(request)
    assert (dense.phase, dense.training, dense.sparsity) == ("train", "dense", "dense")
    result = execute(request)
    assert result.baseline["dense_cycles"] == execute(dense).cycles
    assert result.baseline["speedup"] == result.baseline["dense_cycles"] / result.cycles > 1
    assert (result.extra["phase"], result.extra["training"]) == ("train", "bdwp")
