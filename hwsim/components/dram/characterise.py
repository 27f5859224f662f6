"""Measure what a device delivers: share of its peak per access pattern, latency under load."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.components.dram.controller import REQUEST, Counts, count_events, serve
from hwsim.components.dram.devices import Device
from hwsim.components.dram.limits import binding_rule, random_limits, refresh_limit
from hwsim.components.dram.state import Controller
from hwsim.core.errors import unknown_name

__all__ = [
    "LOADS",
    "PATTERNS",
    "LoadPoint",
    "PatternResult",
    "characterise",
    "default_count",
    "latencies",
    "loaded_latency",
    "pattern_requests",
]

PATTERNS = {
    "stream": "reads of consecutive 64-byte blocks",
    "stride": "reads of 64 bytes every 4160 bytes (a page and a block)",
    "random": "reads of 64 bytes anywhere",
    "mixed": "two streams, two reads for each write",
}
"""Meaning of each access pattern."""
LOADS = (0.05, 0.2, 0.35, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Offered loads of the latency curve, as shares of the peak."""

BLOCK_BYTES = 64
STRIDE_BYTES = 4096 + BLOCK_BYTES
INTERVALS = 4
"""Refresh intervals that a measurement spans at the peak, so that each has about as many."""
IN_FLIGHT_PER_BUS = 64
"""Requests per data bus that wait inside when as many as possible are asked for."""


@dataclass(frozen=True)
class PatternResult:
    """What one pattern got when it asked for as much as it could.

    ``share`` is of the peak; ``limit`` is the closed form that it cannot exceed, ``limit_rule``
    its name; ``refresh_share`` is the time in which an average rank refreshed.
    """

    pattern: str
    share: float
    bytes_per_s: float
    limit: float
    limit_rule: str
    hits: int
    misses: int
    conflicts: int
    refresh_share: float
    turnarounds: int

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON."""
        return asdict(self)


@dataclass(frozen=True)
class LoadPoint:
    """Latency at an offered load: mean and 95th percentile of reads, and of writes if there are.

    Loads are shares of the peak. A write's latency ends when its data have moved, though nobody
    may wait for it: it is the time that the controller keeps writes queued.
    """

    offered: float
    achieved: float
    read_mean_ns: float
    read_p95_ns: float
    write_mean_ns: float | None = None
    write_p95_ns: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON."""
        return asdict(self)


def pattern_requests(
    device: Device, pattern: str, n: int, rng: np.random.Generator, load: float | None = None
) -> NDArray[np.void]:
    """Return ``n`` requests of 64 bytes : REQUEST[n].

    They arrive all at once, or at random times (Poisson) that offer ``load`` of the peak.

    Raises
    ------
    InputError
        If there is no such pattern.
    """
    if pattern not in PATTERNS:
        raise unknown_name("--pattern", pattern, PATTERNS)
    requests = np.zeros(n, REQUEST)
    blocks = device.capacity_bytes // BLOCK_BYTES
    index = np.arange(n)
    if pattern == "random":
        block = rng.integers(0, blocks, n)
    elif pattern == "stride":
        block = index * (STRIDE_BYTES // BLOCK_BYTES)
    elif pattern == "mixed":
        requests["is_write"] = index % 3 == 2
        block = np.where(index % 3 == 2, blocks // 2 + index // 3, index - index // 3)
    else:
        block = index
    requests["address"] = block % blocks * BLOCK_BYTES
    requests["size_bytes"] = BLOCK_BYTES
    if load is not None:
        clocks = BLOCK_BYTES * device.clock_hz / (device.peak_bytes_per_s * load)
        requests["arrival"] = np.cumsum(rng.exponential(clocks, n)).astype(np.int64)
    return requests


def characterise(
    device: Device, pattern: str, controller: Controller | None = None, *, n: int = 0, seed: int = 0
) -> PatternResult:
    """Return what ``pattern`` gets when ``n`` requests all come at once.

    They come in the middle of a refresh interval, so that a run of whole intervals, which is the
    default at the peak rate, holds as many refreshes.
    """
    n = n or default_count(device, pattern)
    requests = pattern_requests(device, pattern, n, np.random.default_rng(seed))
    begin = device.timings["REFI"] // 2
    requests["arrival"] = begin
    dram = serve(device, requests, controller, in_flight=IN_FLIGHT_PER_BUS * device.controllers)
    clocks = int(requests["done"].max()) - begin
    return _to_result(device, pattern, n * BLOCK_BYTES, clocks, count_events(dram))


def _requests_per_interval(device: Device) -> int:
    """Return the requests that the peak rate moves between two all-bank refreshes."""
    seconds = device.timings["REFI"] / device.clock_hz
    return int(device.peak_bytes_per_s * seconds / BLOCK_BYTES) + 1


def default_count(device: Device, pattern: str) -> int:
    """Return how many requests to measure: INTERVALS at the peak rate, about.

    Two streams conflict while they are in the same banks. How often depends on how far they have
    come, so that they run until the slower one has come through all banks once or several times.
    """
    count = _requests_per_interval(device) * INTERVALS
    if pattern != "mixed":
        return count
    rows = device.row_bytes * device.banks * device.controllers
    rotation = 3 * rows // BLOCK_BYTES
    return rotation * max(1, round(count / rotation))


def _to_result(
    device: Device, pattern: str, size: int, clocks: int, counts: Counts
) -> PatternResult:
    rate = size * device.clock_hz / clocks
    rule = binding_rule(device) if pattern == "random" else "bus"
    limit = random_limits(device)[rule] if pattern == "random" else refresh_limit(device)
    return PatternResult(
        pattern=pattern,
        share=rate / device.peak_bytes_per_s,
        bytes_per_s=rate,
        limit=float(limit),
        limit_rule=rule,
        hits=counts.hits,
        misses=counts.misses,
        conflicts=counts.conflicts,
        refresh_share=counts.refresh_share(device, clocks),
        turnarounds=counts.turnarounds,
    )


def loaded_latency(
    device: Device, pattern: str, controller: Controller | None = None, *, n: int = 0, seed: int = 0
) -> list[LoadPoint]:
    """Return the latency of ``pattern`` at each of LOADS, up to the first it cannot sustain.

    All loads are made of the same requests, which come more or less often. The first tenth is left
    out: the memory starts empty.
    """
    n = n or default_count(device, pattern)
    points = []
    for load in LOADS:
        requests = pattern_requests(device, pattern, n, np.random.default_rng(seed), load)
        serve(device, requests, controller, in_flight=n)
        span = int(requests["done"].max() - requests["arrival"][0])
        achieved = n * BLOCK_BYTES * device.clock_hz / span / device.peak_bytes_per_s
        found = latencies(device, requests[n // 10 :])
        read, write = found["read"], found.get("write", {})
        points.append(
            LoadPoint(
                offered=load,
                achieved=achieved,
                read_mean_ns=read["mean"],
                read_p95_ns=read["p95"],
                write_mean_ns=write.get("mean"),
                write_p95_ns=write.get("p95"),
            )
        )
        if achieved < 0.93 * load:
            break
    return points


def latencies(device: Device, requests: NDArray[np.void]) -> dict[str, dict[str, float]]:
    """Return mean, 95th percentile and most ns from arrival to last data, of reads and writes."""
    waited = (requests["done"] - requests["arrival"]) * (1e9 / device.clock_hz)
    found = {}
    for is_write, kind in enumerate(("read", "write")):
        mine = waited[requests["is_write"] == is_write]
        if mine.size:
            p95 = float(np.percentile(mine, 95))
            found[kind] = {"mean": float(mine.mean()), "p95": p95, "most": float(mine.max())}
    return found
