"""Switch SAT's dataflow optimisations off one by one: interleaving, pre-generation, switching.

One BDWP iteration at 2:8 and batch 512 of each of the five networks. What is counted is claimed
exactly: products issued, stalls for the adder, bytes of weights. Makespans are shown in figures and
not claimed: the abstract (Fang et al. 2023) names interleaving, pre-generation and scheduling, but
what each gains is not at hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from hwsim.core.graph import OpGraph, OpKind
from hwsim.core.machine import Machine, make_machine
from hwsim.core.mapping import Mapping
from hwsim.core.program import Program
from hwsim.core.result import Claim, Result
from hwsim.core.units import ceil_div
from hwsim.experiments.sat_training import BATCH, NETWORKS
from hwsim.sat.spec import SatSpec
from mappers.greedy import map_graph
from models.training import training_graph
from models.zoo import load_model

if TYPE_CHECKING:
    from hwsim.report.canvas import Chart

__all__ = ["INTERLEAVES", "Ablation", "Iteration", "ablate", "charts", "claims", "hazard_law"]

INTERLEAVES = (1, 2, 3, 4, 5, 6, 7, 8)
_NM = (2, 8)
_COUNTED = "counted from layer shapes; docs/sat_validation.md"


@dataclass(frozen=True)
class Iteration:
    """One iteration: makespan, busy cycles per unit, adder stalls of the array, bytes off chip.

    ``product_busy_cycles`` is the array's busy time per matrix product.
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
    by_flow : dict
        Iterations mapped to weight- or output-stationary alone, or by the mapper's choice
        (``auto``, everything on).
    chosen_flow : dict
        Product -> dataflow under ``auto``.
    without_pregeneration, without_interleave : Iteration
        As ``auto``, with N:M selected in front of the products; with one partial sum per PE.
    by_interleave : dict
        I -> iteration with the same output-stationary tiles.
    expected_hazard_cycles : dict
        I -> adder stalls that the law gives for those tiles.
    os_tiles : int
        Array tiles of those iterations.
    saved_read_bytes, saved_write_bytes : int
        What pre-generation saves by counting weights.
    """

    by_flow: dict[str, Iteration]
    chosen_flow: dict[str, str]
    without_pregeneration: Iteration
    without_interleave: Iteration
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
        product_busy_cycles={x.name: x.account.busy for x in result.layers if x.unit == "stce"},
    )


def _run(machine: Machine, graph: OpGraph, mappings: list[Mapping]) -> Iteration:
    return _iteration(machine.run(machine.lower(graph, mappings)))


@cache
def ablate(network: str) -> Ablation:
    """Return the runs of ``network`` (about 4 s for the largest)."""
    forward = load_model(network, batch=BATCH, has_batch_norm=True)
    graph = training_graph(forward, "bdwp", _NM)
    unplanned = training_graph(forward, "bdwp", _NM, pregenerate=False)
    machine, single = _machine(), _machine(1)
    known: dict[str, Mapping] = {}
    chosen = {
        "auto": map_graph(graph, machine, known=known),
        **{flow: map_graph(graph, machine, dataflow=flow) for flow in ("ws", "os")},
    }
    programs = {i: _machine(i).lower(graph, chosen["os"]) for i in INTERLEAVES}
    tiles = {i: _os_tiles(program) for i, program in programs.items()}
    steps = {i: _iteration(_machine(i).run(program)) for i, program in programs.items()}
    read, written = _saved_bytes(graph)
    return Ablation(
        by_flow={
            **{flow: _run(machine, graph, chosen[flow]) for flow in ("ws", "auto")},
            "os": steps[SatSpec().array.interleave],
        },
        chosen_flow={m.op: m.dataflow for m in chosen["auto"] if graph.op(m.op).is_gemm},
        without_pregeneration=_run(machine, unplanned, map_graph(unplanned, machine, known=known)),
        without_interleave=_run(single, graph, map_graph(graph, single)),
        by_interleave=steps,
        expected_hazard_cycles={
            i: sum(times * hazard_law(slots, count, i) for slots, count, times in tiles[i])
            for i in INTERLEAVES
        },
        os_tiles=sum(count * times for _, count, times in tiles[1]),
        saved_read_bytes=read,
        saved_write_bytes=written,
    )


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


def claims() -> list[Claim]:
    """Return what holds exactly when an optimisation is switched off."""
    runs = {network: ablate(network) for network in NETWORKS}
    return [
        _slowdown(runs),
        *_interleaving(runs),
        *_pregeneration(runs),
        *_switching(runs),
    ]


def _claim(name: str, what: str, simulated: float, reference: float, unit: str) -> Claim:
    return Claim(
        id=f"sat-ablation-{name}",
        what=what,
        simulated=simulated,
        reference=reference,
        unit=unit,
        tolerance=0.0,
        basis="derived",
        gated=True,
        source=_COUNTED,
    )


def _count(name: str, what: str, holds: list[bool]) -> Claim:
    return _claim(name, what, sum(holds), len(holds), "cases")


def _slowdown(runs: dict[str, Ablation]) -> Claim:
    """Without interleaving each product waits for the one before; a tile's last has no next."""
    latency = SatSpec().array.adder_latency_cycles
    singles = [(run.by_interleave[1], run.os_tiles) for run in runs.values()]
    issue = sum(single.array_busy_cycles + single.hazard_cycles for single, _ in singles)
    expected = sum(latency * s.array_busy_cycles - (latency - 1) * tiles for s, tiles in singles)
    what = f"array time of OS products at I = 1: {latency} cycles each, the last of a tile 1"
    return _claim("interleave-1", what, issue, expected, "cycles")


def _interleaving(runs: dict[str, Ablation]) -> list[Claim]:
    latency = SatSpec().array.adder_latency_cycles
    same = [
        step.array_busy_cycles == run.by_interleave[1].array_busy_cycles
        for run in runs.values()
        for step in run.by_interleave.values()
    ]
    law = [
        run.by_interleave[i].hazard_cycles == run.expected_hazard_cycles[i]
        for run in runs.values()
        for i in INTERLEAVES
    ]
    hidden = [
        hazard_law(slots, i * blocks, i) == 0
        for i in INTERLEAVES
        if i >= latency
        for slots in (1, 144, 576)
        for blocks in (1, 7)
    ]
    return [
        _count("interleave-busy", "array-busy cycles are the same for I = 1 to 8", same),
        _count("interleave-law", "adder stalls of OS follow max(L - I, 0) per round", law),
        _count("interleave-hidden", "full blocks of I >= L tiles have no adder stalls", hidden),
    ]


def _pregeneration(runs: dict[str, Ablation]) -> list[Claim]:
    pairs = [(run.without_pregeneration, run.by_flow["auto"], run) for run in runs.values()]
    same = [
        off.busy_cycles[unit] == on.busy_cycles[unit]
        for off, on, _ in pairs
        for unit in ("stce", "vector")
    ]
    read = sum(off.read_bytes - on.read_bytes for off, on, _ in pairs)
    written = sum(off.write_bytes - on.write_bytes for off, on, _ in pairs)
    faster = [off.cycles > on.cycles for off, on, _ in pairs]
    expected = [sum(run.saved_read_bytes for *_, run in pairs)]
    expected.append(sum(run.saved_write_bytes for *_, run in pairs))
    return [
        _count("pregeneration-busy", "array- and vector-busy cycles do not depend on it", same),
        _claim("pregeneration-read", "reads saved by pre-generation", read, expected[0], "B"),
        _claim("pregeneration-write", "writes saved by pre-generation", written, expected[1], "B"),
        _count("pregeneration-gain", "pre-generation shortens the iteration", faster),
    ]


def _switching(runs: dict[str, Ablation]) -> list[Claim]:
    as_chosen = [
        run.by_flow["auto"].product_busy_cycles[op] == run.by_flow[flow].product_busy_cycles[op]
        for run in runs.values()
        for op, flow in run.chosen_flow.items()
    ]
    faster = [
        run.by_flow["auto"].cycles <= min(run.by_flow[flow].cycles for flow in ("ws", "os"))
        for run in runs.values()
    ]
    return [
        _count("switching-busy", "a product keeps the array as its chosen flow alone", as_chosen),
        _count("switching-gain", "choosing per product is no slower than either flow", faster),
    ]


def charts() -> list[Chart]:
    """Return what each optimisation gains, and interleaving from one to eight partial sums."""
    from hwsim.report.experiment_figures import group_chart, line_chart

    runs = {network: ablate(network) for network in NETWORKS}
    variants = {
        "no interleaving (I = 1)": lambda run: run.without_interleave,
        "no pre-generation": lambda run: run.without_pregeneration,
        "weight-stationary only": lambda run: run.by_flow["ws"],
        "output-stationary only": lambda run: run.by_flow["os"],
    }
    slowdowns = {
        name: [pick(run).cycles / run.by_flow["auto"].cycles - 1 for run in runs.values()]
        for name, pick in variants.items()
    }
    steps = {
        network: [
            run.by_interleave[i].cycles / run.by_interleave[INTERLEAVES[-1]].cycles
            for i in INTERLEAVES
        ]
        for network, run in runs.items()
    }
    latency = SatSpec().array.adder_latency_cycles
    return [
        group_chart(
            "sat-ablation",
            "What each optimisation is worth",
            f"How much longer a BDWP 2:8 iteration at batch {BATCH} takes with one optimisation "
            "off. The mapper chooses again: without interleaving, products that would wait for the "
            "adder move to weight-stationary tiles.",
            "longer than with everything on",
            list(runs),
            slowdowns,
        ),
        line_chart(
            "sat-interleave",
            "Interleaved partial sums, output-stationary",
            f"Makespan over that of I = {INTERLEAVES[-1]} with the same output-stationary tiles. "
            f"Adder latency L = {latency}; blocks cut short by a tile's end still wait.",
            ("partial sums per PE, I", "makespan over I = 8"),
            [str(i) for i in INTERLEAVES],
            steps,
        ),
    ]
