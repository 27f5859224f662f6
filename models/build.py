"""Build operator graphs layer by layer; every shape is computed, none is given twice.

Batch normalisation is folded away by default: a convolution that is followed by one in the original
network has a bias here, as inference engines execute it. Training needs it as an operator of its
own; the multiply-accumulates are the same either way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.graph import Op, Operand, OpGraph, OpKind, Role, TensorInfo

__all__ = ["GraphBuilder", "window_extent", "with_random_weights"]

Shape = tuple[int, ...]
Pads = tuple[int, int, int, int]


def window_extent(size: int, kernel: int, stride: int, padding: int, dilation: int = 1) -> int:
    """Return how many windows fit along one axis (elements; ``padding`` is both sides' sum)."""
    return (size + padding - dilation * (kernel - 1) - 1) // stride + 1


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def _four(pad: int | Pads) -> Pads:
    return (pad, pad, pad, pad) if isinstance(pad, int) else pad


class GraphBuilder:
    """Collect operators in topological order and return a verified graph.

    Every layer method takes the op's name and its input tensors and returns the name of its
    output tensor, which equals the op's name.

    Parameters
    ----------
    name : str
        Of the graph.
    has_batch_norm : bool
        Whether :meth:`conv_norm` appends a normalisation instead of a bias.
    """

    def __init__(self, name: str, *, has_batch_norm: bool = False) -> None:
        self.name = name
        self.has_batch_norm = has_batch_norm
        self.tensors: dict[str, TensorInfo] = {}
        self.ops: list[Op] = []
        self.inputs: list[str] = []
        self.weights: dict[str, NDArray[Any]] = {}
        self.notes: list[str] = []

    def shape(self, tensor: str) -> Shape:
        """Return the extents of ``tensor`` in elements."""
        return self.tensors[tensor].shape

    def input(self, name: str, shape: Shape, dtype: str = "float32") -> str:
        """Declare a graph input."""
        self.tensors[name] = TensorInfo(name=name, shape=shape, dtype=dtype)
        self.inputs.append(name)
        return name

    def weight(
        self,
        name: str,
        shape: Shape,
        values: NDArray[Any] | None = None,
        dtype: str = "float32",
    ) -> Operand:
        """Declare a weight tensor, with its values if there are any."""
        dtype = dtype if values is None else str(values.dtype)
        self.tensors[name] = TensorInfo(name=name, shape=shape, dtype=dtype)
        if values is not None:
            self.weights[name] = values.reshape(shape)
        return Operand(tensor=name, role=Role.WEIGHT)

    def add(
        self,
        kind: OpKind,
        name: str,
        inputs: Sequence[str | Operand],
        shape: Shape,
        *,
        dims: Mapping[str, int] | None = None,
        attrs: Mapping[str, Any] | None = None,
        output: str | None = None,
        dtype: str | None = None,
    ) -> str:
        """Append an op producing ``shape``; raise :class:`InputError` if an extent is below 1."""
        if any(extent < 1 for extent in shape):
            raise InputError(f"op {name}", "an input large enough for its windows", f"{shape}")
        operands = tuple(Operand(tensor=i) if isinstance(i, str) else i for i in inputs)
        if dtype is None:
            dtype = self.tensors[operands[0].tensor].dtype if operands else "float32"
        output = output or name
        self.tensors[output] = TensorInfo(name=output, shape=shape, dtype=dtype)
        extents = dict(dims) if dims is not None else {"elems": math.prod(shape)}
        self.ops.append(
            Op(
                name=name,
                kind=kind,
                dims=extents,
                inputs=operands,
                output=output,
                attrs=dict(attrs or {}),
            )
        )
        return output

    def conv(
        self,
        name: str,
        x: str,
        co: int,
        kernel: int | tuple[int, int],
        *,
        stride: int | tuple[int, int] = 1,
        pad: int | Pads = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> str:
        """Append a convolution of ``x`` [batch, ci, ih, iw]; weights [co, ci/groups, kh, kw]."""
        batch, ci, ih, iw = self._image(name, x)
        (kh, kw), strides, dilations = _pair(kernel), _pair(stride), _pair(dilation)
        pads = _four(pad)
        oh = window_extent(ih, kh, strides[0], pads[0] + pads[2], dilations[0])
        ow = window_extent(iw, kw, strides[1], pads[1] + pads[3], dilations[1])
        operands = [self.weight(f"{name}.weight", (co, ci // groups, kh, kw))]
        if bias:
            operands.append(self.weight(f"{name}.bias", (co,)))
        dims = {"batch": batch, "ci": ci, "co": co, "ih": ih, "iw": iw, "oh": oh, "ow": ow}
        dims |= {"kh": kh, "kw": kw, "groups": groups}
        attrs = {"strides": list(strides), "dilations": list(dilations), "pads": list(pads)}
        shape = (batch, co, oh, ow)
        return self.add(OpKind.CONV, name, [x, *operands], shape, dims=dims, attrs=attrs)

    def conv_norm(
        self, name: str, x: str, co: int, kernel: int, *, stride: int = 1, pad: int = 0
    ) -> str:
        """Append a convolution and its batch normalisation, folded into a bias or ``name.bn``."""
        if not self.has_batch_norm:
            return self.conv(name, x, co, kernel, stride=stride, pad=pad)
        y = self.conv(name, x, co, kernel, stride=stride, pad=pad, bias=False)
        return self.batch_norm(f"{name}.bn", y)

    def batch_norm(self, name: str, x: str, epsilon: float = 1e-5) -> str:
        """Append scale and shift per channel of [batch, c, …]; in training of normalised values.

        Executed for inference, scale and shift contain the running statistics.
        """
        channels = (self.shape(x)[1],)
        scale = self.weight(f"{name}.weight", channels)
        shift = self.weight(f"{name}.bias", channels)
        attrs = {"function": "batch", "epsilon": epsilon}
        return self.add(OpKind.NORMALIZATION, name, [x, scale, shift], self.shape(x), attrs=attrs)

    def linear(self, name: str, x: str, n: int, *, bias: bool = True) -> str:
        """Append ``x`` [..., k] times weights [k, n]."""
        *lead, k = self.shape(x)
        operands = [self.weight(f"{name}.weight", (k, n))]
        if bias:
            operands.append(self.weight(f"{name}.bias", (n,)))
        dims = {"batch": lead[0] if lead else 1, "m": math.prod(lead[1:]), "k": k, "n": n}
        return self.add(OpKind.LINEAR, name, [x, *operands], (*lead, n), dims=dims)

    def matmul(self, name: str, a: str, b: str) -> str:
        """Append the product of activations ``a`` [..., m, k] and ``b`` [..., k, n]."""
        *lead, m, k = self.shape(a)
        *lead_b, k_b, n = self.shape(b)
        if lead != lead_b or k != k_b:
            found = f"{self.shape(a)} x {self.shape(b)}"
            raise InputError(f"op {name}", "operands [..., m, k] x [..., k, n]", found)
        dims = {"batch": math.prod(lead), "m": m, "k": k, "n": n}
        return self.add(OpKind.MATMUL, name, [a, b], (*lead, m, n), dims=dims)

    def elementwise(self, name: str, function: str, *xs: str | Operand, **attrs: Any) -> str:
        """Append ``function`` of broadcast operands; keyword values are its constants."""
        names = [x if isinstance(x, str) else x.tensor for x in xs]
        try:
            shape = np.broadcast_shapes(*(self.shape(x) for x in names))
        except ValueError:
            found = " and ".join(str(self.shape(x)) for x in names)
            raise InputError(f"op {name}", "operands that broadcast", found) from None
        return self.add(OpKind.ELEMENTWISE, name, xs, shape, attrs={"function": function, **attrs})

    def relu(self, name: str, x: str) -> str:
        """Append max(x, 0)."""
        return self.elementwise(name, "relu", x)

    def pool(
        self,
        name: str,
        x: str,
        function: str,
        kernel: int | tuple[int, int],
        *,
        stride: int | tuple[int, int] | None = None,
        pad: int | Pads = 0,
    ) -> str:
        """Append a ``max`` or ``average`` pooling over windows of [batch, c, ih, iw]."""
        batch, c, ih, iw = self._image(name, x)
        (kh, kw), pads = _pair(kernel), _four(pad)
        strides = _pair(kernel if stride is None else stride)
        oh = window_extent(ih, kh, strides[0], pads[0] + pads[2])
        ow = window_extent(iw, kw, strides[1], pads[1] + pads[3])
        attrs: dict[str, Any] = {"function": function, "kernel": [kh, kw]}
        attrs |= {"strides": list(strides)}
        attrs |= {"pads": list(pads), "dilations": [1, 1], "count_include_pad": False}
        return self.add(OpKind.POOL, name, [x], (batch, c, oh, ow), attrs=attrs)

    def global_pool(self, name: str, x: str, function: str) -> str:
        """Append a pooling over the whole image: [batch, c, ih, iw] to [batch, c, 1, 1]."""
        _, _, ih, iw = self._image(name, x)
        return self.pool(name, x, function, (ih, iw))

    def softmax(self, name: str, x: str, axis: int = -1) -> str:
        """Append a softmax along ``axis``."""
        axes = [axis % len(self.shape(x))]
        return self.add(OpKind.SOFTMAX, name, [x], self.shape(x), attrs={"axes": axes})

    def layer_norm(self, name: str, x: str, epsilon: float = 1e-5) -> str:
        """Append a layer normalisation of the last axis, with scale and shift."""
        shape = self.shape(x)
        last = shape[-1:]
        scale, shift = self.weight(f"{name}.weight", last), self.weight(f"{name}.bias", last)
        attrs = {"function": "layer", "axis": len(shape) - 1, "epsilon": epsilon}
        return self.add(OpKind.NORMALIZATION, name, [x, scale, shift], shape, attrs=attrs)

    def concat(self, name: str, xs: Sequence[str], axis: int) -> str:
        """Append the concatenation of ``xs`` along ``axis``."""
        shape = list(self.shape(xs[0]))
        shape[axis] = sum(self.shape(x)[axis] for x in xs)
        return self.add(OpKind.CONCAT, name, xs, tuple(shape), attrs={"axis": axis % len(shape)})

    def reshape(self, name: str, x: str, shape: Shape) -> str:
        """Append a view of ``x`` as ``shape`` (same number of elements)."""
        if math.prod(shape) != math.prod(self.shape(x)):
            raise InputError(f"op {name}", f"{math.prod(self.shape(x))} elements", f"{shape}")
        return self.add(OpKind.RESHAPE, name, [x], shape)

    def flatten(self, name: str, x: str) -> str:
        """Append a view of ``x`` as [batch, rest]."""
        batch, *rest = self.shape(x)
        return self.reshape(name, x, (batch, math.prod(rest)))

    def transpose(self, name: str, x: str, perm: Sequence[int]) -> str:
        """Append a permutation of the axes: output axis i is input axis ``perm[i]``."""
        shape = tuple(self.shape(x)[axis] for axis in perm)
        return self.add(OpKind.TRANSPOSE, name, [x], shape, attrs={"perm": list(perm)})

    def slice(self, name: str, x: str, axis: int, start: int, size: int) -> str:
        """Append elements ``start`` to ``start + size - 1`` along ``axis``."""
        shape = list(self.shape(x))
        axis %= len(shape)
        starts, steps = [0] * len(shape), [1] * len(shape)
        starts[axis], shape[axis] = start, size
        attrs = {"starts": starts, "steps": steps}
        return self.add(OpKind.SLICE, name, [x], tuple(shape), attrs=attrs)

    def pad(self, name: str, x: str, begins: Sequence[int], ends: Sequence[int]) -> str:
        """Append zeros: ``begins`` and ``ends`` elements on every axis."""
        shape = tuple(b + s + e for b, s, e in zip(begins, self.shape(x), ends, strict=True))
        attrs = {"begins": list(begins), "ends": list(ends), "mode": "constant", "value": 0.0}
        return self.add(OpKind.PAD, name, [x], shape, attrs=attrs)

    def build(self, outputs: Sequence[str]) -> OpGraph:
        """Return the verified graph."""
        tensors = list(self.tensors.values())
        graph = OpGraph(
            self.name, self.ops, tensors, self.inputs, list(outputs), self.weights, self.notes
        )
        graph.verify()
        return graph

    def _image(self, name: str, x: str) -> tuple[int, int, int, int]:
        shape = self.shape(x)
        if len(shape) != 4:
            raise InputError(f"op {name}", "an input [batch, channels, height, width]", f"{shape}")
        return shape[0], shape[1], shape[2], shape[3]


def with_random_weights(graph: OpGraph, rng: np.random.Generator) -> OpGraph:
    """Return ``graph`` with float32 values for every weight that has none, in op order.

    Matrix weights are normal with variance 2 / k, k the reduction length (He et al. 2015, eq. 10);
    biases are normal with deviation 0.01 so that a dropped bias shows; scales of normalisations
    are 1 and their shifts 0; other constants are normal with deviation 0.02 (assumed: the usual
    initialisation of position embeddings). Integer constants are 0.
    """
    values: dict[str, NDArray[Any]] = dict(graph.weights)
    for op in graph.ops():
        constants = [o.tensor for o in op.inputs if o.role is Role.WEIGHT]
        for position, name in enumerate(constants):
            if name not in values:
                values[name] = _sample(op, position, graph.tensors[name], rng)
    tensors = list(graph.tensors.values())
    filled = OpGraph(
        graph.name, list(graph.ops()), tensors, graph.inputs, graph.outputs, values, graph.notes
    )
    filled.verify()
    return filled


def _sample(op: Op, position: int, tensor: TensorInfo, rng: np.random.Generator) -> NDArray[Any]:
    if not tensor.dtype.startswith("float"):
        return np.zeros(tensor.shape, dtype=tensor.dtype)
    if op.kind is OpKind.NORMALIZATION:
        return np.full(tensor.shape, 1.0 if position == 0 else 0.0, dtype=np.float32)
    deviation = 0.02
    if op.is_gemm:
        deviation = math.sqrt(2.0 / op.gemm().k) if position == 0 else 0.01
    return (rng.standard_normal(tensor.shape, dtype=np.float32) * np.float32(deviation)).astype(
        tensor.dtype
    )
