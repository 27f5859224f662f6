"""XNNPACK's gates: two thirds strictly, blocks 90 % full, no AVX on x86, CHW kernels only."""

from __future__ import annotations

import numpy as np
import pytest

from hwsim.core.graph import OpGraph
from hwsim.core.sparsity import Unstructured
from hwsim.cpu.selection import (
    block_channels,
    can_run_sparse,
    is_sparse_enough,
    leading_cluster,
)
from models.build import GraphBuilder
from models.sparsify.magnitude import prune


def test_exactly_two_thirds_of_zeros_is_not_enough() -> None:
    assert not is_sparse_enough(200, 300)
    assert is_sparse_enough(201, 300)
    assert not is_sparse_enough(0, 0)


@pytest.mark.parametrize(
    ("architecture", "has_avx", "dtype", "expected"),
    [
        ("x86-64", True, "float32", False),
        ("x86-64", False, "float32", True),
        ("aarch64", False, "float32", True),
        ("wasm", False, "float16", True),
        ("aarch64", False, "int8", False),
    ],
)
def test_sparse_needs_float_and_an_x86_without_avx(
    architecture: str, has_avx: bool, dtype: str, expected: bool
) -> None:
    assert can_run_sparse(architecture, has_avx=has_avx, dtype=dtype) is expected


def blocks(nr: int, count: int, zeros: int) -> np.ndarray:
    """Return ``count`` full blocks of ``nr`` rows, with ``zeros`` elements then set to zero."""
    weights = np.ones((nr, count), dtype=np.float32)
    weights.flat[:zeros] = 0  # all in row 0, one per block
    return weights


def test_four_rows_are_a_block_at_3_6_nonzeros_each() -> None:
    # 10 blocks of 4: 36 nonzeros are exactly 3.6 per block, 35 are below. Rows 0 and 1, as
    # pairs, then hold 15 of 20 and rows 2 and 3 all 20: 35 >= 1.8 * 20 fails, so single.
    assert block_channels(blocks(4, 10, 4)) == 4
    assert block_channels(blocks(4, 10, 5)) == 1


def test_two_rows_are_a_block_at_1_8_nonzeros_each() -> None:
    assert block_channels(blocks(2, 10, 2)) == 4  # no whole block of four: vacuously full
    below_four = np.vstack([blocks(2, 10, 2), np.zeros((2, 10), np.float32)])
    assert block_channels(below_four) == 2  # 18 nonzeros in 10 pairs, at most half of a four
    below_two = np.vstack([blocks(2, 10, 3), np.zeros((2, 10), np.float32)])
    assert block_channels(below_two) == 1


def test_left_over_rows_do_not_vote() -> None:
    weights = np.vstack([np.ones((4, 3)), np.eye(3)[:1]])
    assert block_channels(weights) == 4


def test_an_empty_layer_is_packed_in_fours() -> None:
    assert block_channels(np.zeros((8, 8), np.float32)) == 4


def network(*, groups: int = 1, first: int = 3) -> OpGraph:
    g = GraphBuilder("net")
    x = g.input("image", (1, 3, 16, 16))
    x = g.relu("relu0", g.conv("first", x, 8, first, stride=2, pad=first // 2))
    x = g.conv("dw", x, 8, 3, stride=1, pad=1, groups=8)
    x = g.conv("pw", x, 12, 1)
    x = g.conv("odd", x, 12, 1, groups=groups)
    x = g.global_pool("pool", x, "average")
    return g.build([g.linear("fc", g.flatten("flat", x), 5)])


def test_the_cluster_runs_from_the_first_convolution_to_the_mean() -> None:
    graph = prune(network(), Unstructured(keep=0.1))
    cluster = leading_cluster(graph)
    assert cluster.ops == ("first", "relu0", "dw", "pw", "odd", "pool", "flat")
    assert cluster.obstacle == ""
    assert cluster.params == 8 * 12 + 12 * 12
    assert cluster.is_sparse
    kept = {"pw": 96, "odd": 0}
    assert leading_cluster(graph, kept).zeros == 144
    assert not leading_cluster(graph, kept).is_sparse  # 144 of 240 zeros


def test_an_operator_without_a_chw_kernel_is_named() -> None:
    cluster = leading_cluster(network(groups=2))
    assert cluster.ops[-1] == "pw"
    assert cluster.obstacle == "odd: convolution 1x1 stride 1 with groups 2 has no CHW kernel"


def test_without_the_entry_there_is_no_cluster() -> None:
    cluster = leading_cluster(network(first=5))
    assert cluster.ops == ()
    assert cluster.obstacle.startswith("first: a cluster starts at")
