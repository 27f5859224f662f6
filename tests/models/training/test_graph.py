"""A training graph follows its naming, keeps stages apart and says what stays dense."""

from __future__ import annotations

from itertools import product

import pytest

from hwsim.core.errors import InputError
from hwsim.core.graph import OpGraph, OpKind, Role, Stage
from hwsim.core.sparsity import NM
from models.build import GraphBuilder
from models.training import training_graph
from models.training.masks import TrainingMethod, classifiers
from models.zoo import load_model

METHODS = tuple(TrainingMethod)
SOME = ("resnet9", "vit-small", "resnet18-64", "resnet50-32")


def names(graph: OpGraph, kind: OpKind, stage: Stage | None = None) -> list[str]:
    return [op.name for op in graph.ops() if op.kind is kind and stage in (None, op.stage)]


@pytest.mark.parametrize(
    ("name", "method", "pregenerate"), list(product(SOME, METHODS, (True, False)))
)
def test_every_graph_verifies_and_round_trips(name, method, pregenerate):
    graph = training_graph(load_model(name), method, (2, 8), pregenerate=pregenerate)
    again = OpGraph.from_json(graph.to_json())
    assert list(again.ops()) == list(graph.ops())
    assert all(op.attrs["layer"] for op in graph.ops())
    assert {op.stage for op in graph.ops()} == {Stage.FF, Stage.BP, Stage.WU}


def test_every_weight_is_updated_once_and_every_activation_gradient_is_used():
    forward = load_model("vit-small", has_batch_norm=True)
    graph = training_graph(forward, "dense")
    weights = {o.tensor for op in forward.ops() for o in op.inputs if o.role is Role.WEIGHT}
    updated = [op.attrs["of"] for op in graph.ops() if op.kind is OpKind.WEIGHT_UPDATE]
    assert sorted(updated) == sorted(weights)
    read = {o.tensor for op in graph.ops() for o in op.inputs}
    unread = {op.output for op in graph.ops()} - read - set(graph.outputs)
    assert unread == set()


@pytest.mark.parametrize("name", SOME)
def test_update_products_are_the_same_for_every_method(name):
    # Acceptance rule of the method: the weight update is dense whatever is pruned.
    forward = load_model(name)
    work = set()
    for method in METHODS:
        graph = training_graph(forward, method, (2, 8))
        products = [op for op in graph.ops() if op.stage is Stage.WU and op.is_gemm]
        work.add(tuple((op.name, op.macs(), op.useful_macs()) for op in products))
    assert len(work) == 1


def test_first_layers_have_no_bp_and_attention_products_have_two():
    graph = training_graph(load_model("vit-small"), "bdwp", (2, 8))
    all_names = {op.name for op in graph.ops()}
    assert "patch_embed.wu" in all_names
    assert "patch_embed.bp" not in all_names
    for letter in "ab":
        op = graph.op(f"blocks.0.attn.qk.bp.{letter}")
        assert op.macs() == op.useful_macs() == graph.op("blocks.0.attn.qk").macs()


def test_bp_reduces_over_output_channels_with_the_groups_along_them():
    graph = training_graph(load_model("resnet18-64"), "bdwp", (2, 8))
    op = graph.op("layer2.0.conv1.bp.p3")
    assert (op.dims["ci"], op.dims["co"]) == (128, 64)
    assert op.weight is not None
    assert op.weight.pattern == NM(nm_n=2, nm_m=8, axis=0)
    prune = graph.op("layer2.0.conv1.bp.p3.prune")
    assert prune.dims == {"elems": 128 * 64 * 2 * 2}
    assert prune.attrs["axis"] == "co"
    assert prune.attrs["weight_view"] == op.attrs["weight_view"]


def test_both_masks_of_bdwp_look_at_every_prunable_weight_once():
    forward = load_model("resnet18-64")
    graph = training_graph(forward, "bdwp", (2, 8))
    prunable = sum(
        forward.tensors[op.weight.tensor].elems
        for op in forward.ops()
        if op.weight is not None and op.name not in ("conv1", "fc")
    )
    for axis in ("ci", "co"):
        looked = [op.dims["elems"] for op in graph.ops() if op.attrs.get("axis") == axis]
        assert sum(looked) == prunable


@pytest.mark.parametrize("pregenerate", [True, False])
def test_selection_follows_the_update_or_precedes_the_product(pregenerate):
    graph = training_graph(load_model("resnet9"), "bdwp", (2, 8), pregenerate=pregenerate)
    order = {op.name: place for place, op in enumerate(graph.ops())}
    prune = graph.op("c2.ff.prune")
    if pregenerate:
        assert prune.stage is Stage.WU
        assert prune.inputs[0].tensor == "c2.weight.next"
        assert order["c2.ff.prune"] > order["c2.weight.update"]
        assert "c2.ff.weight.next" in graph.outputs
        assert graph.producer("c2.ff.weight") is None
    else:
        assert (prune.stage, graph.op("c2.bp.p0.prune").stage) == (Stage.FF, Stage.BP)
        assert order["c2.ff.prune"] == order["c2"] - 1
        assert order["c2.bp.p0.prune"] == order["c2.bp.p0"] - 1


def test_sdgp_prunes_gradients_once_and_updates_with_all_of_them():
    forward = load_model("resnet18-64")
    graph = training_graph(forward, "sdgp", (2, 8))
    downsample, last = graph.op("layer2.0.downsample.bp.p0"), graph.op("layer2.0.conv2.bp")
    assert downsample.inputs[0] == last.inputs[0]  # a join hands the same gradient to both
    assert last.inputs[0].pattern == NM(nm_n=2, nm_m=8, axis=1)
    assert last.weight is not None
    assert last.weight.pattern.is_dense
    pruned = graph.producer(last.inputs[0].tensor)
    assert pruned is not None
    assert pruned.kind is OpKind.NM_PRUNE
    assert graph.op("layer2.0.conv2.wu").inputs[1].tensor == pruned.inputs[0].tensor
    assert 4 * last.useful_macs() == last.macs()


def test_layers_that_stay_dense_are_noted_with_the_reason():
    graph = training_graph(load_model("resnet9"), "bdwp", (2, 8), prune_classifier=True)
    assert "c1 stays dense in FF: first layer" in graph.notes
    assert "fc stays dense in BP: Co 10 not divisible by 8" in graph.notes
    assert not any(note.startswith("fc stays dense in FF") for note in graph.notes)
    kept = training_graph(load_model("resnet9"), "bdwp", (2, 8))
    assert "fc stays dense in FF: classifier" in kept.notes


def test_classifiers_are_the_last_fully_connected_layers():
    assert classifiers(load_model("vgg19-3fc")) == {"fc3"}
    assert classifiers(load_model("vit-small")) == {"head"}


def test_backward_vector_work_has_the_extent_of_its_gradient():
    graph = training_graph(load_model("resnet18-64", batch=2, has_batch_norm=True), "dense")
    norm = graph.op("layer1.0.conv1.bn.bp")
    assert (norm.kind, norm.attrs["function"]) == (OpKind.NORMALIZATION, "batch_backward")
    assert norm.dims["elems"] == 2 * 64 * 16 * 16
    assert norm.inputs[1].tensor == "layer1.0.conv1"  # the saved activation
    assert graph.op("layer1.0.conv1.bn").attrs["statistics"] == "batch"
    relu = graph.op("layer1.0.conv1.relu.bp")
    assert [o.tensor for o in relu.inputs][1:] == ["layer1.0.conv1.relu"]
    pool = graph.op("maxpool.bp")
    # derived: at stride 2 an input lies in at most 2 x 2 windows of 3 x 3.
    assert (pool.dims["elems"], pool.attrs["kernel"]) == (2 * 64 * 32 * 32, [2, 2])
    # A residual join's input has two consumers, whose gradients are added.
    fan_in = [op for op in graph.ops() if op.name.endswith(".grad.sum")]
    assert len(fan_in) == 8
    assert {len(op.inputs) for op in fan_in} == {2}


def test_slices_that_tile_a_tensor_join_their_gradients_without_zeros():
    graph = training_graph(load_model("vit-small"), "dense")
    assert len(names(graph, OpKind.CONCAT, Stage.BP)) == 6  # q, k and v of six layers
    assert names(graph, OpKind.PAD, Stage.BP) == ["cls.bp"]


def test_separate_layers_have_a_bp_if_their_input_stands_for_a_layer():
    b = GraphBuilder("layers")
    x, h = b.input("x", (1, 8, 6, 6)), b.input("h", (1, 8, 4, 4))
    first, second = b.conv("first", x, 8, 3, bias=False), b.conv("second", h, 8, 3, bias=False)
    forward = b.build([first, second])
    assert names(training_graph(forward, "bdwp", (2, 8)), OpKind.CONV, Stage.BP) == []
    graph = training_graph(forward, "bdwp", (2, 8), input_gradients=["h"])
    assert names(graph, OpKind.CONV, Stage.BP) == ["second.bp"]
    assert graph.tensors["second.bp"].shape == (1, 8, 4, 4)
    assert "second.bp" in graph.outputs
    weight = graph.op("second").weight
    assert weight is not None
    assert not weight.pattern.is_dense
    with pytest.raises(InputError, match="input_gradients: need one of h, x, found 'z'"):
        training_graph(forward, "bdwp", (2, 8), input_gradients=["z"])


def integer_graph() -> OpGraph:
    b = GraphBuilder("quantized")
    x = b.input("x", (1, 8), dtype="int8")
    return b.build([b.linear("fc", x, 4)])


def weightless_graph() -> OpGraph:
    b = GraphBuilder("plain")
    return b.build([b.relu("relu", b.input("x", (1, 8)))])


@pytest.mark.parametrize(
    ("forward", "options", "message"),
    [
        (integer_graph, {}, "op fc: need floating-point tensors to train, found int8 x"),
        (weightless_graph, {}, "--training: need an output that depends on"),
        (lambda: load_model("resnet9"), {"method": "bdpw"}, "found 'bdpw' .did you mean bdwp"),
        (lambda: load_model("resnet9"), {"nm": (9, 8)}, "pattern.nm_n: need 1 to 8, found 9"),
        (lambda: load_model("resnet9"), {"strided_bp": "phase"}, "strided_bp: need one of"),
    ],
)
def test_what_cannot_be_trained_is_refused(forward, options, message):
    with pytest.raises(InputError, match=message):
        training_graph(forward(), **{"method": "bdwp", "nm": (2, 8), **options})


def test_a_graph_pruned_before_training_is_refused():
    from models.sparsify.magnitude import prune

    pruned = prune(load_model("resnet9"), NM(nm_n=2, nm_m=8))
    with pytest.raises(InputError, match=r"op c2: need dense operands before training, found nm"):
        training_graph(pruned, "bdwp", (2, 8))
