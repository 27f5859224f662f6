"""Several requests: results in the order asked, the same whichever process made them."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import pytest

from hwsim.core.errors import InputError
from hwsim.core.result import Claim
from hwsim.experiments.pipeline import RunRequest, dense_request, execute
from hwsim.experiments.runs import _processes, execute_all, write_report


@pytest.fixture
def matrix(tmp_path: Path) -> str:
    """Return a model of one product."""
    np.savez(tmp_path / "one.npz", fc=np.random.default_rng(1).standard_normal((64, 32)))
    return str(tmp_path / "one.npz")


def test_results_come_in_the_order_of_requests(matrix):
    requests = [RunRequest(matrix, batch=batch) for batch in (3, 1, 2)]
    for jobs in (1, 2):
        results = execute_all(requests, jobs=jobs, progress=lambda step: None)
        assert [result.stats.macs for result in results] == [3 * 2048, 2048, 2 * 2048]


def test_progress_names_the_model_of_each_step(matrix):
    steps: list[str] = []
    execute_all([RunRequest(matrix)], jobs=1, progress=steps.append)
    assert steps
    assert all(step.startswith(matrix) for step in steps)


def test_a_worker_s_refusal_keeps_its_field(matrix):
    requests = [RunRequest(matrix), RunRequest(matrix, batch=0)]
    with pytest.raises(InputError, match="--batch: need at least 1, found 0"):
        execute_all(requests, jobs=2, progress=lambda step: None)


def test_a_worker_dies_of_an_interrupt_instead_of_printing_a_traceback():
    with _processes(1) as pool:
        assert pool.submit(signal.getsignal, signal.SIGINT).result() == signal.SIG_DFL


def test_the_baseline_is_the_run_of_the_dense_request(matrix):
    request = RunRequest(matrix, sparsity="nm:1:4", is_traced=True, is_verified=True, seed=3)
    dense = dense_request(request)
    assert not (dense.is_traced or dense.is_verified or dense.has_baseline)
    assert dense.seed == 3
    baseline = execute(request).baseline
    assert baseline["dense_cycles"] == execute(dense).cycles


def test_a_report_names_commit_command_seed_and_versions(matrix, tmp_path):
    claim = Claim("a", "b", 1.0, 1.0, "x", 0.0, "derived", True, "here")
    result = execute(RunRequest(matrix, seed=11))
    write_report([result], tmp_path / "report", [claim], title="A title")
    data = json.loads((tmp_path / "report" / "results.json").read_text())
    assert data["title"] == "A title"
    assert data["provenance"]["seed"] == 11
    assert {"commit", "command", "versions"} <= set(data["provenance"])
    assert [entry["id"] for entry in data["claims"]] == ["a"]
