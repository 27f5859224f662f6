"""Say what an imported graph contains that no machine models."""

from __future__ import annotations

from hwsim.core.graph import Op, OpGraph, OpKind, Role

__all__ = ["unmodelled_report"]


def unmodelled_report(graph: OpGraph) -> list[dict[str, str | float]]:
    """Return one row per UNMODELLED op: ``name``, ``operator``, ``macs_share``, ``bytes_share``.

    Shares are fractions (0 to 1) of the whole graph's multiply-accumulates and of the bytes that
    all ops read and write. An unmodelled op whose multiply-accumulates are unknown counts 0.
    """
    if not any(op.kind is OpKind.UNMODELLED for op in graph.ops()):
        return []
    macs = sum(_macs(op) for op in graph.ops())
    moved = sum(_moved_bytes(graph, op) for op in graph.ops())
    return [
        {
            "name": op.name,
            "operator": str(op.attrs["operator"]),
            "macs_share": _macs(op) / macs if macs else 0.0,
            "bytes_share": _moved_bytes(graph, op) / moved if moved else 0.0,
        }
        for op in graph.ops()
        if op.kind is OpKind.UNMODELLED
    ]


def _macs(op: Op) -> int:
    return int(op.attrs.get("macs", 0)) if op.kind is OpKind.UNMODELLED else op.macs()


def _moved_bytes(graph: OpGraph, op: Op) -> int:
    read = graph.input_bytes(op, Role.ACTIVATION) + graph.input_bytes(op, Role.WEIGHT)
    return read + graph.tensors[op.output].nbytes
