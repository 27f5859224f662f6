"""The zoo's networks have the multiply-accumulates and weights of their architectures."""

import pytest

from hwsim.core.errors import InputError
from hwsim.core.graph import OpGraph, OpKind
from models.zoo import ZOO, load_model

# derived: convolution, fully connected and attention products only, weights without biases,
# from the layer shapes of ffcv's example, torchvision, pytorch-cifar100 and a CIFAR ViT.
TABLE = [
    ("resnet9", 9.08, 1.162),
    ("resnet9-dawnbench", 6.57, 0.379),
    ("vgg19", 20.07, 0.398),
    ("vgg19-3fc", 39.30, None),
    ("vit-small", 9.51, 0.641),
    ("resnet18-64", 11.27, 0.148),
    ("resnet18-64-cifar", 11.26, 2.222),
    ("resnet18", 11.68, 1.814),
    ("resnet50", 25.50, 4.089),
]
BUILT_IN = [name for name in ZOO if name != "ppocrv4-det"]


def matrix_weights(graph: OpGraph) -> int:
    return sum(
        graph.tensors[op.weight.tensor].elems for op in graph.ops() if op.is_gemm and op.weight
    )


@pytest.mark.parametrize(("name", "mparams", "gmacs"), TABLE)
def test_macs_and_parameters_equal_the_derived_table(name, mparams, gmacs):
    graph = load_model(name)
    assert matrix_weights(graph) / 1e6 == pytest.approx(mparams, abs=0.005001)
    if gmacs is not None:
        # The table has three decimals; its rounding is the only difference allowed beyond 1e-3.
        assert graph.totals()["macs"] / 1e9 == pytest.approx(gmacs, rel=1e-3, abs=0.0005)


def test_the_table_distinguishes_the_two_stems():
    assert load_model("resnet18-64").totals()["macs"] / 1e9 != pytest.approx(2.222, rel=1e-3)


def test_exact_resnet50_macs_follow_from_the_layer_shapes():
    # derived: stem 112^2, four stages of bottlenecks at 56, 28, 14, 7 pixels, classifier.
    macs = 112**2 * 49 * 3 * 64 + 2048 * 1000
    ci, pixels = 64, 56
    for stage, blocks in enumerate((3, 4, 6, 3)):
        width = 64 << stage
        for index in range(blocks):
            out = pixels // 2 if stage and index == 0 else pixels
            macs += pixels**2 * ci * width + out**2 * 9 * width**2 + out**2 * width * 4 * width
            macs += out**2 * ci * 4 * width if index == 0 else 0
            ci, pixels = 4 * width, out
    assert load_model("resnet50").totals()["macs"] == macs


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_model_scales_with_batch_and_round_trips(name):
    one, three = load_model(name), load_model(name, batch=3)
    assert three.totals()["macs"] == 3 * one.totals()["macs"]
    again = OpGraph.from_json(three.to_json())
    assert list(again.ops()) == list(three.ops())
    assert again.tensors == three.tensors
    assert again.totals() == three.totals()


@pytest.mark.parametrize("name", BUILT_IN)
def test_only_matrix_products_have_macs_and_nothing_is_unmodelled(name):
    graph = load_model(name)
    assert graph.totals()["unmodelled_ops"] == 0
    assert {op.kind for op in graph.ops() if op.macs() == 0} >= {OpKind.ELEMENTWISE}


def test_attention_products_have_heads_times_batch_matrices():
    graph = load_model("vit-small", batch=4)
    products = [op for op in graph.ops() if op.kind is OpKind.MATMUL]
    assert len(products) == 2 * 6
    assert {op.dims["batch"] for op in products} == {4 * 8}
    assert products[0].dims == {"batch": 32, "m": 65, "k": 64, "n": 65}
    assert products[1].dims == {"batch": 32, "m": 65, "k": 65, "n": 64}


def test_input_shape_overrides_the_default():
    graph = load_model("resnet18", inputs={"image": (2, 3, 64, 64)})
    assert graph.tensors["image"].shape == (2, 3, 64, 64)
    classes = 2 * 512 * (1000 - 200)
    assert graph.totals()["macs"] == load_model("resnet18-64", batch=2).totals()["macs"] + classes


@pytest.mark.parametrize(
    ("source", "arguments", "words"),
    [
        ("resnet19", {}, "did you mean"),
        ("missing.onnx", {}, "an existing file"),
        ("resnet9", {"batch": 0}, "--batch: need at least 1, found 0"),
        ("resnet9", {"batch": -3}, "--batch: need at least 1, found -3"),
        ("resnet9", {"inputs": {"imge": (1, 3, 32, 32)}}, "did you mean image"),
        ("resnet9", {"inputs": {"image": (3, 32, 32)}}, "4 extents"),
        ("resnet9", {"inputs": {"image": (1, 3, 4, 4)}}, "large enough"),
        ("resnet9", {"inputs": {"image": (1, 3, 0, 32)}}, "extents of at least 1"),
        ("resnet9", {"batch": 2, "inputs": {"image": (1, 3, 32, 32)}}, "--batch"),
    ],
)
def test_bad_requests_give_one_line(source, arguments, words):
    with pytest.raises(InputError) as caught:
        load_model(source, **arguments)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "norms"),
    # derived: one per convolution; the transformer has layer normalisations only.
    [("resnet9", 8), ("vgg19", 16), ("resnet18-64", 20), ("resnet50-32", 53), ("vit-small", 0)],
)
def test_batch_norms_are_kept_on_demand_and_cost_no_macs(name, norms):
    folded, kept = load_model(name), load_model(name, has_batch_norm=True)
    assert kept.totals()["macs"] == folded.totals()["macs"]
    functions = [o.attrs["function"] for o in kept.ops() if o.kind is OpKind.NORMALIZATION]
    assert functions.count("batch") == norms
    # A kept normalisation brings scale and shift and takes the bias away.
    normalized = {o.inputs[0].tensor for o in kept.ops() if o.attrs.get("function") == "batch"}
    assert all(len(kept.op(conv).inputs) == 2 for conv in normalized)
    assert all(o.attrs["function"] != "batch" for o in folded.ops() if "function" in o.attrs)
