"""Hold a model as a directed acyclic graph of operators on named tensors."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from enum import StrEnum
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from hwsim.core.causal import causal_products
from hwsim.core.errors import GraphError
from hwsim.core.gemm import GEMM_KINDS, GemmDims, gemm_dims
from hwsim.core.sparsity import Dense, Pattern
from hwsim.core.units import DTYPE_BYTES, dtype_bytes

__all__ = ["SPARSE_KINDS", "Op", "OpGraph", "OpKind", "Operand", "Role", "Stage", "TensorInfo"]


class OpKind(StrEnum):
    """The closed list of operator kinds. Only ``UNMODELLED`` has no meaning of its own."""

    CONV = "conv"  # weights [co, ci / groups, kh, kw]
    CONV_TRANSPOSE = "conv_transpose"  # weights [ci, co / groups, kh, kw]
    LINEAR = "linear"  # weights [k, n]
    MATMUL = "matmul"  # two activations [..., m, k] x [..., k, n]; transpose_a, transpose_b
    CONV_WGRAD = "conv_wgrad"  # activations X, dY -> dW; dims and attrs of the forward conv
    ELEMENTWISE = "elementwise"  # attrs["function"] says which
    NORMALIZATION = "normalization"  # attrs["function"]: batch, layer, rms
    SOFTMAX = "softmax"
    POOL = "pool"  # attrs["function"]: max, average
    REDUCE = "reduce"  # attrs["function"]: mean, sum, max
    RESIZE = "resize"
    CONCAT = "concat"
    TRANSPOSE = "transpose"
    RESHAPE = "reshape"  # no data moves
    SLICE = "slice"
    PAD = "pad"
    GATHER = "gather"
    WEIGHT_UPDATE = "weight_update"  # dW, weights, momentum -> weights, elems of them
    SPGEMM = "spgemm"  # two sparse matrices by rows [m, k] x [k, n]: ptr, col, val of each
    SPMM = "spmm"  # a sparse matrix [m, k] by rows, times dense [k, n]
    SPMV = "spmv"  # the same for n = 1
    SDDMM = "sddmm"  # dense [m, k] x [n, k] transposed, at the sparse operand's places, times it
    SPARSE_STEP = "sparse_step"  # what lies between sparse products; attrs["kernel"] says what
    NM_PRUNE = "nm_prune"  # keep attrs["nm_n"] of attrs["nm_m"] along attrs["axis"]: ci, co
    UNMODELLED = "unmodelled"  # attrs["operator"] names the source's operator


SPARSE_KINDS = frozenset(
    {OpKind.SPGEMM, OpKind.SPMM, OpKind.SPMV, OpKind.SDDMM, OpKind.SPARSE_STEP}
)
"""Products of matrices given by rows, and steps between them."""


class Stage(StrEnum):
    """When in a model's life an operator runs."""

    INFER = "infer"
    FF = "ff"
    BP = "bp"
    WU = "wu"
    PREFILL = "prefill"
    DECODE = "decode"


class Role(StrEnum):
    """What an operand is to its operator."""

    WEIGHT = "weight"
    ACTIVATION = "activation"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TensorInfo(_Model):
    """Name, shape in elements and dtype of a tensor."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"

    @property
    def elems(self) -> int:
        """Return the number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Return the bytes of the dense tensor."""
        return dtype_bytes(self.dtype, self.elems)


class Operand(_Model):
    """An input of an operator: which tensor, in which role, with which sparsity pattern.

    A pattern refers to the GEMM view with the groups stacked (see :mod:`hwsim.core.gemm`):
    [groups * k, n] for a weight, [groups * m, k] for the activations of a product.
    """

    tensor: str
    role: Role = Role.ACTIVATION
    pattern: Pattern = Field(default_factory=Dense)


class Op(_Model):
    """One operator.

    ``dims`` names its extents in elements: conv kinds have batch, ci, co, ih, iw, oh, ow, kh, kw,
    groups (conv_wgrad: those of the forward convolution); linear and matmul have batch, m, k, n;
    other kinds have ``elems`` (output elements).
    ``attrs`` holds what the extents do not say (strides, pads, function names, constants).
    """

    name: str
    kind: OpKind
    dims: dict[str, int]
    inputs: tuple[Operand, ...]
    output: str
    stage: Stage = Stage.INFER
    attrs: dict[str, Any] = Field(default_factory=dict)

    @property
    def is_gemm(self) -> bool:
        """Return whether the operator lowers to (grouped) matrix products."""
        return self.kind.value in GEMM_KINDS

    @property
    def is_sparse(self) -> bool:
        """Return whether an operand is a sparse matrix given by rows (ptr, col, val).

        ``attrs["products"]`` then counts the multiplications of two stored values.
        """
        return self.kind in SPARSE_KINDS

    @property
    def is_depthwise(self) -> bool:
        """Return whether this is a convolution with one input channel per group."""
        groups = self.dims.get("groups", 1)
        return self.kind is OpKind.CONV and groups > 1 and groups == self.dims["ci"]

    @property
    def weight(self) -> Operand | None:
        """Return the first weight operand, if any (a second one is the bias)."""
        return next((o for o in self.inputs if o.role is Role.WEIGHT), None)

    @property
    def _is_causal(self) -> bool:
        return self.kind is OpKind.MATMUL and bool(self.attrs.get("is_causal"))

    def gemm(self) -> GemmDims:
        """Return the GEMM extents (groups, m, k, n) of a GEMM-like operator."""
        return gemm_dims(self.kind.value, self.dims)

    def macs(self) -> int:
        """Return the dense multiply-accumulates of the whole operator, batch included."""
        if self.kind is OpKind.SPARSE_STEP:
            return self.useful_macs()
        if self.is_sparse:
            return self.dims["m"] * self.dims["k"] * self.dims["n"]
        return self.gemm().macs if self.is_gemm else 0

    def useful_macs(self) -> int:
        """Return the multiply-accumulates that meet a kept weight and a kept activation.

        Of causal attention, those of a query and a key that it sees.
        If both operands are sparse, an expected count: their zeros taken as independent.
        """
        if self.is_sparse:
            return int(self.attrs["products"])
        if not self.is_gemm:
            return 0
        dims = self.gemm()
        useful = causal_products(dims, self.attrs) if self._is_causal else dims.macs
        if self.weight is not None and not self.weight.pattern.is_dense:
            useful = dims.m * self.weight.pattern.kept((dims.groups * dims.k, dims.n))
        activation = self.inputs[0]
        if activation.role is Role.WEIGHT or activation.pattern.is_dense:
            return useful
        kept = activation.pattern.kept((dims.groups * dims.m, dims.k))
        return round(Fraction(useful * kept, dims.groups * dims.m * dims.k))


class OpGraph:
    """A verified DAG of :class:`Op` in topological order.

    Parameters
    ----------
    name : str
        Model name.
    ops : sequence of Op
        In topological order; each op produces the one tensor ``op.output``.
    tensors : sequence of TensorInfo
        Every tensor the ops mention.
    inputs, outputs : sequences of str
        Graph inputs (activations only) and outputs.
    weights : mapping from tensor name to array, optional
        Real weight values. A weight tensor without an entry has no values attached.
    notes : mapping, optional
        What a user should know about how the graph came to be (for example unmodelled control
        flow, layers that pruning left dense); shown in reports.
    """

    def __init__(
        self,
        name: str,
        ops: list[Op],
        tensors: list[TensorInfo],
        inputs: list[str],
        outputs: list[str],
        weights: Mapping[str, NDArray[Any]] | None = None,
        notes: list[str] | None = None,
    ) -> None:
        self.name = name
        self._ops = {op.name: op for op in ops}
        if len(self._ops) != len(ops):
            names = [op.name for op in ops]
            twice = sorted({n for n in names if names.count(n) > 1})
            raise GraphError("graph.ops", "unique names", f"repeated {', '.join(twice)}")
        self.tensors = {t.name: t for t in tensors}
        self.inputs = list(inputs)
        self.outputs = list(outputs)
        self.weights: dict[str, NDArray[Any]] = dict(weights or {})
        self.notes = list(notes or [])

    def ops(self) -> Iterator[Op]:
        """Yield the operators in topological order."""
        yield from self._ops.values()

    def op(self, name: str) -> Op:
        """Return the operator called ``name``."""
        return self._ops[name]

    def __len__(self) -> int:
        return len(self._ops)

    def producer(self, tensor: str) -> Op | None:
        """Return the op that writes ``tensor``, or None for inputs and weights."""
        return self._producers.get(tensor)

    def consumers(self, tensor: str) -> list[Op]:
        """Return the ops that read ``tensor``, in topological order."""
        return list(self._readers.get(tensor, {}).values())

    @cached_property
    def _readers(self) -> dict[str, dict[str, Op]]:
        """Return {tensor: {name: op}} of the ops that read it; a graph's ops never change."""
        readers: dict[str, dict[str, Op]] = {}
        for op in self.ops():
            for operand in op.inputs:
                readers.setdefault(operand.tensor, {})[op.name] = op
        return readers

    @cached_property
    def _producers(self) -> dict[str, Op]:
        return {op.output: op for op in self.ops()}

    def input_bytes(self, op: Op, role: Role) -> int:
        """Return the dense bytes of ``op``'s operands in ``role``."""
        return sum(self.tensors[o.tensor].nbytes for o in op.inputs if o.role is role)

    def weight_values(self, op: Op) -> NDArray[Any] | None:
        """Return the real weights of ``op`` in the layout of its kind, or None."""
        return None if op.weight is None else self.weights.get(op.weight.tensor)

    def to_networkx(self) -> nx.DiGraph:
        """Return the op graph for algorithms: nodes are op names, edges carry ``tensor``."""
        graph = nx.DiGraph()
        producers = self._producers
        for op in self.ops():
            graph.add_node(op.name)
            for operand in op.inputs:
                if operand.tensor in producers:
                    source = producers[operand.tensor].name
                    graph.add_edge(source, op.name, tensor=operand.tensor)
        return graph

    def replace(
        self,
        *,
        ops: list[Op],
        notes: list[str] | None = None,
        weights: Mapping[str, NDArray[Any]] | None = None,
    ) -> OpGraph:
        """Return a verified copy with other ``ops``, more ``notes`` and maybe other ``weights``.

        Tensors stay the same; weights that are not given keep their values.
        """
        graph = OpGraph(
            self.name,
            ops,
            list(self.tensors.values()),
            self.inputs,
            self.outputs,
            {**self.weights, **(weights or {})},
            self.notes + (notes or []),
        )
        graph.verify()
        return graph

    def totals(self) -> dict[str, int]:
        """Return whole-graph counts: ops, macs, useful_macs, weight_elems, unmodelled ops."""
        weights = {o.tensor for op in self.ops() for o in op.inputs if o.role is Role.WEIGHT}
        return {
            "ops": len(self),
            "macs": sum(op.macs() for op in self.ops()),
            "useful_macs": sum(op.useful_macs() for op in self.ops()),
            "weight_elems": sum(self.tensors[name].elems for name in weights),
            "unmodelled_ops": sum(op.kind is OpKind.UNMODELLED for op in self.ops()),
        }

    def verify(self) -> None:
        """Raise :class:`GraphError` naming the op or tensor that breaks an invariant."""
        if not self._ops:
            raise GraphError("graph", "at least one operator", "none")
        self._verify_tensors()
        for name in self.inputs:
            if name not in self.tensors:
                raise GraphError("graph.inputs", "known tensors", name)
        ready = set(self.inputs)
        for op in self.ops():
            for operand in op.inputs:
                known = operand.role is Role.WEIGHT or operand.tensor in ready
                if operand.tensor not in self.tensors:
                    raise GraphError(f"op {op.name}", "known tensors", operand.tensor)
                if not known:
                    raise GraphError(f"op {op.name}", "inputs produced before use", operand.tensor)
            if op.output in ready:
                raise GraphError(f"op {op.name}", "a tensor of its own", op.output)
            if op.output not in self.tensors:
                raise GraphError(f"op {op.name}", "a known output tensor", op.output)
            self._verify_dims(op)
            ready.add(op.output)
        for name in self.outputs:
            if name not in ready:
                raise GraphError("graph.outputs", "produced tensors", name)

    def _verify_tensors(self) -> None:
        for tensor in self.tensors.values():
            if any(extent < 1 for extent in tensor.shape):
                raise GraphError(
                    f"tensor {tensor.name}", "extents of at least 1", str(tensor.shape)
                )
            if tensor.dtype not in DTYPE_BYTES:
                raise GraphError(f"tensor {tensor.name}", "a known dtype", tensor.dtype)
        for name, array in self.weights.items():
            if name in self.tensors and array.shape != self.tensors[name].shape:
                raise GraphError(f"weight {name}", str(self.tensors[name].shape), str(array.shape))
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                bad = int(array.size - np.isfinite(array).sum())
                raise GraphError(f"weight {name}", "finite values", f"{bad} NaN or Inf")

    def _verify_dims(self, op: Op) -> None:
        for key, value in op.dims.items():
            if value < 1:
                raise GraphError(f"op {op.name}", f"{key} of at least 1", str(value))
        if not op.is_gemm:
            return
        dims = op.gemm()
        produced = self.tensors[op.output].elems
        if dims.output_elems(op.dims, op.kind.value) != produced:
            need = f"{dims.output_elems(op.dims, op.kind.value)} output elements"
            raise GraphError(f"op {op.name}", need, f"{produced} in {op.output}")
        weight = op.weight
        if weight is not None:
            have = self.tensors[weight.tensor].elems
            if have != dims.groups * dims.k * dims.n:
                need = f"{dims.groups * dims.k * dims.n} weights"
                raise GraphError(f"op {op.name}", need, f"{have} in {weight.tensor}")

    def to_json(self) -> str:
        """Return the graph without weight values as JSON text."""
        return json.dumps(
            {
                "name": self.name,
                "inputs": self.inputs,
                "outputs": self.outputs,
                "notes": self.notes,
                "tensors": [t.model_dump(mode="json") for t in self.tensors.values()],
                "ops": [op.model_dump(mode="json") for op in self.ops()],
            }
        )

    @classmethod
    def from_json(cls, text: str) -> OpGraph:
        """Return the verified graph that ``to_json`` wrote (no weight values)."""
        data = json.loads(text)
        graph = cls(
            data["name"],
            [Op.model_validate(op) for op in data["ops"]],
            [TensorInfo.model_validate(t) for t in data["tensors"]],
            data["inputs"],
            data["outputs"],
            notes=data["notes"],
        )
        graph.verify()
        return graph

    def save(self, path: Path) -> None:
        """Write the graph as JSON."""
        path.write_text(self.to_json())
