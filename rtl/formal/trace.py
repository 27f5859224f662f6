"""Read the values of signals out of the trace of a refuted proof."""

from __future__ import annotations

import re

__all__ = ["Trace", "read_trace"]

Trace = dict[str, list[int]]
"""Signal by its path joined by dots, without the top module -> its value in every cycle."""

VARIABLE = re.compile(r"\$var \w+ \d+ (\S+) (\S+)")


def read_trace(text: str) -> Trace:
    """Return the signals in ``text``, a VCD file that yosys-smtbmc wrote; unknown bits are 0."""
    codes, scope = {}, []
    header, _, body = text.partition("$enddefinitions $end")
    for line in header.splitlines():
        words = line.split()
        if words[:1] == ["$scope"]:
            scope.append(words[2])
        elif words[:1] == ["$upscope"]:
            scope.pop()
        elif found := VARIABLE.match(line):
            codes.setdefault(found[1], []).append(".".join([*scope[1:], found[2]]))
    values = dict.fromkeys(codes, 0)
    cycles: Trace = {name: [] for names in codes.values() for name in names}
    is_open = False
    for line in [*body.split("\n"), "#"]:
        if line.startswith("#") and is_open:
            for code, names in codes.items():
                for name in names:
                    cycles[name].append(values[code])
        if line.startswith("#"):
            is_open = False
        elif line.startswith("b"):
            bits, code = line[1:].split()
            values[code] = int(re.sub("[xz]", "0", bits), 2)
            # A step begins with an event; its second half only lowers the clock.
            is_open = is_open or code == "t"
    # After the last cycle, yosys-smtbmc writes a clock edge more.
    return {name: steps[:-1] for name, steps in cycles.items()}
