"""Hand-built results that look like a sparse convolutional network on a small array."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hwsim.core.gemm import gemm_dims
from hwsim.core.result import (
    Claim,
    LayerResult,
    Provenance,
    Result,
    Stats,
    UnitStats,
    empty_stalls,
)

PEAK = 1024
BYTES_PER_CYCLE = 108.8


def split(rng: np.random.Generator, cycles: int, weights: dict[str, float]) -> UnitStats:
    """Return an account of exactly ``cycles``; the weights' key ``busy`` takes the rest."""
    stall = empty_stalls()
    for reason, weight in weights.items():
        if reason not in ("busy", "idle"):
            stall[reason] = int(cycles * weight * rng.uniform(0.5, 1.0))
    idle = int(cycles * weights.get("idle", 0.0))
    return UnitStats(cycles - idle - sum(stall.values()), stall, idle)


def matrix_layer(rng: np.random.Generator, index: int, start: int) -> LayerResult:
    """Return one 2:8-sparse convolution, wider and smaller with depth."""
    stage = index // 10
    channels, side = 64 << min(stage, 3), 56 >> min(stage, 3)
    kernel = 3 if index % 3 else 1
    dims = {"batch": 8, "ci": channels, "co": channels, "ih": side, "iw": side, "groups": 1}
    dims |= {"oh": side, "ow": side, "kh": kernel, "kw": kernel}
    gemm = gemm_dims("conv", dims)
    is_dense = index == 0
    useful = gemm.macs if is_dense else gemm.macs // 4
    issued = useful + useful // 12
    cycles = int(issued / PEAK * rng.uniform(1.3, 2.4)) + 900
    weights = {"dram": 0.24 if stage > 2 else 0.06, "fill": 0.09, "load": 0.1, "drain": 0.05}
    weights |= {"hazard": 0.02, "dependency": 0.03, "idle": 0.01}
    moved = {"read": 2 * (gemm.m * gemm.k // kernel**2 + gemm.k * gemm.n // 4)}
    return LayerResult(
        name=f"layer{stage + 1}.{index % 10 // 3}.conv{index % 3 + 1}",
        kind="conv",
        stage="infer",
        dims=dims,
        mapping={
            "op": f"conv{index}",
            "dataflow": ("ws", "os")[stage % 2],
            "gemm": gemm.to_json(),
            "note": "first layer: 3 input channels do not fill a group of 8" if is_dense else "",
        },
        start_cycle=start,
        end_cycle=start + cycles,
        cycles=cycles,
        unit="stce",
        account=split(rng, cycles, weights),
        macs=gemm.macs,
        issued_macs=issued,
        useful_macs=useful,
        bytes={"dram": {**moved, "write": 2 * gemm.m * gemm.n}},
    )


def vector_layer(rng: np.random.Generator, index: int, start: int) -> LayerResult:
    """Return an elementwise layer on the vector unit."""
    cycles = int(rng.integers(4_000, 30_000))
    return LayerResult(
        name=f"layer{index // 10 + 1}.add{index}",
        kind="elementwise",
        stage="infer",
        dims={"elems": cycles * 20},
        mapping={"op": f"add{index}", "dataflow": "vector"},
        start_cycle=start,
        end_cycle=start + cycles,
        cycles=cycles,
        unit="vector",
        account=split(rng, cycles, {"dram": 0.5, "idle": 0.05}),
        macs=0,
        issued_macs=0,
        useful_macs=0,
        bytes={"dram": {"read": cycles * 40, "write": cycles * 20}},
    )


def build_result(layers: int = 50, seed: int = 1) -> Result:
    """Return a result whose identities hold (Result.check passes)."""
    rng = np.random.default_rng(seed)
    rows: list[LayerResult] = []
    start = 0
    for index in range(layers):
        make = vector_layer if index % 6 == 5 else matrix_layer
        rows.append(make(rng, index, start))
        start += rows[-1].cycles
    units = {
        "stce": split(
            rng,
            start,
            {
                "dram": 0.16,
                "fill": 0.08,
                "load": 0.1,
                "drain": 0.05,
                "hazard": 0.02,
                "dependency": 0.05,
                "idle": 0.04,
            },
        ),
        "vector": split(rng, start, {"dram": 0.03, "dependency": 0.06, "idle": 0.82}),
        "dma": split(rng, start, {"queue_full": 0.25, "resource": 0.05, "idle": 0.2}),
        "sore": split(rng, start, {"dependency": 0.04, "idle": 0.9}),
    }
    moved = {way: sum(row.bytes["dram"][way] for row in rows) for way in ("read", "write")}
    dense = {row.name: int(row.cycles * rng.uniform(1.0, 3.6)) for row in rows}
    stats = Stats(
        cycles=start,
        units=units,
        macs=sum(row.macs for row in rows),
        issued_macs=sum(row.issued_macs for row in rows),
        useful_macs=sum(row.useful_macs for row in rows),
        bytes={"dram": moved},
        energy_by_component_pj={
            "dram": 8.0 * sum(moved.values()),
            "mac": 1.1 * sum(row.issued_macs for row in rows),
            "sram": 0.9 * sum(row.issued_macs for row in rows),
            "static": 40.0 * start,
        },
    )
    baseline: dict[str, Any] = {
        "dense_cycles": sum(dense.values()),
        "speedup": sum(dense.values()) / start,
        "layers": dense,
    }
    return Result(
        model="resnet50",
        machine="sat",
        preset="vcu1525",
        fidelity="cycle",
        clock_hz=200_000_000,
        peak_macs_per_cycle=PEAK,
        stats=stats,
        layers=rows,
        provenance=Provenance("3f2a9c51d0b7e864", "a81c44e2b90f5d13", 7, {"hwsim": "0.1.0"}),
        baseline=baseline,
        unmodelled=[{"name": "head.nms", "operator": "NonMaxSuppression", "bytes_share": 0.004}],
        deviations=["Off-chip memory is a fixed rate with 85 % efficiency (assumed)."],
        notes=["Batch 8, one image per tile row."],
        verification=[
            {"layer": "layer1.0.conv1", "rows_checked": 64, "equal": True, "max_abs_error": 0.0},
            {"layer": "layer3.1.conv2", "rows_checked": 64, "equal": True, "max_abs_error": 0.0},
        ],
        tier="T1",
        extra={"memory_bytes_per_cycle": BYTES_PER_CYCLE, "spec": {"array": {"rows": 32}}},
    )


@pytest.fixture(scope="session")
def result() -> Result:
    """Return a 50-layer result."""
    return build_result()


@pytest.fixture
def run() -> dict[str, Any]:
    """Return a fresh 50-layer run document that a test may change."""
    return build_result().to_json()


@pytest.fixture
def small_run() -> dict[str, Any]:
    """Return a fresh 3-layer run document."""
    return build_result(layers=3).to_json()


@pytest.fixture
def schedule() -> dict[str, Any]:
    """Return a training run of 100 steps: 40 dense ones of 600 cycles, 60 of 300 at 2:8."""
    frames = [
        {"from_step": 0, "steps": 40, "nm": None, "beta": 0.0, "is_dense": True},
        {"from_step": 40, "steps": 60, "nm": "2:8", "beta": 0.0, "is_dense": False},
    ]
    for frame, cycles in zip(frames, (600, 300), strict=True):
        frame["cycles_per_step"] = cycles
        frame["share"] = frame["steps"] * cycles / 42_000
    return {
        "kind": "constant",
        "steps": 100,
        "cycles": 42_000,
        "time_s": 42_000 / 200_000_000,
        "dense_cycles": 60_000,
        "speedup": 60_000 / 42_000,
        "frames": frames,
    }


@pytest.fixture
def training_run() -> dict[str, Any]:
    """Return a run document with two layers in every stage of a training iteration."""
    run = build_result(layers=10).to_json()
    stages = [
        ("ff", "conv"),
        ("bp", "conv"),
        ("wu", "conv_wgrad"),
        ("wu", "weight_update"),
        ("bp", "nm_prune"),
    ]
    for layer, (stage, kind) in zip(run["layers"], stages * 2, strict=True):
        layer |= {"stage": stage, "kind": kind}
        if kind in ("weight_update", "nm_prune"):
            layer |= {"macs": 0, "issued_macs": 0, "useful_macs": 0}
        if kind == "nm_prune":
            del run["baseline"]["layers"][layer["name"]]
    return run


@pytest.fixture
def claims() -> list[Claim]:
    """Return three claims: inside, outside, and outside without gating."""
    return [
        Claim(
            "sat.speedup",
            "mean speed-up over dense",
            1.75,
            1.78,
            "×",
            0.05,
            "published",
            True,
            "Author 2023, Table 3",
        ),
        Claim(
            "sat.cycles",
            "cycles of one tile",
            1200.0,
            1000.0,
            "cycles",
            0.0,
            "rtl",
            True,
            "co-simulation of the array",
        ),
        Claim(
            "sat.energy",
            "energy of an epoch",
            9.0,
            10.0,
            "mJ",
            0.02,
            "peer",
            False,
            "another simulator",
        ),
    ]


@pytest.fixture
def memory_models() -> list[dict[str, Any]]:
    """Return two models of memory, the first of the run itself."""
    counts = {"cycles": 1000, "time_s": 1e-6, "dram_stall_cycles": 10}
    return [
        {"model": "ideal", **counts, "is_this_run": True},
        {"model": "dram", **counts, "cycles": 1500, "is_this_run": False},
    ]


@pytest.fixture
def peers() -> list[dict[str, Any]]:
    """Return a sparse product's time on one other accelerator."""
    times = {"time_s": 1e-6, "bytes": 100_000, "memory_bytes_per_s": 10**11}
    return [{"machine": "Gamma", **times, "limit": "memory", "rule": "closed form"}]


@pytest.fixture
def area() -> dict[str, Any]:
    """Return the area of two PEs."""
    names = ("lut", "ff", "dsp48e2", "ramb36", "uram")
    part = {
        "unit": "sat/uspe",
        "count": 2,
        "parameters": {"nm_m": 8},
        "cells": dict.fromkeys(names, 10),
        "sizes": 5,
        "residual": {"lut": 0.01, "ff": 0.0},
        "left_out": {"lut": 0.02, "ff": 0.0},
        "outside": ["nm_m: 8, synthesised 2 to 4"],
    }
    return {
        "board": "vcu1525",
        "total": dict.fromkeys(names, 10),
        "board_has": dict.fromkeys(names, 100),
        "share": dict.fromkeys(names, 0.1),
        "is_extrapolated": True,
        "parts": [part],
        "missing": ["vector path"],
        "stale": [],
        "tools": ["pyosys=0.1"],
    }
