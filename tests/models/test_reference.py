"""The reference executor equals onnxruntime on a trained network, and closed forms elsewhere."""

import numpy as np
import onnxruntime
import pytest

from hwsim.core.errors import InputError
from hwsim.core.graph import OpGraph
from models.assets import fetch_asset
from models.build import GraphBuilder, with_random_weights
from models.reference import execute
from models.zoo import load_model


def page(batch, height, width):
    """Return white paper with dark strokes in text-like lines, normalised to -1..1."""
    rng = np.random.default_rng(11)
    image = np.full((batch, 3, height, width), 235.0, dtype=np.float32)
    for top in range(10, height - 16, 26):
        for left in range(8, width - 12, 9):
            glyph = rng.random((12, 6)) < 0.55
            patch = image[:, :, top : top + 12, left : left + 6]
            patch[..., glyph] = 20.0
    image += rng.normal(0, 3, image.shape).astype(np.float32)
    return np.asarray((image / 255 - 0.5) / 0.5, dtype=np.float32)


@pytest.mark.parametrize("shape", [(1, 3, 64, 96), (1, 3, 128, 128), (2, 3, 64, 64)])
def test_trained_detector_equals_onnxruntime(shape):
    graph = load_model("ppocrv4-det", inputs={"x": shape})
    x = page(shape[0], *shape[2:])
    session = onnxruntime.InferenceSession(fetch_asset("ppocrv4-det"))
    expected = session.run(None, {"x": x})[0]
    found = execute(graph, {"x": x})[graph.outputs[0]]
    # The detector must have seen text, or equal outputs would mean nothing.
    assert expected.max() > 0.3
    assert expected.min() < 0.01
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_wrong_weight_in_the_detector_shows():
    graph = load_model("ppocrv4-det", inputs={"x": (1, 3, 64, 96)})
    x = page(1, 64, 96)
    expected = execute(graph, {"x": x})[graph.outputs[0]]
    first = next(op for op in graph.ops() if op.is_gemm)
    graph.weights[first.weight.tensor] = graph.weights[first.weight.tensor] * np.float32(1.1)
    changed = execute(graph, {"x": x})[graph.outputs[0]]
    assert np.abs(changed - expected).max() > 1e-3


def test_imported_detector_is_whole_and_round_trips():
    graph = load_model("ppocrv4-det")
    assert graph.tensors[graph.inputs[0]].shape == (1, 3, 640, 640)
    assert graph.totals()["unmodelled_ops"] == 0
    assert len(graph.weights) == len(
        {o.tensor for op in graph.ops() for o in op.inputs if o.role == "weight"}
    )
    again = OpGraph.from_json(graph.to_json())
    assert list(again.ops()) == list(graph.ops())


@pytest.mark.parametrize("name", ["resnet9-dawnbench", "resnet18-64", "resnet50-64", "vit-small"])
def test_zoo_models_execute(name):
    graph = with_random_weights(load_model(name), np.random.default_rng(2))
    (source,) = graph.inputs
    x = np.random.default_rng(3).standard_normal(graph.tensors[source].shape).astype(np.float32)
    results = execute(graph, {source: x})
    out = results[graph.outputs[0]]
    assert out.dtype == np.float32
    assert np.isfinite(out).all()
    assert out.std() > 0
    assert set(results) == {source, *(op.output for op in graph.ops())}


def test_attention_equals_the_closed_form():
    graph = with_random_weights(load_model("vit-small"), np.random.default_rng(2))
    x = np.random.default_rng(3).standard_normal((1, 3, 32, 32)).astype(np.float32)
    t = execute(graph, {"image": x})
    y = t["blocks.0.norm1"][0].astype(np.float64)
    qkv = (y @ graph.weights["blocks.0.attn.qkv.weight"]).reshape(65, 3, 8, 64)
    q, k, v = qkv.transpose(1, 2, 0, 3)
    scores = q @ k.transpose(0, 2, 1) / 8.0
    weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    mixed = (weights @ v).transpose(1, 0, 2).reshape(65, 512)
    out = mixed @ graph.weights["blocks.0.attn.proj.weight"]
    out += graph.weights["blocks.0.attn.proj.bias"]
    np.testing.assert_allclose(t["blocks.0.attn.proj"][0], out, rtol=1e-3, atol=1e-3)


def test_a_given_gemm_computes_every_product():
    graph = with_random_weights(load_model("resnet9-dawnbench"), np.random.default_rng(2))
    x = np.zeros((1, 3, 32, 32), dtype=np.float32)
    seen = []

    def gemm(op, a, b):
        dims = op.gemm()
        assert a.shape == (dims.groups, dims.m, dims.k)
        assert b.shape == (dims.groups, dims.k, dims.n)
        seen.append(op.name)
        return np.zeros((dims.groups, dims.m, dims.n), dtype=a.dtype)

    out = execute(graph, {"image": x}, gemm)
    assert seen == [op.name for op in graph.ops() if op.is_gemm]
    assert (out[graph.outputs[0]] == 0).all()


def test_missing_values_are_named():
    g = GraphBuilder("net")
    graph = g.build([g.linear("fc", g.input("x", (2, 3)), 4)])
    x = np.zeros((2, 3), dtype=np.float32)
    with pytest.raises(InputError, match="input x"):
        execute(graph, {})
    with pytest.raises(InputError, match=r"fc\.weight"):
        execute(graph, {"x": x})
    with pytest.raises(InputError, match=r"shape \(2, 3\)"):
        execute(graph, {"x": x.T})
