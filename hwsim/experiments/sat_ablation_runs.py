"""Simulate iterations on SAT with one optimisation off at a time, for the ablation's claims.

One BDWP iteration at 2:8 and batch 512: scheduled over the whole graph or op after op, with one to
eight interleaved partial sums, N:M selected behind the update or in front of the products, and one
dataflow or the better one per product.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from hwsim.core.graph import OpGraph, OpKind
from hwsim.core.machine import Machine, make_machine
from hwsim.core.mapping import Mapping
from hwsim.core.program import Program
from hwsim.core.result import Result
from hwsim.core.units import ceil_div
from hwsim.experiments.sat_training import BATCH, known_choices
from hwsim.sat.spec import SatSpec
from mappers.greedy import map_graph
from mappers.schedule import schedule_graph
from models.training import training_graph
from models.zoo import load_model

__all__ = ["INTERLEAVES", "Ablation", "Iteration", "ablate", "hazard_law"]

INTERLEAVES = (1, 2, 3, 4, 5, 6, 7, 8)
_NM = (2, 8)


@dataclass(frozen=True)
class Iteration:
    """One iteration: makespan, busy cycles per unit, adder stalls of the array, bytes off chip.

    ``product_busy_cycles`` is the array's busy time per matrix product: slots issued by each PE.
    """

    cycles: int
    busy_cycles: dict[str, int]
    hazard_cycles: int
    read_bytes: int
    write_bytes: int
    product_busy_cycles: dict[str, int]

    @property
    def array_busy_cycles(self) -> int:
        """Return the cycles in which the array issues products."""
        return self.busy_cycles["stce"]


@dataclass(frozen=True)
class Ablation:
    """The runs of one network.

    Attributes
    ----------
    full : Iteration
        Everything on.
    bound_cycles : int
        What no order of the same work can take less than.
    without_scheduling, without_pregeneration, without_interleave : Iteration
        Op after op; with N:M selected in front of the products; with one partial sum per PE.
    in_order_without_pregeneration : Iteration
        Neither scheduling nor pre-generation.
    by_flow : dict
        Iterations mapped to weight- or output-stationary alone.
    chosen_flow : dict
        Product -> dataflow, everything on.
    by_interleave : dict
        I -> iteration op after op with the same output-stationary tiles.
    expected_hazard_cycles : dict
        I -> adder stalls that the law gives for those tiles.
    os_tiles : int
        Array tiles of those iterations.
    saved_read_bytes, saved_write_bytes : int
        What pre-generation saves by counting weights.
    """

    full: Iteration
    bound_cycles: int
    without_scheduling: Iteration
    without_pregeneration: Iteration
    without_interleave: Iteration
    in_order_without_pregeneration: Iteration
    by_flow: dict[str, Iteration]
    chosen_flow: dict[str, str]
    by_interleave: dict[int, Iteration]
    expected_hazard_cycles: dict[int, int]
    os_tiles: int
    saved_read_bytes: int
    saved_write_bytes: int


def _machine(interleave: int | None = None) -> Machine:
    settings = [] if interleave is None else [f"array.interleave={interleave}"]
    return make_machine("sat", settings=settings)


def _iteration(result: Result) -> Iteration:
    moved = result.stats.bytes["dram"]
    return Iteration(
        cycles=result.cycles,
        busy_cycles={name: unit.busy for name, unit in result.stats.units.items()},
        hazard_cycles=result.stats.units["stce"].stall["hazard"],
        read_bytes=moved["read"],
        write_bytes=moved["write"],
        product_busy_cycles={
            # Not the layer's account, whose window others share when work overlaps.
            layer.name: layer.issued_macs // result.peak_macs_per_cycle
            for layer in result.layers
            if layer.issued_macs
        },
    )


def _run(machine: Machine, graph: OpGraph, mappings: list[Mapping]) -> Iteration:
    return _iteration(machine.run(machine.lower(graph, mappings)))


@cache
def ablate(network: str) -> Ablation:
    """Return the runs of ``network`` (a few seconds for the largest)."""
    forward = load_model(network, batch=BATCH, has_batch_norm=True)
    graph = training_graph(forward, "bdwp", _NM)
    unplanned = training_graph(forward, "bdwp", _NM, pregenerate=False)
    machine, single = _machine(), _machine(1)
    known = known_choices()  # a product's mapping does not depend on its neighbours
    full = schedule_graph(graph, machine, known=known)

    def scheduled(flow: str) -> list[Mapping]:
        return schedule_graph(graph, machine, dataflow=flow, known=known).mappings

    steps, expected, tiles = _interleaved(graph, machine)
    read, written = _saved_bytes(graph)
    return Ablation(
        full=_run(machine, graph, full.mappings),
        bound_cycles=full.work_bound_cycles,
        without_scheduling=_run(machine, graph, map_graph(graph, machine, known=known)),
        without_pregeneration=_run(
            machine, unplanned, schedule_graph(unplanned, machine, known=known).mappings
        ),
        without_interleave=_run(single, graph, schedule_graph(graph, single).mappings),
        in_order_without_pregeneration=_run(
            machine, unplanned, map_graph(unplanned, machine, known=known)
        ),
        by_flow={
            flow: _run(machine, graph, scheduled(flow)) for flow in machine.capabilities().dataflows
        },
        chosen_flow={m.op: m.dataflow for m in full.mappings if graph.op(m.op).is_gemm},
        by_interleave=steps,
        expected_hazard_cycles=expected,
        os_tiles=tiles,
        saved_read_bytes=read,
        saved_write_bytes=written,
    )


def _interleaved(
    graph: OpGraph, machine: Machine
) -> tuple[dict[int, Iteration], dict[int, int], int]:
    """Return I -> iteration and I -> stalls by the law, for the same OS tiles; their number."""
    mappings = map_graph(graph, machine, dataflow="os", known=known_choices())
    steps, expected, count = {}, {}, 0
    for interleave in INTERLEAVES:
        narrow = _machine(interleave)
        program = narrow.lower(graph, mappings)
        tiles = _os_tiles(program)
        steps[interleave] = _iteration(narrow.run(program))
        expected[interleave] = sum(
            times * hazard_law(slots, blocks, interleave) for slots, blocks, times in tiles
        )
        count = sum(blocks * times for _, blocks, times in tiles)
    return steps, expected, count


def hazard_law(slots: int, tiles: int, interleave: int) -> int:
    """Return the adder stalls of ``tiles`` output-stationary tiles of ``slots`` products each.

    A block of b ≤ I tiles takes turns: after b products the first tile's sum is needed again, L
    cycles after its last addition began. Each but the last of the block's ``slots`` rounds is
    therefore max(L − b, 0) cycles longer than its products.
    """
    latency = SatSpec().array.adder_latency_cycles
    blocks, rest = divmod(tiles, interleave)
    full = blocks * max(latency - interleave, 0)
    return (slots - 1) * (full + (max(latency - rest, 0) if rest else 0))


def _os_tiles(program: Program) -> list[tuple[int, int, int]]:
    """Return (products per PE and array tile, array tiles, times) of every macro tile."""
    array = SatSpec().array
    rows, times = program.instructions, program.dynamic_counts()
    found = []
    for index in (rows["opcode"] == program.opcodes.index("gemm")).nonzero()[0]:
        flow, m, k, n, nm_n, nm_m, _ = program.meta["gemm_shapes"][rows["operand"][index]]
        assert flow == "os"
        tiles = ceil_div(m, array.rows) * ceil_div(n, array.cols)
        found.append((ceil_div(k, nm_m) * nm_n, tiles, int(times[index])))
    return found


def _saved_bytes(graph: OpGraph) -> tuple[int, int]:
    """Return the bytes of weights that pre-generation saves: (read, written).

    In front of a product the dense FP16 weights are read, behind the update only the compact ones:
    N values of 16 bits and log2 M bits of every M weights. Both compact copies are written, but a
    weight that has both needs no dense copy.
    """
    nm_n, nm_m = _NM
    dense, compact, copies = 0, 0, 0
    directions: dict[str, set[str]] = {}
    for op in graph.ops():
        if op.kind is not OpKind.NM_PRUNE:
            continue
        elems = op.dims["elems"]
        dense += 2 * elems
        compact += ceil_div(ceil_div(elems, nm_m) * nm_n * (16 + (nm_m - 1).bit_length()), 8)
        directions.setdefault(op.attrs["of"], set()).add(op.attrs["axis"])
    for weight, axes in directions.items():
        copies += 2 * graph.tensors[weight].elems if len(axes) == 2 else 0
    return dense - compact, copies - compact
