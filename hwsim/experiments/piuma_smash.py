"""Compare SMASH's three versions, and say which unknown parameter drives the result."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from hwsim.core.result import Claim, Result
from hwsim.experiments.piuma_runs import PIECE_ROWS, calibrated, run_product, sampled_rows

if TYPE_CHECKING:
    from hwsim.report.canvas import Chart

__all__ = ["VERSIONS", "charts", "claims", "sensitivity"]

VERSIONS = ("smash-v1", "smash-v2", "smash-v3")
_PIECES = 8
_FIGURE_PIECES = 4
_PUBLISHED = 9.4
"""Speed-up that the abstract states (Shivdikar 2021)."""

_WHY = (
    "V1 hangs on few windows in which a hub's row overflows its part of the table. Windows, tags, "
    "scratchpad and order of vertices are not in the texts at hand; of twelve readings "
    "(docs/piuma.md) none that a text supports is within 30 %"
)

SETTINGS: dict[str, tuple[str, ...]] = {
    "4 threads per pipeline, not 16": ("mtp.threads=4",),
    "32 threads per pipeline": ("mtp.threads=32",),
    "memory 50 cycles away, not 100": ("dram.latency_cycles=50",),
    "memory 200 cycles away": ("dram.latency_cycles=200",),
    "memory of 8.8 GB/s, not 17.6": ("dram.bandwidth_bytes_per_s=8800000000",),
    "memory of 35.2 GB/s": ("dram.bandwidth_bytes_per_s=35200000000",),
    "atomics of 20 cycles, not 10": ("spad.atomic_cycles=20",),
    "scratchpad of 1 MB, not 4": ("spad.capacity_bytes=1048576",),
    "hash by plain bits": ("smash.hash=plain",),
    "slots 6 % full, not 12": ("smash.load_percent=6",),
    "slots 24 % full": ("smash.load_percent=24",),
    "tokens of 4 non-zeros, not 1": ("smash.token_nonzeros=4",),
    "V1 without sorting": ("smash.is_sorted=false",),
    "4 blocks, not 1": ("blocks=4",),
}
"""What the figure varies, one at a time, from the default parameter set."""


@cache
def _run(kernel: str, settings: tuple[str, ...], pieces: int) -> Result:
    return run_product(kernel, sampled_rows(pieces), calibrated(), settings)[0]


def _cycles(kernel: str, settings: tuple[str, ...] = (), pieces: int = _PIECES) -> int:
    return _run(kernel, settings, pieces).cycles


def claims() -> list[Claim]:
    """Return order and ratio of the versions with one set of parameters, the default one."""
    v1, v2, v3 = (_cycles(kernel) for kernel in VERSIONS)
    plain = ("smash.hash=plain",)
    plain_v2, plain_v3 = (_cycles(kernel, plain) for kernel in VERSIONS[1:])
    where = f"{_PIECES * PIECE_ROWS} rows of the calibrated R-MAT times all of it"
    return [
        _order("", f"V1 takes longer than V2, V2 than V3 (1: yes), {where}", v1 > v2 > v3),
        _order("-plain", "the same with plain bits of the tag", v1 > plain_v2 > plain_v3),
        _ratio("", f"time of V1 over V3, {where}; {_WHY}", v1 / v3),
        _ratio("-plain", "the same with plain bits of the tag", v1 / plain_v3),
    ]


def _order(name: str, what: str, holds: bool) -> Claim:
    return Claim(
        id=f"piuma-smash-order{name}",
        what=what,
        simulated=float(holds),
        reference=1.0,
        unit="1",
        tolerance=0.0,
        basis="derived",
        gated=True,
        source="each version removes a cost of the one before; their recollected order",
    )


def _ratio(name: str, what: str, simulated: float) -> Claim:
    return Claim(
        id=f"piuma-smash-ratio{name}",
        what=what,
        simulated=simulated,
        reference=_PUBLISHED,
        unit="x",
        tolerance=0.3,
        basis="published",
        gated=False,
        source="Shivdikar 2021, abstract; that it is V1 over V3 is an assumption",
    )


def sensitivity() -> dict[str, dict[str, float]]:
    """Return {version: {setting: relative change of its time}}, one parameter changed at a time."""
    found: dict[str, dict[str, float]] = {}
    for kernel in VERSIONS:
        base = _cycles(kernel, (), _FIGURE_PIECES)
        found[kernel] = {
            name: _cycles(kernel, settings, _FIGURE_PIECES) / base - 1
            for name, settings in SETTINGS.items()
        }
    return found


def charts() -> list[Chart]:
    """Return how each version's time changes with each parameter that no text at hand states."""
    from hwsim.report.experiment_figures import group_chart

    changes = sensitivity()
    caption = (
        f"Change of the time of {_FIGURE_PIECES * PIECE_ROWS} rows of the calibrated R-MAT times "
        "all of it when one parameter differs from the default. No text at hand states them. Few "
        "hub rows are among these: with more of them V1 takes longer (docs/piuma.md)."
    )
    return [
        group_chart(
            "piuma-sensitivity",
            "Which unknown drives SMASH's time",
            caption,
            "change of the time",
            list(SETTINGS),
            {kernel: list(values.values()) for kernel, values in changes.items()},
        )
    ]
