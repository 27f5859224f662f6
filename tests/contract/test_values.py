"""Ask every registered machine for outputs equal to golden, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

Lower = Callable[..., Any]
Draw = Callable[..., Any]
Outputs = dict[str, NDArray[Any]]


def same_bits(left: Outputs, right: Outputs) -> bool:
    return left.keys() == right.keys() and all(
        a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
        for a, b in ((left[key], right[key]) for key in left)
    )


def dense_operand(op: Any, tensors: Outputs, first: int, rows: int, cols: int) -> NDArray[Any]:
    """Return the matrix by rows whose three arrays begin at the op's operand ``first``."""
    ptr, col, val = (tensors[operand.tensor] for operand in op.inputs[first : first + 3])
    dense = np.zeros((rows, cols))
    for row in range(rows):
        for place in range(ptr[row], ptr[row + 1]):
            dense[row, col[place]] += val[place]
    return dense


def exact_sparse_product(op: Any, tensors: Outputs) -> NDArray[Any]:
    """Return the op's dense result by numpy alone."""
    m, n = op.dims["m"], op.dims["n"]
    if op.kind.value == "sddmm":
        x, y = (tensors[operand.tensor] for operand in op.inputs[3:])
        return dense_operand(op, tensors, 0, m, n) * (x @ y.T)
    a = dense_operand(op, tensors, 0, m, op.dims["k"])
    if op.kind.value == "spgemm":
        return a @ dense_operand(op, tensors, 3, op.dims["k"], n)
    return (a @ tensors[op.inputs[3].tensor]).reshape(m, n)


def dense_result(op: Any, tensors: Outputs, output: NDArray[Any]) -> NDArray[Any]:
    """Return the golden ``output`` of a sparse op as a dense array."""
    dense = np.zeros((op.dims["m"], op.dims["n"]))
    if op.kind.value == "sddmm":
        ptr, col = (tensors[operand.tensor] for operand in op.inputs[:2])
        dense[np.repeat(np.arange(op.dims["m"]), np.diff(ptr)), col[: ptr[-1]]] = output
        return dense
    if op.kind.value == "spgemm":
        dense[output["row"], output["col"]] = output["value"]
        return dense
    return output.reshape(dense.shape)


@pytest.mark.evidence("machine_name", "T0")
@pytest.mark.parametrize("seed", [0, 1])
def test_outputs_equal_golden_bit_for_bit(case: Any, draw_values: Draw, seed: int) -> None:
    program, inputs = draw_values(case, seed)
    outputs = case.machine.execute(program, inputs)
    assert same_bits(outputs, case.machine.golden(program, inputs))
    assert set(outputs) == {op.name for op in case.graph.ops() if op.is_gemm or op.is_sparse}


def seen_keys(op: Any, rows: int, keys: int) -> NDArray[np.bool_]:
    """Return which keys each row of an attention product may see; all of any other product."""
    if not op.attrs.get("is_causal") or "heads" not in op.attrs:
        return np.ones((rows, keys), np.bool_)
    dims = op.gemm()
    tokens = dims.m * dims.groups // op.attrs["heads"]
    context = dims.n if op.attrs["grows"] == "n" else dims.k
    token = context - tokens + np.arange(rows) % tokens
    return np.asarray(np.arange(keys) <= token[:, None])


@pytest.mark.evidence("machine_name", "T0")
def test_golden_is_close_to_the_exact_product(case: Any, draw_values: Draw) -> None:
    # Bit equality says nothing if both sides share a mistake: compare with float64.
    # What causal attention never looks at is left out: scores of later keys, and shares of them.
    program, inputs = draw_values(case, 2)
    for op in case.graph.ops():
        if op.attrs.get("grows") == "k" and f"{op.name}.a" in inputs:
            a = inputs[f"{op.name}.a"]
            inputs[f"{op.name}.a"] = np.where(seen_keys(op, *a.shape[1:]), a, 0).astype(a.dtype)
    compared = 0
    for name, output in case.machine.golden(program, inputs).items():
        compared += 1
        op = case.graph.op(name)
        if op.is_sparse:  # whole numbers: no rounding at all
            exact = exact_sparse_product(op, program.tensors)
            assert (dense_result(op, program.tensors, output) == exact).all(), name
            continue
        a, b = inputs[f"{name}.a"], program.tensors[f"{name}.b"]
        mask = program.tensors.get(f"{name}.mask", np.ones(b.shape, dtype=bool))
        exact = a.astype(np.float64) @ np.where(mask, b, 0).astype(np.float64)
        size = np.abs(a.astype(np.float64)) @ np.abs(b.astype(np.float64))
        # One FP32 rounding (2^-24) per addition, relative to the sum of magnitudes.
        is_near = np.abs(output - exact) <= a.shape[-1] * 2.0**-24 * size
        if op.attrs.get("grows") == "n":
            is_near |= ~seen_keys(op, *output.shape[1:])
        assert is_near.all(), name
    assert compared


@pytest.mark.evidence("machine_name", "T0")
@pytest.mark.parametrize("m", [1, 4, 8])
@pytest.mark.graphs("convolutions")
def test_dense_weights_through_the_sparse_path_give_the_dense_values(
    machine_name: str, lower: Lower, draw_values: Draw, sparsified: Callable[..., Any], m: int
) -> None:
    case = lower(machine_name, None, "convolutions")
    dense, inputs = draw_values(case, 3)
    full = replace(case, graph=sparsified(case.graph, m, m))
    sparse, again = draw_values(full, 3)
    for name, b in dense.tensors.items():
        sparse.tensors[name] = b
        sparse.tensors[name.removesuffix(".b") + ".mask"] = np.ones(b.shape, dtype=bool)
    assert again.keys() == inputs.keys()
    assert same_bits(case.machine.execute(dense, inputs), case.machine.execute(sparse, inputs))


@pytest.mark.evidence("machine_name", "T0")
@pytest.mark.parametrize("value", [0.0, 65504.0, -65504.0, 2.0**-24])
@pytest.mark.graphs("sparse_2_8")
def test_extreme_operands_equal_golden(
    machine_name: str, lower: Lower, draw_values: Draw, value: float
) -> None:
    # All zeros; the largest FP16 numbers; the smallest subnormal one.
    case = lower(machine_name, None, "sparse_2_8")
    program, inputs = draw_values(case, 4)
    inputs = {name: np.full_like(a, value) for name, a in inputs.items()}
    assert same_bits(case.machine.execute(program, inputs), case.machine.golden(program, inputs))


@pytest.mark.graphs("sparse_2_4")
def test_results_carry_the_outputs_when_inputs_are_given(
    machine_name: str, lower: Lower, draw_values: Draw
) -> None:
    case = lower(machine_name, None, "sparse_2_4")
    program, inputs = draw_values(case, 5)
    result = case.machine.run(program, inputs)
    assert same_bits(result.outputs, case.machine.golden(program, inputs))
    assert case.machine.run(program).outputs == {}


@pytest.mark.graphs("smash_v3", "sddmm")
@pytest.mark.parametrize("graph_name", ["smash_v3", "spmm", "sddmm"])
def test_a_changed_entry_shows_against_the_exact_product(
    machine_name: str, lower: Lower, draw_values: Draw, graph_name: str
) -> None:
    case = lower(machine_name, None, graph_name)
    program, inputs = draw_values(case, 6)
    (op,) = case.graph.ops()
    exact = exact_sparse_product(op, program.tensors)
    program.tensors[op.inputs[2].tensor][0] += 1
    output = case.machine.golden(program, inputs)[op.name]
    assert (dense_result(op, program.tensors, output) != exact).any()


@pytest.mark.graphs("sparse_2_4")
def test_a_changed_weight_shows_in_the_comparison(
    machine_name: str, lower: Lower, draw_values: Draw
) -> None:
    case = lower(machine_name, None, "sparse_2_4")
    program, inputs = draw_values(case, 6)
    golden = case.machine.golden(program, inputs)
    name = next(key for key in program.tensors if key.endswith(".b"))
    kept = np.argwhere(program.tensors[name.removesuffix(".b") + ".mask"])[0]
    program.tensors[name][tuple(kept)] += np.float16(1)
    assert not same_bits(case.machine.execute(program, inputs), golden)
