"""Join a prompt and the steps behind it into one graph, an op per bucket of contexts.

Steps whose contexts round up to the same bucket run the same program. They are one group of ops
whose extents count all of them: the leading extent of every activation is that of one step times
``attrs["joined_steps"]``, a token of each step. 512 steps of LLaMA2-7B would be half a million ops.
"""

from __future__ import annotations

from collections.abc import Mapping

from hwsim.core.graph import Op, Operand, OpGraph, Role, TensorInfo

__all__ = ["request_graph"]


def request_graph(
    prompt: OpGraph, step: OpGraph, steps: Mapping[int, int], *, shares_weights: bool
) -> OpGraph:
    """Return the graph of ``prompt`` and ``steps`` (context of a bucket -> steps in it).

    ``step`` is the graph of one step at any context. Ops are named ``prefill/…`` and
    ``decodeCONTEXT/…``; steps share their weights, with the prompt too if ``shares_weights``.
    """
    parts = [_part(prompt, "prefill", 1, "" if shares_weights else "prefill/")]
    parts += [
        _part(_at_context(step, context), f"decode{context}", steps[context], "")
        for context in sorted(steps)
    ]
    return OpGraph(
        step.name,
        [op for part in parts for op in part.ops()],
        [tensor for part in parts for tensor in part.tensors.values()],
        [tensor for part in parts for tensor in part.inputs],
        [tensor for part in parts for tensor in part.outputs],
    )


def _at_context(step: OpGraph, context: int) -> OpGraph:
    """Return ``step``, a verified graph, at another context; ops are copied unchecked."""
    tensors = dict(step.tensors)

    def resize(name: str, axis: int, extent: int) -> int:
        shape = list(tensors[name].shape)
        shape[axis] = extent
        tensors[name] = TensorInfo.model_construct(
            name=name, shape=tuple(shape), dtype=tensors[name].dtype
        )
        return tensors[name].elems

    def resized(op: Op) -> Op:
        grows = op.attrs.get("grows")
        dims = dict(op.dims)
        if grows == "rows":
            resize(op.inputs[0].tensor, 1, context - 1)
            dims["elems"] = resize(op.output, 1, context)
        elif grows == "k":
            dims["k"] = context
        else:
            elems = resize(op.output, 2, context)
            dims = {**dims, "n": context} if op.is_gemm else {"elems": elems}
        return op.model_copy(update={"dims": dims})

    ops = [resized(op) if "grows" in op.attrs else op for op in step.ops()]
    return OpGraph(step.name, ops, list(tensors.values()), step.inputs, step.outputs)


def _part(graph: OpGraph, prefix: str, steps: int, weights: str) -> OpGraph:
    """Return ``steps`` runs of ``graph`` as one; names of its weights begin with ``weights``."""
    kept = {o.tensor for op in graph.ops() for o in op.inputs if o.role is Role.WEIGHT}
    names = {
        name: f"{weights}{name}" if name in kept else f"{prefix}/{name}" for name in graph.tensors
    }

    def moved(op: Op) -> Op:
        counted = "batch" if op.is_gemm else "elems"
        return Op.model_construct(
            name=f"{prefix}/{op.name}",
            kind=op.kind,
            dims={**op.dims, counted: op.dims[counted] * steps},
            inputs=tuple(
                o
                if names[o.tensor] == o.tensor
                else Operand.model_construct(tensor=names[o.tensor], role=o.role, pattern=o.pattern)
                for o in op.inputs
            ),
            output=names[op.output],
            stage=op.stage,
            attrs={**op.attrs, "joined_steps": steps},
        )

    def counted(tensor: TensorInfo) -> TensorInfo:
        name, shape = names[tensor.name], tensor.shape
        if name == tensor.name:
            return tensor
        if tensor.name not in kept:
            shape = (shape[0] * steps, *shape[1:])
        return TensorInfo.model_construct(name=name, shape=shape, dtype=tensor.dtype)

    return OpGraph(
        graph.name,
        [moved(op) for op in graph.ops()],
        [counted(tensor) for tensor in graph.tensors.values()],
        [names[tensor] for tensor in graph.inputs],
        [names[tensor] for tensor in graph.outputs],
    )
