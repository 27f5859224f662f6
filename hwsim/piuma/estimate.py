"""Predict and enclose the cycles of a product from counts alone.

The prediction is the roofline of third-party notes on the machine's own analytic model: the larger
of bytes over bandwidth and instructions over instructions per cycle.
"""

from __future__ import annotations

from typing import Any

from hwsim.components.dram.limits import slowest_bytes_per_s
from hwsim.components.dram.state import Controller
from hwsim.core.machine import Bounds
from hwsim.core.units import ceil_div
from hwsim.piuma.smash_layout import smash_layout
from hwsim.piuma.spec import PiumaSpec

__all__ = ["bound_cycles", "estimate_cycles", "estimate_traffic"]

_INSTRUCTIONS = {
    "smash-v1": 34,
    "smash-v2": 30,
    "smash-v3": 28,
    "spmv": 9,
    "sddmm": 7,
} | dict.fromkeys(("spmm", "spmm-stp", "spmm-mixed", "dense", "block-rows"), 4)
"""Per product, with what else happens on the way (assumed: measured on few matrices)."""
_PER_LEVEL = {"row-heap": (28, 12), "outer": (40, 12), "row-esc": (20, 9)}
"""Per product of kernels that merge: at once, and per level of heap or sort (likewise)."""
_PER_COMPARISON = 6
_PER_ELEMENT = 16
"""Of a step between products."""
_LEAST_INSTRUCTIONS = {"spgemm": 6, "spmv": 3, "spmm": 3, "sddmm": 4, "sparse_step": 0}
"""Per product: loads of B, multiply, compare-and-swap, add, next."""
_SLACK = 64
"""Instructions per product, non-zero, row or window beyond probing, an upper limit."""


def estimate_traffic(fact: dict[str, Any]) -> tuple[int, int]:
    """Return bytes (read, written) off chip if every product reads its element of B."""
    attrs, dims = fact["attrs"], fact["dims"]
    products, nonzeros = attrs["products"], attrs["nnz_a"]
    read = 24 * nonzeros + 12 * dims["m"]
    if fact["kind"] == "spgemm":
        return read + 12 * products, 12 * attrs["capacity"] + 12 * dims["m"]
    if fact["kind"] == "sparse_step":
        return 16 * nonzeros, 8 * attrs.get("capacity", dims["m"] * dims["n"])
    if fact["kind"] == "sddmm":
        return read + 16 * products, 8 * nonzeros
    return read + 8 * products, 8 * dims["m"] * dims["n"]


def estimate_cycles(fact: dict[str, Any], spec: PiumaSpec) -> tuple[int, int]:
    """Return cycles of (instructions, memory)."""
    products = fact["attrs"]["products"] + fact["dims"]["m"]
    if fact["kind"] == "sparse_step":
        products += fact["attrs"]["nnz_a"]
    working = 0 if fact["kernel"] == "spmm-stp" else spec.mtp.pipelines
    working += spec.stp.pipelines if fact["kernel"] in ("spmm-stp", "spmm-mixed") else 0
    pipelines = max(1, spec.blocks * working)
    work = ceil_div(_instructions(fact, products), pipelines)
    rate = spec.dram_bytes_per_cycle * spec.blocks
    moved = sum(estimate_traffic(fact))
    memory = ceil_div(moved * rate.denominator, rate.numerator)
    return work + spec.dram_latency_cycles, 0 if spec.memory.model == "ideal" else memory


def _instructions(fact: dict[str, Any], products: int) -> int:
    kernel = fact["kernel"]
    if kernel == "inner":
        return _comparisons(fact) * _PER_COMPARISON
    if kernel in _PER_LEVEL:
        once, per_level = _PER_LEVEL[kernel]
        return products * (once + per_level * _levels(fact))
    return products * _INSTRUCTIONS.get(kernel, _PER_ELEMENT)


def _comparisons(fact: dict[str, Any]) -> int:
    """Return the steps of an inner product: each list of one side for each of the other."""
    attrs, dims = fact["attrs"], fact["dims"]
    return dims["m"] * (dims["n"] + attrs["nnz_b"]) + dims["n"] * attrs["nnz_a"]


def _levels(fact: dict[str, Any]) -> int:
    """Return the levels of the largest heap or sort."""
    most = "row_products" if fact["kernel"] == "row-esc" else "row_nonzeros"
    return max(1, int(fact["attrs"][most]).bit_length())


def bound_cycles(fact: dict[str, Any], spec: PiumaSpec) -> Bounds:
    """Return cycles that no run of the op's kernel undercuts or exceeds.

    At least its fewest instructions at one per pipeline and cycle; at most all its instructions,
    the longest possible probe sequences included, one after the other, each waiting for memory
    behind all other threads.
    """
    attrs, dims = fact["attrs"], fact["dims"]
    products = attrs["products"]
    least = ceil_div(products * _LEAST_INSTRUCTIONS[fact["kind"]], spec.peak_macs_per_cycle)
    probes, passes, slots = 1, 1, 0
    if fact["kernel"] == "inner":
        products += _comparisons(fact)
    elif fact["kind"] == "sparse_step":
        # Nine digits of a selection, or a sort of a row's visits.
        products += (attrs["nnz_a"] + dims["m"] * dims["n"]) * _SLACK
    elif fact["kernel"] in ("spmm-stp", "spmm-mixed"):
        # Tiles may have one row and column: each then loads its dense row and adds to the result.
        products += dims["m"] * dims["k"] * dims["n"]
    elif fact["kernel"] in _PER_LEVEL:
        probes = _levels(fact)
    elif fact["kind"] == "spgemm":
        layout = smash_layout(spec, int(fact["kernel"][-1]), dims["n"])
        probes, slots = layout.slots, layout.slots
        passes = ceil_div(dims["n"], layout.budget) + 1
    work = products * (probes + _SLACK) * _SLACK
    work += (attrs["nnz_a"] * passes + dims["m"] * (passes + 2)) * _SLACK
    # Every thread looks through the bounds of all others, and for its first and last row.
    work += spec.threads * (spec.threads + dims["m"] + 1) * _SLACK
    work += (dims["m"] + 2) * passes * slots * _SLACK
    hops = 2 * sum(spec.mesh) * spec.noc.hop_cycles
    slowest = spec.dram_latency_cycles + spec.spad.atomic_cycles + hops + spec.mtp.alu_cycles
    slowest += _slowest_access_cycles(spec) * spec.threads + spec.queue.latency_cycles
    return Bounds(max(1, least), work * (slowest + spec.sync.barrier_cycles))


def _slowest_access_cycles(spec: PiumaSpec) -> int:
    """Return cycles that no access of up to a line, read and written, takes a memory for.

    With DRAM commands: its bursts one after the other, nothing overlapping, and before them each
    time a full queue of writes.
    """
    rate, moved = spec.dram_bytes_per_cycle, 128
    if spec.memory.model == "dram":
        device = spec.memory.dram_device(1)
        rate = slowest_bytes_per_s(device) / spec.clock_hz
        moved = (2 * max(1, 64 // device.burst_bytes) + Controller().write_entries) * (
            device.burst_bytes
        )
    return ceil_div(moved * rate.denominator, rate.numerator)
