"""Turn a mapped graph into units of work with durations and dependences, for scheduling."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from hwsim.core.graph import Op, OpGraph
from hwsim.core.machine import Machine
from hwsim.core.mapping import Mapping

__all__ = ["Work", "work_of"]


@dataclass(eq=False)
class Work:
    """One op with all ops that run inside it.

    Attributes
    ----------
    mappings : list of Mapping
        The op's own first, then those of fused ops.
    is_product : bool
        Whether the compute unit executes it; others run beside.
    compute_cycles, memory_cycles, cycles : int
        Closed forms: work of its unit, of the memory, and what it lasts alone (0 for a reshape).
    before, after : list of Work
        What must have finished before, and what needs this one's results.
    rank_cycles : int
        The longest chain of work from its start to the end of the graph.
    """

    position: int
    mappings: list[Mapping]
    is_product: bool
    compute_cycles: int
    memory_cycles: int
    cycles: int
    before: list[Work] = field(default_factory=list)
    after: list[Work] = field(default_factory=list)
    rank_cycles: int = 0


def work_of(graph: OpGraph, machine: Machine, mappings: Sequence[Mapping]) -> list[Work]:
    """Return the work of ``graph`` in its order; ``mappings`` has one entry per op, in order."""
    found: list[Work] = []
    leader_of: dict[str, Work] = {}
    producer: dict[str, Work] = {}
    fused = Counter(m.placement["into"] for m in mappings if m.dataflow == "fused")
    for op, mapping in zip(graph.ops(), mappings, strict=True):
        if mapping.dataflow == "fused":
            work = leader_of[mapping.placement["into"]]
            work.mappings.append(mapping)
        else:
            work = _timed(graph, machine, op, mapping, fused[op.name], len(found))
            found.append(work)
        leader_of[op.name] = producer[op.output] = work
        for name in dict.fromkeys(operand.tensor for operand in op.inputs):
            source = producer.get(name)
            if source is not None and source is not work and source not in work.before:
                work.before.append(source)
                source.after.append(work)
    for work in reversed(found):
        work.rank_cycles = work.cycles + max((w.rank_cycles for w in work.after), default=0)
    return found


def _timed(
    graph: OpGraph, machine: Machine, op: Op, mapping: Mapping, fused_ops: int, position: int
) -> Work:
    if mapping.dataflow in ("none", "unmodelled"):
        return Work(position, [mapping], False, 0, 0, 0)
    if op.is_gemm or op.is_sparse:
        cost = machine.estimate(op, mapping)
    else:
        cost = machine.estimate_other(graph, op, fused_ops)
    cycles = (cost.compute_cycles, cost.memory_cycles, cost.cycles)
    return Work(position, [mapping], op.is_gemm or op.is_sparse, *cycles)
