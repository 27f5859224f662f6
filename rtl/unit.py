"""Describe one unit: what builds it, what its cycle contract is, what is proved of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from amaranth.lib import wiring
from pydantic import BaseModel

from hwsim.core.machine import UnitTiming
from rtl.formal.bench import Properties

__all__ = ["Unit"]


@dataclass(frozen=True)
class Unit:
    """One unit of the RTL library.

    Attributes
    ----------
    name : str
        ``<machine>/<unit>``: the path of its file under ``rtl``.
    description : str
        One line.
    spec : BaseModel
        Default parameters.
    component : type of wiring.Component
        Called with a spec; every call gives a fresh unit, which can be elaborated once.
    timing : (spec) -> UnitTiming
        Cycle contract.
    properties : (m, unit) -> None
        What a proof asserts beside the stream rules.
    proof_spec : BaseModel, optional
        Parameters small enough to prove. Absent: the default ones.
    proof_depth : int
        Cycles of the induction.
    """

    name: str
    description: str
    spec: BaseModel
    component: Callable[[Any], wiring.Component]
    timing: Callable[[Any], UnitTiming]
    properties: Properties
    proof_spec: BaseModel | None = None
    proof_depth: int = 2

    def build(self, spec: BaseModel | None = None) -> wiring.Component:
        """Return a fresh unit for ``spec``, or for the default one."""
        return self.component(self.spec if spec is None else spec)

    @property
    def default_timing(self) -> UnitTiming:
        """Return the cycle contract under the default spec."""
        return self.timing(self.spec)
