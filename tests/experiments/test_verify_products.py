"""Verification of sparse products: the whole run's result is compared, and a wrong one fails."""

from __future__ import annotations

import numpy as np
import pytest

from hwsim.experiments.pipeline import RunRequest, execute
from hwsim.experiments.verify_products import RELATIVE_ERROR, compare_product
from hwsim.piuma import sim
from hwsim.piuma.outputs import ENTRY


def entries(values, col=0):
    found = np.zeros(len(values), ENTRY)
    found["row"], found["col"], found["value"] = np.arange(len(values)), col, values
    return found


@pytest.mark.parametrize("kernel", ["smash-v3", "spmv", "spmm", "sddmm"])
def test_a_run_is_verified_against_golden(kernel):
    request = RunRequest("stencil9:6", machine="piuma", kernel=kernel, is_verified=True)
    (record,) = execute(request).verification
    assert record["equal"]
    assert record["max_abs_error"] == 0
    left, _, right = record["entries"].partition(" of ")
    assert left == right != "0"


def test_a_wrong_result_of_the_machine_is_found(monkeypatch):
    right = sim.read_outputs

    def wrong(*args):
        outputs = right(*args)
        outputs["product"]["value"][3] += 1
        return outputs

    monkeypatch.setattr(sim, "read_outputs", wrong)
    request = RunRequest("stencil9:6", machine="piuma", kernel="smash-v3", is_verified=True)
    (record,) = execute(request).verification
    assert not record["equal"]
    assert record["max_abs_error"] == 1


def test_every_step_of_a_workload_is_verified():
    request = RunRequest("stencil9:4", machine="piuma", kernel="teddy", is_verified=True)
    records = execute(request).verification
    names = ["root", "sums", "g", "scores", "bound", "kept", "hops"]
    assert [record["layer"] for record in records] == names
    assert all(record["equal"] for record in records)


def test_an_estimate_is_verified_by_a_run():
    request = RunRequest("stencil9:4", machine="piuma", detail="estimate", is_verified=True)
    assert [record["equal"] for record in execute(request).verification] == [True]


def test_whole_numbers_must_be_exact_and_fractions_nearly():
    whole, fraction = entries([1e9, 2.0]), entries([1e9 + 0.5, 2.0])
    for golden, ratio, is_equal in (
        (whole, 1 + 1e-10, False),
        (fraction, 1 + RELATIVE_ERROR / 2, True),
        (fraction, 1 + RELATIVE_ERROR * 2, False),
    ):
        found = golden.copy()
        found["value"] *= ratio
        assert compare_product(found, golden)["equal"] is is_equal


def test_places_count_and_missing_entries_too():
    golden = entries([1.0, 2.0])
    assert compare_product(golden.copy(), golden)["equal"]
    assert not compare_product(entries([1.0, 2.0], col=1), golden)["equal"]
    assert not compare_product(golden[:1], golden)["equal"]
    assert compare_product(golden[:0], golden[:0])["equal"]
