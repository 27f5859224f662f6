"""Turn a unit into Verilog or RTLIL text; the same unit gives the same text."""

from __future__ import annotations

from amaranth.back import rtlil
from amaranth.back import verilog as verilog_back
from amaranth.hdl import Elaboratable

__all__ = ["to_rtlil", "to_verilog"]


def to_verilog(unit: Elaboratable, name: str) -> str:
    """Return the Verilog of ``unit`` (not yet elaborated) as module ``name``.

    Source locations are left out, so that the text depends on the logic alone.
    """
    return verilog_back.convert(unit, name=name, emit_src=False, strip_internal_attrs=True)


def to_rtlil(unit: Elaboratable, name: str) -> str:
    """Return the RTLIL (Yosys' own text) of ``unit`` (not yet elaborated) as module ``name``."""
    return rtlil.convert(unit, name=name, emit_src=False)
