"""Compute a whole training iteration as the machine does: values flow from op to op.

Products run on the array's mechanism, tiled and packed as the program's mappings say, N:M weights
from the compact copies that SORE wrote; WUVE updates the weights; the vector path is given as a
function. :mod:`hwsim.sat.training_state` states the numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.formats import NMCompact, decode_nm, encode_nm
from hwsim.core.gemm import activation_matrix, output_tensor, weight_matrix, weight_tensor
from hwsim.core.graph import Op, OpGraph, OpKind, Role, Stage
from hwsim.core.program import Program
from hwsim.core.sparsity import NM
from hwsim.sat.functional import Multiply, dense_compact, mapped_product, tiled_product
from hwsim.sat.plan import swaps_operands
from hwsim.sat.sorter import topn_group
from hwsim.sat.training_state import (
    Iteration,
    Loss,
    SgdRule,
    TrainingState,
    VectorFunction,
    check_values,
)
from hwsim.sat.training_weights import (
    is_pregenerated,
    product_of,
    select_weights,
    stored,
    transposed_weights,
)
from hwsim.sat.wuve import count_nonfinite, update_weights

__all__ = ["execute_iteration"]

Array = NDArray[Any]


def execute_iteration(
    graph: OpGraph,
    program: Program,
    inputs: Mapping[str, Array],
    state: TrainingState,
    *,
    rule: SgdRule,
    vector: VectorFunction,
    loss: Loss | None = None,
    multiply: Multiply = tiled_product,
) -> Iteration:
    """Return every tensor of one iteration and the state after it; ``state`` is left alone.

    Parameters
    ----------
    graph : OpGraph
        A training graph; weights that no op updates have values attached.
    program : Program
        The lowered ``graph``, whose mappings are followed.
    inputs : mapping from graph input to array
        Activations, rounded to FP16 here; without ``loss`` also ``y.grad`` of every output y.
    state : TrainingState
        Of ``initial_state`` or of the iteration before.
    rule : SgdRule
        Constants of the update.
    vector : callable
        The vector path.
    loss : callable, optional
        Asked for the gradients of the outputs once these are known.
    multiply : callable, optional
        What computes one array product; ``stepped_product`` steps every PE.

    Raises
    ------
    InputError
        If an input is missing or misshapen, or an op has no values to work on.
    """
    run = _Execution(graph, program, state, rule, vector, multiply)
    asked = loss is None
    check_values(graph, [n for n in graph.inputs if asked or n not in _seeds(graph)], inputs)
    run.values.update({name: stored(values) for name, values in inputs.items()})
    with np.errstate(all="ignore"):  # infinities and NaN are values like any other
        for op in graph.ops():
            if not asked and loss is not None and op.stage is not Stage.FF:
                known = {name: run.values[name] for name in graph.outputs if name in run.values}
                seeds = loss(known)
                check_values(graph, _seeds(graph), seeds)
                run.values.update({name: stored(values) for name, values in seeds.items()})
                asked = True
            run.step(op)
    return run.result()


def _seeds(graph: OpGraph) -> list[str]:
    """Return the graph inputs that are gradients of outputs."""
    given = [name for name in graph.inputs if name.endswith(".grad")]
    return [name for name in given if name.removesuffix(".grad") in graph.outputs]


class _Execution:
    """The values of one iteration while its ops run in order."""

    def __init__(
        self,
        graph: OpGraph,
        program: Program,
        state: TrainingState,
        rule: SgdRule,
        vector: VectorFunction,
        multiply: Multiply,
    ) -> None:
        self.graph = graph
        self.mappings = {fact["name"]: fact["mapping"] for fact in program.meta["ops"]}
        self.before = state
        self.rule = rule
        self.vector = vector
        self.multiply = multiply
        self.constants = {name: stored(values) for name, values in graph.weights.items()}
        self.constants |= state.half
        self.compact = dict(state.compact)
        self.values: dict[str, Array] = {}
        self.kept: dict[str, NDArray[np.bool_]] = {}
        self.after = TrainingState(
            dict(state.master), dict(state.momentum), dict(state.half), dict(state.compact)
        )
        self.nonfinite = 0

    def result(self) -> Iteration:
        """Return what the ops so far have computed."""
        return Iteration(self.values, self.after, self.nonfinite)

    def step(self, op: Op) -> None:
        """Execute one op."""
        if op.kind is OpKind.WEIGHT_UPDATE:
            self._update(op)
        elif op.kind is OpKind.NM_PRUNE:
            self._select(op)
        elif op.is_gemm:
            self.values[op.output] = self._product(op)
        else:
            operands = [self._value(op, operand.tensor) for operand in op.inputs]
            shape = self.graph.tensors[op.output].shape
            self.values[op.output] = stored(self.vector(op, operands, shape)).reshape(shape)

    def _value(self, op: Op, tensor: str) -> Array:
        if tensor in self.values:
            return self.values[tensor]
        if tensor in self.constants:
            return self.constants[tensor]
        if tensor in self.compact:
            return self._expanded(tensor)
        raise InputError(f"op {op.name}", f"values of {tensor}", "none")

    def _expanded(self, tensor: str) -> Array:
        """Return a compact weight as a dense tensor in the layout of its layer."""
        product = product_of(self.graph, tensor)
        matrix = np.stack([decode_nm(part) for part in self._parts(product, tensor)])
        return weight_tensor(product.kind.value, product.dims, matrix)

    def _parts(self, product: Op, tensor: str) -> list[NMCompact]:
        copy, k = self.compact[tensor], product.gemm().k
        pairs = zip(copy.values, copy.indices, strict=True)
        return [NMCompact(values, indices, k, copy.nm_m) for values, indices in pairs]

    def _update(self, op: Op) -> None:
        name, gradient = op.attrs["of"], self._value(op, op.inputs[0].tensor)
        weights, velocity, half = update_weights(
            gradient,
            self.before.master[name],
            self.before.momentum[name],
            lr=self.rule.learning_rate,
            mu=self.rule.momentum,
            wd=self.rule.weight_decay,
            inv_scale=1.0 / self.rule.loss_scale,
        )
        self.nonfinite += count_nonfinite(gradient)
        self.after.master[name], self.after.momentum[name] = weights, velocity
        self.after.half[name] = half

    def _select(self, op: Op) -> None:
        if op.attrs["operand"] == "gradient":
            self._select_gradient(op)
            return
        name, weight = op.output.removesuffix(".next"), op.attrs["of"]
        if is_pregenerated(op):
            self.after.compact[name] = select_weights(self.graph, op, self.after.half[weight])
        else:
            self.compact[name] = select_weights(self.graph, op, self._value(op, weight))

    def _select_gradient(self, op: Op) -> None:
        """Keep the largest of every group of channels of dY."""
        dy = self._value(op, op.inputs[0].tensor)
        channel = 1 if "oh" in self.graph.op(op.attrs["layer"]).dims else dy.ndim - 1
        lines = np.ascontiguousarray(np.moveaxis(dy, channel, -1))
        words = lines.view(np.uint16).reshape(-1, op.attrs["nm_m"])
        _, indices = topn_group(words, op.attrs["nm_n"])
        kept = np.zeros(words.shape, dtype=bool)
        np.put_along_axis(kept, indices.astype(np.int64), True, axis=1)
        mask = np.moveaxis(kept.reshape(lines.shape), -1, channel)
        self.kept[op.output] = mask
        self.values[op.output] = np.where(mask, dy, np.float16(0))

    def _product(self, op: Op) -> Array:
        """Return the stored result of a matrix product on the array, bias included."""
        kind, dims, attrs = op.kind.value, op.dims, op.attrs
        x = self._image(op, self._value(op, op.inputs[0].tensor))
        a = activation_matrix(kind, dims, attrs, x)
        if swaps_operands(op):
            kept = self._image(op, self.kept[op.inputs[0].tensor])
            product = self._swapped(op, a, activation_matrix(kind, dims, attrs, kept))
        else:
            product = mapped_product(a, self._weights(op), self.mappings[op.name], self.multiply)
        out = output_tensor(kind, dims, attrs, product)
        for bias in op.inputs[2:]:
            values = self._value(op, bias.tensor).astype(np.float32)
            out = out + (values.reshape(1, -1, 1, 1) if "ih" in dims else values)
        return stored(out).reshape(self.graph.tensors[op.output].shape)

    def _image(self, op: Op, x: Array) -> Array:
        if "ih" not in op.dims:
            return x
        return x.reshape([op.dims[key] for key in ("batch", "ci", "ih", "iw")])

    def _swapped(self, op: Op, a: Array, kept: NDArray[np.bool_]) -> Array:
        """Return A · B as (B^T · A^T)^T, A^T [k, m] in the compact form of the N:M gradients."""
        pattern = op.inputs[0].pattern
        assert isinstance(pattern, NM)  # swaps_operands: the only pattern of activations
        nm = (pattern.nm_n, pattern.nm_m)
        pairs = zip(a.swapaxes(1, 2), kept.swapaxes(1, 2), strict=True)
        right = [encode_nm(values, mask, *nm) for values, mask in pairs]
        left = self._matrix(op).swapaxes(1, 2)
        mapping = self.mappings[op.name]
        return mapped_product(left, right, mapping, self.multiply).swapaxes(1, 2)

    def _matrix(self, op: Op) -> Array:
        """Return the dense second operand [groups, k, n]."""
        second, view = op.inputs[1].tensor, op.attrs.get("weight_view")
        if view is not None:
            layer = self.graph.op(op.attrs["layer"])
            values = transposed_weights(layer, view, self._value(op, view["of"]))
        else:
            values = self._value(op, second)
        return weight_matrix(op.kind.value, op.dims, values, op.attrs)

    def _weights(self, op: Op) -> list[NMCompact]:
        """Return the second operand per group, as the array is given it."""
        second = op.inputs[1]
        if second.role is Role.WEIGHT and not second.pattern.is_dense:
            return self._parts(op, second.tensor)
        return [dense_compact(part) for part in self._matrix(op)]
