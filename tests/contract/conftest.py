"""Offer small graphs that together use every operator kind a machine may meet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_array, random_array

from hwsim.core.graph import Op, OpGraph, OpKind
from hwsim.core.machine import Machine, machine_class, machine_names, make_machine
from hwsim.core.program import Program
from hwsim.core.sparsity import NM, Block, Pattern, Unstructured
from mappers.greedy import map_graph
from models.build import GraphBuilder
from models.llm.config import parse_config
from models.llm.graph import llm_graph
from models.sparse.build import product_graph
from models.training import training_graph
from models.workload import Workload


def convolutions() -> OpGraph:
    """Plain, strided, dilated, 1x1, grouped and depthwise convolutions, ragged everywhere."""
    b = GraphBuilder("convolutions")
    x = b.input("x", (2, 13, 15, 11))
    x = b.relu("act0", b.conv("plain", x, 37, 3, pad=1))
    x = b.conv("depthwise", x, 37, 3, stride=2, pad=1, groups=37)
    skip = x = b.conv("pointwise", x, 40, 1, bias=False)
    x = b.relu("act1", b.conv("grouped", x, 40, 3, pad=1, groups=4))
    x = b.elementwise("join", "add", x, skip)
    x = b.conv("dilated", x, 24, 3, pad=(1, 2, 2, 1), dilation=2)
    x = b.conv("one_group_per_pair", x, 24, (1, 3), pad=(0, 1, 0, 1), groups=12)
    x = b.pool("pool", x, "max", 2)
    x = b.flatten("flat", b.global_pool("mean", x, "average"))
    return b.build([b.linear("head", x, 10)])


def attention() -> OpGraph:
    """One head of attention: products of activations, softmax, normalisation, moves."""
    b = GraphBuilder("attention")
    x = b.input("x", (1, 19, 24))
    h = b.layer_norm("norm", x)
    q, k, v = (b.linear(name, h, 24) for name in ("query", "key", "value"))
    scores = b.softmax("softmax", b.matmul("scores", q, b.transpose("turn", k, (0, 2, 1))))
    mixed = b.linear("out", b.matmul("mix", scores, v), 24)
    return b.build([b.elementwise("join", "add", x, mixed)])


def upsampling() -> OpGraph:
    """A transposed convolution between two linear-like layers."""
    b = GraphBuilder("upsampling")
    x = b.conv("narrow", b.input("x", (1, 8, 5, 7)), 6, 1)
    dims = {"batch": 1, "ci": 6, "co": 4, "ih": 5, "iw": 7, "oh": 11, "ow": 15}
    dims |= {"kh": 3, "kw": 3, "groups": 1}
    attrs = {"strides": [2, 2], "dilations": [1, 1], "pads": [0, 0, 0, 0]}
    weight = b.weight("up.weight", (6, 4, 3, 3))
    shape = (1, 4, 11, 15)
    up = b.add(OpKind.CONV_TRANSPOSE, "up", [x, weight], shape, dims=dims, attrs=attrs)
    return b.build([up])


def one_product() -> OpGraph:
    """The smallest graph there is."""
    b = GraphBuilder("one_product")
    return b.build([b.linear("fc", b.input("x", (1, 1)), 1, bias=False)])


def sparse(nm_n: int, nm_m: int) -> OpGraph:
    """Convolution and linear layers under N:M, reductions ragged in the linear ones."""
    b = GraphBuilder(f"sparse_{nm_n}_{nm_m}")
    x = b.input("x", (1, 16, 9, 10))
    x = b.relu("act", b.conv("conv3", x, 48, 3, pad=1))
    x = b.conv("conv1", x, 35, 1, stride=2)
    x = b.flatten("flat", b.global_pool("mean", x, "average"))
    x = b.linear("fc0", x, 45)
    graph = b.build([b.linear("fc1", x, 7)])
    return with_pattern(graph, nm_n, nm_m)


def with_pattern(graph: OpGraph, nm_n: int, nm_m: int) -> OpGraph:
    """Return ``graph`` with N:M on every weight matrix along the reduction."""
    pattern = NM(nm_n=nm_n, nm_m=nm_m)

    def sparsified(op: Op) -> Op:
        if not op.is_gemm or op.weight is None:
            return op
        first = op.weight
        inputs = tuple(
            operand.model_copy(update={"pattern": pattern}) if operand is first else operand
            for operand in op.inputs
        )
        return op.model_copy(update={"inputs": inputs})

    return graph.replace(ops=[sparsified(op) for op in graph.ops()])


def training(method: str) -> OpGraph:
    """One iteration of a strided and a plain convolution, batch norm and linear layers, 2:8."""
    b = GraphBuilder("training")
    x = b.relu("act0", b.conv("first", b.input("x", (2, 3, 9, 9)), 16, 3, pad=1))
    x = b.conv("strided", x, 24, 3, stride=2, pad=1, bias=False)
    skip = x = b.relu("act1", b.batch_norm("norm", x))
    x = b.elementwise("join", "add", b.conv("plain", x, 24, 3, pad=1, bias=False), skip)
    x = b.flatten("flat", b.global_pool("mean", x, "average"))
    x = b.relu("act2", b.linear("mid", x, 16))
    return training_graph(b.build([b.linear("head", x, 10)]), method, (2, 8))


GRAPHS: dict[str, Callable[[], OpGraph]] = {
    "convolutions": convolutions,
    "attention": attention,
    "upsampling": upsampling,
    "one_product": one_product,
    "sparse_2_4": lambda: sparse(2, 4),
    "sparse_2_8": lambda: sparse(2, 8),
    "sparse_1_4": lambda: sparse(1, 4),
    "training_dense": lambda: training("dense"),
    "training_bdwp": lambda: training("bdwp"),
    "training_sdgp": lambda: training("sdgp"),
}


def mobile(keep: float) -> OpGraph:
    """A small mobile network in the layers of a CHW cluster, odd extents, 1x1 layers pruned."""
    b = GraphBuilder("mobile")
    x = b.relu("act0", b.conv("first", b.input("image", (1, 3, 23, 19)), 8, 3, stride=2, pad=1))
    skip = x = b.relu("act1", b.conv("expand", x, 21, 1))
    x = b.relu("act2", b.conv("stencil", x, 21, 3, pad=1, groups=21))
    x = b.elementwise("join", "add", b.conv("project", x, 21, 1), skip)
    x = b.elementwise("gate", "silu", b.conv("wide", x, 18, 5, stride=2, pad=2, groups=1))
    x = b.flatten("flat", b.global_pool("mean", x, "average"))
    graph = b.build([b.linear("head", x, 10)])
    return _on_core(_pruned(graph, Unstructured(keep=keep)))


def squeezed() -> OpGraph:
    """Depthwise 5x5 and 3x3 of both strides, squeeze and excite, blocks of output channels."""
    b = GraphBuilder("squeezed")
    x = b.relu("act0", b.conv("first", b.input("image", (2, 3, 17, 26)), 8, 3, stride=2, pad=1))
    x = b.conv("stencil5", x, 8, 5, pad=2, groups=8)
    x = b.conv("stencil5s2", x, 8, 5, stride=2, pad=2, groups=8)
    y = b.conv("reduce", b.global_pool("squeeze", x, "average"), 3, 1)
    y = b.elementwise("sigmoid", "sigmoid", b.conv("excite", y, 8, 1))
    x = b.conv("block", b.elementwise("scale", "mul", x, y), 22, 1)
    x = b.conv("stencil3s2", x, 22, 3, stride=2, pad=1, groups=22)
    x = b.flatten("flat", b.global_pool("mean", x, "average"))
    graph = b.build([b.linear("head", x, 9)])
    return _on_core(_pruned(graph, Block(rows=1, cols=4, keep=0.2)))


def _pruned(graph: OpGraph, pattern: Pattern) -> OpGraph:
    """Return ``graph`` with ``pattern`` on its 1x1 convolutions."""

    def pruned(op: Op) -> Op:
        if op.kind is not OpKind.CONV or op.dims["kh"] > 1 or op.name in ("reduce", "excite"):
            return op
        operands = (op.inputs[0], op.inputs[1].model_copy(update={"pattern": pattern}))
        return op.model_copy(update={"inputs": (*operands, *op.inputs[2:])})

    return graph.replace(ops=[pruned(op) for op in graph.ops()])


def _on_core(graph: OpGraph) -> OpGraph:
    """Return ``graph`` with the paths that a core takes for it."""
    return make_machine("cpu").adapt(graph)


def language_model(workload: Workload, pattern: NM | None = None, **changed: int) -> OpGraph:
    """Two gated layers with grouped queries, extents ragged against tiles of 16, 128 and 512."""
    values: dict[str, Any] = {
        "model_type": "llama",
        "hidden_size": 544,
        "intermediate_size": 1100,
        "num_hidden_layers": 2,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 68,
        "vocab_size": 600,
        **changed,
    }
    graph = llm_graph("tiny", parse_config(values), workload)
    return graph if pattern is None else with_pattern(graph, pattern.nm_n, pattern.nm_m)


LANGUAGE_MODELS: dict[str, Callable[[], OpGraph]] = {
    "step": lambda: language_model(Workload(phase="decode", kv_tokens=600)),
    "sparse_step": lambda: language_model(
        Workload(phase="decode", kv_tokens=16), NM(nm_n=4, nm_m=16)
    ),
    "prompt": lambda: language_model(Workload(phase="prefill", seq_tokens=130)),
    "request": lambda: language_model(
        Workload(phase="request", prompt_tokens=130, generate_tokens=20),
        hidden_size=136,
        intermediate_size=90,
        vocab_size=70,
        num_hidden_layers=1,
    ),
}


def experts() -> OpGraph:
    """A prompt through one layer of three routed experts, two per token."""
    values = {
        "model_type": "mixtral",
        "hidden_size": 48,
        "intermediate_size": 40,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 50,
        "num_local_experts": 3,
        "num_experts_per_tok": 2,
    }
    return llm_graph("experts", parse_config(values), Workload(phase="prefill", seq_tokens=9))


def sparse_product(kernel: str, rows: int = 40, density: float = 0.1) -> OpGraph:
    """A square matrix with empty rows, times itself or times dense columns, by ``kernel``."""
    rng = np.random.default_rng(rows)
    a = random_array((rows, rows), density=density, rng=rng, format="csr", dtype=np.float64)
    a.data = rng.integers(-4, 5, a.nnz).astype(np.float64)
    a.data[a.data == 0] = 1.0
    return product_graph(f"{kernel}-{rows}", kernel, csr_array(a), features=11)


SPARSE_GRAPHS: dict[str, Callable[[], OpGraph]] = {
    "smash_v1": lambda: sparse_product("smash-v1"),
    "smash_v2": lambda: sparse_product("smash-v2"),
    "smash_v3": lambda: sparse_product("smash-v3"),
    "spmv": lambda: sparse_product("spmv"),
    "spmm": lambda: sparse_product("spmm"),
    "sddmm": lambda: sparse_product("sddmm"),
    "outer": lambda: sparse_product("outer"),
}

GRAPHS_OF: dict[str, dict[str, Callable[[], OpGraph]]] = {
    "cpu": {
        "mobile_sparse": lambda: mobile(0.15),
        "mobile_dense": lambda: mobile(0.5),
        "squeezed": squeezed,
        "attention": attention,
        "upsampling": upsampling,
    },
    "flightllm": LANGUAGE_MODELS,
    "piuma": SPARSE_GRAPHS,
    "sat": GRAPHS | {"experts": experts},
}
"""Machine -> the graphs that it is asked to run. A new machine names its own here."""

SETTINGS = {"smash_v1": ("smash.slots=8192",)}
"""Graph -> settings. V1's threads read every slot of a table that 40 rows leave all but empty; its
full size would cost 25 s of scanning, and V2 keeps it."""

CASES = [
    (name, preset, graph)
    for name in machine_names()
    for preset in machine_class(name).presets()
    for graph in GRAPHS_OF[name]
]


@dataclass(frozen=True)
class Case:
    """One graph, mapped and lowered for one machine."""

    machine: Machine
    graph: OpGraph
    program: Program


@cache
def lowered(name: str, preset: str | None, graph_name: str) -> Case:
    """Return the graph's program for a preset of a machine (None: its default)."""
    machine = make_machine(name, preset, settings=SETTINGS.get(graph_name, ()))
    graph = GRAPHS_OF[name][graph_name]()
    return Case(machine, graph, machine.lower(graph, map_graph(graph, machine)))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes ``machine_name`` for every machine, ``case`` for every program.

    A test marked ``graphs(name, ...)`` runs for the machines that run all of these graphs.
    """
    if "case" in metafunc.fixturenames:
        ids = ["-".join(case) for case in CASES]
        metafunc.parametrize(("machine_name", "preset", "graph_name"), CASES, ids=ids)
    elif "machine_name" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("graphs")
        needed = set(marker.args) if marker is not None else set()
        names = [name for name in machine_names() if needed <= GRAPHS_OF[name].keys()]
        metafunc.parametrize("machine_name", names)


@pytest.fixture
def case(machine_name: str, preset: str, graph_name: str) -> Case:
    """Return one graph lowered for one preset of one machine."""
    return lowered(machine_name, preset, graph_name)


@pytest.fixture
def sparsified() -> Callable[[OpGraph, int, int], OpGraph]:
    """Return a function that puts N:M on every weight matrix of a graph."""
    return with_pattern


@pytest.fixture
def lower() -> Callable[..., Case]:
    """Return a function of machine, preset and graph names that returns the case."""
    return lowered


@pytest.fixture
def machine(machine_name: str) -> Machine:
    """Return a machine with its default preset."""
    return make_machine(machine_name)


@pytest.fixture
def draw_values() -> Callable[[Case, int], tuple[Program, dict[str, NDArray[Any]]]]:
    """Return a function that attaches random weights and masks to a case's program."""
    return attach_values


def attach_values(case: Case, seed: int) -> tuple[Program, dict[str, NDArray[Any]]]:
    """Return the program with weights and masks, and activations for every matrix product."""
    rng = np.random.default_rng(seed)
    inputs: dict[str, NDArray[Any]] = {}
    tensors: dict[str, NDArray[np.generic]] = {}
    for op in case.graph.ops():
        if op.is_sparse:  # patterns stay, values are drawn anew: whole numbers, exact in any order
            drawn = [o.tensor for o in op.inputs if o.tensor.endswith((".val", "x", "y"))]
            for name in drawn:
                old = case.graph.weights[name]
                tensors[name] = rng.integers(1, 9, old.shape).astype(old.dtype)
        if not op.is_gemm:
            continue
        dims = op.gemm()
        rows, columns = dims.m, dims.n
        pattern = op.weight.pattern if op.weight is not None else None
        if isinstance(op.inputs[0].pattern, NM):
            # The right operand is the sparse one: the product is given transposed.
            pattern, rows, columns = op.inputs[0].pattern.model_copy(update={"axis": 0}), dims.n, 20
        draw = DRAWS.get(case.machine.name, _half)
        inputs[f"{op.name}.a"] = draw(rng, (dims.groups, min(rows, 20), dims.k))
        tensors[f"{op.name}.b"] = draw(rng, (dims.groups, dims.k, columns))
        if pattern is not None and not pattern.is_dense:
            masks = [pattern.sample_mask((dims.k, columns), rng) for _ in range(dims.groups)]
            tensors[f"{op.name}.mask"] = np.stack(masks)
    graph = case.graph
    mappings = map_graph(graph, case.machine)
    attached = {**graph.weights, **tensors} if not inputs else tensors
    return case.machine.lower(graph, mappings, attached), inputs


def _half(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float16]:
    return rng.standard_normal(shape).astype(np.float16)


def _codes(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.int8]:
    return rng.integers(-127, 128, shape).astype(np.int8)


DRAWS: dict[str, Callable[..., NDArray[Any]]] = {"flightllm": _codes}
"""How a machine's operands are drawn, if not as FP16."""
