"""Turn a unit into Verilog or RTLIL text; the same unit gives the same text."""

from __future__ import annotations

import re

from amaranth.back import rtlil

# No public function takes RTLIL text; this is what amaranth.back.verilog.convert ends in.
from amaranth.back.verilog import _convert_rtlil_text
from amaranth.hdl import Signal, Value
from amaranth.lib import wiring

__all__ = ["share_modules", "to_rtlil", "to_verilog"]

MODULE = re.compile(r"(?ms)^((?:attribute [^\n]*\n)*module )(\S+)\n(.*?)^end\n")
"""Of Amaranth's RTLIL: what comes before the name, the name, the body."""

PORT = re.compile(
    r"(?m)^(?P<wire>(?:  attribute [^\n]*\n)*  wire [^\\\n]*?(?:input|output|inout) )\d+"
    r"(?P<name> +\\\S+)\n\n?"
)
CELL = re.compile(r"(?m)^(  cell )(\\\S+)")


def to_verilog(unit: wiring.Component, name: str, platform: object = None) -> str:
    """Return the Verilog of ``unit`` (not yet elaborated) as module ``name``.

    ``platform``: what ``elaborate`` gets, :class:`rtl.synth.platform.UltraScalePlus` or nothing.
    Source locations are left out, so that the text depends on the logic alone.
    """
    return _convert_rtlil_text(to_rtlil(unit, name, platform), strip_internal_attrs=True)


def to_rtlil(unit: wiring.Component, name: str, platform: object = None) -> str:
    """Return the RTLIL (Yosys' own text) of ``unit`` (not yet elaborated) as module ``name``.

    Submodules of equal logic are one module. ``platform`` as for :func:`to_verilog`.
    """
    text = rtlil.convert(unit, name=name, platform=platform, ports=_ports(unit), emit_src=False)
    return share_modules(text)


def _ports(unit: wiring.Component) -> dict[str, tuple[Signal, None]]:
    """Return the ports of ``unit`` by joined path, directions left to Amaranth.

    Without the ``ready`` of a stream that is always ready: it is a constant.
    """
    ports = {
        "__".join(map(str, path)): Value.cast(value)
        for path, _, value in unit.signature.flatten(unit)
    }
    return {name: (port, None) for name, port in ports.items() if isinstance(port, Signal)}


def share_modules(text: str) -> str:
    """Return RTLIL ``text`` in which of equal modules only the first is left.

    Amaranth writes one module per instance, and lists ports in the order it meets them. An array
    of PEs is then as much text as it has PEs, which every tool behind reads and compiles again.
    """
    found = list(MODULE.finditer(text))
    modules = {module[2]: (module[1], _with_sorted_ports(module[3])) for module in found}
    while True:
        first: dict[tuple[str, str], str] = {}
        same = {name: first.setdefault(content, name) for name, content in modules.items()}
        if len(first) == len(modules):
            break
        modules = {
            name: (head, _with_cells(body, same))
            for name, (head, body) in modules.items()
            if same[name] == name
        }
    before = text[: found[0].start()]
    return before + "\n".join(
        f"{head}{name}\n{body}end\n" for name, (head, body) in modules.items()
    )


def _with_sorted_ports(body: str) -> str:
    """Return a module's ``body`` with its ports first, in the order of their names."""
    ports = sorted(PORT.finditer(body), key=lambda port: port["name"])
    lines = [f"{port['wire']}{number}{port['name']}\n" for number, port in enumerate(ports)]
    return "".join(lines) + PORT.sub("", body)


def _with_cells(body: str, same: dict[str, str]) -> str:
    """Return a module's ``body`` with every cell's type replaced by the equal one that is left."""
    return CELL.sub(lambda cell: cell[1] + same.get(cell[2], cell[2]), body)
