"""Say at which sizes a unit is synthesised for the area model, and in which terms it grows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from amaranth.lib import wiring
from pydantic import BaseModel

__all__ = ["Sweep"]


@dataclass(frozen=True)
class Sweep:
    """The sizes of one unit.

    Attributes
    ----------
    unit : str
        ``<machine>/<unit>``.
    component : type of wiring.Component
        Called with a spec.
    sizes : tuple of BaseModel
        Specs to synthesise, more of them than terms and four at least.
    parameters : tuple of str
        Dotted names that the cells depend on; the others of the spec are another unit's.
    terms : tuple of str
        In which cells grow (:func:`hwsim.components.area.term_value`).
    wide_mux_inputs : int
        Inputs from which on a multiplexer uses a slice's own, 0 for none
        (:func:`rtl.synth.xilinx.worker`).
    """

    unit: str
    component: Callable[[Any], wiring.Component]
    sizes: tuple[BaseModel, ...]
    parameters: tuple[str, ...]
    terms: tuple[str, ...]
    wide_mux_inputs: int = 0
