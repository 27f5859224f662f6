"""Choose the order of a graph's ops and what runs beside what, off line, for the whole graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from hwsim.core.graph import OpGraph
from hwsim.core.machine import Machine
from hwsim.core.mapping import Mapping
from mappers.deferral import Loads, deferrable, place_deferred
from mappers.greedy import Known, map_graph
from mappers.slots import Slot, list_slots
from mappers.work import Work, work_of

__all__ = ["Schedule", "schedule_graph"]


@dataclass(frozen=True)
class Schedule:
    """Mappings in order of execution, and what the closed forms say of them.

    Attributes
    ----------
    mappings : list of Mapping
        One per op; work that runs beside each other names one ``slot``.
    cycles : int
        Estimated makespan.
    work_bound_cycles : int
        No order of the same tiles can take less: the array's work, the memory's work, or the
        longest chain of dependent ops.
    loads : Loads
        The slots before the deferred products were placed.
    """

    mappings: list[Mapping]
    cycles: int
    work_bound_cycles: int
    loads: Loads

    @cached_property
    def slot_bound_cycles(self) -> int:
        """Return what no placement of the deferred products in these slots can undercut."""
        from mappers.relaxation import relaxed_cycles  # imports the solver

        return relaxed_cycles(self.loads)


def schedule_graph(
    graph: OpGraph,
    machine: Machine,
    *,
    dataflow: str = "auto",
    fuse: bool = True,
    known: Known | None = None,
) -> Schedule:
    """Return the schedule of ``graph``; arguments and errors as :func:`mappers.greedy.map_graph`.

    On a machine without slots the ops keep the graph's order, one after the other.
    """
    mappings = map_graph(graph, machine, dataflow=dataflow, fuse=fuse, known=known)
    works = work_of(graph, machine, mappings)
    products: list[Work] = []
    if machine.capabilities().has_slots:
        products, trailing = deferrable(works)
        left_out = {*products, *trailing}
        backbone = list_slots([work for work in works if work not in left_out])
        loads = Loads(backbone, products)
        slots = place_deferred(backbone, loads, trailing)
    else:
        slots = [Slot(products=[w]) if w.is_product else Slot(others=[w]) for w in works]
        loads = Loads(slots, products)
    return Schedule(
        mappings=[mapping for i, slot in enumerate(slots) for mapping in _placed(slot, i)],
        cycles=sum(slot.cycles for slot in slots),
        work_bound_cycles=_work_bound(works),
        loads=loads,
    )


def _placed(slot: Slot, index: int) -> list[Mapping]:
    work = [*slot.products, *slot.others]
    if len(work) == 1:
        return work[0].mappings
    placed = []
    for one in work:
        placed += [
            mapping.model_copy(update={"placement": {**mapping.placement, "slot": str(index)}})
            for mapping in one.mappings
        ]
    return placed


def _work_bound(works: Sequence[Work]) -> int:
    return max(
        sum(work.compute_cycles for work in works if work.is_product),
        sum(work.memory_cycles for work in works),
        max((work.rank_cycles for work in works), default=0),
    )
