"""Report what a run took: cycles, per-unit accounts, layers, energy, outputs and provenance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import HwsimError

__all__ = [
    "SCHEMA_VERSION",
    "STALL_REASONS",
    "Claim",
    "LayerResult",
    "Provenance",
    "Result",
    "Stats",
    "Trace",
    "UnitStats",
    "empty_stalls",
    "tool_versions",
]

SCHEMA_VERSION = "1.0"
"""Version of the run and validate JSON documents."""

STALL_REASONS = (
    "resource",  # a port or functional unit is taken
    "queue_full",  # the consumer's queue has no room
    "data_wait",  # an operand is on its way inside the chip
    "dependency",  # another unit has not finished what this one needs
    "hazard",  # a pipeline hazard, for example adder latency
    "frontend",  # no instruction has been dispatched yet
    "fill",  # a pipeline is filling (skew, first results not out yet)
    "load",  # stationary operands are being loaded
    "drain",  # results are being shifted out
    "cache",  # a cache miss
    "atomic",  # an atomic operation
    "network",  # a message
    "dram",  # bytes from off-chip memory
    "sync",  # a barrier
)
"""The closed list of reasons for which a unit that has work does not work."""


def empty_stalls() -> dict[str, int]:
    """Return zero cycles for every stall reason."""
    return dict.fromkeys(STALL_REASONS, 0)


@dataclass
class UnitStats:
    """Cycles of one unit: ``busy`` + sum of ``stall`` + ``idle`` = cycles of the run."""

    busy: int = 0
    stall: dict[str, int] = field(default_factory=empty_stalls)
    idle: int = 0

    @classmethod
    def from_account(cls, account: NDArray[np.int64]) -> UnitStats:
        """Return the stats of ``account`` : int64[2 + reasons], busy, stalls in order, idle."""
        busy, *stalls, idle = (int(cycles) for cycles in account)
        return cls(busy, dict(zip(STALL_REASONS, stalls, strict=True)), idle)

    @property
    def total(self) -> int:
        """Return the cycles accounted for."""
        return self.busy + sum(self.stall.values()) + self.idle

    def to_json(self) -> dict[str, Any]:
        """Return the entry of the run JSON's ``units``."""
        return {"busy": self.busy, "stall": dict(self.stall), "idle": self.idle}


@dataclass
class LayerResult:
    """One graph op's part of a run. ``cycles`` is the increase of the latest completion so far."""

    name: str
    kind: str
    stage: str
    dims: dict[str, int]
    mapping: dict[str, Any]
    start_cycle: int
    end_cycle: int
    cycles: int
    unit: str
    account: UnitStats
    macs: int
    issued_macs: int
    useful_macs: int
    bytes: dict[str, dict[str, int]]

    def to_json(self) -> dict[str, Any]:
        """Return the entry of the run JSON's ``layers``."""
        return {
            "name": self.name,
            "kind": self.kind,
            "stage": self.stage,
            "dims": self.dims,
            "mapping": self.mapping,
            "start_cycle": self.start_cycle,
            "end_cycle": self.end_cycle,
            "cycles": self.cycles,
            "unit": self.unit,
            **self.account.to_json(),
            "macs": self.macs,
            "issued_macs": self.issued_macs,
            "useful_macs": self.useful_macs,
            "bytes": self.bytes,
        }


@dataclass
class Stats:
    """Counts of a whole run. ``bytes`` maps a memory level to its ``read`` and ``write``."""

    cycles: int
    units: dict[str, UnitStats]
    macs: int
    issued_macs: int
    useful_macs: int
    bytes: dict[str, dict[str, int]]
    energy_by_component_pj: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of_layers(
        cls, cycles: int, units: dict[str, UnitStats], layers: Sequence[LayerResult]
    ) -> Stats:
        """Return the sums over ``layers``, whose units took ``cycles``; energy is not counted."""
        moved: dict[str, dict[str, int]] = {}
        for layer in layers:
            for level, counts in layer.bytes.items():
                into = moved.setdefault(level, {"read": 0, "write": 0})
                for direction, count in counts.items():
                    into[direction] += count
        macs, issued_macs, useful_macs = (
            sum(getattr(layer, name) for layer in layers)
            for name in ("macs", "issued_macs", "useful_macs")
        )
        return cls(cycles, units, macs, issued_macs, useful_macs, moved)

    @property
    def energy_pj(self) -> float:
        """Return the total energy in picojoules."""
        return float(sum(self.energy_by_component_pj.values()))


@dataclass
class Trace:
    """Events of a run, times in cycles.

    Attributes
    ----------
    units, op_names, opcodes, channels : list of str
        Names behind the indices.
    events : structured array
        Fields unit, opcode, op_id, start, end; in order of start per unit.
    flows : structured array
        Fields channel, unit_from, time_from, unit_to, time_to: one per token that was waited for.
    is_truncated : bool
        Whether events were dropped to bound memory.
    counters : dict
        Name with unit -> (cycles : int64[k], values : float64[k]), sampled; a value holds until
        the next one. Rates times their intervals sum to what moved.
    """

    units: list[str]
    op_names: list[str]
    opcodes: list[str]
    channels: list[str]
    events: NDArray[np.void]
    flows: NDArray[np.void]
    is_truncated: bool = False
    counters: dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Provenance:
    """What produced a result; no time and no host, so that equal runs give equal results."""

    spec_hash: str
    program_hash: str
    seed: int
    versions: dict[str, str]

    @classmethod
    def of(cls, spec_hash: str, program_hash: str) -> Provenance:
        """Return what these versions made of a spec and a program; nothing was random."""
        return cls(spec_hash, program_hash, 0, tool_versions())


def tool_versions() -> dict[str, str]:
    """Return the versions that can influence a result."""
    return {name: metadata.version(name) for name in ("hwsim", "numpy", "numba")}


@dataclass
class Result:
    """Everything a run says. ``outputs`` are present when inputs were given."""

    model: str
    machine: str
    preset: str
    fidelity: str
    clock_hz: int
    peak_macs_per_cycle: int
    stats: Stats
    layers: list[LayerResult]
    provenance: Provenance
    outputs: dict[str, NDArray[Any]] = field(default_factory=dict)
    trace: Trace | None = None
    baseline: dict[str, float] = field(default_factory=dict)
    unmodelled: list[dict[str, Any]] = field(default_factory=list)
    deviations: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    verification: list[dict[str, Any]] = field(default_factory=list)
    tier: str = ""
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def cycles(self) -> int:
        """Return the makespan in cycles of the machine's clock."""
        return self.stats.cycles

    @property
    def utilization(self) -> float:
        """Return useful multiply-accumulates over the array's peak, 0 to 1."""
        slots = self.cycles * self.peak_macs_per_cycle
        return self.stats.useful_macs / slots if slots else 0.0

    def check(self) -> None:
        """Raise :class:`HwsimError` if an identity of the contract does not hold."""
        for name, unit in self.stats.units.items():
            _require_equal(f"units.{name}", self.cycles, unit.total)
        for layer in self.layers:
            _require_equal(f"layers.{layer.name}", layer.cycles, layer.account.total)
        _require_equal("layers.cycles", self.cycles, sum(x.cycles for x in self.layers))
        _require_equal("layers.macs", self.stats.macs, sum(x.macs for x in self.layers))
        parts: dict[tuple[str, str], int] = {}
        for layer in self.layers:
            for level, moved in layer.bytes.items():
                for direction, count in moved.items():
                    if count:
                        parts[level, direction] = parts.get((level, direction), 0) + count
        for level, moved in self.stats.bytes.items():
            for direction, count in moved.items():
                found = parts.get((level, direction), 0)
                _require_equal(f"layers.bytes.{level}.{direction}", count, found)

    def to_json(self) -> dict[str, Any]:
        """Return the run JSON document (see docs/contracts.md)."""
        return {
            "schema_version": SCHEMA_VERSION,
            "model": self.model,
            "machine": self.machine,
            "preset": self.preset,
            "fidelity": self.fidelity,
            "spec_hash": self.provenance.spec_hash,
            "program_hash": self.provenance.program_hash,
            "seed": self.provenance.seed,
            "versions": self.provenance.versions,
            "clock_hz": self.clock_hz,
            "cycles": self.cycles,
            "time_s": self.cycles / self.clock_hz,
            "macs": self.stats.macs,
            "issued_macs": self.stats.issued_macs,
            "useful_macs": self.stats.useful_macs,
            "peak_macs_per_cycle": self.peak_macs_per_cycle,
            "utilization": self.utilization,
            "energy_pj": self.stats.energy_pj,
            "energy_by_component_pj": self.stats.energy_by_component_pj,
            "bytes": self.stats.bytes,
            "units": {name: unit.to_json() for name, unit in self.stats.units.items()},
            "baseline": self.baseline,
            "layers": [layer.to_json() for layer in self.layers],
            "unmodelled": self.unmodelled,
            "deviations": self.deviations,
            "notes": self.notes,
            "verification": self.verification,
            "tier": self.tier,
            **self.extra,
        }


def _require_equal(field_name: str, need: int, found: int) -> None:
    if need != found:
        raise HwsimError(field_name, f"{need} cycles or counts accounted for", str(found))


@dataclass(frozen=True)
class Claim:
    """One checked statement: a simulated value against a reference, within a tolerance."""

    id: str
    what: str
    simulated: float
    reference: float
    unit: str
    tolerance: float
    basis: str
    gated: bool
    source: str

    @property
    def error(self) -> float:
        """Return (simulated − reference) / reference (absolute difference if reference is 0)."""
        difference = self.simulated - self.reference
        return difference / self.reference if self.reference else difference

    @property
    def passed(self) -> bool:
        """Return whether the error is within tolerance."""
        return abs(self.error) <= self.tolerance

    def to_json(self) -> dict[str, Any]:
        """Return the entry of the validate JSON."""
        return {
            "id": self.id,
            "what": self.what,
            "simulated": self.simulated,
            "reference": self.reference,
            "unit": self.unit,
            "error": self.error,
            "tolerance": self.tolerance,
            "basis": self.basis,
            "gated": self.gated,
            "passed": self.passed,
            "source": self.source,
        }
