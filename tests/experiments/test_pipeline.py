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
from hwsim.experiments.pipeline import RunRequest, attach_baseline, execute, prepare


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
    requests = main_requests(None, machine="sat", sparsity="nm:2:8", seed=4)
    assert [request.model for request in requests] == list(MAIN_MODELS)
    assert all(r.is_verified and r.has_baseline and r.seed == 4 for r in requests)
    (own,) = main_requests(["mine.onnx"], machine="sat", sparsity="nm:1:4", seed=0)
    assert (own.model, own.sparsity) == ("mine.onnx", "nm:1:4")
