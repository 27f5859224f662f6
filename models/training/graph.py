"""Build the graph of one training iteration from a forward graph.

Conventions
-----------
Every op carries ``attrs["layer"]``, the forward op it belongs to. For a layer ``L``: FF op ``L``;
BP ``L.bp`` (a strided convolution: products ``L.bp.p0`` … and the free join ``L.bp``), for products
of activations ``L.bp.a`` and ``L.bp.b``; WU ``L.wu``, ``L.wu.bias``; for a weight tensor ``W``:
``W.update`` gives ``W.next``. Compact weights are tensors of dense extents whose operand carries
the pattern: ``L.ff.weight``, ``L.bp.weight``, ``L.bp.p0.weight``, made by ``L.ff.prune`` and so on.
With pre-generation those ops follow the update and write ``….next``, which the next iteration reads
without the suffix. A BP op's ``attrs["weight_view"]`` says which tensor (``of``) and which forward
taps (``rows``, ``cols``) its transposed weights are; ``totals()["weight_elems"]`` counts views too.
A batch normalisation of FF has ``attrs["statistics"] = "batch"``.
"""

from __future__ import annotations

from collections.abc import Collection

from hwsim.core.errors import InputError, unknown_name
from hwsim.core.graph import Op, OpGraph, OpKind, Role, Stage
from hwsim.core.sparsity import NM
from models.training.layer_gradient import StridedBp
from models.training.masks import TrainingMethod, as_method, as_pattern, classifiers
from models.training.products import ProductRules
from models.training.step import StepBuilder, has_gradient
from models.training.vector import vector_backward

__all__ = ["training_graph"]

_NOT_DIFFERENTIABLE = ("equal", "greater", "less", "and", "or", "not", "floor", "ceil")


def training_graph(
    forward: OpGraph,
    method: TrainingMethod | str,
    nm: NM | tuple[int, int] = (1, 1),
    *,
    strided_bp: StridedBp = "phases",
    prune_classifier: bool = False,
    pregenerate: bool = True,
    input_gradients: Collection[str] = (),
) -> OpGraph:
    """Return the verified graph of one iteration: FF, BP, WU and the weight updates.

    Parameters
    ----------
    forward : OpGraph
        Floating point, with dense operands. Layers fed by graph inputs alone have no BP.
    method : TrainingMethod or its name
        ``dense``, ``sr-ste``, ``sdgp``, ``sdwp`` or ``bdwp`` (see :mod:`models.training.masks`).
    nm : (N, M) or NM
        N of M consecutive channels kept; unused by ``dense``.
    strided_bp : str
        BP of strided convolutions by output ``phases`` (no product with an inserted zero) or
        ``zero-inserted`` (stride² times the products).
    prune_classifier : bool
        Whether fully connected layers that no other layer with weights follows are pruned too;
        default no, as in SR-STE's code (repository aojunzz/NM-sparsity).
    pregenerate : bool
        Whether N:M weights are selected after the update, for the next iteration, instead of
        in front of the FF and BP products that read them.
    input_gradients : collection of str
        Graph inputs whose gradient is an output too, so that the layers they feed have a BP: for
        graphs of separate layers, where an input stands for the layer before.

    Notes
    -----
    The loss is not modelled: for every output ``y`` the gradient ``y.grad`` is a graph input.
    Layers that stay dense say so in ``notes``.

    Raises
    ------
    InputError
        If a product has integer operands or sparse ones, nothing in the graph is trainable, or
        an input is unknown.
    """
    if strided_bp not in ("phases", "zero-inserted"):
        raise unknown_name("strided_bp", strided_bp, ("phases", "zero-inserted"))
    for name in input_gradients:
        if name not in forward.inputs:
            raise unknown_name("input_gradients", name, forward.inputs)
    step = StepBuilder(forward, pregenerate, _differentiable(forward, input_gradients))
    kept = set() if prune_classifier else classifiers(forward)
    rules = ProductRules(step, as_method(method), as_pattern(nm), strided_bp, kept)
    for op in forward.ops():
        step.ops.append(_ff(rules.forward(op) if op.is_gemm else op))
    _start_gradients(step)
    for op in reversed(list(forward.ops())):
        dy = step.gradient(op.output, op.name)
        if dy is None or op.output not in step.differentiable:
            continue
        if op.is_gemm:
            rules.backward(op, dy)
        else:
            vector_backward(step, op, dy)
    for name in input_gradients:
        gradient = step.gradient(name, name)
        step.outputs += [] if gradient is None else [gradient]
    step.update_rest()
    return _finish(step)


def _ff(op: Op) -> Op:
    attrs = {**op.attrs, "layer": op.name}
    if op.kind is OpKind.NORMALIZATION and op.attrs["function"] == "batch":
        # Unlike in inference, it needs all of its input before the first output.
        attrs["statistics"] = "batch"
    return op.model_copy(update={"stage": Stage.FF, "attrs": attrs})


def _differentiable(forward: OpGraph, inputs: Collection[str]) -> set[str]:
    """Return ``inputs`` and the activations that depend on them or on a floating-point weight."""
    found = {name for name in inputs if has_gradient(forward.tensors[name])}
    for op in forward.ops():
        if not has_gradient(forward.tensors[op.output]):
            continue
        if op.kind is OpKind.ELEMENTWISE and op.attrs["function"] in _NOT_DIFFERENTIABLE:
            continue
        for operand in op.inputs:
            is_weight = operand.role is Role.WEIGHT and has_gradient(
                forward.tensors[operand.tensor]
            )
            if is_weight or operand.tensor in found:
                found.add(op.output)
    return found


def _start_gradients(step: StepBuilder) -> None:
    outputs = [name for name in step.forward.outputs if name in step.differentiable]
    if not outputs:
        found = f"none in {step.forward.name}"
        raise InputError("--training", "an output that depends on floating-point weights", found)
    for name in outputs:
        info = step.tensors[name]
        gradient = step.tensor(f"{name}.grad", info.shape, info.dtype)
        step.inputs.append(gradient)
        step.contribute(name, gradient)


def _finish(step: StepBuilder) -> OpGraph:
    ops: list[Op] = step.ops
    used = {operand.tensor for op in ops for operand in op.inputs} | {op.output for op in ops}
    inputs = [*step.forward.inputs, *step.inputs]
    graph = OpGraph(
        step.forward.name,
        ops,
        [info for name, info in step.tensors.items() if name in used or name in inputs],
        inputs,
        [*step.forward.outputs, *step.outputs],
        step.forward.weights,
        [*step.forward.notes, *step.notes],
    )
    graph.verify()
    return graph
