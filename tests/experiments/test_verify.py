"""Verification: cropped operands are the real ones, and a wrong result does not pass."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from hwsim.core.gemm import activation_matrix
from hwsim.core.graph import OpKind
from hwsim.core.machine import make_machine
from hwsim.core.sparsity import NM
from hwsim.experiments import verify
from hwsim.experiments.pipeline import RunRequest, Session, prepare
from hwsim.experiments.verify import MAX_COLUMNS, MAX_GROUPS, MAX_ROWS, layer_operands
from hwsim.sat import functional, training_execution, training_weights
from mappers.greedy import map_graph
from models.build import GraphBuilder
from models.training import training_graph


def convolution(channels=8, co=16, *, size=(11, 13), kernel=3, groups=1, **geometry):
    """Return a graph of one convolution and its op."""
    b = GraphBuilder("conv")
    x = b.input("x", (2, channels, *size))
    y = b.conv("conv", x, co, kernel, groups=groups, bias=False, **geometry)
    graph = b.build([y])
    return graph, graph.op("conv")


class Recorder:
    """A generator that keeps what it drew, to rebuild the uncropped input."""

    def __init__(self):
        self.rng = np.random.default_rng(5)
        self.drawn = []

    def standard_normal(self, shape):
        self.drawn.append(self.rng.standard_normal(shape))
        return self.drawn[-1]


@pytest.mark.parametrize(
    "geometry",
    [
        {},
        {"pad": 1},
        {"pad": 1, "stride": 2},
        {"pad": (1, 2, 2, 1), "dilation": 2},
        {"kernel": 1, "stride": 2},
        {"kernel": (5, 1), "pad": (2, 0, 2, 0)},
        {"kernel": 7, "pad": 3, "stride": 2},
        {"groups": 4, "pad": 1},
        {"size": (3, 60), "pad": 1},
        {"size": (60, 3), "pad": 1},
        {"kernel": 5, "size": (5, 5), "pad": 4},
    ],
    ids=str,
)
def test_a_cropped_convolution_has_the_rows_of_the_uncropped_one(geometry):
    graph, op = convolution(**geometry)
    rng = Recorder()
    cropped = layer_operands(graph, op, rng)["a"]
    patch = rng.drawn[0]  # the corner of the image that the crop drew
    dims = dict(op.dims)
    image = np.zeros((1, dims["ci"], dims["ih"], dims["iw"]))
    image[:, :, : patch.shape[2], : patch.shape[3]] = patch
    full = activation_matrix("conv", {**dims, "batch": 1}, dict(op.attrs), image)
    rows = _kept_rows(op)
    np.testing.assert_array_equal(cropped, full[:MAX_GROUPS, rows].astype(np.float16))


def _kept_rows(op):
    """Return the rows of the uncropped product that a crop keeps: a corner of the output."""
    width = min(op.dims["ow"], MAX_ROWS)
    height = min(op.dims["oh"], max(1, MAX_ROWS // width))
    return [y * op.dims["ow"] + x for y in range(height) for x in range(width)]


def test_the_reduction_is_never_cut():
    graph, op = convolution(channels=40, co=200, pad=1)
    operands = layer_operands(graph, op, np.random.default_rng(0))
    assert operands["a"].shape[2] == operands["b"].shape[1] == 40 * 9
    assert operands["b"].shape[2] == MAX_COLUMNS
    assert operands["a"].shape[1] <= MAX_ROWS


def test_the_mask_obeys_the_pattern_and_keeps_the_largest_real_weights(tmp_path):
    weights = np.random.default_rng(2).standard_normal((64, 24))
    np.savez(tmp_path / "m.npz", fc=weights)
    session = prepare(RunRequest(str(tmp_path / "m.npz"), sparsity="nm:2:8"))
    operands = layer_operands(session.graph, session.graph.op("fc"), np.random.default_rng(0))
    np.testing.assert_array_equal(operands["b"][0], weights.astype(np.float16))
    mask = operands["mask"][0]
    NM(nm_n=2, nm_m=8).check(mask)
    assert mask.sum() == 64 * 24 // 4
    groups = np.abs(weights.astype(np.float16)).reshape(8, 8, 24)
    kept = mask.reshape(8, 8, 24)
    smallest_kept = np.where(kept, groups, np.inf).min(axis=1)
    largest_dropped = np.where(kept, -np.inf, groups).max(axis=1)
    assert (smallest_kept >= largest_dropped).all()


@pytest.fixture(scope="module")
def session(tmp_path_factory) -> Session:
    path = tmp_path_factory.mktemp("model") / "m.npz"
    rng = np.random.default_rng(3)
    np.savez(path, first=rng.standard_normal((64, 24)), second=rng.standard_normal((80, 40)))
    return prepare(RunRequest(str(path), sparsity="nm:2:8"))


def test_every_product_is_verified_equal_and_says_how_much_was_compared(session):
    records = verify.verify_layers(session, seed=0)
    assert [record["layer"] for record in records] == ["first", "second"]
    assert all(record["equal"] and record["max_abs_error"] == 0 for record in records)
    assert records[1]["reduction"] == "80 of 80"
    assert records[1]["columns"] == "40 of 40"


def test_a_corrupted_kernel_result_is_caught(session, monkeypatch):
    true = functional.multiply_compact

    def corrupted(a, values, indices, nm_m, out):
        true(a, values, indices, nm_m, out)
        out[0, 0] = np.nextafter(out[0, 0], np.float32(np.inf))  # one unit in the last place

    monkeypatch.setattr(functional, "multiply_compact", corrupted)
    records = verify.verify_layers(session, seed=0)
    assert [record["equal"] for record in records] == [False, False]
    assert all(0 < record["max_abs_error"] < 1e-5 for record in records)


def test_a_zero_of_the_wrong_sign_is_caught(session, monkeypatch):
    true = functional.multiply_compact

    def negated_zero(a, values, indices, nm_m, out):
        true(np.zeros_like(a), values, indices, nm_m, out)
        out *= np.float32(-1)

    monkeypatch.setattr(verify, "layer_operands", _zero_activations)
    monkeypatch.setattr(functional, "multiply_compact", negated_zero)
    records = verify.verify_layers(session, seed=0)
    assert [record["equal"] for record in records] == [False, False]
    assert all(record["max_abs_error"] == 0 for record in records)


def _zero_activations(graph, op, rng):
    operands = layer_operands(graph, op, rng)
    return {**operands, "a": np.zeros_like(operands["a"])}


def test_verification_leaves_no_operands_behind(session):
    verify.verify_layers(session, seed=0)
    assert session.program.tensors == {}


def lowered(graph):
    """Return of a session what verification reads."""
    machine = make_machine("sat")
    program = machine.lower(graph, map_graph(graph, machine))
    return SimpleNamespace(graph=graph, machine=machine, program=program)


def iteration(method):
    """Return a session of an iteration of three convolutions, by ``method`` at 2:8."""
    b = GraphBuilder("net")
    x = b.relu("act", b.conv("first", b.input("x", (2, 3, 6, 6)), 16, 3, pad=1))
    x = b.conv("last", b.conv("strided", x, 24, 3, stride=2, pad=1), 16, 1)
    graph = training_graph(b.build([x]), method, (2, 8))
    return lowered(graph)


CHECKED = (OpKind.WEIGHT_UPDATE, OpKind.NM_PRUNE)


@pytest.mark.parametrize(
    ("method", "sparse"),
    [
        ("dense", set()),
        ("bdwp", {"strided", "last", "last.bp", *(f"strided.bp.p{i}" for i in range(4))}),
        ("sdgp", {"last.bp", *(f"strided.bp.p{i}" for i in range(4))}),
    ],
)
def test_every_product_update_and_selection_of_an_iteration_is_verified(method, sparse):
    session = iteration(method)
    ops = [op for op in session.graph.ops() if op.is_gemm or op.kind in CHECKED]
    assert {op.name for op in ops if op.useful_macs() < op.macs()} == sparse
    *records, whole = verify.verify_layers(session, seed=0)
    assert [record["layer"] for record in records] == [op.name for op in ops]
    assert {op.stage.value for op in ops} == {"ff", "bp", "wu"}
    assert all(record["equal"] and record["max_abs_error"] == 0 for record in records)
    assert (whole["layer"], whole["equal"]) == ("whole iteration", True)


def test_one_wrong_bit_in_any_product_of_an_iteration_is_caught(monkeypatch):
    true = functional.multiply_compact

    def corrupted(a, values, indices, nm_m, out):
        true(a, values, indices, nm_m, out)
        out[-1, -1] = np.nextafter(out[-1, -1], np.float32(np.inf))

    monkeypatch.setattr(functional, "multiply_compact", corrupted)
    session = iteration("bdwp")
    records = {record["layer"]: record for record in verify.verify_layers(session, seed=0)}
    assert not any(records[op.name]["equal"] for op in session.graph.ops() if op.is_gemm)


def test_one_wrong_bit_in_any_update_is_caught(monkeypatch):
    true = functional.update_weights

    def corrupted(*given, **rule):
        w, v, half = true(*given, **rule)
        v[-1] = np.nextafter(v[-1], np.float32(np.inf))
        return w, v, half

    monkeypatch.setattr(functional, "update_weights", corrupted)
    session = iteration("bdwp")
    records = verify.verify_layers(session, seed=0)
    wrong = [record["layer"] for record in records if not record["equal"]]
    updates = [op.name for op in session.graph.ops() if op.kind is OpKind.WEIGHT_UPDATE]
    assert wrong == updates
    assert all(0 < record["max_abs_error"] < 1e-5 for record in records if not record["equal"])


def test_another_rule_for_equal_magnitudes_is_caught(monkeypatch):
    true = functional.topn_group

    def last_of_equals(bits, nm_n):
        words, positions = true(bits[:, ::-1].copy(), nm_n)
        return words[:, ::-1], bits.shape[1] - 1 - positions[:, ::-1]

    monkeypatch.setattr(functional, "topn_group", last_of_equals)
    session = iteration("bdwp")
    records = verify.verify_layers(session, seed=0)
    wrong = [record["layer"] for record in records if not record["equal"]]
    assert wrong == [op.name for op in session.graph.ops() if op.kind is OpKind.NM_PRUNE]


def test_a_wrong_transposition_shows_in_the_whole_iteration_only(monkeypatch):
    true = training_weights.transposed_weights

    def unturned(layer, view, weights):
        return true(layer, {**view, "rows": view["rows"][::-1]}, weights)

    monkeypatch.setattr(training_weights, "transposed_weights", unturned)
    monkeypatch.setattr(training_execution, "transposed_weights", unturned)
    *records, whole = verify.verify_layers(iteration("dense"), seed=0)
    assert all(record["equal"] for record in records)
    assert not whole["equal"]
    assert whole["max_abs_error"] > 1e-3


def test_records_say_how_many_weights_were_compared():
    b = GraphBuilder("net")
    x = b.conv("body", b.input("x", (1, 32, 4, 4)), 64, 3, pad=1, bias=False)
    graph = training_graph(b.build([x]), "bdwp", (2, 8), input_gradients=("x",))
    records = verify.verify_layers(lowered(graph), seed=0)
    found = {record["layer"]: record.get("elements") for record in records}
    assert found["body.weight.update"] == f"{verify.MAX_ELEMS} of {64 * 32 * 9}"
    assert found["body.bp.prune"] == f"{verify.MAX_ELEMS} of {64 * 32 * 9}"
    assert found["body.wu"] is None


def test_large_iterations_are_not_compared_as_a_whole(monkeypatch):
    monkeypatch.setattr(verify, "MAX_ITERATION_MACS", 1000)
    layers = [record["layer"] for record in verify.verify_layers(iteration("bdwp"), seed=0)]
    assert "whole iteration" not in layers
    assert "last.weight.update" in layers


def test_updates_use_the_graph_s_own_weights():
    b = GraphBuilder("net")
    values = np.arange(24, dtype=np.float32).reshape(4, 6)
    y = b.linear("fc", b.input("x", (2, 4)), 6, bias=False)
    b.weights["fc.weight"] = values
    graph = training_graph(b.build([y]), "dense")
    op = graph.op("fc.weight.update")
    inputs, tensors = verify.lane_operands(graph, op, np.random.default_rng(0))
    np.testing.assert_array_equal(tensors["fc.weight.update.w32"], values.reshape(-1))
    assert inputs["fc.weight.update.dw16"].dtype == np.float16


def sdgp_product():
    """Return the input gradient of a layer whose output gradient is 2:8."""
    b = GraphBuilder("net")
    x = b.conv("body", b.input("x", (2, 8, 6, 6)), 64, 3, pad=1, bias=False)
    graph = training_graph(b.build([x]), "sdgp", (2, 8), input_gradients=("x",))
    return graph, graph.op("body.bp")


def test_sparse_gradients_are_checked_as_the_right_operand():
    graph, op = sdgp_product()
    operands = layer_operands(graph, op, np.random.default_rng(0))
    # dX^T [ci, pixels] = W [ci, co kh kw] · dY^T [co kh kw, pixels]
    assert operands["a"].shape == (1, 8, 64 * 9)
    assert operands["b"].shape == (1, 64 * 9, MAX_COLUMNS)
    mask = operands["mask"][0]
    assert NM(nm_n=2, nm_m=8).check(mask)
    assert mask.sum() == mask.size // 4


def test_weight_gradients_are_dense_and_their_reduction_is_cut():
    b = GraphBuilder("net")
    x = b.conv("body", b.input("x", (4, 8, 30, 30)), 16, 3, pad=1, bias=False)
    graph = training_graph(b.build([x]), "bdwp", (2, 8))
    operands = layer_operands(graph, graph.op("body.wu"), np.random.default_rng(0))
    assert verify.MAX_REDUCTION < 4 * 30 * 30
    assert operands["a"].shape == (1, MAX_ROWS, verify.MAX_REDUCTION)
    assert operands["b"].shape == (1, verify.MAX_REDUCTION, 16)
    assert operands["mask"].all()
