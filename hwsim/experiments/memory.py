"""Check what DRAM devices deliver against closed forms of their timings.

Streams are measured over four refresh intervals with all-bank refresh, random reads as well.
Clocks, latencies and commands of Ramulator 2.1 on identical traces: :mod:`ramulator`.
"""

from __future__ import annotations

from functools import cache

from hwsim.components.dram.characterise import PatternResult, characterise
from hwsim.components.dram.devices import device_names, load_device
from hwsim.components.dram.state import Controller
from hwsim.core.result import Claim
from hwsim.experiments import ramulator

__all__ = ["claims", "unchecked"]

_LEAST_STREAM = 0.95
"""Of the peak that all-bank refresh leaves: what a stream must reach."""
_DEEP_ENTRIES = 512
_SOURCE = "closed form of the device's timings (hwsim/components/dram/limits.py)"


@cache
def _measured(name: str, pattern: str, entries: int) -> PatternResult:
    controller = Controller(read_entries=entries)
    return characterise(load_device(name), pattern, controller)


def claims() -> list[Claim]:
    """Return the claims of every device (streams, refresh, random reads) and of the peer."""
    found: list[Claim] = []
    for name in device_names():
        stream = _measured(name, "stream", 32)
        found += [_stream_claim(name, stream), _refresh_claim(name, stream)]
    found.append(_bound_claim())
    found += [_gap_claim(name) for name in device_names()]
    return found + ramulator.claims()


def _stream_claim(name: str, stream: PatternResult) -> Claim:
    """Compare a stream with the peak that refresh leaves: 95 % of it at least, 100 % at most."""
    return Claim(
        id=f"memory-stream-{name}",
        what="streaming reads, of the peak that all-bank refresh leaves (tRFC per tREFI)",
        simulated=stream.share / stream.limit,
        reference=1.0,
        unit="1",
        tolerance=1 - _LEAST_STREAM,
        basis="derived",
        gated=True,
        source=_SOURCE,
    )


def _refresh_claim(name: str, stream: PatternResult) -> Claim:
    """Add to the time in which data move that in which ranks refresh, by commands counted."""
    return Claim(
        id=f"memory-refresh-{name}",
        what="share of a stream's time in which data move, or a rank refreshes (commands counted)",
        simulated=stream.share + stream.refresh_share,
        reference=1.0,
        unit="1",
        tolerance=0.03,
        basis="derived",
        gated=True,
        source=_SOURCE,
    )


def _bound_claim() -> Claim:
    """Count the devices on which random reads stay below the least closed form."""
    names = device_names()
    below = [_measured(name, "random", 32) for name in names]
    below += [_measured(name, "random", _DEEP_ENTRIES) for name in names]
    return Claim(
        id="memory-random-bound",
        what="devices and queue depths on which random reads stay below bus, tRRD, tFAW, tRC and "
        "command bus",
        simulated=sum(result.share <= result.limit for result in below),
        reference=len(below),
        unit="cases",
        tolerance=0.0,
        basis="derived",
        gated=True,
        source=_SOURCE,
    )


def _gap_claim(name: str) -> Claim:
    """Compare random reads with the binding rule when no queue holds up another channel's."""
    deep = _measured(name, "random", _DEEP_ENTRIES)
    return Claim(
        id=f"memory-random-gap-{name}",
        what=f"random reads, queues of {_DEEP_ENTRIES}, of the binding rule ({deep.limit_rule})",
        simulated=deep.share / deep.limit,
        reference=1.0,
        unit="1",
        tolerance=0.15,
        basis="derived",
        gated=False,
        source=_SOURCE,
    )


def unchecked() -> list[str]:
    """Return what no claim compares."""
    return [
        "memory: cycle counts of DRAMsim3 or gem5 on the same traces, and of Ramulator for DDR5, "
        "LPDDR4X and HBM2E; none of them comes as a package. Ramulator's figures are those of a "
        "build of its public sources reduced to the parts in use.",
        "memory: measurements of the boards' memories.",
    ]
