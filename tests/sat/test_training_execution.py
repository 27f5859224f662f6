"""A whole iteration through the simulator has golden's bits, whatever the mapping, and trains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.graph import OpGraph, OpKind
from hwsim.core.machine import make_machine
from hwsim.core.program import Program
from hwsim.experiments.training_iteration import CrossEntropy, differing, vector_path
from hwsim.sat import functional, training_execution, training_weights
from hwsim.sat.functional import Multiply, stepped_product, tiled_product
from hwsim.sat.machine import SatMachine
from hwsim.sat.training_execution import execute_iteration
from hwsim.sat.training_golden import golden_iteration, golden_state
from hwsim.sat.training_state import Iteration, SgdRule, TrainingState
from hwsim.sat.training_weights import initial_state
from mappers.greedy import map_graph
from models.build import GraphBuilder, with_random_weights
from models.training import training_graph
from models.training_reference import Sgd, compact_weights, execute_training_op
from models.training_reference import execute_iteration as reference_iteration

Array = NDArray[Any]
SCALE = 128.0
RULE = SgdRule(learning_rate=0.05, momentum=0.9, weight_decay=5e-4, loss_scale=SCALE)
LABELS = np.array([0, 1, 2, 3])


def residual() -> OpGraph:
    """Return strides, a residual, a depthwise layer, normalisation, pooling, a hidden layer."""
    b = GraphBuilder("residual", has_batch_norm=True)
    x = b.relu("relu1", b.conv_norm("first", b.input("x", (4, 3, 8, 8)), 16, 3, pad=1))
    y = b.relu("relu2", b.conv_norm("strided", x, 24, 3, stride=2, pad=1))
    z = b.elementwise(
        "join", "add", b.conv("body", y, 24, 3, pad=1), b.conv("skip", x, 24, 1, stride=2)
    )
    z = b.relu("relu3", b.conv("depthwise", b.relu("relu4", z), 24, 3, pad=1, groups=24))
    z = b.flatten("flat", b.global_pool("mean", b.pool("peak", z, "max", 2), "average"))
    return b.build([b.linear("logits", b.relu("relu5", b.linear("hidden", z, 16)), 4)])


def attention() -> OpGraph:
    """Return a block of attention with a table of positions."""
    b = GraphBuilder("attention")
    x = b.linear("embed", b.input("x", (4, 5, 6)), 16)
    x = b.elementwise("place", "add", x, b.weight("positions", (5, 16)))
    y = b.linear("qkv", b.layer_norm("norm", x), 48)
    q, k, v = (b.slice(f"part{i}", y, -1, 16 * i, 16) for i in range(3))
    scores = b.elementwise(
        "scale", "mul", b.matmul("qk", q, b.transpose("kt", k, (0, 2, 1))), scalar=0.25
    )
    x = b.elementwise(
        "join", "add", x, b.linear("proj", b.matmul("av", b.softmax("soft", scores), v), 16)
    )
    x = b.elementwise("act", "gelu", b.linear("mlp", x, 24))
    return b.build([b.linear("logits", b.flatten("flat", x), 4)])


def upsampled() -> OpGraph:
    """Return a transposed convolution between convolutions, one of them in groups."""
    b = GraphBuilder("upsampled")
    x = b.relu("relu1", b.conv("first", b.input("x", (4, 3, 4, 5)), 16, 3, pad=1))
    dims = {"batch": 4, "ci": 16, "co": 8, "ih": 4, "iw": 5, "oh": 7, "ow": 9}
    attrs = {"strides": [2, 2], "dilations": [1, 1], "pads": [1, 1, 1, 1]}
    operands = [x, b.weight("up.weight", (16, 8, 3, 3)), b.weight("up.bias", (8,))]
    dims |= {"kh": 3, "kw": 3, "groups": 1}
    x = b.add(OpKind.CONV_TRANSPOSE, "up", operands, (4, 8, 7, 9), dims=dims, attrs=attrs)
    x = b.conv("dilated", b.relu("relu2", x), 16, 3, stride=(2, 3), pad=2, dilation=(2, 1))
    x = b.conv("grouped", b.relu("relu3", x), 32, 3, pad=1, groups=2)
    return b.build([b.linear("logits", b.flatten("flat", b.global_pool("mean", x, "average")), 4)])


NETS = {"residual": residual, "attention": attention, "upsampled": upsampled}


def trained(name: str, method: str = "bdwp", **options: Any) -> OpGraph:
    forward = with_random_weights(NETS[name](), np.random.default_rng(7))
    return training_graph(forward, method, (2, 8), **options)


def lowered(graph: OpGraph, dataflow: str = "auto", settings: tuple[str, ...] = ()) -> Program:
    machine = make_machine("sat", settings=settings)
    assert isinstance(machine, SatMachine)
    return machine.lower(graph, map_graph(graph, machine, dataflow=dataflow))


def sample(graph: OpGraph, seed: int = 0) -> dict[str, Array]:
    return {"x": np.random.default_rng(seed).standard_normal(graph.tensors["x"].shape)}


def simulated(
    graph: OpGraph,
    state: TrainingState,
    program: Program | None = None,
    rule: SgdRule = RULE,
    multiply: Multiply = tiled_product,
    loss: CrossEntropy | None = None,
) -> Iteration:
    return execute_iteration(
        graph,
        program or lowered(graph),
        sample(graph),
        state,
        rule=rule,
        vector=vector_path,
        loss=loss or CrossEntropy("logits", LABELS, rule.loss_scale),
        multiply=multiply,
    )


def expected(graph: OpGraph, state: TrainingState) -> Iteration:
    loss = CrossEntropy("logits", LABELS, SCALE)
    return golden_iteration(graph, sample(graph), state, rule=RULE, vector=vector_path, loss=loss)


@pytest.mark.evidence("sat", "T0")
@pytest.mark.parametrize("pregenerate", [True, False])
@pytest.mark.parametrize("strided_bp", ["phases", "zero-inserted"])
@pytest.mark.parametrize("method", ["dense", "sr-ste", "sdgp", "sdwp", "bdwp"])
@pytest.mark.parametrize("name", NETS)
def test_every_tensor_of_two_iterations_is_golden_s_bit_for_bit(
    name: str, method: str, strided_bp: str, pregenerate: bool
) -> None:
    graph = trained(name, method, strided_bp=strided_bp, pregenerate=pregenerate)
    program = lowered(graph)
    mine, theirs = initial_state(graph), golden_state(graph)
    for _ in range(2):
        found, golden = simulated(graph, mine, program), expected(graph, theirs)
        assert differing(found, golden) == []
        mine, theirs = found.state, golden.state
    computed = {op.output for op in graph.ops()}
    kept = {op.output for op in graph.ops() if op.kind in (OpKind.WEIGHT_UPDATE, OpKind.NM_PRUNE)}
    assert computed - kept <= set(found.tensors)
    assert set(graph.weights) == set(found.state.master)
    moved = [not np.array_equal(mine.master[n], values) for n, values in graph.weights.items()]
    assert all(moved)


@st.composite
def convolutions(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a small convolution in groups, with ragged windows, strides, dilations and pads."""
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    return {
        "batch": draw(st.integers(1, 2)),
        "ci": groups * draw(st.sampled_from([1, 4, 8])),
        "co": groups * draw(st.sampled_from([1, 4, 12])),
        "size": tuple(
            draw(st.integers((k - 1) * d + 1, 7)) for k, d in zip(kernel, dilation, strict=True)
        ),
        "kernel": kernel,
        "options": {
            "groups": groups,
            "stride": draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
            "dilation": dilation,
            "pad": draw(st.tuples(*[st.integers(0, 2)] * 4)),
            "bias": draw(st.booleans()),
        },
    }


@pytest.mark.evidence("sat", "T0")
@settings(max_examples=60, deadline=None)
@given(
    layer=convolutions(),
    method=st.sampled_from(["dense", "sr-ste", "sdgp", "sdwp", "bdwp"]),
    nm=st.sampled_from([(1, 4), (2, 4), (4, 4), (3, 4)]),
    strided_bp=st.sampled_from(["phases", "zero-inserted"]),
    seed=st.integers(0, 99),
)
def test_any_convolution_s_iteration_is_golden_s(
    layer: dict[str, Any], method: str, nm: tuple[int, int], strided_bp: Any, seed: int
) -> None:
    b = GraphBuilder("layer")
    x = b.input("x", (layer["batch"], layer["ci"], *layer["size"]))
    y = b.conv("layer", x, layer["co"], layer["kernel"], **layer["options"])
    rng = np.random.default_rng(seed)
    forward = with_random_weights(b.build([y]), rng)
    graph = training_graph(forward, method, nm, strided_bp=strided_bp, input_gradients=("x",))
    inputs = {name: rng.standard_normal(graph.tensors[name].shape) for name in graph.inputs}
    options: dict[str, Any] = {"rule": RULE, "vector": vector_path}
    found = execute_iteration(graph, lowered(graph), inputs, initial_state(graph), **options)
    golden = golden_iteration(graph, inputs, golden_state(graph), **options)
    assert differing(found, golden) == []


def test_n_of_m_products_read_the_compact_copies_of_the_state() -> None:
    graph = trained("residual")
    state = initial_state(graph)
    copy = state.compact["body.ff.weight"]
    assert copy.values.shape == copy.indices.shape == (1, 24 * 9 // 8, 2, 24)
    copy.values[:] = 0
    found = simulated(graph, state)
    bias = state.half["body.bias"].reshape(1, -1, 1, 1)
    assert (found.tensors["body"] == bias).all()


def spoil_product(monkeypatch: pytest.MonkeyPatch) -> None:
    true = functional.multiply_compact

    def wrong_sum(a: Array, values: Array, indices: Array, nm_m: int, out: Array) -> None:
        true(a, values, indices, nm_m, out)
        out[-1, -1] *= np.float32(1 + 2**-9)  # two FP16 steps: survives the rounding

    monkeypatch.setattr(functional, "multiply_compact", wrong_sum)


def spoil_selection(monkeypatch: pytest.MonkeyPatch) -> None:
    true = training_weights.topn_group

    def last_of_equals(bits: Array, nm_n: int) -> tuple[Array, Array]:
        words, positions = true(bits[:, ::-1].copy(), nm_n)
        return words[:, ::-1], bits.shape[1] - 1 - positions[:, ::-1]

    monkeypatch.setattr(training_weights, "topn_group", last_of_equals)


def spoil_update(monkeypatch: pytest.MonkeyPatch) -> None:
    true = training_execution.update_weights

    def one_step_off(*given: Array, **constants: float) -> tuple[Array, Array, Array]:
        w, v, half = true(*given, **constants)
        return np.nextafter(w, np.float32(np.inf)), v, half

    monkeypatch.setattr(training_execution, "update_weights", one_step_off)


@pytest.mark.parametrize(
    ("spoil", "seen"),
    [
        (None, set()),
        (spoil_product, {"body", "body.bp", "body.wu"}),
        (spoil_selection, {"body", "body.bp", "body.ff.weight (compact indices)"}),
        (spoil_update, {"body.weight (master)", "hidden.bias (master)"}),
    ],
)
def test_one_wrong_bit_in_any_unit_is_seen(
    spoil: Callable[[pytest.MonkeyPatch], None] | None,
    seen: set[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = trained("residual")
    weights = {name: np.round(8 * values) / 8 for name, values in graph.weights.items()}  # ties
    golden = expected(graph, golden_state(graph, weights))
    if spoil is not None:
        spoil(monkeypatch)
    wrong = differing(simulated(graph, initial_state(graph, weights)), golden)
    assert seen <= set(wrong)
    assert bool(wrong) == bool(seen)


SMALL = tuple(
    f"buffers.{name}_bytes={size}"
    for name, size in (("activation", 8192), ("weight", 2048), ("output", 8192))
)
TINY_ARRAY = ("array.rows=4", "array.cols=4", "array.interleave=2")


@pytest.mark.parametrize("method", ["bdwp", "sdgp"])
@pytest.mark.parametrize("dataflow", ["ws", "os"])
def test_dataflow_and_tiling_change_no_bit(dataflow: str, method: str) -> None:
    graph = trained("upsampled", method)
    usual = simulated(graph, initial_state(graph))
    program = lowered(graph, dataflow, (*SMALL, *TINY_ARRAY))
    facts = [fact for fact in program.meta["ops"] if fact["unit"] == "stce"]
    cut = {
        fact["stage"]
        for fact in facts
        if fact["mapping"]["tiling"]["k"] < fact["mapping"]["gemm"]["k"]
    }
    assert "wu" in cut  # sums go on from slice to slice
    assert {fact["mapping"]["dataflow"] for fact in facts} == {dataflow}
    assert differing(simulated(graph, initial_state(graph), program), usual) == []


@pytest.mark.parametrize("dataflow", ["ws", "os"])
def test_stepping_every_pe_through_an_iteration_changes_no_bit(dataflow: str) -> None:
    b = GraphBuilder("layer")
    x = b.conv("layer", b.input("x", (1, 8, 3, 4)), 16, 3, pad=1)
    graph = with_random_weights(b.build([x]), np.random.default_rng(3))
    graph = training_graph(graph, "bdwp", (2, 8), input_gradients=("x",))
    rng = np.random.default_rng(1)
    inputs = {name: rng.standard_normal(graph.tensors[name].shape) for name in graph.inputs}
    assert {"layer", "layer.bp", "layer.wu"} == {op.name for op in graph.ops() if op.is_gemm}
    settings = TINY_ARRAY
    program, array = (
        lowered(graph, dataflow, settings),
        make_machine("sat", settings=settings).spec.array,
    )
    options: dict[str, Any] = {"rule": RULE, "vector": vector_path}
    fast = execute_iteration(graph, program, inputs, initial_state(graph), **options)
    stepped = execute_iteration(
        graph, program, inputs, initial_state(graph), multiply=stepped_product(array), **options
    )
    assert {
        fact["mapping"]["dataflow"] for fact in program.meta["ops"] if fact["unit"] == "stce"
    } == {dataflow}
    assert differing(stepped, fast) == []


def test_twelve_iterations_through_the_simulator_reduce_the_loss() -> None:
    graph = trained("residual")
    program, state = lowered(graph), initial_state(graph)
    loss, losses = CrossEntropy("logits", LABELS, SCALE), []
    for _ in range(12):
        iteration = simulated(graph, state, program, loss=loss)
        state = iteration.state
        losses.append(loss.last)
        assert iteration.nonfinite_gradients == 0
    assert losses[0] > 1.0  # four classes: guessing has ln 4 = 1.39
    assert losses[-1] < 0.25 * losses[0]


def test_overflowing_gradients_are_counted_and_leave_the_old_state_alone() -> None:
    graph = trained("residual")
    state = initial_state(graph)
    before = {name: values.copy() for name, values in state.master.items()}
    rule = SgdRule(loss_scale=2.0**20)  # p - 1 times 2^18 exceeds FP16's 65504
    found = simulated(graph, state, rule=rule)
    assert not np.isfinite(found.tensors["logits.wu"]).all()
    gradients = [
        found.tensors[op.inputs[0].tensor] for op in graph.ops() if op.kind is OpKind.WEIGHT_UPDATE
    ]
    assert found.nonfinite_gradients == sum(int((~np.isfinite(g)).sum()) for g in gradients) > 0
    assert all(np.array_equal(state.master[name], before[name]) for name in before)
    nans = {int(w) for x in found.tensors.values() for w in x[np.isnan(x)].view(np.uint16)}
    assert nans == {0x7E00}
    assert simulated(graph, state).nonfinite_gradients == 0


@pytest.mark.parametrize("name", NETS)
def test_every_product_is_within_a_thousandth_of_fp64(name: str) -> None:
    graph = trained(name)
    state = initial_state(graph)
    found = simulated(graph, state)
    exact = {
        key: values.astype(np.float64) for key, values in {**state.half, **found.tensors}.items()
    }
    exact |= {
        key: values.astype(np.float64) for key, values in compact_weights(graph, state.half).items()
    }
    for op in graph.ops():
        if op.is_gemm:
            operands = [exact[operand.tensor] for operand in op.inputs]
            want = execute_training_op(op, operands, graph.tensors[op.output].shape)
            gap = np.linalg.norm(exact[op.output] - want) / np.linalg.norm(want)
            assert gap < 1e-3, op.name


@pytest.mark.parametrize("method", ["dense", "bdwp"])
def test_the_weights_move_as_the_reference_moves_them(method: str) -> None:
    # A smooth network: where one rounding turns a ReLU or a maximum, a gradient jumps.
    graph = trained("attention", method)
    state = initial_state(graph)
    found = simulated(graph, state)
    rounded = OpGraph(
        graph.name,
        list(graph.ops()),
        list(graph.tensors.values()),
        graph.inputs,
        graph.outputs,
        {name: values.astype(np.float64) for name, values in state.half.items()},
    )
    inputs = {"x": sample(graph)["x"].astype(np.float16).astype(np.float64)}
    inputs["logits.grad"] = found.tensors["logits.grad"].astype(np.float64) / SCALE
    sgd = Sgd(learning_rate=1.0, momentum=0.0)
    want = reference_iteration(rounded, inputs, sgd=sgd)
    # Every op on the way rounds once, by 2^-11 of its result; errors add up at worst.
    bound = len(graph) * 2.0**-11
    for name, weight in state.half.items():
        gradient = weight.astype(np.float64) - want[f"{name}.next"]
        moved = found.state.momentum[name] - RULE.weight_decay * state.master[name]
        assert np.linalg.norm(moved - gradient) < bound * max(np.linalg.norm(gradient), 1e-3), name


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda inputs: inputs.pop("x"), "input x: need shape .*, found none"),
        (lambda inputs: inputs.update(x=np.zeros((1, 2))), "input x: need .*, found shape .1, 2."),
        (lambda inputs: inputs.pop("logits.grad"), "input logits.grad: need .*, found none"),
    ],
)
def test_missing_and_misshapen_inputs_are_named(spoil: Any, message: str) -> None:
    graph = trained("attention")
    inputs = {**sample(graph), "logits.grad": np.zeros((4, 4))}
    spoil(inputs)
    with pytest.raises(InputError, match=message):
        execute_iteration(
            graph, lowered(graph), inputs, initial_state(graph), rule=RULE, vector=vector_path
        )
