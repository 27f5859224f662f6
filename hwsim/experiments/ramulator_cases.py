"""Say what is compared with Ramulator 2.1: seeded traces, devices, settings of both simulators.

Used by the claims (:mod:`ramulator`) and by the script that measures (``benchmarks/ramulator.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hwsim.components.dram.controller import REQUEST
from hwsim.components.dram.devices import Device, load_device, make_device
from hwsim.components.dram.state import Controller

__all__ = [
    "CASES",
    "IN_FLIGHT",
    "N_REQUESTS",
    "PRESETS",
    "SATURATED",
    "SEED",
    "TRACES",
    "Case",
    "case_device",
    "controller",
    "make_trace",
    "their_settings",
]

N_REQUESTS = 20_000
SEED = 7
IN_FLIGHT = 64
"""Requests inside the memory at a time, both kinds; the others wait outside in order."""
STRIDE_BYTES = 4096
CHASE_CLOCKS = 200
"""Between two requests of ``chase``: longer than any read without a refresh."""

SATURATED = ("stream", "stride", "random", "mix-stream", "mix-random")
"""Traces with a request in every clock: what they take is the memory's bandwidth."""
LOADS = {"load-40": 40, "load-20": 20, "load-12": 12, "mix-load-40": 40, "mix-load-12": 12}
"""Random traces whose requests are so many clocks apart on average, geometrically distributed."""
TRACES = (*SATURATED, "chase", *LOADS)
_DISPUTED = ("mix-stream", "mix-random", "mix-load-12")
"""Traces on which the two decisions matter that Ramulator takes unlike this project's defaults."""

PRESETS = {
    "ddr4-2400": ("DDR4", "DDR4_8Gb_x4", "DDR4_2400U"),
    "ddr4-3200": ("DDR4", "DDR4_8Gb_x8", "DDR4_3200AA"),
    "hbm2-1800": ("HBM2", "HBM2_2Gb", "HBM2_2000Mbps"),
}
"""Device -> Ramulator's standard, organisation and timing presets, whose numbers are replaced."""
_TIMINGS = {
    **{"CL": "nCL", "CWL": "nCWL", "BL": "nBL", "RP": "nRP", "RAS": "nRAS", "RC": "nRC"},
    **{"WR": "nWR", "CCD_S": "nCCDS", "CCD_L": "nCCDL", "RRD_S": "nRRDS", "RRD_L": "nRRDL"},
    **{"FAW": "nFAW", "WTR_S": "nWTRS", "WTR_L": "nWTRL", "RFC_AB": "nRFC", "REFI": "nREFI"},
}
_OWN_TIMINGS = {
    "DDR4": {"RCD_RD": "nRCD", "RTP": "nRTP", "CS": "nCS"},
    "HBM2": {
        **{"RCD_RD": "nRCDRD", "RCD_WR": "nRCDWR", "RTP": "nRTPL"},
        **{"RFC_PB": "nRFCpb", "REFI_PB": "nREFIpb", "REFPB_NEXT": "nRREFD"},
    },
}


@dataclass(frozen=True)
class Case:
    """One trace on one device, scheduled by Ramulator in one way.

    Attributes
    ----------
    device, trace : str
        Keys of :data:`PRESETS`, one of :data:`TRACES`.
    mapping : str
        Address mapping of both.
    scheduler : str
        Ramulator's.
    page : str
        ``closed``: Ramulator's ``ClosedCAP`` that closes a row after one access.
    is_exchanged : bool
        Whether both take this project's two default decisions, with which Ramulator was built;
        else both take Ramulator's.
    """

    device: str
    trace: str
    mapping: str = "RoRaBaCoBgCh"
    scheduler: str = "FRFCFS-RowHit"
    page: Literal["open", "closed"] = "open"
    is_exchanged: bool = False

    @property
    def is_comparable(self) -> bool:
        """Return whether rows are closed by the same commands, where that matters.

        ``ClosedCAP`` precharges by commands of its own, before activates and reads that wait.
        Where commands bound the traffic that takes time (benchmarks/closed_cap.py).
        """
        return (self.device, self.trace, self.page) != ("ddr4-2400", "random", "closed")

    @property
    def name(self) -> str:
        """Return the key of the recorded figures."""
        marks = [self.mapping] if self.mapping != "RoRaBaCoBgCh" else []
        marks += [self.scheduler] if self.scheduler != "FRFCFS-RowHit" else []
        marks += [self.page] if self.page != "open" else []
        marks += ["exchanged"] if self.is_exchanged else []
        return "-".join([self.device, self.trace, *marks]).lower()


CASES = (
    *(Case(device, trace) for device in PRESETS for trace in TRACES),
    *(Case("ddr4-3200", trace, "RoBaRaCoCh") for trace in ("stream", "stride", "random")),
    *(Case("ddr4-2400", trace, scheduler="FRFCFS") for trace in ("stride", "random")),
    *(Case(d, t, page="closed") for d in ("ddr4-2400", "ddr4-3200") for t in ("random", "load-12")),
    *(Case(device, trace, is_exchanged=True) for device in PRESETS for trace in _DISPUTED),
)


@cache
def case_device(name: str) -> Device:
    """Return one data bus of the device; HBM2's read to write as Ramulator's DDR rule has it."""
    device = load_device(name, 1)
    timings = dict(device.timings)
    if device.family == "hbm":
        timings["RTW"] = timings["CL"] + timings["BL"] + 2 - timings["CWL"]
    return make_device({**device.model_dump(), "pseudo_channels": 1, "timings": timings})


def controller(case: Case) -> Controller:
    """Return this project's settings: those of Ramulator, no draining by age.

    Ramulator drains writes to a level, and its requests leave the queue at their activate and come
    first from then on.
    """
    return Controller(
        drain_end="count" if case.is_exchanged else "level",
        is_activated_first=not case.is_exchanged,
        page=case.page,
        mapping=case.mapping,
        drain_high=26,
        drain_low=6,
        write_age_clocks=(1 << 20) - 1,
    )


def their_settings(case: Case) -> dict[str, Any]:
    """Return Ramulator's: presets, the timings that replace theirs, queues and watermarks.

    Its write mode begins above 0.8 x 32 queued writes (26) and ends below 0.2 x 32 (6).
    """
    standard, organisation, timing = PRESETS[case.device]
    names = _TIMINGS | _OWN_TIMINGS[standard]
    device = case_device(case.device)
    overrides = {theirs: device.timings[ours] for ours, theirs in names.items()}
    if standard == "HBM2":
        overrides["pseudochannel"] = 1
    return {
        "standard": standard,
        "org_preset": organisation,
        "timing_preset": timing,
        "overrides": overrides,
        "scheduler": case.scheduler,
        "row_policy": "Open" if case.page == "open" else "ClosedCAP",
        "cap": 1,  # of ClosedCAP
        "refresh_manager": "AllBank",
        "addr_mapper": "RoBaRaCoCh" if case.mapping == "RoBaRaCoCh" else "PassThrough",
        "read_buffer_size": 32,
        "write_buffer_size": 32,
        "wr_low_watermark": 0.2,
        "wr_high_watermark": 0.8,
        "in_flight": IN_FLIGHT,
        "write_latency": device.timings["CWL"] + device.timings["BL"],
        "is_exchanged": case.is_exchanged,
    }


def make_trace(device: Device, name: str) -> NDArray[np.void]:
    """Return the requests of a trace : REQUEST[N_REQUESTS], one burst each, seeded."""
    rng = np.random.default_rng(SEED)
    k = np.arange(N_REQUESTS, dtype=np.int64)
    unit, bursts = device.burst_bytes, device.capacity_bytes // device.burst_bytes
    requests = np.zeros(N_REQUESTS, REQUEST)
    requests["arrival"] = k
    requests["size_bytes"] = unit
    if name.startswith("mix"):
        requests["is_write"] = k % 3 == 2
    if name == "stream":
        address = k * unit
    elif name == "stride":
        address = k * STRIDE_BYTES % device.capacity_bytes
    elif name == "mix-stream":  # the reads run through the lower half, the writes through the upper
        address = np.where(k % 3 == 2, bursts // 2 + k // 3, k - k // 3) * unit
    else:
        address = rng.integers(0, bursts, N_REQUESTS) * unit
    requests["address"] = address
    if name == "chase":
        requests["arrival"] = k * CHASE_CLOCKS
    elif name in LOADS:
        requests["arrival"] = np.cumsum(rng.geometric(1 / LOADS[name], N_REQUESTS))
    return requests
