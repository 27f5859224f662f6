"""Decide as XNNPACK does whether a network runs sparse, and with which block of channels.

Rules of google/XNNPACK (``create_spmm_path`` and the sparse rewrite of ``subgraph.c``): a cluster
of layers in CHW layout runs sparse if strictly more than two thirds of the weights of all its 1x1
convolutions are zero; on x86 only without AVX, whose dense kernels are wider than the sparse SSE
ones. A layer takes blocks of four, else two, output channels if at least 90 % of the block's
elements are nonzero.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwsim.core.graph import Op, OpGraph, OpKind

__all__ = [
    "Cluster",
    "block_channels",
    "can_run_sparse",
    "chw_obstacle",
    "is_pointwise",
    "is_sparse_enough",
    "is_spmm_layer",
    "leading_cluster",
]

_POINTWISE = (
    *("add", "sub", "mul", "min", "max", "relu", "clip", "leaky_relu", "abs", "neg"),
    *("sigmoid", "hard_sigmoid", "hard_swish", "silu", "identity"),
)


def block_channels(weights: NDArray[np.floating]) -> int:
    """Return 4, 2 or 1: the output channels per block that XNNPACK packs ``weights`` [co, ci] in.

    Notes
    -----
    Nonzeros of the whole blocks are compared with the blocks that hold any:
    ``5 * nonzeros >= 18 * blocks`` for four (3.6 of 4), ``>= 9`` for two (1.8 of 2), in integers.
    Without any nonzero in whole blocks the comparison holds, as in the original.
    """
    kept = np.asarray(weights) != 0
    for nr, per_five in ((4, 18), (2, 9)):
        whole = kept[: len(kept) - len(kept) % nr]
        blocks = whole.reshape(-1, nr, kept.shape[1]).any(axis=1)
        if 5 * int(whole.sum()) >= per_five * int(blocks.sum()):
            return nr
    return 1


def is_sparse_enough(zeros: int, params: int) -> bool:
    """Return whether strictly more than two thirds of a cluster's 1x1 weights are zero."""
    return 3 * zeros > 2 * params


def can_run_sparse(architecture: str, *, has_avx: bool = False, dtype: str = "float32") -> bool:
    """Return whether XNNPACK offers sparse inference: FP32 or FP16, and no AVX on x86."""
    if architecture in ("x86", "x86-64") and has_avx:
        return False
    return dtype in ("float32", "float16")


def is_pointwise(op: Op) -> bool:
    """Return whether ``op`` is a 1x1 convolution of stride 1 without padding."""
    if op.kind is not OpKind.CONV:
        return False
    dims, attrs = op.dims, op.attrs
    return (
        (dims["kh"], dims["kw"]) == (1, 1)
        and tuple(attrs["strides"]) == (1, 1)
        and tuple(attrs["pads"]) == (0, 0, 0, 0)
    )


def is_spmm_layer(op: Op) -> bool:
    """Return whether ``op`` is a 1x1 convolution of stride 1, ungrouped and unpadded."""
    return is_pointwise(op) and op.dims["groups"] == 1


def _is_first_conv(op: Op) -> bool:
    dims, attrs = op.dims, op.attrs
    return (
        (dims["kh"], dims["kw"], dims["groups"], dims["ci"]) == (3, 3, 1, 3)
        and tuple(attrs["strides"]) == (2, 2)
        and tuple(attrs["pads"]) == (1, 1, 1, 1)
        and tuple(attrs["dilations"]) == (1, 1)
    )


def _is_chw_depthwise(op: Op) -> bool:
    dims, attrs = op.dims, op.attrs
    size, stride = dims["kh"], attrs["strides"][0]
    return (
        op.is_depthwise
        and dims["co"] == dims["ci"]
        and dims["kw"] == size
        and size in (3, 5)
        and tuple(attrs["strides"]) == (stride, stride)
        and stride in (1, 2)
        and tuple(attrs["pads"]) == (size // 2,) * 4
        and tuple(attrs["dilations"]) == (1, 1)
    )


def chw_obstacle(graph: OpGraph, op: Op) -> str | None:
    """Return why ``op`` cannot run in CHW layout inside a sparse cluster, or None if it can."""
    if op.kind is OpKind.CONV:
        if is_spmm_layer(op) or _is_chw_depthwise(op) or _is_first_conv(op):
            return None
        dims = op.dims
        shape = f"{dims['kh']}x{dims['kw']} stride {op.attrs['strides'][0]}"
        return f"{op.name}: convolution {shape} with groups {dims['groups']} has no CHW kernel"
    function = str(op.attrs.get("function", ""))
    if op.kind in (OpKind.ELEMENTWISE, OpKind.NORMALIZATION):
        known = function in (*_POINTWISE, "batch")
        return None if known else f"{op.name}: {function or op.kind.value} has no CHW kernel"
    if op.kind is OpKind.RESHAPE or _is_global_mean(graph, op):
        return None
    return f"{op.name}: {op.kind.value} has no CHW kernel"


def _is_global_mean(graph: OpGraph, op: Op) -> bool:
    if op.kind is OpKind.REDUCE:
        return op.attrs.get("function") == "mean"
    is_whole = graph.tensors[op.output].shape[-2:] == (1, 1)
    return op.kind is OpKind.POOL and op.attrs.get("function") == "average" and is_whole


@dataclass(frozen=True)
class Cluster:
    """The leading part of a network that can run in CHW layout.

    Attributes
    ----------
    ops : tuple of str
        Names in topological order, first convolution included; empty if the entry is missing.
    zeros, params : int
        Summed over the 1x1 convolutions of ``ops``.
    obstacle : str
        What ended the cluster or kept it from starting; empty if it left by a global mean or
        reached the end of the network.
    """

    ops: tuple[str, ...]
    zeros: int
    params: int
    obstacle: str

    @property
    def is_sparse(self) -> bool:
        """Return whether the cluster passes the gate of two thirds."""
        return is_sparse_enough(self.zeros, self.params)


def leading_cluster(graph: OpGraph, kept: dict[str, int] | None = None) -> Cluster:
    """Return the CHW cluster that starts at the network's first convolution.

    Parameters
    ----------
    graph : OpGraph
        A convolutional network whose input is an image in HWC layout.
    kept : dict of op name to int, optional
        Nonzero weights per 1x1 convolution; default: what the operands' patterns keep.

    Notes
    -----
    The cluster begins with a 3x3 stride-2 convolution of three channels, the one kernel that reads
    HWC and writes CHW, and ends in front of the first op without a CHW kernel.
    """
    names: list[str] = []
    zeros = params = 0
    has_left = False
    for op in _after_input(graph.ops()):
        if not names and not (op.kind is OpKind.CONV and _is_first_conv(op)):
            return Cluster((), 0, 0, f"{op.name}: a cluster starts at a 3x3 stride-2 convolution")
        obstacle = chw_obstacle(graph, op)
        if obstacle is not None:
            return Cluster(tuple(names), zeros, params, "" if has_left else obstacle)
        names.append(op.name)
        if op.kind is not OpKind.RESHAPE:
            has_left = _is_global_mean(graph, op)
        if is_spmm_layer(op) and op.weight is not None:
            dims = op.gemm()
            count = dims.k * dims.n
            stored = (kept or {}).get(op.name, op.weight.pattern.kept((dims.k, dims.n)))
            params, zeros = params + count, zeros + count - stored
    return Cluster(tuple(names), zeros, params, "")


def _after_input(ops: Iterable[Op]) -> Iterable[Op]:
    """Yield ``ops`` without leading layout changes of the input image."""
    seen = False
    for op in ops:
        seen = seen or op.kind not in (OpKind.TRANSPOSE, OpKind.RESHAPE)
        if seen:
            yield op
