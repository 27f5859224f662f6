"""Selections keep the largest of a product's groups; transposed views have the forward's taps."""

from __future__ import annotations

import numpy as np
import pytest

from hwsim.core.errors import InputError
from hwsim.core.formats import NMCompact, decode_nm
from hwsim.core.gemm import weight_matrix
from hwsim.core.graph import OpGraph
from hwsim.sat.training_weights import initial_state, product_of, stored, transposed_weights
from models.build import GraphBuilder, with_random_weights
from models.training import training_graph
from models.training_reference import compact_weights


def trained(method: str = "bdwp") -> OpGraph:
    b = GraphBuilder("net")
    x = b.conv("first", b.input("x", (1, 8, 6, 6)), 16, 3, pad=1)
    x = b.conv("strided", x, 32, 3, stride=2, pad=1, groups=2)
    x = b.linear("hidden", b.flatten("flat", b.global_pool("mean", x, "average")), 24)
    forward = b.build([b.linear("out", x, 4)])
    return training_graph(with_random_weights(forward, np.random.default_rng(2)), method, (2, 8))


def test_decoded_copies_are_the_reference_s_masked_weights() -> None:
    graph = trained()
    state = initial_state(graph)
    reference = compact_weights(graph, state.half)
    assert len(state.compact) == 1 + 4 + 2  # FF, BP phases of "strided"; FF, BP of "hidden"
    for name, copy in state.compact.items():
        op = product_of(graph, name)
        k = op.gemm().k
        pairs = zip(copy.values, copy.indices, strict=True)
        dense = np.stack([decode_nm(NMCompact(v, i, k, copy.nm_m)) for v, i in pairs])
        want = weight_matrix(op.kind.value, op.dims, reference[name])
        np.testing.assert_array_equal(dense, want)
        assert (np.diff(copy.indices.astype(int), axis=2) > 0).all()


def test_transposed_views_are_the_reference_s() -> None:
    graph = trained("dense")
    state = initial_state(graph)
    reference = compact_weights(graph, state.half)
    views = [op for op in graph.ops() if "weight_view" in op.attrs]
    assert len(views) == 6
    for op in views:
        layer, view = graph.op(op.attrs["layer"]), op.attrs["weight_view"]
        found = transposed_weights(layer, view, state.half[view["of"]])
        np.testing.assert_array_equal(found, reference[op.inputs[1].tensor])


def test_masters_keep_what_the_copies_round_away() -> None:
    graph = trained()
    state = initial_state(graph)
    for name, values in graph.weights.items():
        assert state.master[name].tobytes() == values.tobytes()
        assert state.half[name].tobytes() == values.astype(np.float16).tobytes()
        assert not state.momentum[name].any()
    assert any(
        (state.half[n].astype(np.float32) != values).any() for n, values in state.master.items()
    )


def test_weights_without_values_are_named() -> None:
    graph = trained()
    weights = {name: values for name, values in graph.weights.items() if name != "hidden.bias"}
    with pytest.raises(InputError, match="input hidden.bias: need shape .24,., found none"):
        initial_state(graph, weights)


def test_memory_holds_one_nan_and_overflow_is_infinite() -> None:
    given = np.array([np.nan, -np.nan, 65520.0, 65519.9, -1e9, 3e-8])
    words = stored(given).view(np.uint16).tolist()
    assert words == [0x7E00, 0x7E00, 0x7C00, 0x7BFF, 0xFC00, 0x0001]
    assert stored(np.arange(3)).dtype.kind == "i"
