"""Run kernels and workloads on a sparse matrix from the command line; refuse what cannot be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

RUN = ("run", "stencil5:4", "--machine", "piuma")


def test_a_workload_reports_one_layer_per_kernel(hwsim: Callable[..., Any]) -> None:
    document = hwsim(*RUN, "--kernel", "khop", "--set", "khop.hops=1", "--json", "-").document
    assert [layer["name"] for layer in document["layers"]] == ["g1", "f1"]
    assert [step["kernel"] for step in document["steps"]] == ["smash-v3", "filter-seen"]
    # 64 entries; from all 16 points a hop reaches every neighbour, and the point itself.
    assert document["partial_products"] == document["nnz_out"] == 64
    assert document["steps"][1]["entries"] == 64 - 16


@pytest.mark.parametrize(
    ("flags", "field", "need", "found"),
    [
        (("--kernel", "heap"), "--kernel", "row-heap", "'heap'"),
        (("--kernel", "ppr"), "model", "no negative weights", "48 of 64"),
        (("--kernel", "teddy", "--batch", "2"), "--batch", "no dense columns", "2"),
        (("--kernel", "khop", "--b", "stencil5:4"), "--b", "no second", "one"),
        (("--kernel", "khop", "--set", "khop.hops=0"), "khop.hops", "at least 1", "0"),
        (("--kernel", "teddy", "--set", "teddy.prune=1.5"), "teddy.prune", "less than 1", "1.5"),
        (("--kernel", "ppr", "--set", "ppr.restart=0"), "ppr.restart", "more than 0", "0"),
        (("--kernel", "mlp", "--set", "mlp.block=3"), "mlp.block", "one of 1, 2, 4, 8", "3"),
        (("--kernel", "gcn", "--set", "mtp.pipelines=0"), "mtp.pipelines", "at least 1", "0"),
    ],
)
def test_what_cannot_be_gets_one_line(
    hwsim: Callable[..., Any], flags: tuple[str, ...], field: str, need: str, found: str
) -> None:
    refusal = hwsim(*RUN, *flags).refusal()
    assert refusal[0] == field
    assert need in refusal[1]
    assert found in refusal[2]


@pytest.mark.parametrize("kernel", ["ppr", "teddy", "gcn", "khop", "mlp"])
def test_a_graph_is_square(hwsim: Callable[..., Any], kernel: str) -> None:
    source = "uniform:n=3,cols=5,density=0.5"
    refusal = hwsim("run", source, "--machine", "piuma", "--kernel", kernel).refusal()
    assert refusal[0] == "model"
    assert "square" in refusal[1]
    assert refusal[2] == "3 x 5"
