"""Say what a machine is: a frozen Spec, and the questions every machine answers."""

from __future__ import annotations

import hashlib
import importlib
import json
import tomllib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from hwsim.core.area import AreaDesign
from hwsim.core.errors import InputError, SpecError, nearest, reason_of, unknown_name
from hwsim.core.graph import Op, OpGraph
from hwsim.core.mapping import Mapping as OpMapping
from hwsim.core.program import Program
from hwsim.core.registry import REGISTRY
from hwsim.core.result import Result
from hwsim.core.spec_errors import spec_error
from hwsim.core.trace import TraceSink

__all__ = [
    "Bounds",
    "Capabilities",
    "Machine",
    "OpEstimate",
    "Spec",
    "UnitTiming",
    "machine_names",
    "make_machine",
]


@dataclass(frozen=True)
class UnitTiming:
    """Cycle contract of one hardware unit, shared by simulator, RTL and tests.

    ``latency_cycles`` counts from the cycle that accepts the last input of a transfer to the
    cycle in which its output is first offered. ``interval_cycles`` is the initiation interval.
    """

    latency_cycles: int
    interval_cycles: int


class Spec(BaseModel):
    """Base of all machine descriptions: frozen, no unknown keys, units in field names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def capacities(self) -> dict[str, int]:
        """Return the bytes of every buffer that a mapping may fill, by buffer name."""
        return {}

    def spec_hash(self) -> str:
        """Return a hash that changes when any field changes."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @classmethod
    def build(cls, values: Mapping[str, Any]) -> Self:
        """Return the spec for nested ``values``; raise :class:`SpecError` naming the bad key."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise spec_error(error, known_keys(cls)) from None

    def override(self, settings: Iterable[str]) -> Self:
        """Return a copy with ``key=value`` texts applied (dotted keys, TOML values)."""
        values = self.model_dump()
        for setting in settings:
            key, separator, text = setting.partition("=")
            if not separator:
                raise SpecError("--set", "key=value", repr(setting))
            _assign(values, key.strip(), _parse_value(text.strip()), type(self))
        return type(self).build(values)

    def merge(self, values: Mapping[str, Any]) -> Self:
        """Return a copy with the nested ``values`` laid over this spec."""
        merged = self.model_dump()
        _lay_over(merged, values)
        return type(self).build(merged)


def load_spec_values(path: Path) -> dict[str, Any]:
    """Return the nested values of a TOML or JSON file; raise :class:`InputError` if malformed."""
    try:
        text = path.read_text()
        values = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise InputError(
            "--spec", "a readable TOML or JSON file", f"{path}: {reason_of(error)}"
        ) from None
    if not isinstance(values, dict):
        raise InputError("--spec", "a table of keys", f"{path}: {type(values).__name__}")
    return values


def known_keys(spec: type[BaseModel], prefix: str = "") -> list[str]:
    """Return every dotted key of a spec class."""
    keys: list[str] = []
    for name, info in spec.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            keys += known_keys(kind, f"{prefix}{name}.")
        else:
            keys.append(f"{prefix}{name}")
    return keys


def _parse_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _assign(values: dict[str, Any], key: str, value: Any, spec: type[Spec]) -> None:
    *path, last = key.split(".")
    node: Any = values
    for part in path:
        node = node.get(part) if isinstance(node, dict) else None
    if not isinstance(node, dict) or last not in node:
        known = known_keys(spec)
        raise SpecError("--set", "a known key", f"{key!r}{nearest(key, known)}")
    node[last] = value


def _lay_over(base: dict[str, Any], values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), dict):
            _lay_over(base[key], value)
        else:
            base[key] = value


@dataclass(frozen=True)
class Capabilities:
    """What a machine can be asked for.

    ``op_kinds`` are executed; ``treatment`` says in words how special cases (depthwise,
    elementwise, unmodelled) are handled. ``patterns`` are accepted weight patterns. ``has_slots``
    says that ops of other units can run beside the compute unit's if their mappings name the same
    ``slot`` (see :class:`~hwsim.core.mapping.Mapping`). ``phases`` are those of a model's life that
    can be asked for, the first by default; ``kernels`` the algorithms to choose from, if there are
    several. ``has_dense_baseline`` says that a run can be set beside the same model kept dense;
    ``needs_masks`` that :meth:`Machine.lower` wants to know which weights are kept. ``operands`` is
    the dtype of products' operands, float16 or int8 (codes of -127 to 127, scales outside).
    ``has_attention_masks`` says that blocks dropped from attention are skipped.
    """

    op_kinds: frozenset[str]
    dataflows: tuple[str, ...]
    patterns: tuple[str, ...]
    presets: tuple[str, ...]
    treatment: dict[str, str] = field(default_factory=dict)
    has_slots: bool = False
    phases: tuple[str, ...] = ("infer",)
    kernels: tuple[str, ...] = ()
    has_dense_baseline: bool = True
    needs_masks: bool = False
    operands: str = "float16"
    has_attention_masks: bool = False


class OpEstimate(NamedTuple):
    """Closed-form prediction for one op under one mapping, for search.

    ``cycles`` is the larger of ``compute_cycles`` and ``memory_cycles`` plus unhidden start-up.
    """

    cycles: int
    compute_cycles: int
    memory_cycles: int
    dram_read_bytes: int
    dram_write_bytes: int
    issued_macs: int


@dataclass(frozen=True)
class Bounds:
    """Cycles that no correct run may undercut or exceed."""

    min_cycles: int
    max_cycles: int


class Machine(ABC):
    """One accelerator. Everything above this line of the import graph talks only to this.

    ``spec_class`` describes it, ``named_specs`` are its presets, the first of them the default.
    """

    name: str
    compute_unit: str
    spec_class: ClassVar[type[Spec]]
    named_specs: ClassVar[Mapping[str, Spec]]

    def __init__(self, spec: Spec, preset: str) -> None:
        self.spec = spec
        self.preset = preset

    @classmethod
    def presets(cls) -> dict[str, Spec]:
        """Return the named specs; the first is the default."""
        return dict(cls.named_specs)

    @classmethod
    def from_spec(cls, spec: Spec, preset: str) -> Self:
        """Return the machine for ``spec`` (derived from ``preset``)."""
        if not isinstance(spec, cls.spec_class):
            raise InputError("spec", f"a {cls.spec_class.__name__}", type(spec).__name__)
        return cls(spec, preset)

    @property
    @abstractmethod
    def clock_hz(self) -> int:
        """Return the clock of ``Result.cycles``."""

    @abstractmethod
    def capabilities(self) -> Capabilities:
        """Return what this machine executes and how it treats the rest."""

    def adapt(self, graph: OpGraph, *, kernel: str = "auto", dataflow: str = "auto") -> OpGraph:
        """Return ``graph`` with choices that regard the whole of it; unchanged by default.

        Raises :class:`InputError` if ``kernel`` or ``dataflow`` cannot be had.
        """
        del kernel, dataflow
        return graph

    def workload_parameters(self, kernel: str) -> Mapping[str, Any]:
        """Return the settings of a workload of several kernels, by name; none by default."""
        del kernel
        return {}

    def area(self) -> AreaDesign | None:
        """Return the RTL units that the machine is built of; None if it has no RTL."""
        return None

    @abstractmethod
    def idle_energy_pj(self, cycles: int) -> dict[str, float]:
        """Return what ``cycles`` in which nothing happens cost, by component: static power."""

    @abstractmethod
    def candidates(self, op: Op, dataflow: str) -> Iterable[OpMapping]:
        """Yield the mappings a mapper may choose from for ``op`` under ``dataflow``.

        Raises :class:`InputError` if the machine cannot run ``op`` that way at all, and its
        subclass :class:`MappingError` if nothing fits.
        """

    @abstractmethod
    def estimate(self, op: Op, mapping: OpMapping) -> OpEstimate:
        """Return the closed-form cost of ``op`` under ``mapping``."""

    def costed_candidates(
        self, op: Op, dataflow: str
    ) -> Iterable[tuple[OpEstimate, Callable[[], OpMapping]]]:
        """Yield the cost of every candidate, and what returns its mapping.

        A search keeps one of many: machines for which a mapping takes time to write down say the
        same here with less work. Errors as :meth:`candidates`.
        """
        for mapping in self.candidates(op, dataflow):
            yield self.estimate(op, mapping), partial(_same, mapping)

    @abstractmethod
    def estimate_other(self, graph: OpGraph, op: Op, fused_ops: int) -> OpEstimate:
        """Return the closed-form cost of an ``op`` that is no product, with ops fused into it."""

    @abstractmethod
    def lower(
        self,
        graph: OpGraph,
        mappings: list[OpMapping],
        tensors: Mapping[str, NDArray[Any]] | None = None,
    ) -> Program:
        """Return the program of the whole graph; ``tensors`` attaches values and masks.

        ``mappings`` has one entry per op, in order of execution.
        """

    @abstractmethod
    def bounds(self, program: Program) -> Bounds:
        """Return cycles that enclose every correct run of ``program``."""

    @abstractmethod
    def golden(
        self, program: Program, inputs: Mapping[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        """Return the outputs by a reference that shares no kernel with :meth:`run`."""

    @abstractmethod
    def execute(
        self, program: Program, inputs: Mapping[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        """Return the outputs in the machine's own formats and order of operations, untimed."""

    @abstractmethod
    def run(
        self,
        program: Program,
        inputs: Mapping[str, NDArray[Any]] | None = None,
        *,
        trace: bool | TraceSink = False,
        detail: str = "fast",
    ) -> Result:
        """Simulate ``program``; with ``inputs`` also compute its outputs.

        ``trace`` records events into the result, or hands them to a sink while the run streams.

        ``detail`` selects how time is stepped: ``fast`` forwards repeated structure exactly; the
        other levels (see the machine) step it plainly and must give the same cycles.
        """


def _same(mapping: OpMapping) -> OpMapping:
    return mapping


def machine_names() -> list[str]:
    """Return the registered machines."""
    return sorted(REGISTRY)


def machine_class(name: str) -> type[Machine]:
    """Return the class registered as ``name``; raise :class:`InputError` with near names."""
    if name not in REGISTRY:
        raise unknown_name("--machine", name, REGISTRY)
    module, _, attribute = REGISTRY[name].partition(":")
    found: type[Machine] = getattr(importlib.import_module(module), attribute)
    return found


def make_machine(
    name: str,
    preset: str | None = None,
    values: Mapping[str, Any] | None = None,
    settings: Iterable[str] = (),
) -> Machine:
    """Return a machine: ``preset``, overlaid by ``values`` (a spec file), then ``settings``."""
    cls = machine_class(name)
    presets = cls.presets()
    chosen = preset or next(iter(presets))
    if chosen not in presets:
        raise unknown_name("--preset", chosen, presets)
    spec = presets[chosen]
    if values:
        spec = spec.merge(values)
    spec = spec.override(settings)
    return cls.from_spec(spec, chosen)
