"""Describe the workloads of several kernels: their parameters, with where defaults come from."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["WORKLOADS", "GcnSpec", "KhopSpec", "MlpSpec", "PprSpec", "TeddySpec"]

WORKLOADS = ("ppr", "teddy", "gcn", "khop", "mlp")

Product = Literal["auto", "smash-v1", "smash-v2", "smash-v3", "row-heap", "row-esc"]


class _Workload(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PprSpec(_Workload):
    """Personalised PageRank as PowerWalk computes it."""

    queries: int = Field(64, ge=1, le=1 << 20, description="in a batch (assumed: one per thread)")
    iterations: int = Field(6, ge=1, le=1000, description="on line (PowerWalk's README, indexed)")
    restart: float = Field(0.15, gt=0, lt=1, description="probability (PowerWalk's code)")
    threshold: float = Field(1e-4, ge=0, lt=1, description="least flow kept (PowerWalk's code)")
    walks: int = Field(
        16, ge=0, le=1 << 14, description="per vertex; 0: no index (assumed; its code has 1000)"
    )
    product: Product = Field("auto", description="kernel of the sparse products")


class TeddySpec(_Workload):
    """TEDDY's edge pruning in one shot."""

    prune: float = Field(0.2, ge=0, lt=1, description="share of edges (assumed)")
    product: Product = Field("auto", description="kernel of the sparse product")


class GcnSpec(_Workload):
    """A layer of a graph convolution."""

    hidden: int = Field(16, ge=1, le=1 << 16, description="columns of the weights (assumed)")


class KhopSpec(_Workload):
    """Breadth-first levels from a batch of sources."""

    hops: int = Field(2, ge=1, le=1000, description="(assumed)")
    sources: int = Field(64, ge=1, le=1 << 20, description="in a batch (assumed: one per thread)")
    product: Product = Field("auto", description="kernel of the sparse products")


class MlpSpec(_Workload):
    """Layers with the matrix as weights, in blocks."""

    layers: int = Field(2, ge=1, le=1000, description="(assumed)")
    block: Literal[1, 2, 4, 8] = Field(4, description="rows and columns of a block (assumed)")
