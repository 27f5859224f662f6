"""Find elementwise operators that can run on a producer's results before these are stored."""

from __future__ import annotations

from hwsim.core.graph import Op, OpGraph, OpKind, Role

__all__ = ["fuse_elementwise"]


def _is_pointwise(graph: OpGraph, op: Op, shape: tuple[int, ...]) -> bool:
    """Return whether ``op`` maps each element of ``shape`` to one element."""
    is_kind = op.kind is OpKind.ELEMENTWISE or (
        op.kind is OpKind.NORMALIZATION
        and op.attrs.get("function") == "batch"
        and op.attrs.get("statistics") != "batch"
    )
    return is_kind and graph.tensors[op.output].shape == shape


def _leads(op: Op) -> bool:
    """Return whether pointwise work can follow ``op`` on each result as it comes out.

    The overlapping windows of a transposed convolution must be summed first.
    """
    is_product = op.is_gemm and op.kind is not OpKind.CONV_TRANSPOSE
    return is_product or op.kind in (OpKind.ELEMENTWISE, OpKind.NORMALIZATION)


def _activations(op: Op) -> list[str]:
    return [o.tensor for o in op.inputs if o.role is Role.ACTIVATION]


def fuse_elementwise(graph: OpGraph) -> dict[str, str]:
    """Return ``{op: leader}`` for every op fused into a GEMM-like or pointwise leader.

    A group grows from its leader over pointwise ops whose activations all lie inside the group.
    Only the longest prefix of the group from which a single tensor leaves is fused, so that the
    leader stores one tensor of its own size and reads nothing more.
    """
    consumers: dict[str, list[Op]] = {}
    for op in graph.ops():
        for operand in op.inputs:
            consumers.setdefault(operand.tensor, []).append(op)
    position = {op.name: i for i, op in enumerate(graph.ops())}
    fused: dict[str, str] = {}
    for leader in graph.ops():
        if leader.name not in fused and _leads(leader):
            for op in _group(graph, leader, consumers, position):
                fused[op.name] = leader.name
    return fused


def _group(
    graph: OpGraph, leader: Op, consumers: dict[str, list[Op]], position: dict[str, int]
) -> list[Op]:
    shape = graph.tensors[leader.output].shape
    inside = {leader.output}
    members: list[Op] = []
    best: list[Op] = []
    while True:
        reachable = {op.name: op for name in inside for op in consumers.get(name, [])}
        ready = [
            op
            for op in reachable.values()
            if op.output not in inside
            and _is_pointwise(graph, op, shape)
            and all(name in inside for name in _activations(op))
        ]
        if not ready:
            return best
        chosen = min(ready, key=lambda op: position[op.name])
        members.append(chosen)
        inside.add(chosen.output)
        if _leaving(graph, inside, consumers, members) == 1:
            best = list(members)


def _leaving(
    graph: OpGraph, inside: set[str], consumers: dict[str, list[Op]], members: list[Op]
) -> int:
    """Return how many tensors of the group are needed outside it."""
    names = {op.name for op in members}
    return sum(
        name in graph.outputs or any(op.name not in names for op in consumers.get(name, []))
        for name in inside
    )
