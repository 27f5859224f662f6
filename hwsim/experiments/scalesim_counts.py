"""Reproduce the cycle counts that SCALE-Sim 3.0.0 prints, with preset ``scalesim``.

Counts of the 512-cubed GEMMs, dense and N:M, were printed by SCALE-Sim 3.0.0 on a 32x32 array, as
were the totals of five ResNet-50 layers as GEMMs; the others follow from its conventions.
"""

from __future__ import annotations

from hwsim.core.graph import Op, Operand, OpGraph, OpKind, Role, TensorInfo
from hwsim.core.machine import make_machine
from hwsim.core.result import Claim
from hwsim.core.sparsity import NM, Dense, Pattern
from mappers.greedy import map_graph

__all__ = ["claims", "gemm_graph"]

_SOURCE = "SCALE-Sim 3.0.0, printed total cycles, 32x32 array"

_GEMMS: dict[tuple[int, int, int], dict[str, int]] = {
    (512, 512, 512): {"ws": 155135, "os": 146943, "is": 155135},
    (128, 64, 256): {"ws": 3551, "os": 2543, "is": 5055},
    (37, 91, 53): {"ws": 785, "os": 689, "is": 739},
    (1, 1000, 2048): {"ws": 194559, "os": 67519, "is": 70015},
}
_SPARSE = {(2, 4): 77567, (2, 8): 38783}
_RESNET50_LAYERS = [
    (12544, 64, 147),
    (3136, 64, 576),
    (784, 128, 1152),
    (196, 256, 2304),
    (49, 512, 4608),
]
_RESNET50_TOTALS = {"ws": 865599, "os": 692235, "is": 1139115}


def gemm_graph(
    shapes: list[tuple[int, int, int]], pattern: Pattern | None = None, name: str = "gemms"
) -> OpGraph:
    """Return a graph of independent GEMMs given as (m, n, k), weights under ``pattern``."""
    ops, tensors, inputs = [], [], []
    for index, (m, n, k) in enumerate(shapes):
        tag = f"gemm{index}"
        tensors += [
            TensorInfo(name=f"{tag}.a", shape=(m, k)),
            TensorInfo(name=f"{tag}.b", shape=(k, n)),
            TensorInfo(name=f"{tag}.c", shape=(m, n)),
        ]
        weight = Operand(tensor=f"{tag}.b", role=Role.WEIGHT, pattern=pattern or Dense())
        dims = {"batch": 1, "m": m, "k": k, "n": n}
        operands = (Operand(tensor=f"{tag}.a"), weight)
        ops.append(Op(name=tag, kind=OpKind.LINEAR, dims=dims, inputs=operands, output=f"{tag}.c"))
        inputs.append(f"{tag}.a")
    graph = OpGraph(name, ops, tensors, inputs, [op.output for op in ops])
    graph.verify()
    return graph


def claims() -> list[Claim]:
    """Return one exact claim per count."""
    found: list[Claim] = []
    for shape, counts in _GEMMS.items():
        name = "x".join(str(extent) for extent in shape)
        for dataflow, count in counts.items():
            found.append(_claim(f"{name}-{dataflow}", [shape], dataflow, count))
    for (nm_n, nm_m), count in _SPARSE.items():
        pattern = NM(nm_n=nm_n, nm_m=nm_m)
        name = f"512x512x512-ws-{nm_n}:{nm_m}"
        found.append(_claim(name, [(512, 512, 512)], "ws", count, pattern))
    for dataflow, count in _RESNET50_TOTALS.items():
        # A network's total is the sum of its layers' printed counts.
        found.append(_claim(f"resnet50-5layers-{dataflow}", _RESNET50_LAYERS, dataflow, count))
    return found


def _claim(
    name: str,
    shapes: list[tuple[int, int, int]],
    dataflow: str,
    count: int,
    pattern: Pattern | None = None,
) -> Claim:
    machine = make_machine("sat", "scalesim")
    graph = gemm_graph(shapes, pattern)
    program = machine.lower(graph, map_graph(graph, machine, dataflow=dataflow))
    return Claim(
        id=f"scalesim-{name}",
        what=f"cycles of {name} (m x n x k) as SCALE-Sim prints them",
        simulated=machine.run(program).cycles,
        reference=count,
        unit="cycles",
        tolerance=0.0,
        basis="peer",
        gated=True,
        source=_SOURCE,
    )
