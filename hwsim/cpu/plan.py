"""Choose the path and kernel of every op: the sparse CHW path or the dense channels-last one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.graph import Op, OpGraph, OpKind
from hwsim.core.mapping import Mapping
from hwsim.core.sparsity import Block, Dense
from hwsim.cpu.generated import check_registers, kernel_name, needed_registers
from hwsim.cpu.microkernel.gemm import BLOCK
from hwsim.cpu.selection import (
    Cluster,
    block_channels,
    can_run_sparse,
    chw_obstacle,
    is_sparse_enough,
    is_spmm_layer,
    leading_cluster,
)
from hwsim.cpu.spec import CpuSpec

__all__ = [
    "KERNELS",
    "adapt_graph",
    "chosen_block",
    "dense_kernel",
    "is_sparse_vector",
    "plan_product",
]

_PIXELS = (16, 32, 4, 8, 12)
KERNELS = (*map(str, _PIXELS), *(f"{mr}x{nr}" for mr in _PIXELS for nr in (1, 2, 4)))
"""Pixels per strip, and output channels per block where they are not left to the weights."""

LAYOUT, TILE = "cpu_layout", "cpu_tile"
"""Attributes of an op: ``chw`` or ``nhwc``; what was asked for as kernel."""

_WIDTHS = (32, 16, 8, 4)
_AUTO_WIDTH = 32
"""Pixels per strip of XNNPACK's kernels on ARM64 and WebAssembly alike."""
_DENSE_ROWS = (6, 4, 2, 1)
_PIPELINED = ("aarch64", 1)
"""Instruction set and channels per block whose kernels are software-pipelined; others are plain."""
_AUTO_BLOCKS = {"aarch64": (1, 2, 4), "wasm": (1,)}
"""Channels per block that XNNPACK has vector kernels for."""


def adapt_graph(graph: OpGraph, spec: CpuSpec, kernel: str, dataflow: str) -> OpGraph:
    """Return ``graph`` with :data:`LAYOUT` and :data:`TILE` among each op's attributes.

    With dataflow ``auto`` the leading cluster of CHW layers runs sparse if XNNPACK's gates let it;
    ``sparse`` skips the gate of two thirds, ``dense`` keeps all channels last.

    Raises
    ------
    InputError
        If ``sparse`` is asked for and no cluster starts, naming the op in the way.
    """
    cluster = leading_cluster(graph)
    runs = can_run_sparse("x86-64" if spec.backend == "wasm" else "aarch64", has_avx=spec.has_avx)
    is_sparse = runs and (cluster.is_sparse or dataflow == "sparse") and dataflow != "dense"
    if dataflow == "sparse" and not cluster.ops:
        raise InputError("--dataflow", "a network that starts in CHW", cluster.obstacle)
    inside = set(cluster.ops) if is_sparse else set()
    if is_sparse:
        inside |= {op.name for op in graph.ops() if is_sparse_vector(op)}
    ops: list[Op] = []
    dense: list[str] = []
    for op in graph.ops():
        if not _has_sparse_kernel(op):
            op = _dense(op)
            dense.append(op.name)
        choice = {LAYOUT: "chw" if op.name in inside else "nhwc", TILE: kernel}
        ops.append(op.model_copy(update={"attrs": {**op.attrs, **choice}}))
    notes = _notes(cluster, is_sparse)
    if dense:
        notes.append(f"dense, for no kernel skips their zeros: {', '.join(dense)}")
    return graph.replace(ops=ops, notes=notes)


def _has_sparse_kernel(op: Op) -> bool:
    """Return whether a pattern on the weights of ``op`` can save anything (or there is none)."""
    is_sparse = op.is_gemm and op.weight is not None and not op.weight.pattern.is_dense
    return not is_sparse or is_spmm_layer(op) or op.kind is OpKind.LINEAR


def _dense(op: Op) -> Op:
    inputs = tuple(
        operand.model_copy(update={"pattern": Dense()}) if operand is op.weight else operand
        for operand in op.inputs
    )
    return op.model_copy(update={"inputs": inputs})


def _notes(cluster: Cluster, is_sparse: bool) -> list[str]:
    """Say which path the network takes, and why."""
    if not cluster.ops:
        return [f"dense path: {cluster.obstacle}"]
    path = "sparse" if is_sparse else "dense"
    text = f"{path} path: {cluster.zeros} of {cluster.params} weights of its 1x1 layers are zero"
    return [f"{text}; CHW ends at {cluster.obstacle}" if cluster.obstacle else text]


def is_sparse_vector(op: Op) -> bool:
    """Return whether ``op`` is a linear layer of one row whose weights are 2/3 zeros."""
    if op.kind is not OpKind.LINEAR or op.weight is None or op.gemm().m != 1:
        return False
    dims = op.gemm()
    count = dims.k * dims.n
    return is_sparse_enough(count - op.weight.pattern.kept((dims.k, dims.n)), count)


def plan_product(op: Op, flow: str, spec: CpuSpec) -> Mapping:
    """Return the mapping of a product: its layout and kernel.

    Raises
    ------
    MappingError
        If the kernel asked for needs more vector registers than there are.
    """
    layout = op.attrs.get(LAYOUT) or ("chw" if flow == "sparse" and _has_chw(op) else "nhwc")
    if layout == "nhwc":
        return _mapping(
            op, "dwconv" if op.is_depthwise else "gemm", "nhwc", dense_kernel(spec), spec
        )
    if not is_spmm_layer(op) and op.kind is not OpKind.LINEAR:
        size, stride = op.dims["kh"], op.attrs["strides"][0]
        if op.is_depthwise:
            return _mapping(op, "dwconv", "chw", f"dw-{size}x{size}s{stride}", spec)
        return _mapping(op, "conv-hwc2chw", "chw", "first-conv", spec)
    return _sparse_mapping(op, *_tile(op, str(op.attrs.get(TILE, "auto")), spec), spec)


def dense_kernel(spec: CpuSpec) -> str:
    """Return the dense kernel with the most rows that the registers hold, of XNNPACK's six."""
    names = [f"gemm-{rows}x{BLOCK}" for rows in _DENSE_ROWS]
    have = spec.core.vector_registers
    return next((n for n in names if needed_registers(n, spec.backend) <= have), names[-1])


def _has_chw(op: Op) -> bool:
    if op.kind is not OpKind.CONV:
        return False
    empty = OpGraph("one", [op], [], [], [])
    return chw_obstacle(empty, op) is None


def _mapping(op: Op, kernel: str, layout: str, name: str, spec: CpuSpec) -> Mapping:
    """Return the mapping of a dense kernel; an engine of WebAssembly spills what does not fit."""
    if spec.backend == "aarch64":
        check_registers(name, spec)
    used = min(needed_registers(name, spec.backend), spec.core.vector_registers)
    return Mapping(
        op=op.name,
        dataflow="sparse" if layout == "chw" else "dense",
        placement={"kernel": kernel, "layout": layout},
        buffer_bytes={"vector_registers": 16 * used},
    )


def _form(nr: int, spec: CpuSpec) -> str:
    """Return the form of Fast Sparse ConvNets' and XNNPACK's kernels of ``nr`` channels."""
    return "pipelined" if (spec.backend, nr) == _PIPELINED else "plain"


def _fits(mr: int, nr: int, spec: CpuSpec) -> bool:
    name = kernel_name(mr, nr, _form(nr, spec))
    return needed_registers(name, spec.backend) <= spec.core.vector_registers


def _sparse_mapping(op: Op, mr: int, nr: int, spec: CpuSpec) -> Mapping:
    form = _form(nr, spec)
    name = kernel_name(mr, nr, form)
    check_registers(name, spec)
    return Mapping(
        op=op.name,
        dataflow="sparse",
        tiling={"mr": mr, "nr": nr},
        placement={"kernel": "spmm", "layout": "chw", "form": form},
        buffer_bytes={"vector_registers": 16 * needed_registers(name, spec.backend)},
    )


def _tile(op: Op, kernel: str, spec: CpuSpec) -> tuple[int, int]:
    """Return (pixels, channels) per block; by the weights' pattern where not asked for."""
    width, _, block = kernel.partition("x")
    pattern = op.weight.pattern if op.weight is not None else None
    nr = 1
    if isinstance(pattern, Block) and pattern.rows == 1 and pattern.cols in (2, 4):
        nr = pattern.cols
    if block:
        return int(width), int(block)
    return _narrowed(kernel, nr, spec)


def _narrowed(kernel: str, nr: int, spec: CpuSpec) -> tuple[int, int]:
    """Return (pixels, channels) for weights that fill blocks of ``nr``.

    ``auto`` takes XNNPACK's width and blocks; what the registers cannot hold is halved in width.
    """
    if kernel == "auto" and nr not in _AUTO_BLOCKS[spec.backend]:
        nr = 1
    width = _AUTO_WIDTH if kernel == "auto" else int(kernel)
    narrower = [mr for mr in _WIDTHS if mr < width]
    fitting = [mr for mr in (width, *narrower) if _fits(mr, nr, spec)]
    return (fitting[0], nr) if fitting else (width, nr)


def chosen_block(op: Op, mapping: Mapping, mask: NDArray[np.bool_], spec: CpuSpec) -> Mapping:
    """Return ``mapping`` with the block that the weights fill, as decided when they are packed.

    ``mask`` bool[ci, co]. A block asked for stays; otherwise XNNPACK's rule of 90 % decides.
    """
    kernel = str(op.attrs.get(TILE, "auto"))
    if "x" in kernel:
        return mapping
    nr = block_channels(mask.T.astype(np.float32))
    return _sparse_mapping(op, *_narrowed(kernel, nr, spec), spec)
